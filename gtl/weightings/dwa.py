"""Dynamic weight average (DWA): weights from the rate at which each loss falls.

Liu et al. 2019, "End-to-End Multi-Task Learning with Attention" (CVPR).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gtl.errors import ConfigError
from gtl.roles import Step, Weighting
from gtl.weightings.gradients import set_gradients, sound_losses
from gtl.weightings.learned import require_known, require_same_tasks
from gtl.weightings.task_gradients import mean_values

_STEEPEST = 10.0


class DWA(Weighting):
    """Larger weights for tasks whose loss falls slowly: ``w_k = t softmax(r / T)_k`` (Eq. 7).

    ``r_k`` is the task's mean loss in the last window of steps divided by that in the window
    before. Until two windows are full all weights are 1. No task is treated as the target.

    Departures from the paper: Liu et al. compare epochs, which a weighting does not see; here a
    window is a number of steps. ``r`` is 1 for a task that had no samples in a window, or whose
    earlier mean was not positive, and at most 10, so that a loss that rises from near zero does
    not take the weights of all other tasks to zero.

    Args:
        window: Steps that are averaged.
        temperature: ``T``; the larger, the more equal the weights.

    Raises:
        ConfigError: If an argument lies outside its range.
    """

    def __init__(self, window: int = 20, temperature: float = 2.0):
        super().__init__()
        if window < 1 or not temperature > 0:
            raise ConfigError(
                f"`window` is {window} and `temperature` is {temperature}; expected window >= 1 "
                "and temperature > 0"
            )
        self.window, self.temperature = window, temperature
        self.weights: dict[str, float] = {}

    def prepare(self, tasks: Sequence[str], target: str | None) -> None:
        """Set all weights to 1 and start the first window."""
        self.weights = dict.fromkeys(tasks, 1.0)
        self._last: dict[str, float] = {}
        self._start_window()

    def backward(self, step: Step) -> dict[str, float]:
        """Set the gradient of the weighted sum; see :meth:`Weighting.backward`.

        Raises:
            ConfigError: If a task was not there at setup.
            GtlError: If a loss is not finite.
        """
        require_known(self, step)
        losses = sound_losses(step.losses)
        used = {name: self.weights[name] if name in losses else 0.0 for name in step.losses}
        set_gradients(step, [used[name] * values.mean() for name, values in losses.items()])
        self._record(mean_values(losses))
        return used

    def _record(self, means: Mapping[str, float]) -> None:
        for name, mean in means.items():
            self._sums[name] = self._sums.get(name, 0.0) + mean
            self._counts[name] = self._counts.get(name, 0) + 1
        self._steps += 1
        if self._steps < self.window:
            return
        now = {name: total / self._counts[name] for name, total in self._sums.items()}
        if self._last:
            shares = {
                name: math.exp(_relative(now.get(name), self._last.get(name)) / self.temperature)
                for name in self.weights
            }
            scale = len(shares) / sum(shares.values())
            self.weights = {name: scale * share for name, share in shares.items()}
        self._last = now
        self._start_window()

    def _start_window(self) -> None:
        self._steps = 0
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def get_extra_state(self) -> dict[str, Any]:
        """Weights, the means of the last window and the sums of this one."""
        if not self.weights:
            return {}
        return {
            "weights": dict(self.weights),
            "last": dict(self._last),
            "steps": self._steps,
            "sums": dict(self._sums),
            "counts": dict(self._counts),
        }

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`get_extra_state`; :meth:`setup` comes first.

        Raises:
            ConfigError: If the state belongs to other tasks.
        """
        if not state:
            return
        require_same_tasks(state["weights"], self.weights)
        self.weights.update(state["weights"])
        self._last, self._steps = dict(state["last"]), int(state["steps"])
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])


def _relative(now: float | None, before: float | None) -> float:
    if now is None or before is None or before <= 0:
        return 1.0
    return min(max(now / before, 0.0), _STEEPEST)
