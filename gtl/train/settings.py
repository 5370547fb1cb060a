"""Settings of the training steps that users give by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from gtl.checks import check_not_negative, check_positive, check_whole
from gtl.train.optimizers import FIRST, build_optimizer, parts_of
from gtl.train.step import TaskModel
from gtl.train.tuning import Tuning


@dataclass(frozen=True)
class Settings:
    """Settings of the training steps that a user gives by name.

    Attributes:
        epochs: Passes over the training items.
        batch_size: Items per step; 0 means all at once.
        fan_out: Neighbors to sample at each hop; ``None`` for no sampling.
        lr: Learning rate.
        weight_decay: Weight decay of everything, or by part.
        optimizer: A key of :data:`gtl.train.optimizers.OPTIMIZERS`.
        rates: Learning rates of parts that have another, by part.
        patience: Epochs without a better validation value after which training ends; 0 for never.
        tuning: How fine-tuning moves what was pre-trained; ``None`` elsewhere.

    Raises:
        ConfigError: If a number is out of its range.
    """

    epochs: int
    batch_size: int
    fan_out: Sequence[int | None] | None
    lr: float
    weight_decay: float | Mapping[str, float]
    optimizer: str
    rates: Mapping[str, float] | None = None
    patience: int = 0
    tuning: Tuning | None = None

    def __post_init__(self) -> None:
        check_positive(epochs=self.epochs, lr=self.lr)
        check_not_negative(batch_size=self.batch_size, patience=self.patience)
        check_whole(epochs=self.epochs, batch_size=self.batch_size, patience=self.patience)

    def optimizer_of(self, model: TaskModel) -> torch.optim.Optimizer:
        """An optimizer of a model's parameters; settings of parts that it lacks are left out."""
        parts = {*parts_of(model).values(), FIRST}
        rates = {name: rate for name, rate in (self.rates or {}).items() if name in parts}
        decay = self.weight_decay
        if isinstance(decay, Mapping):
            decay = {name: value for name, value in decay.items() if name in parts}
        return build_optimizer(model, self.optimizer, self.lr, decay, rates)

    def to_json(self) -> dict[str, Any]:
        """All settings by name, for ``config.json``."""
        settings = {**asdict(self), "rates": dict(self.rates) if self.rates else None}
        del settings["tuning"]
        return {**settings, **(self.tuning.to_json(self.epochs) if self.tuning else {})}

    def check(self, model: TaskModel) -> None:
        """Refuse settings that do not fit the model with all of its tasks.

        Raises:
            ConfigError: As :func:`gtl.train.optimizers.build_optimizer`.
        """
        build_optimizer(model, self.optimizer, self.lr, self.weight_decay, self.rates)
