"""Edge generation: who is picked from, what the queue holds, and the loss by hand."""

from __future__ import annotations

from math import exp, log, sqrt

import pytest
import torch

from gtl.errors import ConfigError
from gtl.graph import Graph, Schema
from gtl.graph.sample import are_joined
from gtl.roles import Batch, View
from gtl.tasks import EdgeGeneration
from gtl.testing import check_task


def ready(width: int = 2, **options: float | int) -> EdgeGeneration:
    """With the identity as its map."""
    task = EdgeGeneration(**options)  # type: ignore[arg-type]
    task.setup(Schema(), width)
    assert task.matcher is not None
    with torch.no_grad():
        task.matcher.weight.copy_(torch.eye(width))
        task.matcher.bias.zero_()
    return task.double()


def view_of(one: list[int], to: list[int], strangers: list[list[int]], nodes: int) -> View:
    targets = {"from": one, "to": to, "strangers": strangers}
    graph = Graph(*torch.empty(2, 0).long(), nodes)
    return View(graph, {name: torch.tensor(value) for name, value in targets.items()})


def entropy(right: float, others: list[float], temperature: float) -> float:
    return -right / temperature + log(sum(exp(s / temperature) for s in [right, *others]))


def close(losses: torch.Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(
        losses, torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=0
    )


NODES = torch.tensor([[2, 0], [1, 1], [0, 3], [-4, 0]], dtype=torch.float64)
S = 1 / sqrt(2)


@pytest.mark.slow  # tests/laws has the defaults
def test_it_obeys_the_laws_of_tasks() -> None:
    check_task(EdgeGeneration())
    check_task(EdgeGeneration(rate=1.0, negatives=1, queue=0, temperature=1.0))
    check_task(EdgeGeneration(rate=0.5, negatives=3, queue=5))


def test_the_losses_by_hand() -> None:
    task = ready(temperature=0.5)
    losses = task.losses(NODES, view_of([0, 0], [1, 2], [[2, 3], [3, -1]], 4))
    close(losses, [entropy(S, [0, -1], 0.5), entropy(0, [-1], 0.5)])


def test_other_ends_of_earlier_steps_are_negatives_of_every_pair() -> None:
    task = ready(temperature=0.5, queue=8)
    task.losses(NODES, view_of([0, 1], [1, 2], [[3], [3]], 4))
    assert int(task.seen) == 2
    losses = task.losses(NODES, view_of([0], [3], [[2]], 4))
    close(losses, [entropy(-1, [0, S, 0], 0.5)])


def test_the_oldest_vectors_make_room() -> None:
    task = ready(queue=8)  # two places a step
    for step in range(6):
        nodes = torch.tensor([[1, 0], [step, 1], [step, 2]], dtype=torch.float64)
        task.losses(nodes, view_of([0, 0, 0], [1, 2, 0], [[-1]] * 3, 3))
    assert int(task.seen) == 12
    slopes = (task.queue[:, 0] / task.queue[:, 1]).tolist()
    assert slopes == pytest.approx([4, 2, 5, 2.5, 2, 1, 3, 1.5])


def test_the_queue_sends_no_gradient_and_does_not_grow_when_judging() -> None:
    task = ready(queue=4).eval()
    view = view_of([0], [1], [[2]], 4)
    task.losses(NODES, view)
    assert int(task.seen) == 0
    task.train()
    nodes = NODES.clone().requires_grad_()
    losses = task.losses(nodes, view)  # the queue changes before the gradient is taken
    losses.sum().backward()
    assert nodes.grad is not None and not task.queue.requires_grad


def test_removed_edges_are_gone_and_strangers_are_not_joined(path, rng) -> None:
    graph = Graph.batch([path(7), path(11)])
    view = ready(rate=0.4).view(Batch(graph), rng)
    one, to, strangers = (view.targets[name] for name in ("from", "to", "strangers"))
    assert are_joined(graph, one, to).all() and not are_joined(view.graph, one, to).any()
    assert not are_joined(graph, one.unsqueeze(1).expand_as(strangers), strangers).any()
    assert strangers.shape == (6, 16)


def test_a_pair_without_negatives_costs_nothing(path, rng) -> None:
    task = ready()
    losses = task.losses(torch.randn(2, 2, dtype=torch.float64), task.view(Batch(path(2)), rng))
    close(losses, [0.0])


def test_wrong_options_are_named(path, rng) -> None:
    with pytest.raises(ConfigError, match="`rate` is 0"):
        EdgeGeneration(rate=0)
    with pytest.raises(ConfigError, match="`negatives` is 0"):
        EdgeGeneration(negatives=0)
    with pytest.raises(ConfigError, match="`queue` is -1"):
        EdgeGeneration(queue=-1)
    with pytest.raises(ConfigError, match="`temperature` is 0"):
        EdgeGeneration(temperature=0)
    task = EdgeGeneration()
    with pytest.raises(ConfigError, match=r"call `task\.setup"):
        task.losses(torch.zeros(3, 2), task.view(Batch(path(3)), rng))
