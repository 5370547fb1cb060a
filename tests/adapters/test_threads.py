"""The frozen encoder and its adapted forms compute at once, each as if it were alone."""

from __future__ import annotations

import copy
import sys
import threading

import pytest
import torch

from gtl import adapters
from gtl.encoders import GIN
from gtl.testing import MOLECULES, Example
from gtl.testing.laws import loosened

ADAPTERS = {
    "lora": "lora",
    "parallel": "parallel",
    "parallel bottleneck": {"name": "parallel", "kind": "bottleneck"},
    "bottleneck": "bottleneck",
    "film": "film",
    "prompt": "prompt",
    "layerwise": "layerwise",
    "several in a row": ["film", "lora", "parallel", "bottleneck", "layerwise"],
}
CALLS = 30


@pytest.fixture
def frequent_switches():
    """Threads take turns after a few instructions."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(calls):
    """Names of the calls that gave, in one of many turns at once, something else than alone."""
    expected = {name: call() for name, call in calls.items()}
    start, wrong = threading.Barrier(len(calls)), []

    def work(name):
        start.wait()
        for _ in range(CALLS):
            try:
                if not torch.equal(calls[name](), expected[name]):
                    wrong.append(name)
            except Exception as error:
                wrong.append(f"{name}: {error!r}")

    threads = [threading.Thread(target=work, args=(name,)) for name in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_encoder_and_its_adapted_form_compute_at_once(
    encoder, graph, name, frequent_switches
) -> None:
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    adapted = adapters.attach(encoder, ADAPTERS[name])
    loosened(adapted.adapters)
    wrong = in_threads(
        {
            "the encoder": lambda: encoder(graph),
            "its layers": lambda: torch.cat(encoder.layers(graph), 1),
            "the adapted one": lambda: adapted(graph),
            "the adapted one again": lambda: adapted(graph),
            "adapted layers": lambda: torch.cat(adapted.layers(graph), 1),
        }
    )
    assert not wrong
    after = adapters.detach(adapted).state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_two_adapted_forms_of_one_encoder_compute_at_once(
    encoder, graph, frequent_switches
) -> None:
    forms = [adapters.attach(encoder, name) for name in ("lora", "film", "parallel")]
    for form in forms:
        loosened(form.adapters)
    calls = {f"form {i}": lambda form=form: form(graph) for i, form in enumerate(forms)}
    assert not in_threads({**calls, "the encoder": lambda: encoder(graph)})


@pytest.mark.parametrize("name", ["lora", "film"])
def test_an_adapter_is_trained_while_the_encoder_computes(graph, name, frequent_switches) -> None:
    torch.manual_seed(3)
    alone = GIN(MOLECULES, width=6, depth=2)
    shared = copy.deepcopy(alone)
    expected = train(adapters.attach(alone, name), graph)
    adapted, came = adapters.attach(shared, name), []
    calls = {"the encoder": lambda: shared(graph)}
    thread = threading.Thread(target=lambda: came.append(in_threads(calls)))
    thread.start()
    state = train(adapted, graph)
    thread.join()
    assert came == [[]]
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def train(adapted, graph, steps=10):
    torch.manual_seed(4)
    for parameter in adapted.adapters.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        adapted(graph).square().mean().backward()
        optimizer.step()
    return adapters.adapter_state(adapted)


@pytest.mark.parametrize("name", ["lora", "parallel", "bottleneck", "film", "prompt"])
def test_inside_a_call_of_the_adapted_form_the_encoder_is_itself(encoder, graph, name) -> None:
    """What a thread could see at any moment, seen from within a call."""
    adapted, seen = adapters.attach(encoder, name), []
    loosened(adapted.adapters)
    expected = encoder(graph)
    state = dict(encoder.named_parameters())

    def look(module, inputs, out):
        handle.remove()  # the encoder's own pass calls this block too
        seen.append(torch.equal(encoder(graph), expected))
        seen.append(all(p is state[key] for key, p in encoder.named_parameters()))
        seen.append(not any("forward" in vars(part) for part in encoder.modules()))

    handle = encoder.blocks[1].conv.register_forward_hook(look)
    adapted(graph)
    assert seen == [True, True, True]


def test_graphs_that_change_the_cache_do_not_disturb_another_thread(frequent_switches) -> None:
    torch.manual_seed(3)
    encoder = GIN(MOLECULES, width=6, depth=2)
    graphs = [Example(MOLECULES).graph([3, n]).replace(y=None) for n in (1, 2, 5)]
    adapted = adapters.attach(encoder, [])
    calls = {f"graph {i}": lambda graph=graph: adapted(graph) for i, graph in enumerate(graphs)}
    assert not in_threads({**calls, "forget": lambda: adapted.forget() or torch.zeros(())})
