"""Features of the nodes that walks from a node meet more often than by chance (ACDNE).

Shen et al. 2020 ("Adversarial deep network embedding for cross-network node classification") read a
node's own features and those of its context side by side. Sparse graphs of two domains differ less
in the context of several steps than in single edges.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.errors import ConfigError
from gtl.graph import Graph

_ROWS = 1000  # of the matrix of walks at a time, which is never held whole


def context_means(graph: Graph, x: Tensor, steps: int) -> Tensor:
    """Mean features of the context of each node, ``(n, d)``; zero without one.

    Walks of up to ``steps`` steps end at a node with probability ``sum_k P^k / k``, ``P`` the
    transitions along the edges; without the start itself and normalized. Nodes count with their
    positive pointwise mutual information (PPMI), ``log(n p / column sum)`` where that is positive,
    normalized again.

    Args:
        graph: One graph of ``n`` nodes.
        x: Node features ``(n, d)``.
        steps: Longest walk.

    Example:
        >>> path = Graph(torch.tensor([0, 1, 1, 2]), torch.tensor([1, 0, 2, 1]), 3)
        >>> context_means(path, torch.tensor([[1.0], [2.0], [5.0]]), 1).flatten().tolist()
        [2.0, 3.0, 2.0]
    """
    if not isinstance(steps, int) or steps < 1:
        raise ConfigError(f"`context` is {steps!r}, expected a whole number of steps from 1 on")
    hops = _transitions(graph)
    columns: Any = np.zeros(graph.num_nodes)
    for _, part in _walks(hops, steps):
        columns += np.asarray(part.sum(0)).ravel()
    found = np.zeros((graph.num_nodes, x.shape[1]), dtype=np.float64)
    values = x.cpu().double().numpy()
    for start, part in _walks(hops, steps):
        part = part.tocoo()
        weight = np.log(graph.num_nodes * part.data / columns[part.col])
        part.data = np.maximum(weight, 0.0)
        found[start : start + part.shape[0]] = _normed(part.tocsr()) @ values
    return torch.from_numpy(found).to(x)


def _transitions(graph: Graph) -> Any:
    from scipy.sparse import csr_matrix

    n = graph.num_nodes
    ones = np.ones(graph.num_edges)
    edges = (graph.dst.cpu().numpy(), graph.src.cpu().numpy())
    return _normed(csr_matrix((ones, edges), (n, n)))


def _walks(hops: Any, steps: int) -> Iterator[tuple[int, Any]]:
    """Blocks of rows of the matrix of walks, normalized and without the start."""
    n = hops.shape[0]
    for start in range(0, n, _ROWS):
        rows = np.arange(start, min(start + _ROWS, n))
        part = total = hops[rows]
        for k in range(2, steps + 1):
            part = part @ hops
            total = total + part / k
        total = total.tolil()
        total[np.arange(len(rows)), rows] = 0
        total = total.tocsr()
        total.eliminate_zeros()
        yield start, _normed(total)


def _normed(matrix: Any) -> Any:
    """Rows that sum to one; empty ones stay."""
    from scipy.sparse import diags

    sums = np.asarray(matrix.sum(1)).ravel()
    scale = np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)
    return diags(scale) @ matrix
