"""One learned weight per task, by looking one step ahead: what AUX-TS is without its network.

Liu et al. 2022, "Auto-Lambda: Disentangling Dynamic Task Relationships" (TMLR).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from gtl.errors import ConfigError
from gtl.roles import Step, Weighting
from gtl.weightings.gradients import require_target, set_gradients, sound_losses, weighted_backward
from gtl.weightings.learned import TaskNumbers, require_known, require_same_tasks
from gtl.weightings.look_ahead.weighted_step import weighted_step


class AutoLambda(Weighting):
    """Weights ``lambda_k`` of the mean losses go down the target's loss one step ahead.

    The derivative ``-<grad l_k, D grad L_meta(theta_next)>`` is the central difference of Liu et
    al., through the optimizer that is really used: theirs knows SGD with momentum alone. The
    target has a weight too, and without auxiliary tasks it counts once.

    Liu et al. let weights go below zero, where a task is trained to fail, without limit; here
    they end at zero.

    Args:
        start: First value of every weight.
        lr: Learning rate of the weights' own Adam. The default is that of the paper, made for
            trainings of ten thousands of steps; short ones need a larger one.
        refresh: Steps from one look-ahead to the next; 1 in the paper.

    Raises:
        ConfigError: If an argument lies outside its range.
    """

    weights: TaskNumbers

    def __init__(self, start: float = 0.1, lr: float = 1e-4, refresh: int = 1):
        super().__init__()
        if not start > 0 or not lr > 0 or refresh < 1:
            raise ConfigError(
                f"`start` is {start}, `lr` {lr} and `refresh` {refresh}; expected start > 0, "
                "lr > 0 and refresh >= 1"
            )
        self.start, self.lr, self.refresh = start, lr, refresh
        self.tasks: tuple[str, ...] = ()
        self.steps = self.look_aheads = 0

    def setup(self, tasks: Sequence[str], target: str | None) -> None:
        """Start anew, unless the tasks are the same.

        Raises:
            ConfigError: If there is no target.
        """
        require_target(target, "auto_lambda")
        if self.tasks != tuple(tasks):
            self.tasks = tuple(tasks)
            self.weights = TaskNumbers(tasks, self.start, self.lr)
            self.steps = self.look_aheads = 0

    def backward(self, step: Step) -> dict[str, float]:
        """Set the gradient of the weighted sum, and learn every ``refresh`` steps.

        Raises:
            ConfigError: If there is no target, a task was not there at setup, or the optimizer
                cannot be looked through.
            GtlError: If a loss is not finite, here or one step ahead.
        """
        target = require_target(step.target, "auto_lambda")
        require_known(self, step, self.tasks)
        if self.tasks == (target,):
            return weighted_backward(step, {target: 1.0})
        losses = sound_losses(step.losses)
        weights = {name: self.weights[name] for name in losses}
        looks = self.steps % self.refresh == 0 and target in losses
        self.steps += 1
        if looks:
            each = {name: torch.full_like(v.detach(), weights[name]) for name, v in losses.items()}
            pulls = weighted_step(step, losses, each, self.look_aheads)
            self.look_aheads += 1
            slopes = torch.stack([pull.sum() for pull in pulls.values()]).tolist()
            self.weights.descend(dict(zip(pulls, slopes)), low=0.0)
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
