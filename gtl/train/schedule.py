"""Schedule of learning rates: linear warm-up, then constant, cosine (Loshchilov & Hutter 2017) or
linear decay.

The factor of a step depends on its number alone, so a run that is resumed needs no state of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from gtl.checks import check_not_negative
from gtl.errors import ConfigError
from gtl.suggest import nearest

SHAPES: Mapping[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
    "linear": lambda progress: 1 - progress,
}


@dataclass(frozen=True)
class Schedule:
    """Factor of all learning rates, step by step; rates of parts keep their ratio.

    Attributes:
        shape: ``"constant"``, or how rates fall to 0 between warm-up and last epoch: ``"cosine"``
            or ``"linear"``.
        warmup: Epochs over which rates rise linearly; parts of an epoch count. A training that is
            shorter does not reach the full rates.
        start: Epoch before which the factor is 1 and from which on the warm-up counts: where an
            encoder begins to move after the head.

    Raises:
        ConfigError: If the shape is unknown or a number below 0.

    Example:
        >>> warm = Schedule("linear", warmup=1)
        >>> [warm.factor(step, steps_per_epoch=2, epochs=3) for step in range(6)]
        [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """

    shape: str = "constant"
    warmup: float = 0.0
    start: int = 0

    def __post_init__(self) -> None:
        check_not_negative(warmup=self.warmup)
        if self.shape not in SHAPES:
            hint = nearest(str(self.shape), SHAPES)
            raise ConfigError(f"unknown `schedule` {self.shape!r}; {hint}")

    def factor(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """Factor of the rates at a step.

        Args:
            step: Number of the step, from 0 on.
            steps_per_epoch: Steps of an epoch.
            epochs: Epochs of the whole training, where a decay ends.
        """
        begin = self.start * steps_per_epoch
        warm = round(self.warmup * steps_per_epoch)
        if step < begin:
            return 1.0
        if step < begin + warm:
            return (step - begin + 1) / warm
        length = max(epochs * steps_per_epoch - begin - warm, 1)
        return SHAPES[self.shape]((step - begin - warm) / length)

    def set_rates(
        self, optimizer: torch.optim.Optimizer, step: int, steps_per_epoch: int, epochs: int
    ) -> None:
        """Set the rates of an optimizer for a step; those it began with are ``initial_lr``.

        Args:
            optimizer: Its groups are changed, unless the factor is always 1.
            step: As in :meth:`factor`.
            steps_per_epoch: Likewise.
            epochs: Likewise.
        """
        if self.shape == "constant" and not self.warmup:
            return
        factor = self.factor(step, steps_per_epoch, epochs)
        for group in optimizer.param_groups:
            group["lr"] = factor * group.setdefault("initial_lr", group["lr"])
