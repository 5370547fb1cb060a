"""Regression of columns that are computed from the data, in units of their own spread."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.graph import Graph, Schema
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import built, require_count, require_positive
from gtl.tasks.graph_vectors import mean_and_sum
from gtl.tasks.standardization import center_and_scale, standardized


class StandardizedColumns(Task):
    """A task that predicts columns of each sample; subclasses compute them.

    Each column is standardized by its median and the distance of its 5 % and 95 % quantiles in the
    training data (its standard deviation where they coincide), and clipped. The loss of a sample is
    the mean Huber loss of its known columns, divided by that of predicting each median: a task that
    has learned nothing has a loss of about 1.

    Columns that are constant in the training data, and values that are NaN, do not count. The view
    is the graph itself, which costs no encoder pass of its own beside a supervised task.

    Args:
        columns: Number of columns.
        clip: Largest absolute standardized value.
        delta: Where the Huber loss turns from squared to absolute.

    Raises:
        ConfigError: If an option is outside its range.
    """

    center: Tensor
    scale: Tensor
    unit: Tensor
    usual_size: Tensor

    def __init__(self, columns: int, clip: float, delta: float):
        super().__init__()
        self.columns = require_count("columns", columns)
        self.clip = require_positive("clip", clip)
        self.delta = require_positive("delta", delta)
        self.predictor: nn.Linear | None = None
        self.register_buffer("center", torch.zeros(columns))
        self.register_buffer("scale", torch.ones(columns))  # 0: the column does not count
        self.register_buffer("unit", torch.ones(()))
        self.register_buffer("usual_size", torch.ones(()))

    @abstractmethod
    def values_of(self, graph: Graph) -> Tensor:
        """The columns of each sample ``(b, columns)``, floating, NaN where not known."""

    @abstractmethod
    def sizes_of(self, graph: Graph) -> Tensor:
        """Nodes of each sample, int64 ``(b,)``, which sum to the nodes of the graph."""

    def build(self, schema: Schema, width: int) -> None:
        """Make the linear predictor."""
        self.predictor = nn.Linear(2 * width, self.columns)

    def observe(self, graph: Graph) -> None:
        """Keep center and scale of each column, and the mean number of nodes."""
        values = self.values_of(graph)
        center, scale = center_and_scale(values)
        self.center.copy_(center), self.scale.copy_(scale)
        self.usual_size.copy_(self.sizes_of(graph).to(self.usual_size).mean().clamp(min=1))
        truth, known = standardized(values, self.center, self.scale, self.clip)
        losses = F.huber_loss(truth, truth.new_zeros(()).expand_as(truth), "none", self.delta)
        if bool(known.any()):
            self.unit.copy_(losses[known].mean().clamp(min=1e-3))

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph itself and the columns of its samples."""
        graph = batch.source
        return View(graph, {"values": self.values_of(graph)})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each sample, ``(b,)``; 0 for one of which nothing is known."""
        vectors = mean_and_sum(nodes, self.sizes_of(view.graph), self.usual_size)
        predicted = built(self, self.predictor)(vectors)  # (b, columns)
        values = view.targets["values"].to(predicted)
        truth, known = standardized(values, self.center, self.scale, self.clip)
        losses = F.huber_loss(predicted, truth, "none", self.delta) * known
        return losses.sum(1) / known.sum(1).clamp(min=1) / self.unit
