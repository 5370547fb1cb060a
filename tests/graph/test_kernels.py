"""DGL's kernels against plain torch on graphs of any kind, first derivatives included."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtl.graph import Graph, ops

pytest.importorskip("dgl", reason="DGL has no wheel here")


@st.composite
def graphs(draw) -> Graph:
    """Any graph: parallel edges, self-loops, lonely nodes, no edges, no nodes."""
    nodes = draw(st.integers(0, 11))
    edges = draw(st.integers(0, 23)) if nodes else 0
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    src, dst = torch.randint(max(nodes, 1), (2, edges), generator=rng)
    return Graph(src, dst, nodes)


def _values(rows: int, *shape: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(rows)
    return torch.randn(rows, *shape, dtype=torch.float64, generator=rng).requires_grad_()


_OPS = {
    "sum_neighbors": lambda g: (ops.sum_neighbors, _values(g.num_nodes, 2, 3)),
    "mean_neighbors": lambda g: (ops.mean_neighbors, _values(g.num_nodes, 3)),
    "max_neighbors": lambda g: (ops.max_neighbors, _values(g.num_nodes, 3)),
    "weighted_sum_neighbors": lambda g: (
        ops.weighted_sum_neighbors,
        _values(g.num_nodes, 2, 3),
        _values(g.num_edges, 2),
    ),
    "sum_edges": lambda g: (ops.sum_edges, _values(g.num_edges, 3)),
    "dot_on_edges": lambda g: (
        ops.dot_on_edges,
        _values(g.num_nodes, 2, 3),
        _values(g.num_nodes, 2, 3),
    ),
    "softmax_on_edges": lambda g: (ops.softmax_on_edges, _values(g.num_edges, 2)),
}


@pytest.mark.parametrize("name", _OPS)
@given(graph=graphs())
@settings(max_examples=25, deadline=None)
def test_both_kernels_give_the_same_values_and_gradients(name, graph):
    op, *inputs = _OPS[name](graph)
    results = {}
    for kernels in ("dgl", "torch"):
        with ops.use_kernels(kernels):
            value = op(graph, *inputs)
            results[kernels] = value, *torch.autograd.grad(value.square().sum(), inputs)
    for ours, oracle in zip(results["dgl"], results["torch"]):
        torch.testing.assert_close(ours, oracle)


@given(graph=graphs())
@settings(max_examples=25, deadline=None)
def test_a_sum_is_a_product_with_the_adjacency(graph):
    matrix = torch.zeros(graph.num_nodes, graph.num_nodes, dtype=torch.float64)
    for source, target in zip(graph.src.tolist(), graph.dst.tolist()):
        matrix[target, source] += 1
    h = _values(graph.num_nodes, 3)
    torch.testing.assert_close(ops.sum_neighbors(graph, h), matrix @ h)


@pytest.mark.parametrize("kernels", ["dgl", "torch"])
@given(graph=graphs())
@settings(max_examples=25, deadline=None)
def test_weights_of_edges_go_where_dense_matrices_put_them(kernels, graph):
    h, weight = _values(graph.num_nodes, 2, 3), _values(graph.num_edges, 2)
    other = (2 * _values(graph.num_nodes, 2, 3)).detach().requires_grad_()
    nodes = torch.eye(graph.num_nodes, dtype=torch.float64)
    sent, received = nodes[graph.src], nodes[graph.dst]  # (m, n)
    pairs = (
        (ops.weighted_sum_neighbors, (h, weight), "mj,mi,ikd,mk->jkd", (received, sent)),
        (ops.dot_on_edges, (h, other), "mi,mj,ikd,jkd->mk", (sent, received)),
    )
    for op, inputs, product, ends in pairs:
        with ops.use_kernels(kernels):
            value = op(graph, *inputs)
            ours = value, *torch.autograd.grad(value.sin().sum(), inputs)
        dense = torch.einsum(product, *ends, *inputs)
        oracle = dense, *torch.autograd.grad(dense.sin().sum(), inputs)
        torch.testing.assert_close(ours, oracle)


@pytest.mark.parametrize("kernels", ["dgl", "torch"])
def test_the_structure_is_sorted_once(kernels, monkeypatch):
    from gtl.graph.kernels import plain_torch as kernels_torch
    from gtl.graph.kernels import with_dgl as kernels_dgl

    made = []
    real = {"dgl": kernels_dgl.dgl.graph, "torch": torch.sparse_csr_tensor}[kernels]

    def counted(*args, **kwargs):
        made.append(1)
        return real(*args, **kwargs)

    if kernels == "dgl":
        monkeypatch.setattr(kernels_dgl.dgl, "graph", counted)
    else:
        monkeypatch.setattr(kernels_torch.torch, "sparse_csr_tensor", counted)
    graph = Graph(torch.tensor([0, 1]), torch.tensor([1, 2]), 3)
    with ops.use_kernels(kernels):
        for step in range(3):
            seeded = graph.replace(seeds=torch.tensor([step]))
            ops.sum_neighbors(seeded, torch.ones(3, 2))
    assert len(made) == 1
