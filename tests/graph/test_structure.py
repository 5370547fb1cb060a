"""Structure around nodes against networkx and dense matrices, and on corner cases."""

from __future__ import annotations

import time

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtl.errors import ConfigError
from gtl.graph import Graph, ops
from gtl.graph.structure import (
    EXACT,
    clustering,
    core_numbers,
    return_probabilities,
    simple,
    triangles,
)

STEPS = [1, 2, 3, 4, 5, 8]


@pytest.fixture(params=["dgl", "torch"])
def kernels(request, monkeypatch):
    if request.param == "dgl":
        pytest.importorskip("dgl", reason="needs DGL")
    monkeypatch.setattr(ops, "_active", None)
    monkeypatch.setenv("GTL_KERNELS", request.param)


@st.composite
def graphs(draw) -> Graph:
    """Directed graphs with parallel edges and self-loops."""
    n = draw(st.integers(0, 12))
    ends = st.integers(0, max(n - 1, 0))
    edges = draw(st.lists(st.tuples(ends, ends), max_size=40)) if n else []
    pairs = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2)
    return Graph(pairs[:, 0].contiguous(), pairs[:, 1].contiguous(), n)


def as_networkx(graph: Graph) -> nx.Graph:
    """The undirected simple graph."""
    found = nx.Graph()
    found.add_nodes_from(range(graph.num_nodes))
    pairs = zip(graph.src.tolist(), graph.dst.tolist())
    found.add_edges_from((u, v) for u, v in pairs if u != v)
    return found


def by_node(values, count: int) -> torch.Tensor:
    return torch.tensor([float(values[i]) for i in range(count)], dtype=torch.float64)


def dense_returns(found: nx.Graph, steps) -> torch.Tensor:
    """Diagonals of powers of the transition matrix itself, zero where there is no way out."""
    matrix = nx.to_numpy_array(found, nodelist=range(len(found)))
    walk = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    powers = [np.diag(np.linalg.matrix_power(walk, step)) for step in steps]
    return torch.from_numpy(np.stack(powers, 1))


@pytest.mark.usefixtures("kernels")
@settings(max_examples=30, deadline=None)
@given(graphs())
def test_counts_and_walks_are_those_of_networkx(graph) -> None:
    found, n = as_networkx(graph), graph.num_nodes
    assert torch.equal(triangles(graph), by_node(nx.triangles(found), n))
    torch.testing.assert_close(clustering(graph), by_node(nx.clustering(found), n))
    assert torch.equal(core_numbers(graph).double(), by_node(nx.core_number(found), n))
    torch.testing.assert_close(
        return_probabilities(graph, STEPS), dense_returns(found, STEPS).reshape(n, len(STEPS))
    )


@settings(max_examples=20, deadline=None)
@given(st.lists(graphs(), min_size=1, max_size=4))
def test_a_batch_has_the_values_of_its_graphs(several) -> None:
    batch = Graph.batch(several)
    for measure in (triangles, clustering, core_numbers, lambda g: return_probabilities(g, STEPS)):
        alone = torch.cat([measure(graph) for graph in several])
        torch.testing.assert_close(measure(batch), alone)


@settings(max_examples=20, deadline=None)
@given(graphs(), st.integers(1, 4))
def test_around_dense_parts_triangles_are_unknown_never_wrong(graph, limit) -> None:
    known, found = triangles(graph), triangles(graph, max_degree=limit)
    there = ~found.isnan()
    assert torch.equal(found[there], known[there])


def test_a_hub_is_counted_and_a_clique_is_not() -> None:
    wheel = Graph(*torch.tensor(list(nx.wheel_graph(50).edges)).T.contiguous(), 50)
    assert triangles(wheel, max_degree=3)[0] == 49
    clique = Graph(*torch.tensor(list(nx.complete_graph(9).edges)).T.contiguous(), 9)
    assert triangles(clique, max_degree=7).isnan().all()
    assert triangles(clique, max_degree=8).tolist() == [28.0] * 9


def test_the_mean_of_the_returns_is_the_spectral_moment() -> None:
    found = nx.gnp_random_graph(30, 0.2, seed=4)
    graph = Graph(*torch.tensor(list(found.edges)).T.contiguous(), 30)
    matrix = nx.to_numpy_array(found)
    scale = 1 / np.sqrt(np.maximum(matrix.sum(1), 1))
    values = np.linalg.eigvalsh(scale[:, None] * matrix * scale)
    moments = torch.tensor([float((values**k).mean()) for k in STEPS])
    torch.testing.assert_close(return_probabilities(graph, STEPS).mean(0).float(), moments)


@pytest.mark.usefixtures("kernels")
def test_returns_in_large_graphs_are_close_and_the_same_in_every_batch() -> None:
    found = nx.gnp_random_graph(EXACT + 200, 0.01, seed=1)
    graph = Graph(*torch.tensor(list(found.edges)).T.contiguous(), len(found))
    truth, values = dense_returns(found, STEPS), return_probabilities(graph, STEPS)
    torch.testing.assert_close(values[:, :2], truth[:, :2])
    even = [STEPS.index(4), STEPS.index(8)]
    error = (values / truth.clamp(min=1e-9) - 1)[truth[:, 1] > 0][:, even].square().mean(0).sqrt()
    assert (error < 0.125).all() and (error > 0).all()
    odd = STEPS.index(3)
    bound = (truth[:, 1] * truth[:, STEPS.index(4)]).sqrt() / 8
    assert ((values - truth)[:, odd].square().mean() < bound.square().mean()).all()
    small = Graph(torch.tensor([0, 1]), torch.tensor([1, 2]), 3)
    larger = Graph(torch.arange(600), torch.arange(600) + 1, 601)
    both = return_probabilities(Graph.batch([small, graph, larger]), STEPS)
    torch.testing.assert_close(both[3:-601], values)
    torch.testing.assert_close(both[:3], return_probabilities(small, STEPS))


@pytest.mark.usefixtures("kernels")
def test_a_graph_without_edges_or_nodes_has_zeros() -> None:
    none = torch.empty(0, dtype=torch.int64)
    for n in (0, 3):
        graph = Graph(none, none, n)
        assert return_probabilities(graph, [2, 3]).tolist() == [[0.0, 0.0]] * n
        for measure in (triangles, clustering, core_numbers):
            assert measure(graph).tolist() == [0] * n
    assert simple(Graph(none, none, 0)).num_edges == 0


def test_a_hundred_thousand_nodes_take_seconds() -> None:
    rng = torch.Generator().manual_seed(0)
    n = 100_000
    ends = (torch.rand(2, 300_000, generator=rng) ** 3 * n).long()  # many hubs
    graph = Graph(ends[0], ends[1], n)
    start = time.process_time()
    assert not triangles(graph).isnan().any()
    assert int(core_numbers(graph).max()) > 10
    assert return_probabilities(graph, [2, 4]).shape == (n, 2)
    assert time.process_time() - start < 20


def test_a_long_path_is_peeled_in_linear_time() -> None:
    nodes = torch.arange(20_000)
    start = time.process_time()
    assert (core_numbers(Graph(nodes[:-1], nodes[1:], len(nodes))) == 1).all()
    assert time.process_time() - start < 10


def test_a_walk_of_no_steps_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"`steps` is \[0\]"):
        return_probabilities(Graph(torch.tensor([0]), torch.tensor([1]), 2), [0])


def test_returns_in_small_graphs_have_double_precision() -> None:
    triangle_and_tail = Graph(torch.tensor([0, 1, 2, 0, 3]), torch.tensor([1, 2, 0, 3, 4]), 5)
    found = return_probabilities(triangle_and_tail, [3, 4])[0]
    expected = torch.tensor([1 / 6, 5 / 12], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)
