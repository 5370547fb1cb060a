"""OL-AUX: weights updated by the sum of gradient cosines with the target over a window.

Lin et al. 2019, "Adaptive Auxiliary Task Weighting for Reinforcement Learning" (NeurIPS), OL-AUX.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gtl.errors import ConfigError
from gtl.roles import Step, Weighting
from gtl.weightings.consistency import cosine_of
from gtl.weightings.gradients import sound_losses
from gtl.weightings.learned import require_known, require_same_tasks
from gtl.weightings.task_gradients import set_combination, task_gradients


class OLAux(Weighting):
    """Weights that change every ``window`` steps by the agreement of task and target.

    ``w_k <- w_k + lr sum cos(grad l_0, grad l_k)`` over the window: the decrease of the target's
    loss by ``window`` steps of the task, to first order. Departures from the paper, which sums
    inner products and does not bound the weights: inner products depend on the units of the
    losses, so here gradients have length 1, and weights stay in ``[0, largest]``. The target has
    weight 1.

    Weights act on the shared parameters alone, as in :class:`gtl.weightings.gcs.GCS`, and the
    cosines cost one backward pass a task in every step.

    Args:
        window: Steps from one update to the next.
        lr: Step size of the weights.
        start: First weight of every auxiliary task.
        largest: Upper bound of the weights.

    Raises:
        ConfigError: If an argument lies outside its range.
    """

    needs_target = True

    def __init__(self, window: int = 5, lr: float = 0.05, start: float = 1.0, largest: float = 2.0):
        super().__init__()
        if window < 1 or not lr > 0 or not 0 <= start <= largest:
            raise ConfigError(
                f"`window` is {window}, `lr` {lr}, `start` {start} and `largest` {largest}; "
                "expected window >= 1, lr > 0 and 0 <= start <= largest"
            )
        self.window, self.lr, self.start, self.largest = window, lr, start, largest
        self.weights: dict[str, float] = {}

    def prepare(self, tasks: Sequence[str], target: str | None) -> None:
        """Set every auxiliary weight to ``start``."""
        self.weights = {name: self.start for name in tasks if name != target}
        self._sums, self._steps = dict.fromkeys(self.weights, 0.0), 0

    def backward(self, step: Step) -> dict[str, float]:
        """Set the gradient of the weighted sum; see :meth:`Weighting.backward`.

        Raises:
            ConfigError: If there is no target, a task was not there at setup, or tasks have no
                parameter in common.
            GtlError: If a loss is not finite.
        """
        target = require_known(self, step)
        pulls = task_gradients(step, sound_losses(step.losses))
        weights = {name: 1.0 if name == target else self.weights[name] for name in pulls}
        set_combination(step, pulls, lambda task, name: weights[task])
        for name in [name for name in pulls if name != target and target in pulls]:
            self.consistency[name] = float(cosine_of(pulls[target], pulls[name], step.shared))
            self._sums[name] += self.consistency[name]
        self._steps += 1
        if self._steps == self.window:
            self._update()
        return {**dict.fromkeys(step.losses, 0.0), **weights}

    def _update(self) -> None:
        for name, total in self._sums.items():
            self.weights[name] = min(max(self.weights[name] + self.lr * total, 0.0), self.largest)
        self._sums, self._steps = dict.fromkeys(self.weights, 0.0), 0

    def get_extra_state(self) -> dict[str, Any]:
        """Weights, and the cosines of this window so far."""
        if not self.tasks:
            return {}
        return {"weights": dict(self.weights), "sums": dict(self._sums), "steps": self._steps}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`get_extra_state`; :meth:`setup` comes first.

        Raises:
            ConfigError: If the state belongs to other tasks.
        """
        if state:
            require_same_tasks(state["weights"], self.weights)
            self.weights.update(state["weights"])
            self._sums.update(state["sums"])
            self._steps = int(state["steps"])
