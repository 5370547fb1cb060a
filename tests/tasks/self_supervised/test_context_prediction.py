"""Context prediction: which nodes are cut out, and what goes with what."""

from __future__ import annotations

from math import exp, log, sqrt

import networkx as nx
import pytest
import torch
from torch import Tensor

from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema
from gtl.roles import Batch, View
from gtl.tasks import ContextPrediction
from gtl.testing import Example, check_task

SMALL = {"hops": 2, "inner": 1, "outer": 3}


def ready(width: int = 2, **options: int | None) -> ContextPrediction:
    """With the identity as the map on the side of the context."""
    task = ContextPrediction(**{**SMALL, **options})  # type: ignore[arg-type]
    task.setup(Schema(), width)
    assert task.context is not None
    with torch.no_grad():
        task.context.weight.copy_(torch.eye(width))
        task.context.bias.zero_()
    return task.double()


def two_paths(n: int) -> Graph:
    ends = torch.arange(n - 1)
    one = Graph(
        torch.cat([ends, ends + 1]), torch.cat([ends + 1, ends]), n, x=torch.arange(n)[:, None]
    )
    return Graph.batch([one, one])


def center_vectors(pieces: Graph, view: View) -> Tensor:
    assert pieces.x is not None
    return pieces.x[view.targets["centers"], 0]


@pytest.mark.slow  # tests/laws has the defaults
def test_it_obeys_the_laws_of_tasks() -> None:
    check_task(ContextPrediction(hops=1, inner=0, outer=2))
    deep = Example(Schema(node=Columns((5, 3)), edge=Columns((4, 2))))
    check_task(
        ContextPrediction(hops=2, inner=1, outer=4, negatives=2, max_nodes=2), examples=[deep]
    )


def test_pieces_of_a_path_are_those_counted_by_hand() -> None:
    # Whatever the centers are: one in each path of nine nodes, numbered by x.
    task = ready()
    for seed in range(7):
        view = task.view(Batch(two_paths(9)), torch.Generator().manual_seed(seed))
        pieces = view.graph.validate().unbatch()
        assert len(pieces) == 4
        centers = center_vectors(view.graph, view).tolist()
        for center, substructure, context in zip(centers, pieces[:2], pieces[2:]):
            near = [v for v in range(9) if abs(v - center) <= 2]
            around = [v for v in range(9) if 1 < abs(v - center) <= 3]
            assert substructure.x.flatten().tolist() == near
            assert context.x.flatten().tolist() == around
            joined = {(u, v) for u in around for v in around if abs(u - v) == 1}
            numbers = context.x.flatten()
            assert set(zip(numbers[context.src].tolist(), numbers[context.dst].tolist())) == joined
        anchors = view.graph.x[view.targets["anchors"], 0].tolist()
        assert anchors == [v for c in centers for v in (c - 2, c + 2) if 0 <= v < 9]
        assert view.targets["sizes"].tolist() == [
            len([v for v in (c - 2, c + 2) if 0 <= v < 9]) for c in centers
        ]


def test_anchors_lie_in_both_pieces_of_a_random_graph(rng) -> None:
    whole = nx.random_regular_graph(3, 24, seed=1)
    ends = torch.tensor(list(whole.edges)).T
    src, dst = torch.cat([ends, ends.flip(0)], 1).contiguous()
    graph = Graph(src, dst, 24, x=torch.arange(24)[:, None])
    view = ready(centers=5).view(Batch(graph), rng)
    owners = view.graph.graph_ids()[view.targets["anchors"]]
    centers = center_vectors(view.graph, view).tolist()
    assert len(set(centers)) == 5
    for i, center in enumerate(centers):
        distance = nx.single_source_shortest_path_length(whole, center)
        rows = view.targets["anchors"][owners == 5 + i]
        assert sorted(view.graph.x[rows, 0].tolist()) == [v for v in range(24) if distance[v] == 2]


def test_the_loss_compares_own_and_foreign_contexts_by_hand() -> None:
    task = ready(width=2)
    nodes = torch.tensor([[1, 0], [0, 2], [3, 1], [3, 3], [0, -1], [5, 5]], dtype=torch.float64)
    targets = {
        "centers": torch.tensor([0, 1]),
        "anchors": torch.tensor([2, 3, 4]),
        "sizes": torch.tensor([2, 1]),
    }
    losses = task.losses(nodes, View(Graph(*torch.empty(2, 0).long(), 6), targets))
    # Contexts: mean of (3, 1) and (3, 3) is (3, 2); and (0, -1). Scores over the root of 2.
    right, wrong = (3 / sqrt(2), -2 / sqrt(2)), (0.0, 4 / sqrt(2))
    expected = [(log(1 + exp(-r)) + log(1 + exp(w))) / 2 for r, w in zip(right, wrong)]
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64))


def test_negatives_are_averaged_and_no_more_than_there_are() -> None:
    nodes = torch.randn(6, 2, dtype=torch.float64)
    targets = {
        "centers": torch.arange(3),
        "anchors": torch.arange(3, 6),
        "sizes": torch.ones(3, dtype=torch.int64),
    }
    view = View(Graph(*torch.empty(2, 0).long(), 6), targets)
    scores = nodes[:3] @ nodes[3:].T / sqrt(2)
    right = torch.nn.functional.softplus(-scores.diagonal())
    wrong = torch.nn.functional.softplus(scores)
    wrong = (wrong.sum(1) - wrong.diagonal()) / 2
    for negatives in (2, 7):
        losses = ready(negatives=negatives).losses(nodes, view)
        torch.testing.assert_close(losses, (right + wrong) / 2)


def test_centers_without_a_context_are_left_out(path, rng) -> None:
    graph = Graph.batch([path(1), path(9), path(2), path(0), path(9), path(2)])
    view = ready().view(Batch(graph), rng)
    assert view.targets["centers"].shape == (2,) and view.graph.num_graphs == 4


def test_fewer_than_two_contexts_give_no_samples(path, rng) -> None:
    task = ready()
    for graph in (Graph.batch([path(9), path(2)]), path(2), path(0)):
        view = task.view(Batch(graph), rng)
        nodes = torch.randn(graph.num_nodes, 2, dtype=torch.float64, requires_grad=True)
        losses = task.losses(nodes, view)
        assert view.graph is graph and losses.shape == (0,)
        losses.sum().backward()


def test_max_nodes_bounds_the_view_of_a_large_graph(rng) -> None:
    src, dst = torch.randint(211, (2, 4001), generator=rng)
    graph = Graph(torch.cat([src, dst]), torch.cat([dst, src]), 211)
    view = ready(centers=7, max_nodes=3).view(Batch(graph), rng)
    assert int(view.graph.sizes.max()) <= 1 + 2 * 3
    assert view.graph.num_graphs == 14


def test_features_types_and_times_travel(path, rng) -> None:
    graph = path(
        9,
        x=torch.arange(9.0)[:, None],
        e=torch.arange(16)[:, None],
        node_type=torch.arange(9) % 2,
        edge_type=torch.arange(16) % 3,
        time=torch.arange(16.0),
    )
    pieces = ready(centers=3).view(Batch(graph), rng).graph
    rows = pieces.e[:, 0]
    assert torch.equal(pieces.x[pieces.src, 0], graph.x[graph.src[rows], 0])
    assert torch.equal(pieces.x[pieces.dst, 0], graph.x[graph.dst[rows], 0])
    assert torch.equal(pieces.edge_type, rows % 3) and torch.equal(pieces.time, rows.float())


def test_sizes_that_do_not_overlap_are_refused() -> None:
    for sizes in ({"inner": 5}, {"inner": -1}, {"outer": 4}, {"hops": 4}):
        with pytest.raises(ConfigError, match="overlap"):
            ContextPrediction(**sizes)
    with pytest.raises(ConfigError, match="`negatives` is 0"):
        ContextPrediction(negatives=0)


def test_before_setup_it_says_what_to_do(rng) -> None:
    task = ContextPrediction(**SMALL)
    with pytest.raises(ConfigError, match=r"call `task\.setup"):
        view = task.view(Batch(two_paths(9)), rng)
        task.losses(torch.zeros(view.graph.num_nodes, 2), view)
