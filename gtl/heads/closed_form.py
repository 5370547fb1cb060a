"""Fitting without training: without it, each head with a closed form would say the same again.

Such a head is a function of statistics of its classes, and those of parts add up: so it learns
from samples at once, from one batch after the other, or from what others measured.
"""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

from gtl.heads.class_statistics import ClassMemory, ClassStatistics
from gtl.roles import Head

Fitted = TypeVar("Fitted", bound="ClosedForm")


class ClosedForm(Head):
    """A head that is fitted to statistics of its classes; subclasses say what follows from them.

    Attributes:
        classes: The statistics it was fitted to, and trained centers until then.
    """

    classes: ClassMemory

    def fit(self: Fitted, features: Tensor, labels: Tensor) -> Fitted:
        """Learn from samples ``(b, width)`` with int64 labels ``(b,)``; returns the head.

        Derivatives reach the features; fit under ``torch.no_grad()`` for a head to keep. What is
        trained beside the centers, a scale or weights of covariances, stays as it is.

        Raises:
            ShapeError: If a shape or dtype is another.
            DataError: If a class has no samples, a label is out of range, or a feature not finite.
        """
        return self.use(self.measure(features, labels))

    def measure(self, features: Tensor, labels: Tensor) -> ClassStatistics:
        """What :meth:`fit` learns of samples; ``+`` merges it, and :meth:`use` takes it."""
        return self.classes.measure(features, labels)

    def use(self: Fitted, statistics: ClassStatistics) -> Fitted:
        """Fit to statistics instead of samples."""
        self.classes.write(statistics)
        self.settle()
        return self

    def settle(self) -> None:
        """Work out what follows from new statistics; the default keeps nothing but them."""

    @property
    def statistics(self) -> ClassStatistics:
        """What the head was fitted to."""
        return self.classes.read()
