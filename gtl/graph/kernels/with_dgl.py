"""Message passing on DGL's kernels (see :mod:`gtl.graph.ops`)."""

from __future__ import annotations

import os

os.environ.setdefault("DGLBACKEND", "pytorch")

import dgl
from torch import Tensor

from gtl.graph.graph import Graph, rows_of
from gtl.graph.kernels import sparse


def sum_neighbors(graph: Graph, h: Tensor) -> Tensor:
    """See :func:`gtl.graph.ops.sum_neighbors`."""
    total: Tensor = dgl.ops.copy_u_sum(handle(graph), h)
    return total


def weighted_sum_neighbors(graph: Graph, h: Tensor, weight: Tensor) -> Tensor:
    """See :func:`gtl.graph.ops.weighted_sum_neighbors`."""
    if sparse.fits(h, weight):
        return sparse.weighted_sum_neighbors(graph, h, weight)
    total: Tensor = dgl.ops.u_mul_e_sum(handle(graph), h, weight.unsqueeze(-1))
    return total


def sum_edges(graph: Graph, values: Tensor) -> Tensor:
    """See :func:`gtl.graph.ops.sum_edges`."""
    total: Tensor = dgl.ops.copy_e_sum(handle(graph), rows_of(values))
    return total.reshape(graph.num_nodes, *values.shape[1:])


def dot_on_edges(graph: Graph, a: Tensor, b: Tensor) -> Tensor:
    """See :func:`gtl.graph.ops.dot_on_edges`."""
    if sparse.fits(a, b):
        return sparse.dot_on_edges(graph, a, b)
    products: Tensor = dgl.ops.u_dot_v(handle(graph), a, b)
    return products.squeeze(-1)


def handle(graph: Graph) -> dgl.DGLGraph:
    """The DGLGraph of a Graph's edges, without data; made once."""
    return graph.remember(
        "dgl", lambda: dgl.graph((graph.src, graph.dst), num_nodes=graph.num_nodes)
    )
