"""Clustering: the cluster of a node by its features (You et al. 2020b; AutoSSL, 2022)."""

from __future__ import annotations

import hashlib
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.graph import Graph, Schema, ops
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import built, require_count
from gtl.tasks.self_supervised.features import Features

_MOST_ROWS = 10_000  # that clusters are found on


class Clustering(Task):
    """Predicts the cluster of each node, found once by k-means on the features.

    One sample is a node; the loss is the cross-entropy of its cluster. The clusters are found on
    the first graph or batch that has as many nodes as there are clusters (before that there are no
    samples) and stay as they are: their centers are buffers and part of what is saved. Which nodes
    belong to which is remembered on the graph. The view is the graph itself, which costs no encoder
    pass of its own beside a supervised task.

    Here it departs from the paper, which clusters the node's own features: with those in sight the
    cluster of a molecule's atom is only a coarser label of it. So the features are followed by
    the mean features of the neighbors; ``hops=0`` clusters the node's own features only.
    Categorical columns count as unit vectors.

    Args:
        clusters: Number of clusters, 2 or more.
        hops: How many times the features are averaged over neighbors, each time as further columns.

    Raises:
        ConfigError: If an option is out of range.
    """

    centers: Tensor
    found: Tensor
    divisible: ClassVar[bool] = False

    def __init__(self, clusters: int = 10, hops: int = 1):
        super().__init__()
        self.clusters = require_count("clusters", clusters, least=2)
        self.hops = require_count("hops", hops, least=0)
        self.features: Features | None = None
        self.classifier: nn.Linear | None = None

    def build(self, schema: Schema, width: int) -> None:
        """Make the classifier, and room for the centers.

        Raises:
            ConfigError: If nodes have no features.
        """
        features = Features.of(schema, "clustering", None)
        self.features = features
        self.classifier = nn.Linear(width, self.clusters)
        room = torch.zeros(self.clusters, self.hops + 1, sum(features.outputs))
        self.register_buffer("centers", room)
        self.register_buffer("found", torch.zeros((), dtype=torch.bool))

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph itself, and the cluster of each node; finds the clusters the first time.

        Raises:
            ConfigError: If the task was not set up, or the graph has no features.
            ShapeError: If the features are not of the kind it was set up for.
        """
        graph = batch.source
        x = built(self, self.features).read(graph)
        if not self.found and graph.num_nodes < self.clusters:
            return View(graph, {"cluster": torch.empty(0, dtype=torch.int64, device=x.device)})
        if not self.found:
            self._find(graph, x)
        key = ("clusters", hashlib.sha256(self.centers.cpu().numpy().tobytes()).hexdigest())
        depends_on = ("src", "dst", "num_nodes", "x")
        return View(
            graph, {"cluster": graph.remember(key, lambda: self._nearest(graph, x), depends_on)}
        )

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each node, ``(b,)``."""
        truth = view.targets["cluster"]
        scores = built(self, self.classifier)(nodes[: len(truth)])  # none before there are clusters
        return F.cross_entropy(scores, truth, reduction="none")

    def _find(self, graph: Graph, x: Tensor) -> None:
        from sklearn.cluster import MiniBatchKMeans

        parts = [self._columns(x)]
        for _ in range(self.hops):
            parts.append(ops.mean_neighbors(graph, parts[-1]))
        rows = torch.linspace(0, len(x) - 1, min(len(x), _MOST_ROWS)).long()
        points = np.ascontiguousarray(torch.cat(parts, 1).cpu()[rows].numpy())
        # A seed of its own: what is remembered on a graph must not depend on earlier draws.
        means = MiniBatchKMeans(self.clusters, random_state=0, n_init=3).fit(points)
        centers = torch.as_tensor(means.cluster_centers_).reshape(self.centers.shape)
        self.centers.copy_(centers)
        self.found.fill_(True)

    def _nearest(self, graph: Graph, x: Tensor) -> Tensor:
        """Cluster of each node, ``(n,)``: the one with the largest ``x . c - |c|^2 / 2``.

        Averaging over neighbors is linear, so products are averaged instead of features.
        """
        centers = self.centers.to(x.device)
        products = torch.zeros(len(x), self.clusters, dtype=centers.dtype, device=x.device)
        for hop in reversed(range(self.hops + 1)):
            products = ops.mean_neighbors(graph, products) + self._products(x, centers[:, hop])
        return (products - centers.square().sum((1, 2)) / 2).argmax(1)

    def _products(self, x: Tensor, centers: Tensor) -> Tensor:
        if x.is_floating_point():
            return x.to(centers.dtype) @ centers.T
        return F.embedding_bag(self._places(x), centers.T.contiguous(), mode="sum")

    def _columns(self, x: Tensor) -> Tensor:
        """Features ``(n, d)`` as floats: a column for each category."""
        if x.is_floating_point():
            return x.to(self.centers.dtype)
        width = self.centers.shape[2]
        return x.new_zeros(len(x), width, dtype=self.centers.dtype).scatter_(1, self._places(x), 1)

    def _places(self, x: Tensor) -> Tensor:
        sizes = torch.tensor(built(self, self.features).outputs, device=x.device)
        return x + (sizes.cumsum(0) - sizes)
