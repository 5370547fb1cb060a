"""Infomax: own graph against the next one, or a graph against its shuffled copy."""

from __future__ import annotations

from math import exp, log

import pytest
import torch

from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema, ops
from gtl.roles import Batch
from gtl.tasks import Infomax
from gtl.testing import check_task

SCHEMA = Schema(node=Columns(width=2))


def ready(width: int) -> Infomax:
    """With the identity as its bilinear form."""
    task = Infomax()
    task.setup(SCHEMA, width)
    assert task.discriminator is not None
    with torch.no_grad():
        task.discriminator.weight.copy_(torch.eye(width))
    return task.double()


def sigmoid(z: float) -> float:
    return 1 / (1 + exp(-z))


def loss(right: float, wrong: float) -> float:
    return (-log(sigmoid(right)) - log(1 - sigmoid(wrong))) / 2


@pytest.mark.slow  # tests/laws has the defaults
def test_it_obeys_the_laws_of_tasks() -> None:
    check_task(Infomax())


def test_nodes_go_with_their_own_graph_and_not_with_the_next(make_graph, rng) -> None:
    # Graphs of 2, 0, 1 and 3 nodes; the empty one is nobody's next.
    graph = make_graph(6, [(0, 1), (4, 5)], sizes=torch.tensor([2, 0, 1, 3]))
    nodes = torch.tensor([[1.0], [3.0], [-1.0], [0.0], [2.0], [4.0]], dtype=torch.float64)
    view = ready(1).view(Batch(graph), rng)
    assert view.graph is graph
    s = [sigmoid(2), sigmoid(-1), sigmoid(2)]
    pairs = [(1, 0, 1), (3, 0, 1), (-1, 1, 2), (0, 2, 0), (2, 2, 0), (4, 2, 0)]
    expected = [loss(h * s[own], h * s[other]) for h, own, other in pairs]
    torch.testing.assert_close(
        ready(1).losses(nodes, view), torch.tensor(expected, dtype=torch.float64)
    )


def test_one_graph_is_told_from_its_shuffled_copy(path, rng) -> None:
    graph = path(3, x=torch.arange(6.0).view(3, 2))
    task = ready(1)
    view = task.view(Batch(graph), rng)
    nodes = torch.tensor([[1.0], [2.0], [3.0], [5.0], [0.0], [-1.0]], dtype=torch.float64)
    s = sigmoid(2)  # the summary is that of the original alone
    expected = [loss(1 * s, 5 * s), loss(2 * s, 0), loss(3 * s, -1 * s)]
    torch.testing.assert_close(
        task.losses(nodes, view), torch.tensor(expected, dtype=torch.float64)
    )


def test_the_copy_has_the_same_edges_and_the_same_rows_in_another_order(make_graph, rng) -> None:
    pairs = [(0, 1), (1, 2), (2, 3), (3, 4), (5, 6)]
    graph = make_graph(
        7,
        pairs,
        x=torch.arange(14.0).view(7, 2),
        e=torch.arange(10).unsqueeze(1),
        seeds=torch.tensor([2]),
        y=torch.tensor([0]),
    )
    one, copy = ready(2).view(Batch(graph), rng).graph.validate().unbatch()
    for name in ("src", "dst", "e", "x"):
        assert torch.equal(getattr(one, name), getattr(graph, name))
    for name in ("src", "dst", "e"):
        assert torch.equal(getattr(copy, name), getattr(graph, name))
    assert not torch.equal(copy.x, graph.x)
    assert torch.equal(copy.x.sort(0).values, graph.x)


def test_the_doubled_structure_is_made_once(path, rng) -> None:
    graph = path(5, x=torch.randn(5, 2))
    one, two = (
        ready(2).view(Batch(graph.replace(seeds=torch.tensor([i]))), rng).graph for i in range(2)
    )
    assert one.src is two.src
    assert ops.sum_neighbors(one, one.x) is not None
    assert one.in_degrees() is two.in_degrees()


def test_a_batch_with_one_nonempty_graph_is_shuffled(path, rng) -> None:
    graph = path(5, x=torch.randn(5, 2), sizes=torch.tensor([0, 5, 0]))
    assert ready(2).view(Batch(graph), rng).graph.num_nodes == 10


def test_one_graph_without_features_is_refused(path, rng) -> None:
    with pytest.raises(ConfigError, match="shuffles node features"):
        ready(2).view(Batch(path(3)), rng)
    batch = path(4, sizes=torch.tensor([4, 0])).replace(sizes=torch.tensor([2, 2]))
    assert ready(2).view(Batch(batch), rng).graph is batch  # several graphs need none


def test_renumbering_the_nodes_of_a_graph_renumbers_the_losses(make_graph, rng) -> None:
    graph = Graph(*torch.empty(2, 0).long(), 5, sizes=torch.tensor([3, 2]))
    new = torch.tensor([2, 0, 1, 4, 3])
    nodes = torch.randn(5, 3, dtype=torch.float64, generator=rng)
    task = ready(3)
    view = task.view(Batch(graph), rng)
    torch.testing.assert_close(task.losses(nodes, view)[new], task.losses(nodes[new], view))


def test_before_setup_it_says_what_to_do(path, rng) -> None:
    task = Infomax()
    with pytest.raises(ConfigError, match=r"call `task\.setup"):
        task.losses(torch.zeros(3, 2), task.view(Batch(path(3, x=torch.zeros(3, 2))), rng))
