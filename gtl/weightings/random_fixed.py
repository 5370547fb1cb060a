"""Random weights that never change: what the published code of AUX-TS really does.

Its optimizer step cuts the weighting network off from the look-ahead, so the network keeps its
random initial values for ever, and a broadcast of ``(n,)`` with ``(n, 1)`` turns its weight per
sample into one number per task. Han et al. 2021 describe something else: that is
:class:`gtl.weightings.aux_ts.AuxTS`. This is the honest stand-in for the published runs, and the
control that a learned weighting must beat.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gtl.errors import ConfigError
from gtl.roles import Step, Weighting
from gtl.weightings.gradients import weighted_backward


class RandomFixed(Weighting):
    """Each task's mean loss counts by a number drawn once, at setup.

    Args:
        seed: Decides the draw.
        low: Smallest weight.
        high: Largest weight. The defaults are the range that 200 random initial networks of the
            published shape produced.

    Raises:
        ConfigError: Unless ``0 <= low <= high``.
    """

    values: Tensor

    def __init__(self, seed: int = 0, low: float = 0.16, high: float = 0.78):
        super().__init__()
        if not 0 <= low <= high:
            raise ConfigError(f"`low` is {low} and `high` is {high}, expected 0 <= low <= high")
        self.seed, self.low, self.high = seed, low, high
        self.tasks: tuple[str, ...] = ()
        self.register_buffer("values", torch.empty(0))

    def setup(self, tasks: Sequence[str], target: str | None) -> None:
        """Draw a weight for each task; the same tasks keep theirs."""
        if tuple(tasks) == self.tasks:
            return
        self.tasks = tuple(tasks)
        draw = torch.rand(len(tasks), generator=torch.Generator().manual_seed(self.seed))
        self.values = (self.low + (self.high - self.low) * draw).to(self.values.device)

    def backward(self, step: Step) -> dict[str, float]:
        """Set the gradient of the weighted sum; see :meth:`Weighting.backward`.

        Without auxiliary tasks the target counts once.
        """
        if list(step.losses) == [step.target]:
            return weighted_backward(step, dict.fromkeys(step.losses, 1.0))
        if not self.tasks:
            self.setup(list(step.losses), step.target)
        weights = dict(zip(self.tasks, self.values.tolist()))
        unknown = [name for name in step.losses if name not in weights]
        if unknown:
            raise ConfigError(f"task {unknown[0]!r} was not there at setup; call setup() again")
        return weighted_backward(step, weights)
