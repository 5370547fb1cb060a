"""Readouts: node vectors to one vector per graph."""

from __future__ import annotations

from torch import Tensor, nn

from gtl.graph import ops
from gtl.roles import Readout


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
