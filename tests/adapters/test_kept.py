"""A frozen encoder encodes one graph once, and anew as soon as anything is another."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.func import functional_call

import gtl
from gtl import adapters
from gtl.registry import ENCODERS


@pytest.fixture
def passes(encoder):
    """How often the encoder has computed."""
    seen = []
    encoder.blocks[0].register_forward_hook(lambda *call: seen.append(1))
    return seen


def test_a_graph_is_encoded_once_also_with_other_seeds(encoder, graph, passes):
    adapted = adapters.attach(encoder, "layerwise")
    passes.clear()
    one = graph.replace(sizes=None, seeds=torch.tensor([1, 2]))
    first = adapted(one)
    second = adapted(one.replace(seeds=torch.tensor([3])))
    assert len(passes) == 1
    assert torch.equal(first, second)


def test_another_graph_is_encoded_anew(encoder, graph, passes):
    adapted = adapters.attach(encoder, [])
    other = graph.replace(x=graph.x.flip(0))
    one, two = adapted(graph), adapted(other)
    assert torch.equal(two, encoder(other))
    assert not torch.equal(one, two)


def test_changed_weights_are_noticed(encoder, graph):
    adapted = adapters.attach(encoder, [])
    before = adapted(graph)
    with torch.no_grad():
        encoder.blocks[1].conv.mlp[0].weight.add_(1.0)
    assert not torch.equal(adapted(graph), before)
    assert torch.equal(adapted(graph), encoder(graph))
    adapted.double()
    assert adapted(graph).dtype == torch.float64


def test_a_call_at_other_weights_sees_those(encoder, graph):
    adapted = adapters.attach(encoder, [])
    before = adapted(graph)
    moved = {name: p + 0.5 for name, p in adapted.named_parameters()}
    assert not torch.equal(functional_call(adapted, moved, (graph,)), before)
    assert torch.equal(adapted(graph), before)


def test_an_adapter_inside_the_encoder_is_computed_in_each_step(encoder, graph, passes):
    adapted = adapters.attach(encoder, "film")
    passes.clear()
    adapted(graph)
    adapted(graph)
    assert len(passes) == 2


def test_a_copy_and_learned_features_are_computed_for_themselves(encoder, graph, passes):
    adapted = adapters.attach(encoder, [])
    passes.clear()
    adapted(graph)
    twin = copy.deepcopy(adapted)
    with torch.no_grad():
        for parameter in adapted.parameters():
            parameter.zero_()
    assert not torch.equal(twin(graph), adapted(graph))


def test_training_a_head_on_one_graph_encodes_it_once(communities):
    torch.manual_seed(0)
    encoder = ENCODERS.build({"name": "gcn", "width": 8, "depth": 2}, communities.schema)
    passes = []
    encoder.blocks[0].register_forward_hook(lambda *call: passes.append(1))
    kept = gtl.finetune(encoder, communities, adapter=["layerwise"], epochs=5)
    to_see_widths, to_train_and_validate, at_the_loaded_best_epoch = 1, 1, 1
    assert len(passes) == to_see_widths + to_train_and_validate + at_the_loaded_best_epoch
    assert kept.results["footprint"]["parameters_trained"] > 27
