"""Edge prediction: what is removed, what a negative is, and the losses by hand."""

from __future__ import annotations

from math import exp, log

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtl.errors import ConfigError
from gtl.graph import Graph, Schema
from gtl.graph.sample import are_joined
from gtl.roles import Batch, View
from gtl.tasks import EdgePrediction
from gtl.testing import check_task


def ready(width: int = 2, **options: float | int) -> EdgePrediction:
    """With the identity as projection: the score is 5 cos - 2.5."""
    task = EdgePrediction(**options)  # type: ignore[arg-type]
    task.setup(Schema(), width)
    assert task.score is not None
    with torch.no_grad():
        task.score.projection.weight.copy_(torch.eye(width))
    return task.double()


def random_batch(sizes: list[int], pairs: int, seed: int) -> Graph:
    """Random pairs, some parallel, some loops, some in one direction only."""
    rng = torch.Generator().manual_seed(seed)
    graphs = []
    for n in sizes:
        src, dst = torch.randint(max(n, 1), (2, pairs if n else 0), generator=rng)
        half = len(src) // 2
        src, dst = torch.cat([src, dst[:half]]), torch.cat([dst, src[:half]])
        graphs.append(Graph(src, dst, n, e=torch.arange(len(src)).unsqueeze(1)))
    return Graph.batch(graphs)


@pytest.mark.slow  # tests/laws has the defaults
def test_it_obeys_the_laws_of_tasks() -> None:
    check_task(EdgePrediction())
    check_task(EdgePrediction(rate=0.5, negatives=3))


def test_the_losses_by_hand() -> None:
    nodes = torch.tensor([[1, 0], [7, 0], [0, 3], [-2, 0]], dtype=torch.float64)
    targets = {
        "kept": torch.tensor([0, 0, 1]),
        "other": torch.tensor([1, 2, 3]),
        "strangers": torch.tensor([[2, 3], [3, -1], [-1, -1]]),
    }
    losses = ready().losses(nodes, View(Graph(*torch.empty(2, 0).long(), 4), targets))
    like, across, against = 2.5, -2.5, -7.5  # scores of cosines 1, 0 and -1

    def entropy(logit: float) -> float:
        return log(1 + exp(-logit))

    expected = [
        (entropy(like) + (entropy(-across) + entropy(-against)) / 2) / 2,
        (entropy(across) + entropy(-against)) / 2,  # one of two negatives was found
        entropy(against) / 2,  # none
    ]
    expected_losses = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(losses, expected_losses, rtol=1e-5, atol=0)


def test_scores_do_not_depend_on_the_scale_of_the_vectors(rng) -> None:
    graph = random_batch([11], 17, 0)
    task = ready(3)
    view = task.view(Batch(graph), rng)
    nodes = torch.randn(11, 3, dtype=torch.float64, generator=rng)
    torch.testing.assert_close(
        task.losses(nodes, view), task.losses(300 * nodes, view), rtol=1e-4, atol=0
    )


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 7), min_size=1, max_size=5),
    st.integers(0, 11),
    st.integers(0, 999),
)
def test_removed_pairs_are_absent_and_negatives_are_no_edges(
    sizes: list[int], pairs: int, seed: int
) -> None:
    graph = random_batch(sizes, pairs, seed)
    view = ready(rate=0.4, negatives=3).view(Batch(graph), torch.Generator().manual_seed(seed))
    kept, other = view.targets["kept"], view.targets["other"]
    left = view.graph.validate()
    assert are_joined(graph, kept, other).all()
    assert not are_joined(left, kept, other).any()
    # Whatever was not chosen is still there, loops and features included.
    chosen = {frozenset(pair) for pair in zip(kept.tolist(), other.tolist())}
    assert len(chosen) == len(kept)
    stays = [frozenset(ends) not in chosen for ends in zip(graph.src.tolist(), graph.dst.tolist())]
    assert left.e is not None and graph.e is not None
    for name in ("src", "dst", "e"):
        assert torch.equal(getattr(left, name), getattr(graph, name)[torch.tensor(stays).bool()])
    strangers = view.targets["strangers"]
    assert strangers.shape == (len(kept), 3)
    found = strangers >= 0
    ends = kept.unsqueeze(1).expand_as(strangers)[found]
    assert not are_joined(graph, ends, strangers[found]).any()
    assert not (ends == strangers[found]).any()


def test_negatives_come_from_the_same_graph_where_there_are_any(make_graph, rng) -> None:
    graph = Graph.batch([make_graph(7, [(0, 1), (1, 2), (3, 4), (5, 6)])] * 5)
    view = ready(rate=1.0, negatives=2).view(Batch(graph), rng)
    owners = graph.graph_ids()
    strangers = view.targets["strangers"]
    assert (strangers >= 0).all()
    assert (owners[strangers] == owners[view.targets["kept"]].unsqueeze(1)).all()


def test_negatives_of_a_complete_graph_come_from_another_one(make_graph, rng) -> None:
    batch = Graph.batch([make_graph(2, [(0, 1)])] * 5)
    view = ready(rate=1.0).view(Batch(batch), rng)
    owners = batch.graph_ids()
    strangers = view.targets["strangers"]
    found = strangers >= 0
    assert found.all() and (owners[strangers[:, 0]] != owners[view.targets["kept"]]).all()


def test_a_complete_graph_alone_has_no_negatives(rng) -> None:
    ends = torch.tensor(list(nx.complete_graph(5).edges)).T
    graph = Graph(*torch.cat([ends, ends.flip(0)], 1).contiguous(), 5)
    task = ready(rate=0.5)
    view = task.view(Batch(graph), rng)
    assert (view.targets["strangers"] == -1).all()
    losses = task.losses(torch.randn(5, 2, dtype=torch.float64), view)
    assert losses.shape == (5,) and losses.isfinite().all()


def test_either_end_may_be_kept(path) -> None:
    graph, task = path(2), ready()
    kept = {
        task.view(Batch(graph), torch.Generator().manual_seed(seed)).targets["kept"].item()
        for seed in range(19)
    }
    assert kept == {0, 1}


def test_a_graph_without_edges_has_no_losses_but_a_gradient(make_graph, rng) -> None:
    task = ready()
    loops = Graph(torch.arange(3), torch.arange(3), 3)
    for graph in (make_graph(3, []), make_graph(0, []), loops):
        view = task.view(Batch(graph), rng)
        nodes = torch.randn(graph.num_nodes, 2, dtype=torch.float64, requires_grad=True)
        losses = task.losses(nodes, view)
        assert losses.shape == (0,) and view.graph.num_edges == graph.num_edges
        losses.sum().backward()


def test_labels_and_seeds_stay_on_the_view(path, rng) -> None:
    graph = path(5, seeds=torch.tensor([1, 3]), y=torch.tensor([0, 1]))
    view = ready().view(Batch(graph), rng)
    assert view.graph.seeds is graph.seeds and view.graph.y is graph.y


def test_wrong_options_are_named() -> None:
    with pytest.raises(ConfigError, match="`rate` is 0"):
        EdgePrediction(rate=0)
    with pytest.raises(ConfigError, match="`negatives` is 0"):
        EdgePrediction(negatives=0)


def test_before_setup_it_says_what_to_do(path, rng) -> None:
    task = EdgePrediction()
    with pytest.raises(ConfigError, match=r"call `task\.setup"):
        task.losses(torch.zeros(3, 2), task.view(Batch(path(3)), rng))
