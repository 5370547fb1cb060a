"""Aggregators of TorchJD as weightings (PCGrad, MGDA, UPGrad, ...).

Quinton & Rey 2024, "Jacobian Descent for Multi-Objective Optimization" (arXiv 2406.16232), and the
authors of each aggregator, whom TorchJD names.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from gtl.errors import UnknownPartError
from gtl.optional import needs
from gtl.roles import Step, Weighting
from gtl.weightings.gradients import sound_losses
from gtl.weightings.learned import require_known
from gtl.weightings.task_gradients import set_combination, task_gradients


class TorchJD(Weighting):
    """The gradients of all tasks, combined to one by an aggregator of TorchJD.

    The aggregator gets a matrix with a row per task that has samples: the gradient of the task's
    mean loss by the shared parameters, the target's first. A task's own parameters get its
    gradient unchanged. Costs one backward pass a task, and a copy of the encoder's gradient for
    each.

    Random aggregators are seeded by ``seed`` and the number of the step. Those that keep averages
    over steps start them anew when another number of tasks has samples.

    Derived classes are made by :func:`named`.

    Args:
        seed: Seed of random aggregators.

    Raises:
        MissingDependencyError: If TorchJD, or what the aggregator needs beside it, is not
            installed.
    """

    aggregator: ClassVar[str]

    def __init__(self, seed: int = 0):
        super().__init__()
        self.seed, self.steps = seed, 0
        with needs("baselines", f"weighting 'torchjd:{self.aggregator}'"):
            # In a list, so that it is no submodule: its buffers come and go, and loading a
            # state_dict would fail.
            self._aggregate = [_aggregators()[self.aggregator]()]
        self._stored: Mapping[str, Tensor] | None = None

    def prepare(self, tasks: Sequence[str], target: str | None) -> None:
        """Make a new aggregator."""
        self.steps, self._stored = 0, None
        self._aggregate = [type(self._aggregate[0])()]

    def backward(self, step: Step) -> dict[str, float]:
        """Set the aggregated gradient; see :meth:`Weighting.backward`.

        Returns:
            The coefficients of the tasks' gradients; for an aggregator that is not linear, those
            of the linear combination that is nearest to its result.

        Raises:
            ConfigError: If a task was not there at setup, or tasks have no parameter in common.
            GtlError: If a loss is not finite.
        """
        require_known(self, step)
        pulls = task_gradients(step, sound_losses(step.losses))
        used = dict.fromkeys(step.losses, 0.0)
        set_combination(step, pulls, lambda task, name: 1.0)
        if not pulls:
            return used
        sizes = {n: step.parameters[n].numel() for n in step.shared}
        matrix = torch.stack([_row(step, pull) for pull in pulls.values()])  # (t, p)
        with torch.no_grad(), torch.random.fork_rng(range(torch.cuda.device_count())):
            torch.manual_seed(self.seed * 1_000_003 + self.steps)
            combined, weights = self._combine(matrix)
        self.steps += 1
        for name, part in zip(sizes, combined.split(list(sizes.values()))):
            parameter = step.parameters[name]
            if parameter.grad is not None:
                parameter.grad = part.view_as(parameter).clone()
        return {**used, **dict(zip(pulls, weights.tolist()))}

    def _combine(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Aggregated gradient ``(p,)`` of a matrix ``(t, p)``, and the coefficients ``(t,)``."""
        from torchjd.aggregation import WeightedAggregator

        (aggregate,) = self._aggregate
        if self._stored is not None:
            # An aggregator makes its averages when it sees a matrix of their shape and device.
            with torch.random.fork_rng(range(torch.cuda.device_count())):
                aggregate(matrix)
            if {n: v.shape for n, v in aggregate.state_dict().items()} == {
                n: v.shape for n, v in self._stored.items()
            }:
                aggregate.load_state_dict(self._stored)
            self._stored = None
        if isinstance(aggregate, WeightedAggregator):
            weights = aggregate.weighting(matrix)
            return weights @ matrix, weights
        combined = aggregate(matrix)
        nearest = torch.linalg.pinv(matrix @ matrix.T, hermitian=True) @ (matrix @ combined)
        return combined, nearest

    def get_extra_state(self) -> dict[str, Any]:
        """The number of steps and the state of the aggregator."""
        (aggregate,) = self._aggregate
        memory = aggregate.state_dict() if self._stored is None else self._stored
        # Cloned: TorchJD has some of its averages under two names.
        return {"steps": self.steps, "aggregator": {n: v.clone() for n, v in memory.items()}}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`get_extra_state`."""
        self.steps, self._stored = int(state["steps"]), dict(state["aggregator"])


@cache
def named(name: str) -> type[TorchJD]:
    """The weighting of an aggregator.

    Args:
        name: Name of its class in ``torchjd.aggregation``, in lower case.

    Raises:
        MissingDependencyError: If TorchJD is not installed.
        UnknownPartError: If there is no such aggregator, or it cannot do without arguments.
    """
    with needs("baselines", f"weighting 'torchjd:{name}'"):
        known = _aggregators()
    if name not in known:
        raise UnknownPartError(
            f"TorchJD has no aggregator {name!r} that needs no arguments; known: {', '.join(known)}"
        )
    line = f"{known[name].__name__} of TorchJD, on the gradients of the tasks."
    return type(f"torchjd:{name}", (TorchJD,), {"aggregator": name, "__doc__": line})


def names() -> list[str]:
    """Names that :func:`named` knows; none if TorchJD is not installed."""
    try:
        return list(_aggregators())
    except ImportError:
        return []


@cache
def _aggregators() -> dict[str, type]:
    """Aggregators that can be built without arguments, by name in lower case."""
    from torchjd import aggregation

    found = {}
    for name in aggregation.__all__:
        kind = getattr(aggregation, name)
        if issubclass(kind, aggregation.Aggregator) and not inspect.isabstract(kind):
            arguments = inspect.signature(kind).parameters.values()
            if all(argument.default is not argument.empty for argument in arguments):
                found[name.lower()] = kind
    return dict(sorted(found.items()))


def _row(step: Step, pull: Mapping[str, Tensor]) -> Tensor:
    """Gradient of a task by all shared parameters ``(p,)``, zero where there is none."""
    return torch.cat(
        [
            pull[name].flatten()
            if name in pull
            else torch.zeros_like(step.parameters[name]).view(-1)
            for name in step.shared
        ]
    )
