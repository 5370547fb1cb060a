"""Learned numbers of a weighting, one per task, and checks of the tasks that it was set up for."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch

from gtl.errors import ConfigError
from gtl.roles import Step, Weighting


class TaskNumbers:
    """One learned number per task.

    They stay on the CPU in float64 whatever the device of the model: a handful of numbers that
    every step reads as Python floats.

    Args:
        tasks: Names of the tasks.
        start: First value of each number.
        lr: Learning rate of Adam.
    """

    def __init__(self, tasks: Sequence[str], start: float, lr: float):
        self._values = {
            name: torch.full((), start, dtype=torch.float64, requires_grad=True) for name in tasks
        }
        self._adam = torch.optim.Adam(list(self._values.values()), lr=lr)

    def __getitem__(self, task: str) -> float:
        """The number of a task."""
        return float(self._values[task].detach())

    def descend(
        self, slopes: Mapping[str, float], low: float = -math.inf, high: float = math.inf
    ) -> None:
        """One step of Adam against ``slopes``, clamped to ``[low, high]``; others do not change."""
        for name, value in self._values.items():
            value.grad = value.new_tensor(slopes[name]) if name in slopes else None
        self._adam.step()
        with torch.no_grad():
            for value in self._values.values():
                value.clamp_(low, high)

    @torch.no_grad()
    def scale_to(self, total: float) -> None:
        """Multiply all numbers, which must be positive, so that their sum is ``total``."""
        factor = total / sum(float(value) for value in self._values.values())
        for value in self._values.values():
            value.mul_(factor)

    def state(self) -> dict[str, Any]:
        """Numbers and the state of Adam, as plain nested values."""
        return {
            "values": {name: self[name] for name in self._values},
            "adam": self._adam.state_dict()["state"],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`state`.

        Raises:
            ConfigError: If the state belongs to other tasks.
        """
        require_same_tasks(state["values"], self._values)
        with torch.no_grad():
            for name, value in state["values"].items():
                self._values[name].fill_(value)
        load_optimizer_state(self._adam, state["adam"])


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: Mapping[int, Any]) -> None:
    """Put back the moments of ``optimizer.state_dict()["state"]``; settings stay as they are."""
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def require_same_tasks(stored: Collection[str], own: Collection[str]) -> None:
    """Check that a stored state belongs to the tasks of this weighting.

    Raises:
        ConfigError: If it does not.
    """
    if set(stored) != set(own):
        raise ConfigError(
            f"the stored weighting was set up for the tasks {list(stored)}, this one for "
            f"{list(own)}; call setup() with the same tasks first"
        )


def require_known(weighting: Weighting, step: Step) -> str:
    """Set up a weighting that was not, and check that it was set up for the tasks of the step.

    Args:
        weighting: The weighting.
        step: The step.

    Returns:
        The name of the target; empty if the step has none.

    Raises:
        ConfigError: If a task was not there at setup, or the weighting needs a target and the
            step has none.
    """
    if not weighting.tasks:
        weighting.setup(list(step.losses), step.target)
    unknown = [name for name in step.losses if name not in weighting.tasks]
    if unknown:
        raise ConfigError(
            f"`step.losses` has the task {unknown[0]!r}, which was not there at setup; expected "
            f"{', '.join(weighting.tasks)}; call setup() with all tasks"
        )
    if weighting.needs_target and step.target is None:
        raise ConfigError(
            f"`step.target` is None, expected the name of a task: {type(weighting).__name__} was "
            "set up with a target; give every step its target"
        )
    return step.target or ""
