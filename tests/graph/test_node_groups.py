"""Nodes of the same graph and type: who may stand for whom."""

from __future__ import annotations

import torch

from gtl.graph import Graph
from gtl.graph.node_groups import node_groups

NONE = torch.zeros(0, dtype=torch.int64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(types: list[int] | None, sizes: list[int]) -> Graph:
    return Graph(
        NONE,
        NONE,
        sum(sizes),
        sizes=torch.tensor(sizes),
        node_type=None if types is None else torch.tensor(types, dtype=torch.int64),
    )


def test_others_are_every_other_node_of_the_graph_alike() -> None:
    graph = batch(None, [3, 1, 4])
    others = node_groups(graph).draw_others(torch.arange(8), 3000, generator())
    for node, members in enumerate([range(3)] * 3 + [[3]] + [range(4, 8)] * 4):
        expected = [other for other in members if other != node] or [node]
        counts = torch.bincount(others[node], minlength=8)
        assert counts.nonzero().flatten().tolist() == expected
        assert (counts[expected] / 3000 - 1 / len(expected)).abs().max() < 0.05


def test_with_types_only_those_of_the_same_type_are_drawn() -> None:
    graph = batch([1, 0, 1, 1, 0, 1, 0], [4, 3])
    nodes = torch.arange(7).repeat_interleave(100)
    drawn = node_groups(graph).draw(nodes, generator()).view(7, 100)
    expected = [[0, 2, 3], [1], [0, 2, 3], [0, 2, 3], [4, 6], [5], [4, 6]]
    assert [row.unique().tolist() for row in drawn] == expected
    everywhere = node_groups(graph, "batch").draw(nodes, generator()).view(7, 100)
    assert everywhere[0].unique().tolist() == [0, 2, 3, 5]
    others = node_groups(graph).draw_others(torch.arange(7), 100, generator())
    assert [row.unique().tolist() for row in others[[0, 1, 4]]] == [[2, 3], [1], [6]]


def test_a_shuffled_order_keeps_each_type_in_its_places() -> None:
    types = torch.randint(3, (50,), generator=generator())
    graph = batch(types.tolist(), [50])
    order = node_groups(graph).shuffle(generator())
    assert torch.equal(order.sort().values, torch.arange(50))
    assert torch.equal(types[order], types) and (order != torch.arange(50)).float().mean() > 0.8


def test_without_types_an_order_is_any_order() -> None:
    drawn = node_groups(batch(None, [50])).shuffle(generator())
    assert torch.equal(drawn, torch.randperm(50, generator=generator()))


def test_there_is_nothing_to_draw_in_an_empty_graph() -> None:
    for types in (None, []):
        same = node_groups(batch(types, [0]))
        assert len(same.draw(NONE, generator())) == len(same.shuffle(generator())) == 0
        assert same.draw_others(NONE, 3, generator()).shape == (0, 3)
