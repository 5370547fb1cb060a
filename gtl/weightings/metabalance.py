"""MetaBalance: auxiliary gradients scaled to the length of the target's, tensor by tensor.

He et al. 2022, "MetaBalance: Improving Multi-Task Recommendations via Adapting Gradient
Magnitudes of Auxiliary Tasks" (WWW).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from gtl.errors import ConfigError
from gtl.roles import Step, Weighting
from gtl.weightings.gradients import sound_losses
from gtl.weightings.learned import require_known, require_same_tasks
from gtl.weightings.task_gradients import set_combination, task_gradients

_EPS = 1e-12


class MetaBalance(Weighting):
    """Scales each auxiliary gradient towards the length of the target's; directions do not change.

    For each shared parameter tensor, with ``m_k`` a moving average of the length of task ``k``'s
    gradient: ``g_k <- (strength m_0 / m_k + 1 - strength) g_k``; the optimizer gets the sum.

    Departures from the published code: there the first parameter without a gradient of a task ends
    the loop, and all that follow keep the gradients of the tasks seen so far; here a tensor
    without a gradient of the target or of the task keeps the task's gradient unchanged. Lengths
    have a lower bound, and averages are corrected for their start at zero (as in Adam), so that
    the average of a task whose first samples come late is not too small.

    Args:
        strength: 0 changes nothing, 1 makes all gradients as long as the target's.
        decay: Of the moving averages.

    Raises:
        ConfigError: If an argument lies outside its range.
    """

    needs_target = True

    def __init__(self, strength: float = 0.7, decay: float = 0.9):
        super().__init__()
        if not 0 <= strength <= 1 or not 0 <= decay < 1:
            raise ConfigError(
                f"`strength` is {strength} and `decay` is {decay}; expected 0 <= strength <= 1 "
                "and 0 <= decay < 1"
            )
        self.strength, self.decay = strength, decay
        self.lengths: dict[str, dict[str, _Average]] = {}

    def prepare(self, tasks: Sequence[str], target: str | None) -> None:
        """Start all moving averages anew."""
        self.lengths = {name: {} for name in tasks}

    def backward(self, step: Step) -> dict[str, float]:
        """Set the balanced gradient; see :meth:`Weighting.backward`.

        Returns:
            Length of each task's gradient of the shared parameters after scaling, relative to
            the length before.

        Raises:
            ConfigError: If there is no target, a task was not there at setup, or tasks have no
                parameter in common.
            GtlError: If a loss is not finite.
        """
        target = require_known(self, step)
        pulls = task_gradients(step, sound_losses(step.losses))
        now = _lengths(pulls, step.shared)
        for task, lengths in now.items():
            for name, length in lengths.items():
                before = self.lengths[task].get(name, (0.0, 0))
                total = self.decay * before[0] + (1 - self.decay) * length
                self.lengths[task][name] = (total, before[1] + 1)
        scales = {task: self._scales(target, task) for task in pulls}
        set_combination(step, pulls, lambda task, name: scales[task].get(name, 1.0))
        growth = {task: _growth(lengths, scales[task]) for task, lengths in now.items()}
        return {**dict.fromkeys(step.losses, 0.0), **growth}

    def _scales(self, target: str, task: str) -> dict[str, float]:
        if task == target:
            return {}
        scales = {}
        for name, average in self.lengths[task].items():
            if name in self.lengths[target]:
                ratio = self._mean(self.lengths[target][name]) / max(self._mean(average), _EPS)
                scales[name] = self.strength * ratio + 1 - self.strength
        return scales

    def _mean(self, average: _Average) -> float:
        total, count = average
        return total / (1 - self.decay**count)

    def get_extra_state(self) -> dict[str, Any]:
        """Moving averages of the lengths and their numbers of steps."""
        return {
            task: {name: list(average) for name, average in lengths.items()}
            for task, lengths in self.lengths.items()
        }

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`get_extra_state`; :meth:`setup` comes first.

        Raises:
            ConfigError: If the state belongs to other tasks.
        """
        if state:
            require_same_tasks(state, self.tasks)
            for task, lengths in state.items():
                self.lengths[task] = {
                    name: (float(total), int(count)) for name, (total, count) in lengths.items()
                }


_Average = tuple[float, int]


def _lengths(
    pulls: Mapping[str, Mapping[str, torch.Tensor]], shared: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Length of each task's gradient of each shared parameter, where it has one."""
    keys = [(task, name) for task, pull in pulls.items() for name in shared if name in pull]
    found: dict[str, dict[str, float]] = {task: {} for task in pulls}
    if keys:
        norms = torch.stack([torch.linalg.vector_norm(pulls[task][name]) for task, name in keys])
        for (task, name), length in zip(keys, norms.tolist()):
            found[task][name] = length
    return found


def _growth(lengths: Mapping[str, float], scales: Mapping[str, float]) -> float:
    before = math.sqrt(sum(length**2 for length in lengths.values()))
    after = math.sqrt(sum((scales.get(n, 1.0) * length) ** 2 for n, length in lengths.items()))
    return after / before if before else 1.0
