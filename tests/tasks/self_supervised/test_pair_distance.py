"""Pair distance: which pairs are drawn, their classes, and the loss by hand."""

from __future__ import annotations

from math import exp, log

import networkx as nx
import pytest
import torch

from gtl.errors import ConfigError
from gtl.graph import Graph, Schema
from gtl.roles import Batch, View
from gtl.tasks import PairDistance
from gtl.testing import check_task


def ready(width: int = 2, **options: int) -> PairDistance:
    task = PairDistance(**options)
    task.setup(Schema(), width)
    return task.double()


@pytest.mark.slow  # tests/laws has the defaults
def test_it_obeys_the_laws_of_tasks() -> None:
    check_task(PairDistance())
    check_task(PairDistance(classes=2, pairs=1, centers=3))


def test_the_loss_by_hand() -> None:
    task = ready(width=1, classes=2)
    assert task.classifier is not None
    with torch.no_grad():
        task.classifier.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        task.classifier.bias.zero_()
    targets = {"from": [0, 2], "to": [1, 1], "class": [0, 1]}
    view = View(
        Graph(*torch.empty(2, 0).long(), 3), {k: torch.tensor(v) for k, v in targets.items()}
    )
    losses = task.losses(torch.tensor([[1.0], [3.0], [2.0]], dtype=torch.float64), view)
    expected = [log(1 + exp(-4)), log(1 + exp(2))]  # |1 - 3| = 2 scores (2, -2); |2 - 3| (1, -1)
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64))


def test_classes_are_true_distances_and_the_last_one_is_far() -> None:
    whole = nx.disjoint_union(nx.random_labeled_tree(37, seed=1), nx.cycle_graph(9))
    ends = torch.tensor(list(whole.edges)).T
    graph = Graph(*torch.cat([ends, ends.flip(0)], 1).contiguous(), 46)
    seen = set()
    for seed in range(7):
        rng = torch.Generator().manual_seed(seed)
        view = ready(centers=11, pairs=3).view(Batch(graph), rng)
        assert view.graph is graph
        one, to, kind = (view.targets[name].tolist() for name in ("from", "to", "class"))
        for u, v, c in zip(one, to, kind):
            far = nx.shortest_path_length(whole, u, v) if nx.has_path(whole, u, v) else 99
            assert c == min(far, 4) - 1
        assert max(torch.bincount(view.targets["from"] * 4 + view.targets["class"])) <= 3
        seen.update(kind)
    assert seen == {0, 1, 2, 3}


def test_pairs_stay_within_a_graph(path, rng) -> None:
    graph = Graph.batch([path(n) for n in (5, 0, 9, 1, 7)])
    view = ready().view(Batch(graph), rng)
    owners = graph.graph_ids()
    assert torch.equal(owners[view.targets["from"]], owners[view.targets["to"]])
    assert set(owners[view.targets["from"]].tolist()) == {0, 2, 4}  # one node has no partner


def test_wrong_options_are_named(path, rng) -> None:
    with pytest.raises(ConfigError, match="`classes` is 1"):
        PairDistance(classes=1)
    with pytest.raises(ConfigError, match="`pairs` is 0"):
        PairDistance(pairs=0)
    with pytest.raises(ConfigError, match="`centers` is 0"):
        PairDistance(centers=0)
    task = PairDistance()
    with pytest.raises(ConfigError, match=r"call `task\.setup"):
        task.losses(torch.zeros(3, 2), task.view(Batch(path(3)), rng))
