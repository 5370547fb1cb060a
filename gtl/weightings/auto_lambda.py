"""Auto-Lambda: one weight per task, learned from the target's loss after the next step.

Liu et al. 2022, "Auto-Lambda: Disentangling Dynamic Task Relationships" (TMLR).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from gtl.errors import ConfigError
from gtl.roles import Step, Weighting
from gtl.weightings.gradients import set_gradients, sound_losses, weighted_backward
from gtl.weightings.learned import TaskNumbers, require_known, require_same_tasks
from gtl.weightings.look_ahead.weighted_step import weighted_step


class AutoLambda(Weighting):
    """Weights of the mean losses, learned from the target's loss after the next step.

    In every look-ahead the weights ``lambda_k`` take a step of Adam against the hyper-gradient
    ``-<grad l_k, D grad L_meta(theta_next)>`` of Liu et al. (Eq. 5), here through the optimizer in
    use; their code supports SGD with momentum only. The target has a weight too; without
    auxiliary tasks that weight is 1.

    Departure from the paper: weights stay at or above zero. A negative weight maximizes the loss
    of its task, without limit.

    Args:
        start: First value of every weight.
        lr: Learning rate of the weights' own Adam. The default is that of the paper, made for
            trainings of ten thousands of steps; short ones need a larger one.
        refresh: Steps from one look-ahead to the next; 1 in the paper.

    Raises:
        ConfigError: If an argument lies outside its range.
    """

    needs_target = True
    weights: TaskNumbers

    def __init__(self, start: float = 0.1, lr: float = 1e-4, refresh: int = 1):
        super().__init__()
        if not start > 0 or not lr > 0 or refresh < 1:
            raise ConfigError(
                f"`start` is {start}, `lr` {lr} and `refresh` {refresh}; expected start > 0, "
                "lr > 0 and refresh >= 1"
            )
        self.start, self.lr, self.refresh = start, lr, refresh
        self.steps = self.look_aheads = 0

    def prepare(self, tasks: Sequence[str], target: str | None) -> None:
        """Set every weight to ``start``."""
        self.weights = TaskNumbers(tasks, self.start, self.lr)
        self.steps = self.look_aheads = 0

    def backward(self, step: Step) -> dict[str, float]:
        """Set the gradient of the weighted sum, and learn every ``refresh`` steps.

        Raises:
            ConfigError: If there is no target, a task was not there at setup, or the optimizer
                is not supported in a look-ahead.
            GtlError: If a loss is not finite, in this step or after the look-ahead.
        """
        target = require_known(self, step)
        if self.tasks == (target,):
            return weighted_backward(step, {target: 1.0})
        losses = sound_losses(step.losses)
        weights = {name: self.weights[name] for name in losses}
        refreshes = self.steps % self.refresh == 0 and target in losses
        self.steps += 1
        if refreshes:
            each = {name: torch.full_like(v.detach(), weights[name]) for name, v in losses.items()}
            by_sample = weighted_step(step, losses, each, self.look_aheads)
            self.look_aheads += 1
            slopes = torch.stack([values.sum() for values in by_sample.values()]).tolist()
            self.weights.descend(dict(zip(by_sample, slopes)), low=0.0)
        else:
            set_gradients(step, [weights[name] * v.mean() for name, v in losses.items()])
        return {**dict.fromkeys(step.losses, 0.0), **weights}

    def get_extra_state(self) -> dict[str, Any]:
        """Counters, weights and the state of their optimizer."""
        if not self.tasks:
            return {}
        return {**self.weights.state(), "steps": self.steps, "look_aheads": self.look_aheads}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`get_extra_state`; :meth:`setup` comes first.

        Raises:
            ConfigError: If the state belongs to other tasks.
        """
        if state:
            require_same_tasks(state["values"], self.tasks)
            self.weights.load(state)
            self.steps, self.look_aheads = int(state["steps"]), int(state["look_aheads"])
