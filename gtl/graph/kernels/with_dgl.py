"""The few operations that decide the speed, on DGL's kernels (see :mod:`gtl.graph.ops`)."""

from __future__ import annotations

import os

os.environ.setdefault("DGLBACKEND", "pytorch")

import dgl
from torch import Tensor

from gtl.graph.graph import Graph, rows_of
from gtl.graph.kernels import sparse


def sum_neighbors(graph: Graph, h: Tensor) -> Tensor:
    """See :func:`gtl.graph.ops.sum_neighbors`."""
    return dgl.ops.copy_u_sum(handle(graph), h)


def weighted_sum_neighbors(graph: Graph, h: Tensor, weight: Tensor) -> Tensor:
    """See :func:`gtl.graph.ops.weighted_sum_neighbors`."""
    if sparse.fits(h, weight):
        return sparse.weighted_sum_neighbors(graph, h, weight)
    return dgl.ops.u_mul_e_sum(handle(graph), h, weight.unsqueeze(-1))


def sum_edges(graph: Graph, values: Tensor) -> Tensor:
    """See :func:`gtl.graph.ops.sum_edges`."""
    flat = rows_of(values)
    return dgl.ops.copy_e_sum(handle(graph), flat).reshape(graph.num_nodes, *values.shape[1:])


def dot_on_edges(graph: Graph, a: Tensor, b: Tensor) -> Tensor:
    """See :func:`gtl.graph.ops.dot_on_edges`."""
    if sparse.fits(a, b):
        return sparse.dot_on_edges(graph, a, b)
    return dgl.ops.u_dot_v(handle(graph), a, b).squeeze(-1)


def handle(graph: Graph) -> dgl.DGLGraph:
    """The DGLGraph of a Graph's edges, without data; made once."""
    return graph.remember(
        "dgl", lambda: dgl.graph((graph.src, graph.dst), num_nodes=graph.num_nodes)
    )
