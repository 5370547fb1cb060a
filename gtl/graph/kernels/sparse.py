"""Kernels with weights on edges as sparse matrices, which store no vector per edge.

Products of torch's compressed rows with each head's columns, and inner products of a limited number
of edges at a time. On a CPU both take less time than DGL's kernels for the same, and derivatives of
any order are such products again.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from gtl.graph.graph import Graph

_CHUNK = 2**18  # numbers in memory at a time, of one vector per edge


def fits(*values: Tensor) -> bool:
    """Whether the products below are available: on a CPU, for floats of 32 or of 64 bits."""
    first = values[0]
    fine = first.device.type == "cpu" and first.dtype in (torch.float32, torch.float64)
    return fine and all(value.dtype == first.dtype and value.numel() > 0 for value in values)


def weighted_sum_neighbors(graph: Graph, h: Tensor, weight: Tensor) -> Tensor:
    """See :func:`gtl.graph.ops.weighted_sum_neighbors`."""
    total: Tensor = _WeightedSum.apply(graph, h, weight, False)
    return total


def dot_on_edges(graph: Graph, a: Tensor, b: Tensor) -> Tensor:
    """See :func:`gtl.graph.ops.dot_on_edges`."""
    products: Tensor = _Dot.apply(graph, a, b)
    return products


class _WeightedSum(torch.autograd.Function):
    # Sums go to the sending nodes if transposed, which is what derivatives need.
    @staticmethod
    def forward(ctx: Any, graph: Graph, h: Tensor, weight: Tensor, transposed: bool) -> Tensor:
        ctx.graph, ctx.transposed = graph, transposed
        ctx.save_for_backward(h, weight)
        starts, columns, order = rows_of_edges(graph, transposed)
        weight = weight.index_select(0, order)
        if weight.dim() == 1:
            return _product(starts, columns, weight, h)
        heads = range(weight.shape[1])
        return torch.stack([_product(starts, columns, weight[:, k], h[:, k]) for k in heads], 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        h, weight = ctx.saved_tensors
        for_h = for_weight = None
        if ctx.needs_input_grad[1]:
            for_h = _WeightedSum.apply(ctx.graph, grad, weight, not ctx.transposed)
        if ctx.needs_input_grad[2]:
            sender, receiver = (grad, h) if ctx.transposed else (h, grad)
            for_weight = _Dot.apply(ctx.graph, sender, receiver)
        return None, for_h, for_weight, None


class _Dot(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, graph: Graph, a: Tensor, b: Tensor) -> Tensor:
        ctx.graph = graph
        ctx.save_for_backward(a, b)
        out = a.new_empty(graph.num_edges, *a.shape[1:-1])
        step = max(1, _CHUNK // max(a[:1].numel(), 1))
        for first in range(0, graph.num_edges, step):
            edges = slice(first, first + step)
            pairs = a.index_select(0, graph.src[edges])
            torch.sum(pairs.mul_(b.index_select(0, graph.dst[edges])), -1, out=out[edges])
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, b = ctx.saved_tensors
        for_a = for_b = None
        if ctx.needs_input_grad[1]:
            for_a = _WeightedSum.apply(ctx.graph, b, grad, True)
        if ctx.needs_input_grad[2]:
            for_b = _WeightedSum.apply(ctx.graph, a, grad, False)
        return None, for_a, for_b


def rows_of_edges(graph: Graph, transposed: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Edges in compressed rows, made once.

    Args:
        graph: A graph of ``n`` nodes and ``m`` edges.
        transposed: Whether rows are senders; they are receivers if not.

    Returns:
        First place of each row, ``(n + 1,)``; the node at the other end and the number of the edge
        at each place, ``(m,)`` each.
    """

    def make() -> tuple[Tensor, Tensor, Tensor]:
        rows, columns = (graph.src, graph.dst) if transposed else (graph.dst, graph.src)
        rows, order = torch.sort(rows, stable=True)
        starts = torch.zeros(graph.num_nodes + 1, dtype=torch.int64, device=graph.device)
        starts[1:] = torch.bincount(rows, minlength=graph.num_nodes).cumsum(0)
        return starts, columns[order], order

    return graph.remember(("rows_of_edges", transposed), make)


def matrix(starts: Tensor, columns: Tensor, values: Tensor) -> Tensor:
    """A square matrix in compressed rows."""
    n = len(starts) - 1
    with warnings.catch_warnings():  # torch warns that sparse tensors are in beta
        warnings.simplefilter("ignore")
        return torch.sparse_csr_tensor(starts, columns, values, (n, n), check_invariants=False)


def _product(starts: Tensor, columns: Tensor, values: Tensor, h: Tensor) -> Tensor:
    sparse = matrix(starts, columns, values.contiguous())
    product: Tensor = torch.sparse.mm(sparse, h.contiguous(), "sum")
    return product
