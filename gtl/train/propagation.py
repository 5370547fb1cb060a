"""Propagation along the edges of one graph: filters of node features, and of labels.

Low-pass filters are those of SGC (Wu et al. 2019); the row-normalized and high-pass ones those of
GraphAny's linear models (Zhao et al. 2024); labels spread as in Zhou et al. 2004.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gtl.errors import DataError
from gtl.graph import Graph, ops


class Filter(NamedTuple):
    """A power of a matrix of the graph, which multiplies node features.

    Attributes:
        kind: ``"sgc"``, symmetrically normalized with self-loops; ``"low"``, the mean over
            neighbors; ``"high"``, the difference to it.
        power: How often.
    """

    kind: str
    power: int

    @property
    def title(self) -> str:
        """In words."""
        return "features" if self.power == 0 else f"{self.kind} {self.power}"


LINEAR_FILTERS = (
    Filter("low", 0),
    Filter("low", 1),
    Filter("low", 2),
    Filter("high", 1),
    Filter("high", 2),
)


def filtered(graph: Graph, h: Tensor, by: Filter) -> Tensor:
    """Node features ``(n, d)`` after a filter.

    Example:
        >>> pair = Graph(torch.tensor([0, 1]), torch.tensor([1, 0]), 2)
        >>> filtered(pair, torch.tensor([[1.0], [3.0]]), Filter("high", 1)).flatten().tolist()
        [-2.0, 2.0]
    """
    graph = _plain(graph)
    looped = graph.with_self_loops() if by.kind == "sgc" else graph
    for _ in range(by.power):
        if by.kind == "sgc":
            h = symmetric(looped, h)
        else:
            mean = ops.mean_neighbors(graph, h)
            h = mean if by.kind == "low" else h - mean
    return h


def symmetric(graph: Graph, h: Tensor) -> Tensor:
    """``D^(-1/2) A D^(-1/2) h``; nodes without an edge get 0."""
    degree = graph.in_degrees().to(h.dtype).clamp(min=1).unsqueeze(1)
    return ops.sum_neighbors(graph, h / degree.sqrt()) / degree.sqrt()


def spread_labels(
    graph: Graph, items: Tensor, values: Tensor, known: Tensor, alpha: float, steps: int = 50
) -> Tensor:
    """Averages of the labels that reach each node (Zhou et al. 2004).

    Labels, and likewise which labels are known, follow ``F <- alpha S F + (1 - alpha) Y``; the
    result is the ratio of the two, and the mean of the known labels where none arrives.

    Args:
        graph: One graph.
        items: Labeled nodes ``(k,)``.
        values: Their labels, 0 where unknown, ``(k, c)``.
        known: Which are known, boolean ``(k, c)``.
        alpha: Share of the neighbors, in ``(0, 1)``.
        steps: Steps of the iteration.

    Returns:
        ``(n, c)``, in the dtype of ``values``.
    """
    graph = _plain(graph)
    columns = values.shape[1]
    start = values.new_zeros(graph.num_nodes, 2 * columns)
    start[items] = torch.cat([values, known.to(values.dtype)], 1)
    state = start
    for _ in range(steps):
        state = alpha * symmetric(graph, state) + (1 - alpha) * start
    above, below = state.split(columns, 1)
    mean = values.sum(0) / known.sum(0).clamp(min=1)
    return torch.where(below > 1e-12, above / below.clamp(min=1e-12), mean)


def node_columns(graph: Graph, sizes: tuple[int, ...] | None) -> Tensor:
    """Node features as float32 ``(n, d)``: categorical columns become one column a category.

    Args:
        graph: One graph.
        sizes: Categories of each column; ``None`` for floating features.

    Raises:
        DataError: If the nodes have no features.
    """
    if graph.x is None:
        raise DataError(
            "the nodes have no features that a probe could read; give an `encoder`, or use the "
            "model 'label_propagation'"
        )
    if graph.x.is_floating_point() or sizes is None:
        return graph.x.float()
    hot = [
        torch.nn.functional.one_hot(column, size).float()
        for column, size in zip(graph.x.unbind(1), sizes)
    ]
    return torch.cat(hot, 1)


def _plain(graph: Graph) -> Graph:
    """Nodes and edges alone."""
    return Graph(graph.src, graph.dst, graph.num_nodes)
