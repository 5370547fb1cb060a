"""Rings and degrees, against networkx."""

from __future__ import annotations

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtl.errors import ConfigError
from gtl.graph import Graph
from gtl.graph import motifs as module
from gtl.graph.motifs import degrees, in_rings

SIZES = (3, 4, 5, 6, 7)


def random_graph(nodes: int, edges: int, seed: int) -> Graph:
    """With loops, parallel edges and edges in one direction only."""
    rng = torch.Generator().manual_seed(seed)
    src, dst = torch.randint(max(nodes, 1), (2, edges if nodes else 0), generator=rng)
    return Graph(src, dst, nodes)


def simple(graph: Graph) -> nx.Graph:
    whole = nx.empty_graph(graph.num_nodes)
    whole.add_edges_from((u, v) for u, v in zip(graph.src.tolist(), graph.dst.tolist()) if u != v)
    return whole


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 11), st.integers(0, 23), st.integers(0, 999))
def test_rings_are_the_cycles_without_chords(nodes: int, edges: int, seed: int) -> None:
    graph = random_graph(nodes, edges, seed)
    expected = torch.zeros(nodes, len(SIZES), dtype=torch.bool)
    for cycle in nx.chordless_cycles(simple(graph)):
        if len(cycle) in SIZES:
            expected[cycle, SIZES.index(len(cycle))] = True
    assert torch.equal(in_rings(graph, SIZES, max_degree=99), expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 11), st.integers(0, 23), st.integers(0, 999))
def test_rings_through_hubs_are_left_out(nodes: int, edges: int, seed: int) -> None:
    graph = random_graph(nodes, edges, seed)
    calm = simple(graph)
    counts = [degree for _, degree in calm.degree]
    assert degrees(graph).tolist() == counts
    calm.remove_nodes_from([node for node, count in enumerate(counts) if count > 3])
    expected = torch.zeros(nodes, 1, dtype=torch.bool)
    for cycle in nx.chordless_cycles(calm):
        if len(cycle) == 4:
            expected[cycle, 0] = True
    assert torch.equal(in_rings(graph, [4], max_degree=3), expected)


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = random_graph(30, 45, 1)
    whole = in_rings(graph, SIZES)
    monkeypatch.setattr(module, "_CHUNK", 7)
    assert torch.equal(in_rings(graph, SIZES), whole) and whole.any()


def test_a_ring_of_two_is_none() -> None:
    with pytest.raises(ConfigError, match="3 or more"):
        in_rings(random_graph(3, 3, 0), [2])
