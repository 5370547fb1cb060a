"""Readout: node vectors to one vector per graph."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from gtl.errors import ShapeError
from gtl.graph.graph import Graph
from gtl.roles.recorded import Recorded


class Readout(Recorded, ABC, nn.Module):
    """Turns node vectors ``(n, h)`` of a batch into graph vectors ``(g, width)``.

    A graph without nodes gets zeros.

    Args:
        width: Columns of the node vectors.

    Attributes:
        inputs: Columns of the node vectors.
        width: Columns of the output; those of the node vectors, unless a readout sets it.
    """

    def __init__(self, width: int):
        super().__init__()
        self.inputs = self.width = width

    def forward(self, graph: Graph, nodes: Tensor) -> Tensor:
        """Graph vectors ``(g, width)``.

        Args:
            graph: The batch that the vectors belong to.
            nodes: Node vectors ``(n, h)``.

        Raises:
            ShapeError: If there is not one vector of ``inputs`` columns per node.
        """
        if nodes.shape != (graph.num_nodes, self.inputs):
            raise ShapeError(
                f"`nodes` has shape {tuple(nodes.shape)}, expected "
                f"{(graph.num_nodes, self.inputs)}, one vector per node"
            )
        return self.pool(nodes, graph.graph_sizes())

    @abstractmethod
    def pool(self, nodes: Tensor, sizes: Tensor) -> Tensor:
        """Vectors ``(g, width)`` of consecutive groups of ``sizes`` ``(g,)`` rows."""
