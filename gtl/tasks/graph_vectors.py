"""Vectors of graphs for tasks that predict properties of whole graphs: mean and scaled sum."""

from __future__ import annotations

import torch
from torch import Tensor

from gtl.errors import ConfigError
from gtl.graph import Graph, ops


def mean_and_sum(nodes: Tensor, sizes: Tensor, usual_size: Tensor) -> Tensor:
    """Mean of the node vectors of each graph beside their sum, ``(g, 2 h)``.

    Many descriptors add up over the atoms, others are averages. The sum is divided by the usual
    number of nodes, so that both have one scale.

    Args:
        nodes: Node vectors ``(n, h)``.
        sizes: Nodes of each graph ``(g,)``.
        usual_size: Mean number of nodes of a graph ``()``.
    """
    return torch.cat(
        [ops.segment_mean(nodes, sizes), ops.segment_sum(nodes, sizes) / usual_size], 1
    )


def property_of(graph: Graph, name: str, columns: int) -> Tensor:
    """A property of the graphs, ``(g, columns)``, as floats.

    Raises:
        ConfigError: If the graphs do not carry it, or it has other columns.
    """
    value = (graph.properties or {}).get(name)
    if value is None:
        raise ConfigError(
            f"the graphs do not carry the property {name!r}; load molecules with "
            f"properties=[{name!r}], or give graphs with `properties`"
        )
    if value.shape[1] != columns:
        raise ConfigError(
            f"the property {name!r} has {value.shape[1]} columns, the task was made for {columns}; "
            f"set columns={value.shape[1]}"
        )
    return value.to(torch.get_default_dtype())
