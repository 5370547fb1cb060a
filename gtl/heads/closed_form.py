"""Base class of heads with a closed form, which are fitted to samples without training.

Such a head is a function of statistics of its classes, and statistics of parts can be added: so it
is fitted to samples at once, batch by batch, or to statistics that were computed elsewhere.
"""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

from gtl.errors import ConfigError
from gtl.heads.class_statistics import ClassMemory, ClassStatistics
from gtl.roles import Head

Fitted = TypeVar("Fitted", bound="ClosedForm")


class ClosedForm(Head):
    """A head that is fitted to statistics of its classes; subclasses compute scores from them.

    Attributes:
        classes: The statistics it was fitted to; before that, centers that are trained.
    """

    classes: ClassMemory

    def fit(self: Fitted, features: Tensor, labels: Tensor) -> Fitted:
        """Fit to samples ``(b, width)`` with int64 labels ``(b,)``; returns the head.

        The fit is differentiable with respect to the features; call it under ``torch.no_grad()``
        if no derivatives are needed. Other parameters, a scale or weights of covariances, stay as
        they are.

        Raises:
            ShapeError: If a shape or dtype is another.
            DataError: If a class has no samples, a label is out of range, or a feature not finite.
        """
        return self.use(self.measure(features, labels))

    def measure(self, features: Tensor, labels: Tensor) -> ClassStatistics:
        """Statistics of samples as in :meth:`fit`, to be added and given to :meth:`use`."""
        return self.classes.measure(features, labels)

    def use(self: Fitted, statistics: ClassStatistics) -> Fitted:
        """Fit to statistics instead of samples."""
        self.classes.write(statistics)
        self.settle()
        return self

    def settle(self) -> None:
        """Compute values from new statistics; by default there are none."""

    @property
    def statistics(self) -> ClassStatistics:
        """The statistics that the head was fitted to."""
        return self.classes.read()


def classes_of_binary(outputs: int) -> int:
    """Classes behind the one output of a binary label.

    Raises:
        ConfigError: If there are more outputs.
    """
    if outputs != 1:
        raise ConfigError(
            f"`binary` is for one binary label, there are {outputs} outputs; leave it out, or use "
            "head='linear'"
        )
    return 2


def of_one_against_zero(scores: Tensor) -> Tensor:
    """Scores ``(b, 1)`` of class 1 less those of class 0, from those of both ``(b, 2)``."""
    return scores[:, 1:] - scores[:, :1]
