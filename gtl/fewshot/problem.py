"""The problem that a few-shot method solves, and steps that methods share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gtl.catalog import HEADS
from gtl.data.category_graph import CategoryGraph
from gtl.data.dataset import Dataset
from gtl.errors import ConfigError, DataError
from gtl.roles import Head
from gtl.train.model import Model


@dataclass(frozen=True)
class Source:
    """Model and data that the features of a problem come from, for methods that train the encoder.

    Attributes:
        model: What encoded the data; a method that changes it takes a copy.
        data: Graphs or a graph, with one class an item.
        items: Items of the training samples, in the order of :attr:`Problem.samples`.
        queries: Query items, in their order.
    """

    model: Model
    data: Dataset
    items: Tensor
    queries: Tensor


@dataclass(frozen=True)
class Problem:
    """Training samples of base and novel classes, and how classes relate.

    Attributes:
        base_features: All training samples of base classes, ``(b, h)``; none if every class is
            novel, as in the plain k-shot protocol.
        base_labels: Their classes, int64 ``(b,)``.
        features: The shots, ``(k * novel classes, h)``.
        labels: Their classes.
        novel: Which classes are novel, boolean ``(c,)``.
        shots: Samples of each novel class, ``k``.
        graph: How classes relate, with a node for each of the ``c`` classes; may be ``None``.
        rng: Generator for random choices; torch's global ones are seeded too.
        source: Where the features come from; ``None`` where they were given.
    """

    base_features: Tensor
    base_labels: Tensor
    features: Tensor
    labels: Tensor
    novel: Tensor
    shots: int
    graph: CategoryGraph | None
    rng: torch.Generator
    source: Source | None = None

    @property
    def num_classes(self) -> int:
        """Base and novel classes together."""
        return len(self.novel)

    @property
    def width(self) -> int:
        """Columns of the features."""
        return self.features.shape[1]

    @property
    def samples(self) -> tuple[Tensor, Tensor]:
        """Features and labels of all training samples, base classes first."""
        features = torch.cat([self.base_features, self.features])
        return features, torch.cat([self.base_labels, self.labels])

    def balance(self) -> Tensor:
        """A weight per sample, in the order of :attr:`samples`; they sum to 1.

        Base samples together weigh as much as the shots together: what a batch that is half base
        and half novel is on average (Chen et al. 2020).
        """
        base, shots = len(self.base_labels), len(self.labels)
        half = 0.5 if base else 1.0
        sizes = [(base, 1 - half), (shots, half)]
        parts = [self.features.new_full((n,), total / max(n, 1)) for n, total in sizes]
        return torch.cat(parts)


def head_for(problem: Problem, head: Any) -> Any:
    """A head by name or mapping, sized by the problem, on its device and in its dtype."""
    return HEADS.build(head, problem.width, problem.num_classes).to(problem.features)


def imprint(weight: Tensor, problem: Problem) -> None:
    """Let the rows of a weight ``(c, h)`` be the means of each class's features of length 1."""
    features, labels = problem.samples
    unit = torch.nn.functional.normalize(features)
    with torch.no_grad():
        weight.copy_(head_for(problem, "prototype").fit(unit, labels).statistics.means)


def train_head(
    head: Head, problem: Problem, penalty: Callable[[], Tensor], steps: int = 100
) -> Head:
    """Minimize cross-entropy, weighted by :meth:`Problem.balance`, and a penalty, by L-BFGS.

    All samples at once, so nothing is drawn at random.

    Args:
        head: Trained in place.
        problem: Its samples.
        penalty: What is added to the loss, ``()``, at the head's present parameters.
        steps: At most.

    Raises:
        DataError: If the loss is no longer finite.
    """
    if steps < 0:
        raise ConfigError(f"`steps` is {steps}, expected 0 or more")
    features, labels = problem.samples
    weights = problem.balance()
    optimizer = torch.optim.LBFGS(
        head.parameters(), max_iter=steps, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        losses = torch.nn.functional.cross_entropy(head(features), labels, reduction="none")
        loss = weights @ losses + penalty()
        loss.backward()
        return loss

    with torch.enable_grad():
        last = optimizer.step(closure) if steps else torch.zeros(())
    if not torch.isfinite(torch.as_tensor(last)):
        raise DataError("a head's training loss is not finite; scale the features (scaling)")
    return head.eval().requires_grad_(False)
