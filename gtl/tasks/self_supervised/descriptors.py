"""Descriptors: numbers computed from the whole molecule (Fabian et al. 2020, MolBERT)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.graph import Graph, Schema
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import built, require_count, require_positive
from gtl.tasks.graph_vectors import mean_and_sum, property_of
from gtl.tasks.standardization import center_and_scale, standardized


class Descriptors(Task):
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

    center: Tensor
    scale: Tensor
    unit: Tensor
    usual_size: Tensor

    def __init__(
        self,
        property: str = "descriptors",
        columns: int = 217,
        clip: float = 4.0,
        delta: float = 1.0,
    ):
        super().__init__()
        self.property = property
        self.properties = (property,)
        self.columns = require_count("columns", columns)
        self.clip = require_positive("clip", clip)
        self.delta = require_positive("delta", delta)
        self.predictor: nn.Linear | None = None
        self.register_buffer("center", torch.zeros(columns))
        self.register_buffer("scale", torch.ones(columns))  # 0: the column does not count
        self.register_buffer("unit", torch.ones(()))
        self.register_buffer("usual_size", torch.ones(()))

    def build(self, schema: Schema, width: int) -> None:
        """Make the linear predictor."""
        self.predictor = nn.Linear(2 * width, self.columns)

    def observe(self, graph: Graph) -> None:
        """Keep center and scale of each column, and the mean number of nodes."""
        values = property_of(graph, self.property, self.columns)
        center, scale = center_and_scale(values)
        self.center.copy_(center), self.scale.copy_(scale)
        self.usual_size.copy_(graph.graph_sizes().to(self.usual_size).mean().clamp(min=1))
        truth, known = standardized(values, self.center, self.scale, self.clip)
        losses = F.huber_loss(truth, truth.new_zeros(()).expand_as(truth), "none", self.delta)
        if bool(known.any()):
            self.unit.copy_(losses[known].mean().clamp(min=1e-3))

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph itself and its properties."""
        graph = batch.source
        return View(graph, {"values": property_of(graph, self.property, self.columns)})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each graph, ``(g,)``; 0 for one of which nothing is known."""
        vectors = mean_and_sum(nodes, view.graph.graph_sizes(), self.usual_size)
        predicted = built(self, self.predictor)(vectors)  # (g, columns)
        values = view.targets["values"].to(predicted)
        truth, known = standardized(values, self.center, self.scale, self.clip)
        losses = F.huber_loss(predicted, truth, "none", self.delta) * known
        return losses.sum(1) / known.sum(1).clamp(min=1) / self.unit
