"""Items of each kind make batches, name themselves and become features in one way."""

from __future__ import annotations

import pytest
import torch

from gtl.data.item_kinds import KINDS_OF_ITEMS, items_of
from gtl.data.items import GraphItems, NodeItems, PairItems
from gtl.encoders.readout import Sum
from gtl.errors import DataError
from gtl.graph import Graph
from gtl.graph.pack import PackedGraphs


def path(n: int) -> Graph:
    return Graph(torch.arange(n - 1), torch.arange(1, n), n, torch.arange(n).float().unsqueeze(1))


def of_each_kind():
    pairs = torch.tensor([[0, 1], [1, 3], [4, 2]])
    return [
        GraphItems(PackedGraphs.pack([path(2), path(3)])),
        NodeItems(path(5)),
        PairItems(path(5), pairs),
    ]


@pytest.mark.parametrize("items", of_each_kind(), ids=lambda items: items.level)
def test_a_batch_has_as_many_feature_rows_as_items(items):
    index = torch.tensor([1, 0])
    graph = items.batch(index)
    pool = {"graph": Sum(1), "node": None, "edge": "product"}[items.level]
    assert items.features(graph, graph.x, pool).shape == (2, 1)
    assert KINDS_OF_ITEMS[items.level] is type(items)


def test_features_are_those_of_the_items_in_their_order():
    graphs, nodes, pairs = of_each_kind()
    index = torch.tensor([1, 0])
    assert graphs.features(
        graphs.batch(index), graphs.batch(index).x, Sum(1)
    ).flatten().tolist() == [3, 1]
    assert nodes.features(nodes.batch(index), path(5).x, None).flatten().tolist() == [1, 0]
    assert pairs.features(pairs.batch(index), path(5).x, "product").flatten().tolist() == [3, 0]


def test_pairs_name_their_query_and_their_ends():
    pairs = of_each_kind()[2]
    index = torch.tensor([2, 1])
    assert pairs.queries(index).tolist() == [4, 1]
    assert {k: v.tolist() for k, v in pairs.columns(index).items()} == {
        "src": [4, 1],
        "dst": [2, 3],
    }


def test_nodes_are_seen_whole_unless_their_neighborhoods_are_sampled():
    nodes, pairs = of_each_kind()[1:]
    assert nodes.step_size(32, None) == 0
    assert nodes.step_size(32, [3]) == 32
    assert pairs.step_size(32, None) == 32
    drawn = nodes.batch(torch.tensor([0]), "cpu", [2, 2], torch.Generator())
    assert drawn.num_nodes < 5


def test_predictions_read_a_graph_whole_or_exact_neighborhoods():
    graphs, nodes, pairs = of_each_kind()
    assert nodes.portions(2, None, None, sampled=False) == (None, 0)
    assert nodes.portions(2, None, 7, sampled=False) == ([None, None], 7)
    assert graphs.portions(2, None, 7, sampled=False) == (None, 7)
    assert pairs.portions(2, None, None, sampled=True)[0] is None


def test_what_does_not_fit_the_level_is_refused():
    graph, pack = path(3), PackedGraphs.pack([path(3)])
    for level, given, words in (
        ("node", (pack, None, None), "graph-level sets are given as `graphs`"),
        ("graph", (None, None, None), "either `graphs` or `graph`"),
        ("edge", (None, graph, None), "given with `pairs`"),
        ("node", (None, graph, torch.zeros(1, 2, dtype=torch.int64)), "given with `pairs`"),
        ("nodes", (None, graph, None), "expected one of"),
        ("edge", (None, graph, torch.tensor([[0, 3]])), "outside 0..2"),
        ("edge", (None, graph, torch.zeros(1, 2)), "expected int64"),
    ):
        with pytest.raises(DataError, match=words):
            items_of(level, *given)
