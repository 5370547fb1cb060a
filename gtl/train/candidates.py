"""Candidates of a fine-tuning: a training for each weighting, all from one start."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from gtl.adapters import AdaptedEncoder
from gtl.catalog import WEIGHTINGS
from gtl.checkpoint import read_json
from gtl.data.dataset import Dataset
from gtl.roles import Task, Weighting
from gtl.run_folder import CANDIDATES, RunFolder
from gtl.train.device import module_device
from gtl.train.distributed.sharing import Sharing
from gtl.train.evaluate import evaluate
from gtl.train.job import Job
from gtl.train.loop import Training
from gtl.train.model import TARGET, Model
from gtl.train.selection import TARGET_ONLY, Candidate, RandomState, copy_of
from gtl.train.settings import Settings
from gtl.train.step import TaskModel
from gtl.train.target import TrainingItems
from gtl.train.target_kinds import model_for
from gtl.train.tuning import Tuning


class Validation(ABC):
    """What validates an epoch in place of the metric on validation data."""

    @abstractmethod
    def value(self) -> float:
        """Value of the model as it is, better in the direction of the data's metric."""

    def seen(self) -> Mapping[str, Any]:
        """What the last call of :meth:`value` found, for the line of the epoch in the history."""
        return {}


@dataclass(frozen=True)
class OtherData:
    """What a fine-tuning reads beside its labeled data.

    Attributes:
        validation: Makes the validation of a model; ``None`` for the metric on validation data.
        meta: Labeled data whose training items the meta loss of look-aheads is computed on.
    """

    validation: Callable[[Model], Validation] | None = None
    meta: Dataset | None = None


NOTHING_ELSE = OtherData()


@dataclass(frozen=True)
class Start:
    """What all candidates start from.

    Attributes:
        model: Encoder and all tasks.
        before_tasks: Random state before the auxiliary tasks were made, as in a run without them.
        with_tasks: Random state after that.
        unlabeled: Data of the tasks that use unlabeled items.
        other: What else is read.
        sharing: How several processes share a step; ``None`` for one alone.
    """

    model: TaskModel
    before_tasks: RandomState
    with_tasks: RandomState
    unlabeled: Dataset | None = None
    other: OtherData = NOTHING_ELSE
    sharing: Sharing | None = None


def candidates_of(
    weightings: Mapping[str, Weighting],
    start: Start,
    dataset: Dataset,
    items: TrainingItems,
    settings: Settings,
    seed: int,
    folder: RunFolder | None,
    resume: bool,
) -> list[Candidate]:
    """A training for each weighting, all from the same parameters and random state.

    A single one trains the model itself and writes to the run folder; several train copies, each
    with a run folder of its own below it.
    """
    tuning, candidates = settings.tuning or Tuning(), []
    for name, how in weightings.items():
        tasks = [TARGET] if name == TARGET_ONLY else list(start.model.tasks)
        alone = len(weightings) == 1
        model = start.model if alone else copy_of(start.model, tasks)
        random = start.before_tasks if name == TARGET_ONLY else start.with_tasks
        rng = random.restored()
        how.to(module_device(model)).restart(tasks, TARGET)
        meta = start.other.meta
        job = Job(
            model,
            how,
            settings.optimizer_of(model),
            dataset,
            items.train,
            settings.epochs,
            dataset.contents.step_size(settings.batch_size, settings.fan_out),
            rng,
            seed=seed,
            target=TARGET,
            fan_out=settings.fan_out,
            patience=settings.patience,
            schedule=tuning.rates(),
            mode=tuning.encoder_mode(),
            meta_items=items.meta if meta is None else meta.items("train"),
            meta_data=meta,
            validate_start=tuning.head_start != "random",
            unlabeled=start.unlabeled,
            sharing=start.sharing,
            folder=folder if alone else _folder_below(folder, name, how, tasks, resume),
        )
        _validate(job, dataset, start.other)
        job.average = tuning.average_of(model, job.steps_per_epoch)
        candidates.append(Candidate(name, Training(job)))
    return candidates


def cache_vectors(encoder: nn.Module, dataset: Dataset, items: TrainingItems) -> None:
    """Encode all graphs of training and validation once, if their vectors cannot change."""
    graphs = dataset.contents.packed()
    if isinstance(encoder, AdaptedEncoder) and graphs is not None:
        valid = dataset.split.get("valid", items.train[:0])
        encoder.encode_once(graphs, torch.cat([*items, valid]))


def folder_of(candidate: Candidate) -> RunFolder:
    """The run folder of one of several candidates."""
    folder = candidate.training.job.folder
    assert folder is not None
    return folder


def _validate(job: Job, dataset: Dataset, other: OtherData) -> None:
    """Say what validates the epochs of a training."""
    if not len(dataset.split.get("valid", ())):
        return
    target: Task = job.model.tasks[TARGET]  # type: ignore[assignment]
    candidate = model_for(job.model.encoder, target, dataset, job.fan_out)  # type: ignore[arg-type]
    if other.validation is None:
        job.validate = lambda: evaluate(candidate, dataset, "valid")[dataset.metric]
        return
    validation = other.validation(candidate)  # of labels alone
    job.validate, job.observed = validation.value, validation.seen


def _folder_below(
    folder: RunFolder | None, name: str, how: Weighting, tasks: Sequence[str], resume: bool
) -> RunFolder | None:
    """A run folder for one of several candidates."""
    if folder is None:
        return None
    config = read_json(folder.path / "config.json")
    config["weighting"], config["guard"] = WEIGHTINGS.spec(how), False
    config["tasks"] = {k: spec for k, spec in config["tasks"].items() if k in tasks}
    plain = re.sub(r"[^A-Za-z0-9.=_-]+", "-", name).strip("-")
    return RunFolder(folder.path / CANDIDATES / plain, config, resume)
