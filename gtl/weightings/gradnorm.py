"""GradNorm: weights learned so that all tasks train at a similar rate.

Chen et al. 2018, "GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep Multitask
Networks" (ICML).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gtl.errors import ConfigError
from gtl.roles import Step, Weighting
from gtl.weightings.gradients import gradients, set_gradients, sound_losses
from gtl.weightings.learned import TaskNumbers, require_known, require_same_tasks
from gtl.weightings.task_gradients import mean_values, require_shared

LAYERS = ("last", "all")
_SMALLEST = 1e-3


class GradNorm(Weighting):
    """Learns weights ``w`` that bring ``w_k ||grad l_k||`` near ``mean(w ||grad l||) r_k^alpha``.

    ``r_k`` is the task's loss relative to its first one, divided by the mean of that over tasks:
    a task that trains slowly gets a larger gradient (Eq. 2). The distance is the absolute
    difference, with the right side as a constant; the weights take a step of an Adam of their own
    and are then scaled so that they sum to the number of tasks. No task is treated as the target.

    Not specified in the paper: weights stay positive, and a loss relative to a first one that was
    not positive is 1.

    Args:
        alpha: Strength of the correction for slow tasks; 0 makes all gradients equally long.
        lr: Learning rate of the weights.
        layer: Shared parameters whose gradients are measured: of the ``"last"`` block, as in the
            paper, which costs little, or ``"all"``, one backward pass a task.

    Raises:
        ConfigError: If an argument lies outside its range.
    """

    weights: TaskNumbers

    def __init__(self, alpha: float = 1.5, lr: float = 0.025, layer: str = "last"):
        super().__init__()
        if not alpha >= 0 or not lr > 0:
            raise ConfigError(f"`alpha` is {alpha} and `lr` is {lr}; expected alpha >= 0, lr > 0")
        if layer not in LAYERS:
            raise ConfigError(f"`layer` is {layer!r}, expected one of {LAYERS}")
        self.alpha, self.lr, self.layer = alpha, lr, layer
        self.first: dict[str, float] = {}

    def prepare(self, tasks: Sequence[str], target: str | None) -> None:
        """Set all weights to 1."""
        self.first = {}
        self.weights = TaskNumbers(tasks, 1.0, self.lr)

    def backward(self, step: Step) -> dict[str, float]:
        """Set the gradient of the weighted sum, then learn; see :meth:`Weighting.backward`.

        Raises:
            ConfigError: If a task was not there at setup, or tasks have no parameter in common.
            GtlError: If a loss is not finite.
        """
        require_known(self, step)
        require_shared(step)
        losses = sound_losses(step.losses)
        names = last_block(step.shared) if self.layer == "last" else step.shared
        lengths = _lengths(losses, {name: step.parameters[name] for name in names})
        weights = {name: self.weights[name] for name in losses}
        set_gradients(step, [weights[name] * values.mean() for name, values in losses.items()])
        self._learn(weights, lengths, mean_values(losses))
        return {**dict.fromkeys(step.losses, 0.0), **weights}

    def _learn(
        self,
        weights: Mapping[str, float],
        lengths: Mapping[str, float],
        means: Mapping[str, float],
    ) -> None:
        self.first = {**means, **self.first}
        progress = {name: _relative(mean, self.first[name]) for name, mean in means.items()}
        if not any(progress.values()):
            return
        average = sum(progress.values()) / len(progress)
        middle = sum(weights[name] * lengths[name] for name in lengths) / len(lengths)
        slopes = {}
        for name, length in lengths.items():
            excess = weights[name] * length - middle * (progress[name] / average) ** self.alpha
            slopes[name] = length * ((excess > 0) - (excess < 0))
        self.weights.descend(slopes, _SMALLEST)
        self.weights.scale_to(len(self.tasks))

    def get_extra_state(self) -> dict[str, Any]:
        """Weights, the state of their optimizer and the first losses."""
        return {**self.weights.state(), "first": dict(self.first)} if self.tasks else {}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`get_extra_state`; :meth:`setup` comes first.

        Raises:
            ConfigError: If the state belongs to other tasks.
        """
        if state:
            require_same_tasks(state["values"], self.tasks)
            self.weights.load(state)
            self.first = dict(state["first"])


def last_block(shared: Sequence[str]) -> list[str]:
    """Names of the parameters of the encoder's last block; of its last module if it has none.

    Example:
        >>> last_block(["encoder.embed.weight", "encoder.blocks.0.w", "encoder.blocks.1.mlp.w"])
        ['encoder.blocks.1.mlp.w']
    """
    numbers = [int(found[1]) for name in shared if (found := re.search(r"\.blocks\.(\d+)\.", name))]
    place = f".blocks.{max(numbers)}." if numbers else shared[-1].rpartition(".")[0] + "."
    return [name for name in shared if place in name or name.startswith(place)]


def _lengths(losses: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> dict[str, float]:
    """Length of the gradient of each task's mean loss."""
    lengths = []
    for values in losses.values():
        parts = [g.norm() for g in gradients(values.mean(), parameters).values()]
        lengths.append(torch.stack(parts).norm() if parts else values.new_zeros(()))
    return dict(zip(losses, torch.stack(lengths).tolist())) if lengths else {}


def _relative(mean: float, first: float) -> float:
    return max(mean / first, 0.0) if first > 0 else 1.0
