"""Fingerprint: which circular substructures a molecule has (Rogers & Hahn 2010)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.graph import Graph, Schema
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import built, require_count
from gtl.tasks.graph_vectors import mean_and_sum, property_of


class Fingerprint(Task):
    """Predicts which columns of a fingerprint of each graph are not zero.

    By default these are the 2,048 columns of Morgan fingerprints of radius 2. The prediction starts
    from how often each column is set in the training data; the loss of a graph is the mean
    cross-entropy, divided by that of predicting these frequencies: a task that has learned nothing
    has a loss of about 1. The view is the graph itself, which costs no encoder pass of its own
    beside a supervised task.

    Args:
        property: Name of the property of the graphs.
        columns: Number of its columns.

    Raises:
        ConfigError: If ``columns`` is below 1.
    """

    log_odds: Tensor
    unit: Tensor
    usual_size: Tensor

    def __init__(self, property: str = "morgan", columns: int = 2048):
        super().__init__()
        self.property = property
        self.properties = (property,)
        self.columns = require_count("columns", columns)
        self.predictor: nn.Linear | None = None
        self.register_buffer("log_odds", torch.zeros(columns))
        self.register_buffer("unit", torch.ones(()))
        self.register_buffer("usual_size", torch.ones(()))

    def build(self, schema: Schema, width: int) -> None:
        """Make the linear predictor, which begins at the frequencies."""
        self.predictor = nn.Linear(2 * width, self.columns)
        nn.init.zeros_(self.predictor.bias)

    def observe(self, graph: Graph) -> None:
        """Keep how often each column is set, and the mean number of nodes."""
        bits = property_of(graph, self.property, self.columns) > 0
        share = (bits.sum(0) + 0.5) / (len(bits) + 1)
        self.log_odds.copy_(torch.log(share / (1 - share)))
        entropy = -(share * share.log() + (1 - share) * (1 - share).log())
        self.unit.copy_(entropy.mean())
        self.usual_size.copy_(graph.graph_sizes().to(self.usual_size).mean().clamp(min=1))

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph itself and its fingerprint."""
        graph = batch.source
        return View(graph, {"bits": property_of(graph, self.property, self.columns) > 0})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each graph, ``(g,)``."""
        vectors = mean_and_sum(nodes, view.graph.graph_sizes(), self.usual_size)
        scores = built(self, self.predictor)(vectors) + self.log_odds  # (g, columns)
        truth = view.targets["bits"].to(scores)
        return F.binary_cross_entropy_with_logits(scores, truth, reduction="none").mean(1) / (
            self.unit
        )
