"""Readouts: node vectors to one vector per graph."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from gtl.errors import ShapeError
from gtl.graph import Graph, ops
from gtl.roles import Recorded


class Readout(Recorded, nn.Module, ABC):
    """Turns node vectors ``(n, h)`` of a batch into graph vectors ``(g, h)``.

    A graph without nodes gets zeros.

    Args:
        width: Columns of the node vectors.

    Attributes:
        width: Columns of the output.
    """

    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, graph: Graph, nodes: Tensor) -> Tensor:
        """Graph vectors ``(g, h)``.

        Args:
            graph: The batch that the vectors belong to.
            nodes: Node vectors ``(n, h)``.

        Raises:
            ShapeError: If there is not one vector of ``width`` columns per node.
        """
        if nodes.shape != (graph.num_nodes, self.width):
            raise ShapeError(
                f"`nodes` has shape {tuple(nodes.shape)}, expected "
                f"{(graph.num_nodes, self.width)}, one vector per node"
            )
        return self.pool(nodes, graph.graph_sizes())

    @abstractmethod
    def pool(self, nodes: Tensor, sizes: Tensor) -> Tensor:
        """Vectors ``(g, h)`` of consecutive groups of ``sizes`` ``(g,)`` rows."""


class Mean(Readout):
    """Mean of the nodes' vectors."""

    def pool(self, nodes: Tensor, sizes: Tensor) -> Tensor:
        """See :class:`Readout`."""
        return ops.segment_mean(nodes, sizes)


class Sum(Readout):
    """Sum of the nodes' vectors: grows with the graph."""

    def pool(self, nodes: Tensor, sizes: Tensor) -> Tensor:
        """See :class:`Readout`."""
        return ops.segment_sum(nodes, sizes)


class Max(Readout):
    """Largest value of each column."""

    def pool(self, nodes: Tensor, sizes: Tensor) -> Tensor:
        """See :class:`Readout`."""
        return ops.segment_max(nodes, sizes)


class Attention(Readout):
    """Mean weighted by a softmax over the nodes of a learned score (after Li et al. 2016)."""

    def __init__(self, width: int):
        super().__init__(width)
        self.score = nn.Linear(width, 1)

    def pool(self, nodes: Tensor, sizes: Tensor) -> Tensor:
        """See :class:`Readout`."""
        return ops.segment_sum(ops.segment_softmax(self.score(nodes), sizes) * nodes, sizes)
