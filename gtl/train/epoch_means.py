"""Means over an epoch: loss, weight and consistency of each task."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from gtl.errors import GtlError
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
        for name, cosine in consistency.items():
            self._consistency[name] = self._consistency.get(name, 0.0) + cosine

    def line(self, epoch: int) -> Averages:
        """The means by task, ``None`` for a task that had no sample.

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
        return {"losses": losses, "weights": weights, "consistency": consistency}
