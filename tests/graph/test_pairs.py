"""Random pairs: what is removed, who is a stranger, who is another."""

from __future__ import annotations

import torch

from gtl.graph import Graph
from gtl.graph.pairs import draw_others, draw_strangers, remove_pairs
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


def test_strangers_are_unjoined_nodes_of_the_same_graph() -> None:
    graph = Graph.batch([path(5), path(7)])
    nodes = torch.arange(12)
    strangers = draw_strangers(graph, nodes, 4, generator())
    ends = nodes.unsqueeze(1).expand_as(strangers)
    assert not are_joined(graph, ends, strangers).any() and (ends != strangers).all()
    assert ((strangers < 5) == (ends < 5)).all()


def test_others_are_every_other_node_of_the_graph_alike() -> None:
    graph = Graph.batch([path(3), path(1), path(4)])
    others = draw_others(graph, torch.arange(8), 3000, generator())
    for node, members in enumerate([range(3)] * 3 + [[3]] + [range(4, 8)] * 4):
        expected = [other for other in members if other != node] or [node]
        counts = torch.bincount(others[node], minlength=8)
        assert counts.nonzero().flatten().tolist() == expected
        assert (counts[expected] / 3000 - 1 / len(expected)).abs().max() < 0.05
