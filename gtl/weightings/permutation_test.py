"""Permutation test of auxiliary tasks: whether losses depend on which node has which vector.

The idea is that of the permutation importance of a feature (Breiman 2001, "Random Forests").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

LARGEST = 5.0  # of the statistic of one test: what a task showed long ago is forgotten in time
KEPT = 0.8  # of the evidence, from one test to the next
NOTICED = 2.0  # standard errors that chance explains
LARGEST_SUM = LARGEST / (1 - KEPT)
DEVIATION: float = (1 - KEPT**2) ** -0.5  # of the discounted sum of independent statistics
FLOOR = 0.05  # of the factor: the task's own parameters are still trained, so it can come back


class PermutationTest:
    """One factor a task, near 1 while its losses tell node vectors apart, small if they do not.

    A task teaches the encoder through the gradient of its losses with respect to the node vectors.
    If the losses are no larger with the vectors of other nodes, this gradient is noise. A test
    compares the losses of one step with those after a random permutation of the node vectors, at
    the cost of a pass through the task and none through the encoder. Its statistic, mean increase
    over standard error, has mean 0 and variance 1 for a task that is independent of the vectors.
    Statistics ``s_j`` of successive tests add up to ``z``, older ones discounted by
    :data:`KEPT` each::

        z = sum_j KEPT^j s_j / sqrt(sum_j KEPT^2j)        factor ~ 1 - (NOTICED / z)^2

    The factor is 1 at the largest ``z``, at least :data:`FLOOR`, also where ``z`` is small
    or negative. A task starts as if it had passed many tests, since an untrained task tells nothing
    apart.

    Random targets that stay the same can be memorized: then the losses do depend on the vectors,
    and only the look-ahead can show that the task is useless.

    Args:
        tasks: Names of the auxiliary tasks.

    Attributes:
        factors: The factor of each task, in ``[FLOOR, 1]``.
    """

    def __init__(self, tasks: Sequence[str]):
        self._sums = dict.fromkeys(tasks, LARGEST_SUM)
        self.factors: dict[str, float] = {}
        self._update()

    def add(self, losses: Mapping[str, Tensor], permuted: Mapping[str, Tensor]) -> None:
        """Take in one test.

        Args:
            losses: Losses ``(b_k,)`` by task.
            permuted: Losses ``(b_k,)`` of the same samples after a permutation of the node
                vectors. Tasks that are missing, or have less than two samples, are not tested.
        """
        tested = {
            name: statistic(losses[name].detach(), values)
            for name, values in permuted.items()
            if name in self._sums and len(values) > 1
        }
        if not tested:
            return
        for name, value in zip(tested, torch.stack(list(tested.values())).tolist()):
            self._sums[name] = KEPT * self._sums[name] + value
        self._update()

    def state(self) -> dict[str, float]:
        """Discounted sum of each task's statistics."""
        return dict(self._sums)

    def load(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`state`."""
        self._sums.update(state)
        self._update()

    def _update(self) -> None:
        self.factors = {name: factor(total / DEVIATION) for name, total in self._sums.items()}


def statistic(losses: Tensor, permuted: Tensor) -> Tensor:
    """Mean increase of the losses by a permutation over its standard error, ``()``.

    Limited to :data:`LARGEST`; zero if no loss changes.

    Args:
        losses: ``(b,)``, two or more.
        permuted: Losses ``(b,)`` of the same samples after the permutation.
    """
    change = permuted - losses
    error = change.std() / len(change) ** 0.5
    found = change.mean() / error.clamp(min=torch.finfo(error.dtype).tiny)
    bounded: Tensor = found.nan_to_num(0.0).clamp(-LARGEST, LARGEST)
    return bounded


def factor(z: float) -> float:
    """Factor of a task whose statistics add up to ``z`` standard errors."""
    if z <= NOTICED:
        return FLOOR
    largest = LARGEST_SUM / DEVIATION
    share = (1 - (NOTICED / z) ** 2) / (1 - (NOTICED / largest) ** 2)
    return min(max(share, FLOOR), 1.0)
