"""Random constant weights: what the published code of AUX-TS computes.

In that code the look-ahead step is taken in place, so that no gradient reaches the weighting
network, which keeps its random initial values; and the product of losses ``(n,)`` and weights
``(n, 1)`` broadcasts to ``(n, n)``, whose mean is that of one weight per task. The method that Han
et al. 2021 describe is :class:`gtl.weightings.aux_ts.AuxTS`. Random constant weights reproduce the
published runs and are a baseline for learned weightings.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gtl.errors import ConfigError
from gtl.roles import Step, Weighting
from gtl.weightings.gradients import weighted_backward
from gtl.weightings.learned import require_known


class RandomFixed(Weighting):
    """One weight per task, drawn at setup and constant from then on.

    Args:
        seed: Decides the draw.
        low: Smallest weight.
        high: Largest weight. The defaults are the range of the weights of 200 randomly
            initialized networks of the published shape.

    Raises:
        ConfigError: Unless ``0 <= low <= high``.
    """

    values: Tensor

    def __init__(self, seed: int = 0, low: float = 0.16, high: float = 0.78):
        super().__init__()
        if not 0 <= low <= high:
            raise ConfigError(f"`low` is {low} and `high` is {high}, expected 0 <= low <= high")
        self.seed, self.low, self.high = seed, low, high
        self.register_buffer("values", torch.empty(0))

    def prepare(self, tasks: Sequence[str], target: str | None) -> None:
        """Draw a weight for each task."""
        draw = torch.rand(len(tasks), generator=torch.Generator().manual_seed(self.seed))
        self.values = (self.low + (self.high - self.low) * draw).to(self.values.device)

    def backward(self, step: Step) -> dict[str, float]:
        """Set the gradient of the weighted sum; see :meth:`Weighting.backward`.

        Without auxiliary tasks the target has weight 1.

        Raises:
            ConfigError: If a task was not there at setup.
            GtlError: If a loss is not finite.
        """
        if list(step.losses) == [step.target]:
            return weighted_backward(step, dict.fromkeys(step.losses, 1.0))
        require_known(self, step)
        return weighted_backward(step, dict(zip(self.tasks, self.values.tolist())))
