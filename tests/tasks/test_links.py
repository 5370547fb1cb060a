"""Training graph of a step at link level: removed links, negatives, losses of pairs."""

from __future__ import annotations

from math import log

import pytest
import torch

from gtl.errors import ConfigError
from gtl.graph import Graph, Schema
from gtl.graph.sample import are_joined
from gtl.roles import Batch
from gtl.tasks import Supervised
from gtl.tasks.links import Links


def training_graph(graph: Graph, pairs: list, y: list, seed: int = 0, **options) -> Graph:
    graph = graph.replace(pairs=torch.tensor(pairs), y=torch.tensor(y).float().unsqueeze(1))
    return Links.of(options).training_graph(graph, torch.Generator().manual_seed(seed))


def test_links_of_a_batch_leave_the_graph_and_other_edges_stay(path) -> None:
    view = training_graph(path(7), [[2, 1], [4, 5], [0, 6]], [1, 1, 0])
    assert not are_joined(view, torch.tensor([1, 4]), torch.tensor([2, 5])).any()
    assert view.num_edges == 12 - 4
    assert training_graph(path(7), [[2, 1]], [1], remove=False).num_edges == 12


def test_negatives_follow_the_pairs_and_were_never_joined(path) -> None:
    for corrupt in ("both", "one", "second"):
        view = training_graph(
            path(7), [[2, 1], [4, 5], [0, 6]], [1, 1, 0], negatives=3, corrupt=corrupt
        )
        assert view.pairs[:3].tolist() == [[2, 1], [4, 5], [0, 6]]
        assert view.y.flatten().tolist() == [1, 1, 0] + [0] * 6
        one, other = view.pairs[3:].unbind(1)
        assert not are_joined(path(7), one, other).any() and (one != other).all()
        if corrupt == "second":
            assert one.tolist() == [2, 2, 2, 4, 4, 4]
        if corrupt == "one":
            assert all(int(end) in (2, 1) for end in one[:3])


def test_a_coin_decides_which_end_stays(path) -> None:
    kept = {
        int(training_graph(path(9), [[2, 3]], [1], seed, corrupt="one").pairs[1, 0])
        for seed in range(9)
    }
    assert kept == {2, 3}


def test_a_complete_graph_has_no_negatives() -> None:
    triangle = Graph(torch.tensor([0, 1, 2]), torch.tensor([1, 2, 0]), 3)
    for corrupt in ("both", "one"):
        assert training_graph(triangle, [[0, 1]], [1], corrupt=corrupt).pairs.tolist() == [[0, 1]]


def test_a_pair_is_a_sample_and_costs_its_cross_entropy(path) -> None:
    task = Supervised(kind="binary", outputs=1, links={"negatives": 0})
    task.setup(Schema(), width=1)
    task.double()
    weight, bias = torch.tensor([[1.0]]), torch.tensor([0.0])
    task.load_state_dict(
        {**task.state_dict(), "predictor.linear.weight": weight, "predictor.linear.bias": bias}
    )
    nodes = torch.tensor([[log(2)], [1.0], [log(2)]], dtype=torch.float64)
    pairs, y = torch.tensor([[0, 1], [1, 2]]), torch.tensor([[1.0], [0.0]])
    graph = path(3).replace(pairs=pairs, y=y)
    view = task.view(Batch(graph), torch.Generator())
    expected = torch.tensor([log(3 / 2), log(3)], dtype=torch.float64)
    torch.testing.assert_close(task.losses(nodes, view), expected)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"negatives": -1}, "`negatives` is -1"),
        ({"corrupt": "head"}, "`corrupt` is 'head', expected one of both, one, second"),
        ({"features": "concat"}, "expected one of product, mean, l1, l2"),
        ({"negative": 1}, "no option 'negative'; they have: negatives, corrupt, remove, features"),
    ],
)
def test_impossible_choices_are_named(options, words) -> None:
    with pytest.raises(ConfigError, match=words):
        Supervised(links=options)
