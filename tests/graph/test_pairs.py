"""Random pairs: what is removed, which nodes are unjoined, which are others."""

from __future__ import annotations

import torch

from gtl.graph import Graph
from gtl.graph.pairs import (
    draw_unjoined,
    draw_unjoined_nodes,
    pair_features,
    remove_pairs,
    without_pairs,
)
from gtl.graph.sample import are_joined


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def path(n: int) -> Graph:
    ends = torch.arange(n - 1)
    return Graph(torch.cat([ends, ends + 1]), torch.cat([ends + 1, ends]), n)


def test_both_directions_of_a_pair_go_and_loops_stay() -> None:
    graph = path(11)
    loops = torch.arange(11)
    graph = Graph(torch.cat([graph.src, loops]), torch.cat([graph.dst, loops]), 11)
    rest, one, other = remove_pairs(graph, 0.3, generator())
    assert len(one) == 3 and rest.num_edges == 11 + 14
    assert are_joined(graph, one, other).all() and not are_joined(rest, one, other).any()


def test_drawn_nodes_are_unjoined_nodes_of_the_same_graph() -> None:
    graph = Graph.batch([path(5), path(7)])
    nodes = torch.arange(12)
    drawn = draw_unjoined_nodes(graph, nodes, 4, generator())
    ends = nodes.unsqueeze(1).expand_as(drawn)
    assert not are_joined(graph, ends, drawn).any() and (ends != drawn).all()
    assert ((drawn < 5) == (ends < 5)).all()


def test_with_types_drawn_nodes_are_of_the_type_of_the_other_end() -> None:
    # Two papers (0, 1), four authors (2 to 5); paper 0 has authors 2 and 3, paper 1 all four.
    src, dst = torch.tensor([0, 0, 1, 1, 1, 1]), torch.tensor([2, 3, 2, 3, 4, 5])
    graph = Graph(
        torch.cat([src, dst]), torch.cat([dst, src]), 6, node_type=torch.tensor([0, 0, 1, 1, 1, 1])
    )
    nodes, like = torch.tensor([0, 1, 4, 2]), torch.tensor([2, 5, 1, 0])
    drawn = draw_unjoined_nodes(graph, nodes, 20, generator(), like)
    assert drawn[0].unique().tolist() == [4, 5]
    assert drawn[1].unique().tolist() == [-1]  # every author is joined to paper 1
    assert drawn[2].unique().tolist() == [0]
    assert drawn[3].unique().tolist() == [-1]


def test_two_vectors_become_one_whichever_comes_first() -> None:
    nodes = torch.tensor([[1.0, -2.0], [5.0, 0.0], [3.0, 4.0]])
    pairs = torch.tensor([[0, 2], [1, 1]])
    expected = {
        "product": [[3, -8], [25, 0]],
        "mean": [[2, 1], [5, 0]],
        "l1": [[2, 6], [0, 0]],
        "l2": [[4, 36], [0, 0]],
    }
    for how, values in expected.items():
        assert pair_features(nodes, pairs, how).tolist() == values
        assert pair_features(nodes, pairs.flip(1), how).tolist() == values
    assert pair_features(nodes, pairs[:0]).shape == (0, 2)


def test_named_pairs_go_with_parallel_edges_and_nothing_else_does() -> None:
    src, dst = torch.tensor([[0, 1, 0, 2, 2, 1], [1, 0, 1, 2, 1, 3]])
    graph = Graph(src, dst, 5, e=torch.arange(6.0).unsqueeze(1))
    rest = without_pairs(graph, torch.tensor([[1, 0], [3, 4], [2, 2]]))
    assert rest.e.flatten().tolist() == [3, 4, 5]
    assert without_pairs(graph, torch.empty(0, 2, dtype=torch.int64)).num_edges == 6
    bare = Graph(src[:0], dst[:0], 3)
    assert without_pairs(bare, torch.tensor([[0, 1]])).num_edges == 0


def test_unjoined_pairs_are_all_alike() -> None:
    graph = Graph.batch([path(4), path(3)])
    pairs = draw_unjoined(graph, 20_000, generator()).sort(1).values
    assert 19_900 < len(pairs) <= 20_000  # two draws in three are refused here
    found, counts = pairs.unique(dim=0, return_counts=True)
    assert found.tolist() == [[0, 2], [0, 3], [1, 3], [4, 6]]
    # A graph's turn comes as often as it has nodes, and then as often as a draw there is fine.
    fine = torch.tensor([4 * 2 / 16, 4 * 2 / 16, 4 * 2 / 16, 3 * 2 / 9], dtype=torch.float64)
    assert (counts / len(pairs) - fine / fine.sum()).abs().max() < 0.02


def test_where_all_are_joined_no_pair_is_found() -> None:
    triangle = Graph(torch.tensor([0, 1, 2]), torch.tensor([1, 2, 0]), 3)
    assert draw_unjoined(triangle, 5, generator()).shape == (0, 2)
    empty = torch.empty(0, dtype=torch.int64)
    assert draw_unjoined(Graph(empty, empty, 0), 5, generator()).shape == (0, 2)
    assert draw_unjoined(Graph(empty, empty, 1), 5, generator()).shape == (0, 2)
