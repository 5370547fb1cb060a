"""Descriptors: numbers computed from the whole molecule (Fabian et al. 2020, MolBERT)."""

from __future__ import annotations

from torch import Tensor

from gtl.graph import Graph
from gtl.tasks.graph_vectors import property_of
from gtl.tasks.self_supervised.standardized_columns import StandardizedColumns


class Descriptors(StandardizedColumns):
    """Predicts properties of each graph that can be computed from the graph alone.

    By default these are the 217 two-dimensional descriptors of RDKit, from molecular weight to
    counts of functional groups. Each column is standardized by its median and the distance of its
    5 % and 95 % quantiles in the training data (its standard deviation where they coincide), and
    clipped. The loss of a graph is the mean Huber loss of its known columns, divided by that of
    predicting each median: a task that has learned nothing has a loss of about 1.

    Columns that are constant in the training data, and values that are NaN, do not count. The view
    is the graph itself, which costs no encoder pass of its own beside a supervised task.

    Args:
        property: Name of the property of the graphs.
        columns: Number of its columns.
        clip: Largest absolute standardized value.
        delta: Where the Huber loss turns from squared to absolute.

    Raises:
        ConfigError: If an option is outside its range.
    """

    def __init__(
        self,
        property: str = "descriptors",
        columns: int = 217,
        clip: float = 4.0,
        delta: float = 1.0,
    ):
        super().__init__(columns, clip, delta)
        self.property = property
        self.properties = (property,)

    def values_of(self, graph: Graph) -> Tensor:
        """The property of each graph, ``(g, columns)``."""
        return property_of(graph, self.property, self.columns)

    def sizes_of(self, graph: Graph) -> Tensor:
        """Nodes of each graph, ``(g,)``."""
        return graph.graph_sizes()
