"""Prototypes: without them, a class known from a handful of samples would need training.

Prototypical networks (Snell et al. 2017): a class is the mean of its samples.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.heads.class_statistics import ClassMemory, ClassStatistics, squared_distances
from gtl.heads.cosine import unit_rows
from gtl.roles import Head

SIMILARITIES = ("euclidean", "cosine")


class Prototype(Head):
    """Nearness to the mean of each class.

    Until :meth:`fit` the prototypes are parameters, trained like those of any head; after it they
    stand. A single output, for a label that is yes or no, is never above 0 unless it is a cosine:
    it ranks, but its sigmoid is no probability.

    Args:
        width: Columns of the features.
        outputs: Number of classes.
        similarity: ``"euclidean"``, minus the squared distance, or ``"cosine"``, times a learned
            scale.
        scale: Of cosines, to begin with.

    Raises:
        ConfigError: If ``similarity`` is unknown.

    Example:
        >>> head = Prototype(2, 2).fit(torch.tensor([[0.0, 0], [2, 0], [9, 9]]),
        ...                            torch.tensor([0, 0, 1]))
        >>> head(torch.tensor([[1.0, 3.0]])).detach()
        tensor([[  -9., -100.]])
    """

    def __init__(
        self, width: int, outputs: int, similarity: str = "euclidean", scale: float = 10.0
    ):
        super().__init__()
        if similarity not in SIMILARITIES:
            raise ConfigError(
                f"`similarity` is {similarity!r}, expected one of: {', '.join(SIMILARITIES)}"
            )
        self.similarity = similarity
        self.classes = ClassMemory(width, outputs)
        if similarity == "cosine":
            self.scale = nn.Parameter(torch.tensor(float(scale)))

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``(b, c)`` of features ``(b, width)``."""
        means = self.classes.means()
        if self.similarity == "cosine":
            return self.scale * unit_rows(features) @ unit_rows(means).T
        return -squared_distances(features, means)

    def fit(self, features: Tensor, labels: Tensor) -> Prototype:
        """Make the means of samples ``(b, width)`` with int64 labels ``(b,)`` the prototypes.

        Derivatives reach the features; fit under ``torch.no_grad()`` for a head to keep.

        Raises:
            ShapeError: If a shape or dtype is another.
            DataError: If a class has no samples, a label is out of range, or a feature not finite.
        """
        return self.use(self.measure(features, labels))

    def measure(self, features: Tensor, labels: Tensor) -> ClassStatistics:
        """What :meth:`fit` learns of samples; ``+`` merges it, and :meth:`use` takes it."""
        return self.classes.measure(features, labels)

    def use(self, statistics: ClassStatistics) -> Prototype:
        """Fit to statistics instead of samples."""
        self.classes.write(statistics)
        return self

    @property
    def statistics(self) -> ClassStatistics:
        """What the head was fitted to."""
        return self.classes.read()
