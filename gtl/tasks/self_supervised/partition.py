"""Partition: the part of the graph that holds a node (You et al. 2020b; AutoSSL's PAR, 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.errors import ConfigError
from gtl.graph import Schema
from gtl.graph.partition import METHODS, partition
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import built, require_count


class Partition(Task):
    """Predicts the part of each node in a partition of the graph by its edges.

    One sample is a node; the loss is the cross-entropy of its part. Parts have nearly equal sizes
    and few edges between them, and are remembered on the graph. The view is the graph itself, which
    costs no encoder pass of its own beside a supervised task.

    The published method uses METIS. Here it can be chosen; the default is a method that finds the
    same parts again: see :func:`gtl.graph.partition.partition`.

    It is for a single graph. The parts of several graphs have no numbers in common that could be
    learned, nor have those of sampled neighborhoods.

    Args:
        parts: Number of parts, 2 or more.
        method: ``"propagation"`` or ``"metis"``.

    Raises:
        ConfigError: If an option is out of range.
    """

    def __init__(self, parts: int = 10, method: str = METHODS[0]):
        super().__init__()
        self.parts = require_count("parts", parts, least=2)
        if method not in METHODS:
            raise ConfigError(f"`method` is {method!r}, expected one of {METHODS}")
        self.method = method
        self.classifier: nn.Linear | None = None

    def build(self, schema: Schema, width: int) -> None:
        """Make the classifier."""
        self.classifier = nn.Linear(width, self.parts)

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph itself, and the part of each node.

        Raises:
            ConfigError: If there are several graphs, or a sampled one, or ``method`` fails.
        """
        graph = batch.source
        if graph.undrawn is not None:
            raise ConfigError(
                "the task `partition` needs the whole graph, this one was sampled; leave it out or "
                "train without `fan_out`"
            )
        if int((graph.graph_sizes() > 0).sum()) > 1:
            raise ConfigError(
                "the task `partition` needs one graph, the batch has several; use it at node level"
            )
        parts = graph.remember(
            ("partition", self.parts, self.method),
            lambda: partition(graph, self.parts, self.method),
        )
        return View(graph, {"part": parts})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each node, ``(b,)``."""
        scores = built(self, self.classifier)(nodes)
        return F.cross_entropy(scores, view.targets["part"], reduction="none")
