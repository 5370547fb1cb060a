"""Uncertainty weighting: each loss divided by a variance that is learned beside the model.

Kendall et al. 2018, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and
Semantics" (CVPR).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gtl.errors import ConfigError
from gtl.roles import Step, Weighting
from gtl.weightings.gradients import set_gradients, sound_losses
from gtl.weightings.learned import TaskNumbers, require_known, require_same_tasks
from gtl.weightings.task_gradients import mean_values


class Uncertainty(Weighting):
    """Weights ``exp(-s_k)`` with learned log-variances ``s_k``.

    Minimizes ``sum_k exp(-s_k) l_k + s_k`` over the model and the log-variances ``s``, which is
    twice the loss of Kendall et al. for regression, with the same weights for every kind of task.
    ``s_k`` converges to ``log l_k``: weighted losses become equal, whatever their units. No task
    is treated as the target.

    Args:
        lr: Learning rate of the log-variances' own Adam.
        largest: Weights stay in ``[1 / largest, largest]``. Kendall et al. have no bound; the
            weight of a loss that falls to zero, or below, would grow to infinity.

    Raises:
        ConfigError: If an argument lies outside its range.
    """

    log_variances: TaskNumbers

    def __init__(self, lr: float = 1e-2, largest: float = 1e3):
        super().__init__()
        if not lr > 0 or not largest >= 1:
            raise ConfigError(
                f"`lr` is {lr} and `largest` is {largest}; expected lr > 0 and largest >= 1"
            )
        self.lr, self.largest = lr, largest

    def prepare(self, tasks: Sequence[str], target: str | None) -> None:
        """Set all weights to 1."""
        self.log_variances = TaskNumbers(tasks, 0.0, self.lr)

    def backward(self, step: Step) -> dict[str, float]:
        """Set the gradient of the weighted sum, then learn; see :meth:`Weighting.backward`.

        Without auxiliary tasks the target has weight 1.

        Raises:
            ConfigError: If a task was not there at setup.
            GtlError: If a loss is not finite.
        """
        require_known(self, step)
        losses = sound_losses(step.losses)
        weights = {name: math.exp(-self.log_variances[name]) for name in losses}
        set_gradients(step, [weights[name] * values.mean() for name, values in losses.items()])
        if self.tasks != (step.target,):
            # d/ds of exp(-s) l + s.
            slopes = {name: 1 - weights[name] * mean for name, mean in mean_values(losses).items()}
            bound = math.log(self.largest)
            self.log_variances.descend(slopes, -bound, bound)
        return {**dict.fromkeys(step.losses, 0.0), **weights}

    def get_extra_state(self) -> dict[str, Any]:
        """The log-variances and the state of their optimizer."""
        return self.log_variances.state() if self.tasks else {}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`get_extra_state`; :meth:`setup` comes first.

        Raises:
            ConfigError: If the state belongs to other tasks.
        """
        if state:
            require_same_tasks(state["values"], self.tasks)
            self.log_variances.load(state)
