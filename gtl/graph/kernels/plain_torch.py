"""Message passing in plain torch: the fallback without DGL, and the reference in its tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gtl.graph.graph import Graph, rows_of
from gtl.graph.kernels import sparse


def sum_neighbors(graph: Graph, h: Tensor) -> Tensor:
    """See :func:`gtl.graph.ops.sum_neighbors`."""
    if h.dtype not in (torch.float32, torch.float64):
        return weighted_sum_neighbors(graph, h, None)
    total: Tensor = _SumNeighbors.apply(rows_of(h), graph, False)
    return total.reshape(h.shape)


def weighted_sum_neighbors(graph: Graph, h: Tensor, weight: Tensor | None) -> Tensor:
    """See :func:`gtl.graph.ops.weighted_sum_neighbors`; no weight means 1."""
    if weight is not None and sparse.fits(h, weight):
        return sparse.weighted_sum_neighbors(graph, h, weight)
    messages = h.index_select(0, graph.src)
    return sum_edges(graph, messages if weight is None else messages * weight.unsqueeze(-1))


def sum_edges(graph: Graph, values: Tensor) -> Tensor:
    """See :func:`gtl.graph.ops.sum_edges`."""
    flat = rows_of(values)
    total = flat.new_zeros(graph.num_nodes, flat.shape[1]).index_add(0, graph.dst, flat)
    return total.reshape(graph.num_nodes, *values.shape[1:])


def dot_on_edges(graph: Graph, a: Tensor, b: Tensor) -> Tensor:
    """See :func:`gtl.graph.ops.dot_on_edges`."""
    if sparse.fits(a, b):
        return sparse.dot_on_edges(graph, a, b)
    return (a.index_select(0, graph.src) * b.index_select(0, graph.dst)).sum(-1)


class _SumNeighbors(torch.autograd.Function):
    # A product with the sparse adjacency; its derivative is the product with the transpose, so
    # derivatives of any order are sparse products too.
    @staticmethod
    def forward(ctx: Any, h: Tensor, graph: Graph, transposed: bool) -> Tensor:
        ctx.graph, ctx.transposed = graph, transposed
        matrix = adjacency(graph, h.dtype, transposed)
        # With "sum" it takes half the time of the plain product.
        total: Tensor = torch.sparse.mm(matrix, h, "sum") if sparse.fits(h) else matrix @ h
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _SumNeighbors.apply(grad, ctx.graph, not ctx.transposed), None, None


def adjacency(graph: Graph, dtype: torch.dtype, transposed: bool = False) -> Tensor:
    """Sparse CSR matrix ``(n, n)`` with the number of edges from column to row; made once."""

    def make() -> Tensor:
        starts, columns, _ = sparse.rows_of_edges(graph, transposed)
        ones = torch.ones(graph.num_edges, dtype=dtype, device=graph.device)
        return sparse.matrix(starts, columns, ones)

    return graph.remember(("adjacency", dtype, transposed), make)
