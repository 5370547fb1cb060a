"""A node's history as a graph: edges counted by hand, absent nodes, and a plain loop as referee."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gtl.errors import ConfigError, ShapeError
from gtl.graph import Graph
from gtl.graph.time_graph import history_rows, time_graph

NONE = torch.empty(0, dtype=torch.int64)


def snapshots(present: list[list[bool]]) -> Graph:
    """Snapshots without edges; ``present[s][i]`` says whether node ``i`` is in snapshot ``s``."""
    mask = torch.tensor(present)
    origin = torch.arange(mask.shape[1]).repeat(len(mask))[mask.flatten()]
    return Graph(NONE, NONE, len(origin), sizes=mask.sum(1), origin=origin)


def ends(graph: Graph) -> list[tuple[int, int]]:
    return sorted(zip(graph.src.tolist(), graph.dst.tolist()))


def test_causal_and_complete_histories_of_two_nodes_by_hand():
    graph = Graph(NONE, NONE, 6, sizes=torch.tensor([2, 2, 2]))
    forward = [(0, 2), (0, 4), (1, 3), (1, 5), (2, 4), (3, 5)]
    assert ends(time_graph(graph, 3)) == forward
    both = sorted([*forward, *((dst, src) for src, dst in forward)])
    assert ends(time_graph(graph, 3, causal=False)) == both
    assert ends(time_graph(graph, 3, reach=1)) == [(0, 2), (1, 3), (2, 4), (3, 5)]
    assert ends(time_graph(graph, 1)) == []


def test_windows_do_not_see_one_another():
    graph = Graph(NONE, NONE, 4, sizes=torch.tensor([1, 1, 1, 1]))
    assert ends(time_graph(graph, 2)) == [(0, 1), (2, 3)]


@given(
    present=st.integers(1, 4).flatmap(
        lambda n: st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=6, max_size=6)
    ),
    history=st.sampled_from([1, 2, 3, 6]),
    causal=st.booleans(),
    reach=st.sampled_from([None, 1, 2, 9]),
)
def test_index_arithmetic_agrees_with_plain_loops(present, history, causal, reach):
    graph = snapshots(present)
    number, count = {}, 0
    for s, row in enumerate(present):
        for i, there in enumerate(row):
            if there:
                number[s, i] = count
                count += 1
    expected = [
        (number[s, i], number[t, i])
        for s, i in number
        for t in range(6)
        if (t, i) in number
        and s // history == t // history
        and s != t
        and (t > s or not causal)
        and (reach is None or abs(t - s) <= reach)
    ]
    assert ends(time_graph(graph, history, causal, reach)) == sorted(expected)
    rows = history_rows(graph, history)
    assert int((rows >= 0).sum()) == count


def test_the_rows_stay_and_edges_carry_what_edges_here_carry():
    x = torch.arange(4.0).unsqueeze(1)
    graph = Graph(
        torch.tensor([0]),
        torch.tensor([1]),
        4,
        x=x,
        e=torch.tensor([[2.0, 3.0]]),
        node_type=torch.tensor([0, 1, 0, 1]),
        edge_type=torch.tensor([5]),
        sizes=torch.tensor([2, 2]),
    )
    along = time_graph(graph, 2)
    assert along.x is x and along.node_type is graph.node_type
    assert along.e.tolist() == [[0.0, 0.0]] * 2 and along.edge_type.tolist() == [0, 0]
    assert time_graph(graph, 2, edge=(7, 8), edge_type=3).e.tolist() == [[7.0, 8.0]] * 2
    assert time_graph(graph, 2, edge=(7, 8), edge_type=3).edge_type.tolist() == [3, 3]
    assert along.sizes.tolist() == [4]
    assert along.validate() is along


def test_it_is_made_once_for_all_layers_and_survives_other_features():
    graph = Graph(NONE, NONE, 2, x=torch.zeros(2, 1), sizes=torch.tensor([1, 1]))
    bare = graph.replace(x=None)
    assert time_graph(bare, 2) is time_graph(bare, 2)
    along, degrees = time_graph(graph, 2), time_graph(graph, 2).in_degrees()
    other = time_graph(graph.replace(x=torch.ones(2, 1)), 2)
    assert other.src is along.src and other.in_degrees() is degrees


def test_it_has_the_features_of_the_batch_at_hand():
    graph = Graph(NONE, NONE, 2, x=torch.zeros(2, 1), sizes=torch.tensor([1, 1]))
    assert time_graph(graph, 2).x.tolist() == [[0.0], [0.0]]
    assert time_graph(graph.replace(x=torch.ones(2, 1)), 2).x.tolist() == [[1.0], [1.0]]
    assert time_graph(graph.replace(x=None), 2).x is None


@pytest.mark.parametrize(
    ("graph", "history", "words"),
    [
        (Graph(NONE, NONE, 3, sizes=torch.tensor([1, 1, 1])), 2, "3 snapshots, expected whole"),
        (Graph(NONE, NONE, 3, sizes=torch.tensor([1, 2])), 2, "1 to 2 nodes; give the node"),
        (
            Graph(NONE, NONE, 2, sizes=torch.tensor([2]), origin=torch.tensor([0, 0])),
            1,
            "a node twice",
        ),
    ],
)
def test_what_is_no_history_is_refused(graph, history, words):
    with pytest.raises(ShapeError, match=words):
        time_graph(graph, history)


def test_numbers_below_one_are_refused():
    graph = Graph(NONE, NONE, 2, sizes=torch.tensor([1, 1]))
    with pytest.raises(ConfigError, match="`history` is 0"):
        time_graph(graph, 0)
    with pytest.raises(ConfigError, match="`reach` is 0"):
        time_graph(graph, 2, reach=0)
    with pytest.raises(ShapeError, match="`edge` has 1 columns, expected 2"):
        time_graph(graph.replace(e=torch.empty(0, 2)), 2, edge=(1,))
