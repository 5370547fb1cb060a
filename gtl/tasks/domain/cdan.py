"""CDAN: domain-adversarial training conditioned on predictions (Long et al. 2018)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from gtl.roles import Batch, View
from gtl.tasks.certainty import entropies
from gtl.tasks.checks import require_count
from gtl.tasks.domain.classes import class_probabilities, count_classes
from gtl.tasks.domain.critic import Adversary, accuracy, domain_losses, reversed_gradient
from gtl.tasks.domain.task import Beside, Domains, DomainTask

LARGEST = 4096  # columns of a multilinear map; above it is randomized, as published


class CDAN(DomainTask):
    """DANN whose critic sees each vector together with the prediction that is made of it.

    The critic reads the product of every column of a vector with the probability of every class
    (:func:`multilinear`). Where these are more than 4096 columns, it reads products of random
    combinations (:func:`randomized`), whose matrices are drawn once and are saved and moved with
    the task. Predictions are conditions: no gradient reaches them.

    With ``entropy`` (CDAN+E) the loss of an item is weighted by ``1 + exp(-H)``, with the entropy
    ``H`` of its prediction, so that certain items count up to twice as much; the mean weight in
    each domain is 1.

    Here it departs from the code of thuml: batches may have unequal sizes, weights are normalized
    within each domain, since otherwise the domain of which the model is more certain would count
    more, and the random matrices are buffers. Predictions of several binary columns are two classes
    each.

    Measured in each epoch: ``critic_accuracy`` and ``reversal``, as for ``dann``.

    Args:
        entropy: Whether items are weighted by their certainty.
        strength: Largest factor of the reversed gradient.
        alpha: How fast it rises; ``None`` for ``strength`` from the start.
        hidden: Columns of the critic's hidden layers.
        layers: Number of its hidden layers.
        features: Columns of a randomized map.
        warmup: Steps over which the losses rise linearly to their full size.

    Raises:
        ConfigError: If an option is out of range, or the target is a regression.
    """

    reads_classes: ClassVar[bool] = True
    quantities: ClassVar[tuple[str, ...]] = ("critic_accuracy", "reversal")
    of_vectors: Tensor
    of_classes: Tensor

    def __init__(
        self,
        entropy: bool = False,
        strength: float = 1.0,
        alpha: float | None = 10.0,
        hidden: int = 64,
        layers: int = 1,
        features: int = 1024,
        warmup: int = 0,
    ):
        super().__init__(warmup)
        self.entropy = entropy
        self.adversary = Adversary(strength, alpha, hidden, layers)
        self.features = require_count("features", features)

    def make(self, beside: Beside) -> None:
        """Make the critic and, for a randomized map, the matrices."""
        classes = count_classes(beside.kind, beside.outputs)
        columns = beside.width * classes
        if columns > LARGEST:
            columns = self.features
            self.register_buffer("of_vectors", torch.randn(beside.width, columns))
            self.register_buffer("of_classes", torch.randn(classes, columns))
        self.adversary.make(columns)

    def extras(self, batch: Batch, rng: torch.Generator) -> Mapping[str, Any]:
        """The factor of the reversed gradient."""
        return {"reversal": self.adversary.factor(self.progress)}

    def of_domains(self, domains: Domains, nodes: Tensor, view: View) -> Tensor:
        """Cross-entropy of the domain of each item, ``(b,)``."""
        kind = self.target.kind
        scores = self.known_scores(nodes, view)
        vectors = reversed_gradient(domains.vectors, view)
        logits = self.adversary(self.conditioned(vectors, class_probabilities(scores, kind)))
        self.measure(view, lambda: [accuracy(logits, domains), view.targets["reversal"]])
        each = domain_losses(logits, domains)
        if not self.entropy:
            return each
        return each * certainty_weights(entropies(scores, kind), len(domains.source))

    def conditioned(self, vectors: Tensor, probabilities: Tensor) -> Tensor:
        """What the critic reads of vectors ``(b, h)`` and probabilities ``(b, c)``."""
        if not hasattr(self, "of_vectors"):
            return multilinear(vectors, probabilities)
        return randomized(vectors, probabilities, self.of_vectors, self.of_classes)


def multilinear(vectors: Tensor, probabilities: Tensor) -> Tensor:
    """Products of all columns of both, ``(b, c h)``; columns of one class stand together.

    Example:
        >>> multilinear(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.25, 0.75]])).tolist()
        [[0.25, 0.5, 0.75, 1.5]]
    """
    return (probabilities.unsqueeze(2) * vectors.unsqueeze(1)).flatten(1)


def randomized(
    vectors: Tensor, probabilities: Tensor, of_vectors: Tensor, of_classes: Tensor
) -> Tensor:
    """Products of random combinations, whose inner products are those of the multilinear map.

    They are equal on average over normal matrices (Long et al. 2018, Eq. 6).

    Args:
        vectors: ``(b, h)``.
        probabilities: ``(b, c)``.
        of_vectors: Random matrix ``(h, k)``.
        of_classes: Random matrix ``(c, k)``.

    Returns:
        ``(b, k)``.
    """
    products = (vectors @ of_vectors.to(vectors)) * (probabilities @ of_classes.to(vectors))
    return products / math.sqrt(of_vectors.shape[1])


def certainty_weights(entropy: Tensor, sources: int) -> Tensor:
    """Weights ``1 + exp(-H)`` of items, divided by their mean in each domain, ``(b,)``.

    Args:
        entropy: Of each item's prediction, the source first, ``(b,)``.
        sources: Number of source items.
    """
    weights = 1 + torch.exp(-entropy)
    sides = weights.split([sources, len(weights) - sources])
    return torch.cat([side / side.mean() for side in sides])
