"""Adaptive knowledge consistency (Abuduweili et al. 2021, AKC)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.errors import ConfigError
from gtl.graph import Graph, Schema, ops
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import require_count, require_positive
from gtl.tasks.consistency.on_unlabeled import Gate
from gtl.tasks.slow_average import SlowAverage

DISTANCES = ("mse", "cosine", "kl")
_STEPS = 10  # of k-means


class KnowledgeConsistency(Task):
    """Keeps the vectors of items near those of the encoder that the training started from.

    The source is the encoder as it was before the first step; it is never trained and has no
    dropout. An item is a graph, by the mean vector of its nodes, or a node of a single graph.
    Only items of which the source is certain count: those whose entropy over its prototypes is at
    most ``threshold`` times the largest possible. A self-supervised source has no classes, so its
    prototypes are the means of k-means in the vectors of the first step, and the probabilities of
    an item are a softmax of its cosines with them.

    The mean of the losses is the mean distance of the items that pass, as published; with mean
    squares in the place of sums divided by 10,000, so that the size does not depend on the width.

    Labeled and unlabeled items count alike; with data of its own (:meth:`gtl.roles.Task.on`) the
    task reads those in the place of the target's.

    Args:
        distance: ``"mse"``, one minus the ``"cosine"``, or ``"kl"``, the Kullback-Leibler
            divergence of the probabilities over prototypes.
        threshold: Largest entropy of an item that passes, as a share of the largest possible; 1
            lets all pass.
        prototypes: Number of prototypes.
        temperature: What cosines are divided by, above 0.

    Raises:
        ConfigError: If an option is out of range.
    """

    means: Tensor
    ready: Tensor

    def __init__(
        self,
        distance: str = "mse",
        threshold: float = 0.7,
        prototypes: int = 16,
        temperature: float = 0.1,
    ):
        super().__init__()
        if distance not in DISTANCES:
            raise ConfigError(f"`distance` is {distance!r}, expected one of {DISTANCES}")
        self.distance = distance
        self.gate = Gate(threshold)
        self.prototypes = require_count("prototypes", prototypes, 2)
        self.temperature = require_positive("temperature", temperature)
        self.source = SlowAverage()
        self._encoder: tuple[nn.Module, ...] = ()

    def build(self, schema: Schema, width: int) -> None:
        """Make room for the prototypes."""
        self.register_buffer("means", torch.zeros(self.prototypes, width))
        self.register_buffer("ready", torch.tensor(False))

    def after_step(self, model: nn.Module, progress: float) -> None:
        """With progress 0 the encoder becomes the source; it stays what it is."""
        encoder = model.encoder
        assert isinstance(encoder, nn.Module)
        self._encoder = (encoder,)
        if not progress:
            self.source.follow(encoder, 0.0)
            self.ready.fill_(False)
        if progress >= 1:
            self.gate.warn_if_never_open("the gate of knowledge_consistency")

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph itself, the source's vectors of its items, and which of them pass.

        Raises:
            ConfigError: If the task does not know the encoder yet.
        """
        if not self._encoder:
            raise ConfigError(
                "the task `knowledge_consistency` has no source yet; call "
                "`task.after_step(model, 0.0)` before the first step"
            )
        graph = batch.source
        source = item_vectors(graph, self.source.outputs(self._encoder[0], graph))
        if not bool(self.ready) and len(source):
            self.means.copy_(k_means(source, self.prototypes, rng))
            self.ready.fill_(True)
        passed = self.gate(self._over_prototypes(source), binary=False)
        return View(graph, {"source": source, "passed": passed})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each item, ``(b,)``; 0 where the source is not certain."""
        vectors = item_vectors(view.graph, nodes)
        source = view.targets["source"].to(vectors)
        if self.distance == "mse":
            each = (vectors - source).square().mean(1)
        elif self.distance == "cosine":
            each = 1 - F.cosine_similarity(vectors, source, dim=1)
        else:
            old, new = self._over_prototypes(source), self._over_prototypes(vectors)
            each = (torch.special.xlogy(old, old) - old * new.clamp(min=1e-12).log()).sum(1)
        return gated(each, view.targets["passed"])

    def measures(self) -> dict[str, float]:
        """Share of the items that passed."""
        return {"items that pass": self.gate.share()}

    def _over_prototypes(self, vectors: Tensor) -> Tensor:
        cosines = F.normalize(vectors, dim=1) @ F.normalize(self.means, dim=1).to(vectors).T
        return (cosines / self.temperature).softmax(1)


def item_vectors(graph: Graph, nodes: Tensor) -> Tensor:
    """Mean node vector of each graph ``(g, h)``, or the vectors of the nodes of a single one."""
    if graph.sizes is None or len(graph.sizes) == 1:
        return nodes
    return ops.segment_mean(nodes, graph.sizes)


def gated(losses: Tensor, passed: Tensor) -> Tensor:
    """Losses whose mean is that of the items that passed, ``(b,)``; all 0 if none did."""
    return losses * passed * (len(losses) / passed.sum().clamp(min=1).to(losses))


def k_means(vectors: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Means of clusters of directions, ``(count, h)``.

    Args:
        vectors: ``(n, h)``; the first means are drawn among them.
        count: Number of clusters.
        rng: Generator for the draw.
    """
    unit = F.normalize(vectors, dim=1)
    drawn = torch.randperm(len(unit), generator=rng).to(unit.device)
    means = unit[drawn[torch.arange(count) % len(unit)]]
    for _ in range(_STEPS):
        nearest = (unit @ means.T).argmax(1)
        sums = torch.zeros_like(means).index_add(0, nearest, unit)
        filled = torch.bincount(nearest, minlength=count) > 0
        means = torch.where(filled.unsqueeze(1), F.normalize(sums, dim=1), means)
    return means
