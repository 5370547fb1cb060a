"""How fine-tuning moves what was pre-trained: schedule of rates, frozen parts, averaged weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gtl.train.schedule import Schedule


@dataclass(frozen=True)
class Tuning:
    """How fine-tuning moves what was pre-trained.

    Attributes:
        warmup: Epochs over which learning rates rise linearly.
        schedule: Decay of the rates after that, a key of :data:`gtl.train.schedule.SHAPES`.

    Raises:
        ConfigError: If a setting is unknown or outside its range.
    """

    warmup: float = 0.0
    schedule: str = "constant"

    def __post_init__(self) -> None:
        self.rates()

    def rates(self) -> Schedule:
        """The schedule of the learning rates."""
        return Schedule(self.schedule, self.warmup)

    def to_json(self, epochs: int) -> dict[str, Any]:
        """All settings by name, for ``config.json``.

        Args:
            epochs: Epochs of the training. A decay ends with them, so a run with one cannot be
                resumed with more: ``decay_epochs`` makes the run folder refuse that.
        """
        return {**asdict(self), "decay_epochs": None if self.schedule == "constant" else epochs}
