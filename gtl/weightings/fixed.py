"""Constant weights given by the user."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gtl.errors import ConfigError
from gtl.roles import Step, Weighting
from gtl.weightings.gradients import weighted_backward


class Fixed(Weighting):
    """A given constant weight for each task.

    Args:
        weights: Weight of each task, by name; a task that is not named has weight 1.

    Raises:
        ConfigError: If a weight is negative or not finite.
    """

    def __init__(self, weights: Mapping[str, float]):
        super().__init__()
        for name, weight in weights.items():
            if not math.isfinite(weight) or weight < 0:
                raise ConfigError(
                    f"`weights[{name!r}]` is {weight}, expected a finite number, zero or larger"
                )
        self.weights = {name: float(weight) for name, weight in weights.items()}

    def prepare(self, tasks: Sequence[str], target: str | None) -> None:
        """Check that every name in ``weights`` is a task.

        Raises:
            ConfigError: If one is not.
        """
        for name in self.weights:
            if name not in tasks:
                raise ConfigError(
                    f"`weights` names {name!r}, which is no task of this run; "
                    f"the tasks are: {', '.join(tasks)}"
                )

    def backward(self, step: Step) -> dict[str, float]:
        """Set the gradient of the weighted sum; see :meth:`Weighting.backward`."""
        return weighted_backward(step, {name: self.weights.get(name, 1.0) for name in step.losses})
