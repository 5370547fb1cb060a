"""Whitening: equal vectors of a node in two augmented copies (Ermolov et al. 2021, W-MSE)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gtl.graph import Columns, Graph, Schema
from gtl.graph.augment import augment
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import built, require_count, require_share
from gtl.tasks.unit import unit

_RIDGE = 1e-3  # added to a covariance whose mean eigenvalue is 1
_TINY = 1e-6


class Whitening(Task):
    """Makes the whitened vectors of a node in two augmented copies agree.

    One sample is a node, of at most ``nodes`` drawn from the batch. Edges of each copy are dropped
    and features masked; both copies are one disjoint graph. Vectors are projected to ``width``
    columns, whitened over all samples of both copies, and the loss is one minus the cosine of a
    node's two whitened vectors, in ``[0, 2]``.

    Whitening keeps all vectors from becoming equal: equal vectors whiten to zero and cost 1, as
    much as random ones. So neither negatives nor a second encoder are needed, and unlike the loss
    of ``bootstrap``, whose targets are constants, this one has true derivatives everywhere.

    With fewer samples than twice ``width``, whitened vectors are nearly orthogonal and there is
    little to learn; choose a smaller ``width`` for small batches.

    Args:
        rate: Share of the edges, and of the features, that each copy lacks, in ``(0, 1)``.
        width: Columns that are whitened.
        nodes: Most nodes that are compared.

    Raises:
        ConfigError: If an option is out of range.
    """

    def __init__(self, rate: float = 0.2, width: int = 32, nodes: int = 2048):
        super().__init__()
        self.rate = require_share("rate", rate, whole=False)
        self.width = require_count("width", width)
        self.nodes = require_count("nodes", nodes)
        self.columns: Columns | None = None
        self.projection: nn.Sequential | None = None

    def build(self, schema: Schema, width: int) -> None:
        """Make the projection, two linear maps."""
        self.columns = schema.node
        self.projection = nn.Sequential(
            nn.Linear(width, width), nn.ELU(), nn.Linear(width, self.width)
        )

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """Both copies as one disjoint graph."""
        graph = batch.source
        built(self, self.projection)
        copies = []
        for _ in range(2):
            copy = augment("drop_edges", graph.unlabeled(), self.rate, rng)
            copies.append(augment("mask_features", copy, self.rate, rng, self.columns))
        n = graph.num_nodes
        drawn = torch.randperm(n, generator=rng)[: self.nodes].to(graph.device)
        return View(Graph.batch(copies), {"nodes": torch.cat([drawn, drawn + n])})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each drawn node, ``(b,)``."""
        projection = built(self, self.projection)
        z = projection(nodes.index_select(0, view.targets["nodes"]))  # (2 b, width)
        one, two = unit(whitened(z)).chunk(2)
        return 1 - (one * two).sum(1)


def whitened(z: Tensor) -> Tensor:
    """Vectors ``(b, d)`` mapped so that their columns are uncorrelated, of mean 0 and variance 1.

    The covariance is divided by its mean eigenvalue and then gets a small multiple of the identity,
    so the result neither depends on the scale of the vectors nor fails where a column is constant.
    """
    b, d = z.shape
    z = z - z.sum(0) / max(b, 1)
    z = z * (z.square().sum() / max(b * d, 1) + _TINY).rsqrt()
    covariance = z.T @ z / max(b, 1) + _RIDGE * torch.eye(d, dtype=z.dtype, device=z.device)
    factor = torch.linalg.cholesky(covariance)
    return torch.linalg.solve_triangular(factor, z.T, upper=False).T
