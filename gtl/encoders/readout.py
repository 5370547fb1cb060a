"""Readouts: node vectors to one vector per graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gtl.catalog import READOUTS
from gtl.errors import ConfigError
from gtl.graph import ops
from gtl.roles import Readout


class Mean(Readout):
    """Mean of the nodes' vectors."""

    def pool(self, nodes: Tensor, sizes: Tensor) -> Tensor:
        """See :class:`Readout`."""
        return ops.segment_mean(nodes, sizes)


class Sum(Readout):
    """Sum of the nodes' vectors: grows with the graph.

    Args:
        width: Columns of the node vectors.
        power: Sums are divided by the number of nodes to this power, from 0 to 1: 0 is the sum, 1
            the mean. With 0.5 the sum of independent vectors with mean 0, such as those after batch
            norm, has the variance of one of them, and still grows with the graph.

    Raises:
        ConfigError: If the power is outside its range.
    """

    def __init__(self, width: int, power: float = 0.0):
        super().__init__(width)
        if not 0 <= power <= 1:
            raise ConfigError(f"`power` is {power}, expected a number from 0 to 1")
        self.power = power

    def pool(self, nodes: Tensor, sizes: Tensor) -> Tensor:
        """See :class:`Readout`."""
        total = ops.segment_sum(nodes, sizes)
        if self.power == 0:
            return total
        return total / sizes.clamp(min=1).to(nodes.dtype).pow(self.power).unsqueeze(1)


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


class Concatenated(Readout):
    """Several readouts side by side, such as mean, sum and maximum.

    A part that is given as the name ``"sum"`` is ``{"name": "sum", "power": 0.5}``: plain sums are
    as many times larger than means as a graph has nodes, and a head that reads both would learn
    from the sums alone. Give ``{"name": "sum"}`` for those. A normalization would not do: it undoes
    what distinguishes a sum from a mean.

    Args:
        width: Columns of the node vectors.
        parts: Readouts: names, mappings with options, or instances for ``width`` columns.

    Attributes:
        width: Columns of all parts together.

    Raises:
        ConfigError: If there is no part.
        UnknownPartError: If a name is not registered.

    Example:
        >>> Concatenated(4, ["mean", "max"]).width
        8
    """

    def __init__(self, width: int, parts: Sequence[Any] = ("mean", "sum", "max")):
        super().__init__(width)
        if not len(parts):
            raise ConfigError("the list of readouts is empty; name at least one")
        scaled = {"name": "sum", "power": 0.5}
        built = [READOUTS.build(scaled if part == "sum" else part, width) for part in parts]
        self.parts = nn.ModuleList(built)
        self.width = sum(int(part.width) for part in built)
        self.arguments["parts"] = [READOUTS.spec(part) for part in built]  # also of instances

    def pool(self, nodes: Tensor, sizes: Tensor) -> Tensor:
        """See :class:`Readout`."""
        return torch.cat([part.pool(nodes, sizes) for part in self.parts], 1)  # type: ignore[operator]


def as_readout(readout: Any, width: int) -> Readout:
    """A readout for node vectors of some columns.

    Args:
        readout: A name, a mapping with options, an instance, or a list of those, which is
            :class:`Concatenated`.
        width: Columns of the node vectors.

    Raises:
        UnknownPartError: If a name is not registered.
        ConfigError: If an option is wrong, or a list is empty.
    """
    if isinstance(readout, (list, tuple)):
        readout = {"name": "concatenated", "parts": readout}
    built: Readout = READOUTS.build(readout, width)
    return built
