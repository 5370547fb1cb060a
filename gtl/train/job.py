"""Job of a training run: everything that one run needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.graph import Graph
from gtl.roles import Weighting
from gtl.run_folder import RunFolder
from gtl.train.averaging import WeightAverage
from gtl.train.distributed.sharing import Sharing
from gtl.train.encoder_mode import EncoderMode
from gtl.train.schedule import Schedule
from gtl.train.step import TaskModel


class Batches(Protocol):
    """What the loop needs of a data set; a :class:`gtl.Dataset` has it."""

    @property
    def metric(self) -> str:
        """Name of the metric that validation uses."""

    def batch(
        self,
        index: Tensor,
        device: torch.device | str = "cpu",
        fan_out: Sequence[int | None] | None = None,
        rng: torch.Generator | None = None,
    ) -> Graph:
        """The Graph of some items, with their labels."""


@dataclass
class Job:
    """Everything one training run needs.

    Attributes:
        model: Encoder and tasks, the target first.
        weighting: How much each loss counts.
        optimizer: Of the model's parameters.
        data: Where the batches come from.
        items: Items to train on, int64 ``(k,)``.
        epochs: Passes over ``items``.
        batch_size: Items per step; 0 means all at once.
        rng: Order of the items, sampled neighbors and random choices of the tasks.
        seed: Decides which samples a look-ahead holds back.
        target: Name of the target task, ``None`` when pre-training.
        fan_out: Neighbors to sample at each hop around the items of a step; ``None`` means that
            node-level data is seen whole.
        meta_items: Labeled items set aside for the look-ahead; empty means part of each batch.
        validate: Value of ``data.metric`` on validation data, ``None`` without such data.
        folder: Where to log and save, or ``None``.
        title: For the progress bar.
        validate_start: Whether the weights before the first epoch, as epoch -1, may be the best.
        patience: Epochs without a better validation value after which training ends; 0 for never.
        schedule: Factor of the learning rates, step by step.
        mode: What of the encoder is frozen, epoch by epoch.
        average: Average of the weights, which is validated and kept in their place, or ``None``.
        unlabeled: Data of the tasks that use unlabeled items and have none of their own.
        meta_data: Where ``meta_items`` come from, if not from ``data``.
        observed: What validation saw beside its value, for the line of the epoch.
        sharing: How the processes of a data-parallel training share a step; ``None`` for one alone.
    """

    model: TaskModel
    weighting: Weighting
    optimizer: torch.optim.Optimizer
    data: Batches
    items: Tensor
    epochs: int
    batch_size: int
    rng: torch.Generator
    seed: int = 0
    target: str | None = None
    fan_out: Sequence[int | None] | None = None
    meta_items: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    validate: Callable[[], float | None] = lambda: None
    validate_start: bool = False
    folder: RunFolder | None = None
    title: str = ""
    patience: int = 0
    schedule: Schedule = field(default_factory=Schedule)
    mode: EncoderMode = field(default_factory=EncoderMode)
    average: WeightAverage | None = None
    unlabeled: Dataset | None = None
    meta_data: Batches | None = None
    observed: Callable[[], Mapping[str, Any]] = dict
    sharing: Sharing | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch; a last one of a single graph is part of the one before."""
        size = self.batch_size or max(len(self.items), 1)
        steps = max(1, math.ceil(len(self.items) / size))
        contents = getattr(self.data, "contents", None)
        has_graphs = contents is not None and not contents.one_graph
        is_single = steps > 1 and size > 1 and len(self.items) % size == 1
        return steps - int(has_graphs and is_single)

    @property
    def writes(self) -> bool:
        """Whether this process shows progress; with several only the first does."""
        return self.sharing is None or self.sharing.processes.is_first

    @property
    def draws(self) -> torch.Generator:
        """Generator of views and of sampled neighbors."""
        return (self.sharing and self.sharing.draws) or self.rng

    def epoch(self, number: int) -> AbstractContextManager[None]:
        """Around the steps of an epoch."""
        if self.sharing is None:
            return nullcontext()
        return self.sharing.epoch(self.model, self.seed, number)

    def share(self, items: Tensor) -> Tensor:
        """The items of a step that this process reads."""
        return items if self.sharing is None else self.sharing.share(items)
