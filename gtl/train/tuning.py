"""How fine-tuning moves what was pre-trained: schedule of rates, frozen parts, averaged weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from gtl.checks import check_not_negative
from gtl.errors import ConfigError
from gtl.train.averaging import WeightAverage
from gtl.train.encoder_mode import EncoderMode
from gtl.train.schedule import Schedule

HEAD_STARTS = ("random", "fitted", "imprinted")


@dataclass(frozen=True)
class Tuning:
    """How fine-tuning moves what was pre-trained.

    Attributes:
        warmup: Epochs over which learning rates rise linearly.
        schedule: Decay of the rates after that, a key of :data:`gtl.train.schedule.SHAPES`.
        head_start: Whether a linear head begins at ``"random"``, ``"fitted"`` to the vectors, or
            ``"imprinted"``, with the directions of the class means.
        head_first: Epochs of the head alone, before the encoder moves and rates rise.
        batch_norm: Whether statistics of the encoder's batch norms are ``"frozen"``.
        average: Epochs over which weights are averaged; 0 for the weights of the last step.

    Raises:
        ConfigError: If a setting is unknown or outside its range.
    """

    warmup: float = 0.0
    schedule: str = "constant"
    head_start: str = "random"
    head_first: int = 0
    batch_norm: str = "train"
    average: float = 0.0

    def __post_init__(self) -> None:
        check_not_negative(average=self.average)
        if self.head_start not in HEAD_STARTS:
            raise ConfigError(f"`head_start` is {self.head_start!r}, expected one of {HEAD_STARTS}")
        self.encoder_mode()
        self.rates()

    def rates(self) -> Schedule:
        """The schedule of the learning rates; warm-up begins when the encoder moves."""
        return Schedule(self.schedule, self.warmup, self.head_first)

    def encoder_mode(self) -> EncoderMode:
        """What of the encoder is frozen, epoch by epoch."""
        return EncoderMode(self.head_first, self.batch_norm)

    def average_of(self, model: nn.Module, steps_per_epoch: int) -> WeightAverage | None:
        """An average of a model's weights, if one is wanted."""
        return WeightAverage(model, self.average, steps_per_epoch) if self.average else None

    def to_json(self, epochs: int) -> dict[str, Any]:
        """All settings by name, for ``config.json``.

        Args:
            epochs: Epochs of the training. A decay ends with them, so a run with one cannot be
                resumed with more: ``decay_epochs`` makes the run folder refuse that.
        """
        return {**asdict(self), "decay_epochs": None if self.schedule == "constant" else epochs}
