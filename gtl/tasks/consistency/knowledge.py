"""Knowledge consistency: stay near the source encoder (Abuduweili et al. 2021, AKC)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.errors import ConfigError
from gtl.graph import Graph, Schema
from gtl.roles import Batch, Encoder, Gate, View
from gtl.tasks.certainty import entropies
from gtl.tasks.checks import built, require_count, require_positive, require_share
from gtl.tasks.consistency.prototypes import Prototypes
from gtl.tasks.consistency.source import Source
from gtl.tasks.items import all_inputs, item_vectors, require_rates
from gtl.tasks.model_task import ModelTask
from gtl.tasks.slow_average import without_dropout

DISTANCES = ("mse", "cosine", "kl")


class KnowledgeConsistency(ModelTask):
    """Holds the vectors of items near those of a frozen source encoder where that is certain.

    One sample is a labeled or unlabeled item that the source is certain of: the entropy of its
    prediction is at most ``threshold`` times the largest possible one. A source with classes has
    a head (:meth:`against`); without one the predictions are soft assignments to ``prototypes``,
    centers of k-means among the source's vectors. The vector of a node is its own, that of a graph
    the mean of its nodes. The loss is

    - ``"mse"``: the squared distance of both vectors, divided by ``divisor``;
    - ``"cosine"``: 1 minus their cosine;
    - ``"kl"``: the divergence of the predictions from the source's, both by the source's head or
      prototypes.

    The source is the encoder as it was when the training began. Its vectors are computed in
    :meth:`view` and are constants of the loss. Encoder and head of the source are in eval mode.

    The mean over the samples is the published loss, whose code divides by 10,000 for vectors of
    2,048 columns (``divisor=1e4``).

    Args:
        distance: ``"mse"``, ``"cosine"`` or ``"kl"``.
        threshold: Share of the largest entropy up to which an item is used, in ``(0, 1]``; ``None``
            uses all items.
        prototypes: Most prototypes, 2 or more; at most half as many as there are different vectors.
        divisor: Of the squared distance; by default the width of the vectors.
        weak: Shares of edges and of features that the graph of the unlabeled items lacks.
        warmup: Steps over which the losses rise linearly to their full size.

    Raises:
        ConfigError: If an option is out of range, the source is of another width or schema, or it
            gives all items the same vector, of which no prototypes can be found.
    """

    needs_target: ClassVar[bool] = False

    def __init__(
        self,
        distance: str = "mse",
        threshold: float | None = 0.7,
        prototypes: int = 16,
        divisor: float | None = None,
        weak: Sequence[float] = (0.0, 0.0),
        warmup: int = 20,
    ):
        super().__init__(warmup)
        if distance not in DISTANCES:
            raise ConfigError(f"`distance` is {distance!r}, expected one of {DISTANCES}")
        self.distance = distance
        self.threshold = None if threshold is None else require_share("threshold", threshold)
        self.prototypes = require_count("prototypes", prototypes, least=2)
        self.divisor = None if divisor is None else require_positive("divisor", divisor)
        self.weak = require_rates("weak", weak)
        self.source = Source()
        self.head: nn.Module | None = None
        self.centers: Prototypes | None = None
        self._sample: tuple[Graph, ...] = ()
        self._unlabeled: int | None = None

    def against(self, encoder: Any, head: nn.Module | None = None) -> KnowledgeConsistency:
        """Use another encoder as the source; returns the task.

        Args:
            encoder: Made for the same features and width; it is frozen. Of a run or a model it is
                the encoder.
            head: Item vectors ``(b, h)`` to scores of the source's classes ``(b, c)``, frozen.

        Raises:
            ConfigError: If it is something else.
        """
        found = encoder if isinstance(encoder, Encoder) else getattr(encoder, "encoder", None)
        if not isinstance(found, Encoder):
            raise ConfigError(
                f"the source is {encoder!r}, expected an encoder, or a run or model with one, such "
                "as gtl.pretrain returns or gtl.load_run(folder) reads"
            )
        self.source, self.head = Source(found), head
        for parameter in head.parameters() if head is not None else ():
            parameter.requires_grad_(False)
        return self

    def prepare(self, schema: Schema, width: int) -> None:
        """Check the source, and make room for the prototypes."""
        self.source.require_fit(schema, width)
        self.centers = Prototypes(self.prototypes, width)

    def observe(self, graph: Graph) -> None:
        """Keep a sample of graphs until the source is known, to find the prototypes among them."""
        self._sample = (graph,)

    def expect(self, labeled: int, unlabeled: int) -> None:
        """Keep the number of unlabeled items."""
        self._unlabeled = unlabeled

    def begin(self, encoder: nn.Module) -> None:
        """Keep the source, and find the prototypes if there is a sample of several items.

        A single unlabeled item has none; then they are found among the items of the first step
        whose vectors differ.

        Raises:
            ConfigError: If all vectors of the sample are the same.
        """
        self.source.begin(encoder)
        if self._needs_prototypes and self._sample and self._unlabeled != 1:
            tensor = next(encoder.parameters())
            graph = self._sample[0].to(tensor.device)
            nodes = self.source.nodes(encoder, graph)
            alone = graph.num_graphs == 1
            vectors = nodes if alone else item_vectors(graph, nodes)
            centers = built(self, self.centers)
            centers.find(vectors)
            if len(vectors) and not int(centers.found):
                raise ConfigError(
                    f"the source gives all {len(vectors)} unlabeled items the same vector, so that "
                    "no two prototypes can be found; give another source, or one with a head "
                    "(task.against(encoder, head)), or leave the certainty of items out: "
                    "threshold=None with the distance 'mse' or 'cosine'"
                )
        self._sample = ()

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """Labeled and unlabeled items, the source's vectors and how certain it is of each."""
        inputs = all_inputs(batch, self.weak, rng, self.columns)
        known = inputs.vectors(self.source.nodes(self.encoder, inputs.graph))
        centers = built(self, self.centers)
        if self._needs_prototypes and not int(centers.found):
            centers.find(known)
        entropy = known.new_zeros(len(known))
        if self.head is not None or int(centers.found):
            entropy = entropies(self._scores(known), "multiclass")
        found = {"items": inputs.items, "known": known, "entropy": entropy}
        return View(inputs.graph, {**found, "factor": self.factor})

    def gates(self, view: View) -> Mapping[str, Gate]:
        """The gate of the source's entropy."""
        if self.threshold is None:
            return {}
        largest = built(self, self.centers).largest_entropy
        if self.head is not None:
            largest = math.log(max(self._scores(view.targets["known"]).shape[1], 1))
        return {
            "": Gate(view.targets["entropy"], self.threshold * largest, "entropy of the source")
        }

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each item that the source is certain of, ``(b,)``."""
        found = view.targets
        own, known = item_vectors(found["items"], nodes), found["known"].to(nodes)
        for gate in self.gates(view).values():
            rows = gate.open.nonzero().flatten()
            own, known = own[rows], known[rows]
        return self._distances(own, known) * found["factor"].to(nodes)

    @property
    def _needs_prototypes(self) -> bool:
        """Whether a gate or a loss reads assignments to prototypes."""
        return self.head is None and (self.threshold is not None or self.distance == "kl")

    def _distances(self, own: Tensor, known: Tensor) -> Tensor:
        if self.distance == "mse":
            return (own - known).square().sum(1) / (self.divisor or max(own.shape[1], 1))
        if self.distance == "cosine":
            return 1 - F.cosine_similarity(own, known, 1, eps=1e-6)
        truth, guess = self._scores(known).log_softmax(1), self._scores(own).log_softmax(1)
        return (truth.exp() * (truth - guess)).sum(1)

    def _scores(self, vectors: Tensor) -> Tensor:
        """Scores of the source's classes or prototypes ``(b, k)``."""
        if self.head is not None:
            with without_dropout(self.head, frozen=True):
                scores: Tensor = self.head(vectors)
            return scores
        return built(self, self.centers).logits(vectors)
