"""Means over an epoch: loss, weight, consistency and gates of each task."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch

from gtl.errors import GtlError, GtlWarning
from gtl.roles import Gate
from gtl.train.distributed.processes import Processes
from gtl.train.step import Step

Averages = dict[str, dict[str, Any]]


class EpochMeans:
    """Mean loss, weight and consistency of each task over an epoch.

    Args:
        tasks: Names of the tasks.
    """

    def __init__(self, tasks: Iterable[str]):
        tasks = list(tasks)
        self._sums = {name: torch.zeros((), dtype=torch.float64) for name in tasks}
        self._counts = dict.fromkeys(tasks, 0)
        self._weights = dict.fromkeys(tasks, 0.0)
        self._consistency: dict[str, float] = {}
        self._gates: dict[str, GateCount] = {}
        self._steps = 0

    def add(
        self, step: Step, weights: Mapping[str, float], consistency: Mapping[str, float]
    ) -> None:
        """Count one step."""
        for name, losses in step.losses.items():
            self._sums[name] += losses.detach().double().sum().cpu()
            self._counts[name] += len(losses)
        for name, weight in weights.items():
            self._weights[name] += weight
        self._steps += 1
        for name, gate in _gates_of(step):
            self._gates.setdefault(name, GateCount()).add(gate)
        for name, cosine in consistency.items():
            self._consistency[name] = self._consistency.get(name, 0.0) + cosine

    def join_gates(self, processes: Processes) -> None:
        """Count the gates of all processes together, where all of them have the same ones.

        All processes must call it, those included that had no sample.
        """
        counts = [self._gates[name] for name in sorted(self._gates)]
        if len({count for (count,) in processes.numbers([len(counts)])}) > 1 or not counts:
            return
        own = [[gate.open, gate.total, gate.low, gate.high] for gate in counts]
        every = processes.gathered(torch.tensor(own, dtype=torch.float64, device=processes.device))
        for gate, parts in zip(counts, every.unbind(1)):  # (processes, 4)
            gate.open, gate.total = (int(total) for total in parts[:, :2].sum(0))
            gate.low, gate.high = float(parts[:, 2].min()), float(parts[:, 3].max())

    def line(self, epoch: int) -> Averages:
        """The means by task, ``None`` for a task that had no sample; ``gates`` if there are some.

        Raises:
            GtlError: If a loss is not finite.
        """
        losses: dict[str, float | None] = {}
        for name, total in self._sums.items():
            losses[name] = float(total) / self._counts[name] if self._counts[name] else None
            if not math.isfinite(losses[name] or 0.0):
                raise GtlError(
                    f"the loss of {name!r} is {losses[name]} in epoch {epoch}; "
                    "lower the learning rate (lr) or check the data"
                )
        weights = {name: weight / max(self._steps, 1) for name, weight in self._weights.items()}
        consistency = {name: c / max(self._steps, 1) for name, c in self._consistency.items()}
        found: Any = {"losses": losses, "weights": weights, "consistency": consistency}
        gates = {name: count.line() for name, count in self._gates.items() if count.total}
        return {**found, **({"gates": gates} if gates else {})}


class GateCount:
    """How often a gate was open over an epoch, and what decided."""

    def __init__(self) -> None:
        self.open = self.total = 0
        self.low, self.high = math.inf, -math.inf
        self.threshold, self.quantity = 0.0, ""

    def add(self, gate: Gate) -> None:
        """Count the samples of one step."""
        self.threshold, self.quantity = gate.threshold, gate.quantity
        if len(gate.values):
            self.open += int(gate.open.sum())
            self.total += len(gate.values)
            self.low = min(self.low, float(gate.values.min()))
            self.high = max(self.high, float(gate.values.max()))

    def line(self) -> dict[str, Any]:
        """``share`` of open samples, the ``threshold``, and ``low`` and ``high`` of the values."""
        return {
            "share": self.open / self.total,
            "quantity": self.quantity,
            "threshold": self.threshold,
            "low": self.low,
            "high": self.high,
        }


def warn_of_closed_gates(history: Sequence[Mapping[str, Any]], epochs: int) -> None:
    """Warn once of gates that were closed to every sample so far.

    Args:
        history: Lines of the epochs that are done; the warning comes after a quarter of all.
        epochs: All epochs.
    """
    if len(history) != max(1, epochs // 4):
        return
    for name, gate in history[-1].get("gates", {}).items():
        if not any(line.get("gates", {}).get(name, {}).get("share") for line in history):
            warnings.warn(
                f"the gate of {name!r} was closed to every sample in {len(history)} epochs: the "
                f"{gate['quantity']} lay between {gate['low']:.4g} and {gate['high']:.4g}, the "
                f"`threshold` is at {gate['threshold']:.4g}; change it, or leave the task out",
                GtlWarning,
                stacklevel=4,
            )


def _gates_of(step: Step) -> Iterator[tuple[str, Gate]]:
    tasks = dict(step.model.named_tasks())
    for name, view in step.views.items():
        for part, gate in tasks[name].gates(view).items():
            yield (f"{name} {part}" if part else name), gate
