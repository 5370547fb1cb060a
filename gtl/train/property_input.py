"""Properties of graphs as further columns for the head, as chemprop's extra features
(Yang et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gtl.data.dataset import Dataset
from gtl.errors import ConfigError
from gtl.graph import Graph
from gtl.tasks.graph_vectors import property_of
from gtl.tasks.standardization import center_and_scale, standardized

CLIP = 3.0


class PropertyInput(nn.Module):
    """Standardized properties of graphs side by side.

    Columns are standardized by quantiles of the training items, clipped, and 0 where unknown or
    constant. A block that is wider than the graph vector is scaled down to its length: it would
    move the head many times faster otherwise.

    Args:
        columns: Columns of each property by name.
        width: Columns of the graph vectors beside which they stand.
    """

    center: Tensor
    scale: Tensor

    def __init__(self, columns: Mapping[str, int], width: int):
        super().__init__()
        self.columns = dict(columns)
        self.width = sum(self.columns.values())
        self.register_buffer("center", torch.zeros(self.width))
        self.register_buffer("scale", torch.zeros(self.width))
        shrink = [min(1.0, (width / count) ** 0.5) for count in self.columns.values()]
        self.shrink = dict(zip(self.columns, shrink))

    def fit(self, dataset: Dataset, items: Tensor) -> PropertyInput:
        """Keep center and scale of the items ``(k,)``; returns the module."""
        assert dataset.graphs is not None
        every = [dataset.graphs.properties[name][items].float() for name in self.columns]
        center, scale = center_and_scale(torch.cat(every, 1))
        self.center.copy_(center), self.scale.copy_(scale)
        return self

    def forward(self, graph: Graph) -> Tensor:
        """Columns of each graph, ``(g, width)``.

        Raises:
            ConfigError: If the graphs do not carry a property, or it has other columns.
        """
        parts, start = [], 0
        for name, count in self.columns.items():
            values = property_of(graph, name, count).to(self.center)
            part = slice(start, start + count)
            units, _ = standardized(values, self.center[part], self.scale[part], CLIP)
            parts.append(units * self.shrink[name])
            start += count
        return torch.cat(parts, 1)


def columns_of(dataset: Dataset, names: Sequence[str]) -> dict[str, int]:
    """Columns of properties that the graphs of a data set carry, by name.

    Raises:
        ConfigError: If its items are not graphs.
    """
    if not names:
        return {}
    if dataset.graphs is None:
        raise ConfigError(
            f"`properties` are of graphs, the items of {dataset.spec} are {dataset.level}s; leave "
            "them out"
        )
    return {name: dataset.graphs.properties[name].shape[1] for name in names}


def spec_of(part: PropertyInput | None) -> dict[str, Any]:
    """Columns by name, for ``config.json``."""
    return {} if part is None else dict(part.columns)
