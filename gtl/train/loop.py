"""The training loop: batches, one step each, validation, checkpoints and resume."""

from __future__ import annotations

import copy
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gtl import checkpoint
from gtl.adapters.adapted import frozen_names
from gtl.catalog import WEIGHTINGS
from gtl.data.dataset import Dataset
from gtl.errors import CheckpointError, GtlWarning
from gtl.graph import Graph
from gtl.graph.sample import draw_numbers
from gtl.metrics import is_better
from gtl.progress import Progress
from gtl.roles import Batch, Task, View
from gtl.run_folder import RunFolder
from gtl.train.device import module_device
from gtl.train.distributed.sharing import Sharing
from gtl.train.epoch_means import Averages, EpochMeans, warn_of_closed_gates
from gtl.train.job import Job
from gtl.train.model import load_part
from gtl.train.step import Step, TaskModel

log = logging.getLogger(__name__)
CHECKPOINT_SECONDS = 10.0


@dataclass
class History:
    """What a run leaves in memory.

    Attributes:
        epochs: One dictionary per epoch, as in ``metrics.jsonl``.
        best: The epoch that validation data chose, its value and its weights.
        seconds: Training time, interruptions not counted.
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


PassOver = Callable[[Job, int, Progress | None], Averages]


class Training:
    """A run that can be interrupted and continued, in this process or, with a folder, in another.

    What it does depends on its own state alone, torch's global generators included: several
    trainings may take turns and each goes as it would have gone by itself.

    Args:
        job: What to train; the run in its folder is continued, if there is one.
        random: State of torch's global generators to start from; as they are now by default.
        pass_over: What an epoch is; :func:`train_on_batches` by default.

    Attributes:
        history: What it has left so far.
    """

    def __init__(
        self,
        job: Job,
        random: Mapping[str, Tensor] | None = None,
        pass_over: PassOver | None = None,
    ):
        self.job, self._pass_over = job, pass_over or train_on_batches
        self.random = dict(checkpoint.random_state() if random is None else random)
        self._frozen = frozen_names(job.model)
        after_step(job.model, progress=0.0)
        self.history = self._resume()
        if job.sharing is not None:
            self._begin_together(job.sharing)
        self._saved = time.monotonic()

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return self.job.steps_per_epoch

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history.epochs)

    @property
    def has_stopped(self) -> bool:
        """Whether ``patience`` epochs in a row were no better on validation data."""
        if not self.job.patience or not self.history.best:
            return False
        return bool(self.epoch > self.history.best["epoch"] + self.job.patience)

    def advance(self, epochs: int, progress: Progress | None = None) -> None:
        """Train until ``epochs`` epochs are done, in all, or validation data end the training.

        Args:
            epochs: How far to go; nothing happens if the training is there already, or has
                stopped.
            progress: Where the steps are counted.

        Raises:
            GtlError: If a loss stops being finite.
        """
        checkpoint.set_random_state(self.random)
        while self.epoch < epochs and not self.has_stopped:
            self._train_epoch(progress)
            self.random = checkpoint.random_state()
            is_last = self.epoch == epochs or self.has_stopped
            due = time.monotonic() - self._saved >= CHECKPOINT_SECONDS
            # Several processes end together when one of them fails: no epoch is to be lost.
            if is_last or due or self.job.sharing is not None:
                self.save()
            if progress is not None:
                progress.show(**self._shown())
                if self.epoch < epochs and is_last:
                    progress.update((epochs - self.epoch) * self.steps_per_epoch)

    def save(self) -> None:
        """Write a checkpoint, if there is a folder."""
        if self.job.folder is not None:
            self.job.folder.save(self._state())
            self._saved = time.monotonic()

    def keep_present(self) -> None:
        """Let the present weights be those of the chosen epoch, and write a checkpoint."""
        self._choose(self.epoch, None, self.job.observed())
        self.save()

    def finish(self) -> dict[str, Tensor]:
        """The weights of the chosen epoch, which the model is given too."""
        self._warn_of_idle_tasks()
        weights = {**self._weights(frozen=True), **self.history.best["model"]}
        self.job.model.load_state_dict(weights)
        return weights

    def _train_epoch(self, progress: Progress | None) -> None:
        job, history = self.job, self.history
        started = time.monotonic()
        with job.mode.epoch(job.model, self.epoch):
            averages = self._pass_over(self.job, self.epoch, progress)
        if job.sharing is not None:
            job.sharing.require_same(job.model, self.epoch)
            job.sharing.settle(job.model)
        warn_of_closed_gates([*history.epochs, averages], job.epochs)
        with nullcontext() if job.average is None else job.average.applied():
            valid, seen = self._validated()
            seconds = time.monotonic() - started
            if is_better(valid, history.best.get("valid"), job.data.metric):
                self._choose(self.epoch, valid, seen)
        history.seconds += seconds
        line = {"epoch": self.epoch, **averages, "valid": valid, "seconds": round(seconds, 4)}
        history.epochs.append({**line, **seen})
        if job.folder is not None:
            job.folder.log(history.epochs[-1])

    def _warn_of_idle_tasks(self) -> None:
        """Warn of tasks that had no sample in any epoch."""
        lines = [line["losses"] for line in self.history.epochs]
        for name, _ in self.job.model.named_tasks():
            if lines and all(line.get(name) is None for line in lines):
                warnings.warn(
                    f"the task {name!r} had no sample in the whole training and so no effect; "
                    "leave it out, or check what it needs of the data",
                    GtlWarning,
                    stacklevel=3,
                )

    def _validated(self) -> tuple[float | None, Mapping[str, Any]]:
        """Value on validation data and what was seen; with several processes of the first one."""
        job = self.job
        if job.sharing is None:
            return job.validate(), job.observed()
        found = job.sharing.processes.from_first(
            lambda: {"valid": job.validate(), "seen": dict(job.observed())}
        )
        return found["valid"], found["seen"]

    def _choose(self, epoch: int, valid: float | None, seen: Mapping[str, Any]) -> None:
        """Keep the present weights as the best; without values the latest always are, uncopied."""
        latest = valid is None and self.job.average is None
        weights = self._weights() if latest else copy.deepcopy(self._weights())
        self.history.best = {"epoch": epoch, "valid": valid, "model": weights, "seen": seen}

    def _shown(self) -> dict[str, str]:
        valid = self.history.epochs[-1]["valid"]
        shown = {} if valid is None else {self.job.data.metric: f"{valid:.4g}"}
        return {"epoch": f"{self.epoch}/{self.job.epochs}", **shown}

    def _weights(self, frozen: bool = False) -> dict[str, Tensor]:
        """Weights that training changes, or those that it leaves as they are."""
        state = self.job.model.state_dict()
        return {name: value for name, value in state.items() if (name in self._frozen) == frozen}

    def _state(self) -> dict[str, Any]:
        job, history = self.job, self.history
        return {
            "epoch": self.epoch,
            "seconds": history.seconds,
            "model": self._weights(),
            "best": history.best,
            "optimizer": job.optimizer.state_dict(),
            "weighting": job.weighting.state_dict(),
            "rng": job.rng.get_state(),
            "random": self.random,
            **({} if job.average is None else {"average": job.average.state_dict()}),
        }

    def _begun(self) -> History:
        """The history before the first epoch: empty, or with the start as the best."""
        self.history = History()
        if self.job.validate_start and self.job.writes:
            valid = self.job.validate()
            if valid is not None:
                self._choose(-1, valid, self.job.observed())
        return self.history

    def _resume(self) -> History:
        job = self.job
        state = job.folder.load() if job.folder is not None else None
        if job.folder is None or state is None:
            if job.folder is not None:
                job.folder.keep_epochs(0)
                job.folder.save_frozen(self._weights(frozen=True))
            return self._begun()
        _require_whole(job.folder, state)
        job.folder.keep_epochs(state["epoch"])
        load_part(job.model, {**job.folder.frozen(), **state["model"]}, "", job.folder.path)
        job.folder.save_frozen(self._weights(frozen=True))
        log.info("continuing %s after epoch %d", job.folder.path, state["epoch"])
        return self._continued(state, job.folder.read_metrics())

    def _continued(self, state: Mapping[str, Any], epochs: list[dict[str, Any]]) -> History:
        """Take over all of a state but the weights of the model."""
        job = self.job
        job.optimizer.load_state_dict(state["optimizer"])
        job.weighting.load_state_dict(state["weighting"])
        job.rng.set_state(state["rng"])
        self.random = state["random"]
        if job.average is not None:
            job.average.load_state_dict(state["average"])
        return History(epochs, state["best"], state["seconds"])

    def _begin_together(self, sharing: Sharing) -> None:
        """Start from the weights and the state of the first process, in all of them."""
        state = sharing.processes.from_first(
            lambda: {
                **self._state(),
                "model": self.job.model.state_dict(),
                "epochs": self.history.epochs,
            }
        )
        if not sharing.processes.is_first:
            self.job.model.load_state_dict(state["model"])
            self.history = self._continued(state, state["epochs"])


def _require_whole(folder: RunFolder, state: Mapping[str, Any]) -> None:
    """Refuse to continue what has no state of training, or not the metrics of all of its epochs."""
    if "epoch" not in state:
        raise CheckpointError(
            f"{folder.path} holds a model that was saved, without the state of its training; "
            "start from it with encoder=FOLDER (--encoder) in another folder"
        )
    known = len(folder.read_metrics())
    if known < state["epoch"]:
        raise CheckpointError(
            f"{folder.path / 'metrics.jsonl'} has {known} of the {state['epoch']} epochs of its "
            "checkpoint, so the run cannot be continued; restore it, or choose another folder"
        )


def train(job: Job) -> History:
    """Train; the model ends at the epoch that validation data selected (the last one without any).

    Raises:
        GtlError: If a loss stops being finite.
    """
    training = Training(job)
    steps = training.steps_per_epoch
    done = training.epoch * steps
    with Progress(job.title, job.epochs * steps, done, shown=job.writes) as progress:
        training.advance(job.epochs, progress)
    training.finish()
    return training.history


def train_on_batches(job: Job, epoch: int, progress: Progress | None) -> Averages:
    """Train on all items once; mean losses, weights and consistency by task."""
    means = EpochMeans(job.model.tasks.keys())
    done, total = epoch * job.steps_per_epoch, job.epochs * job.steps_per_epoch
    with job.epoch(epoch):
        for batch in batches(job.items, job.batch_size, job.rng, job.steps_per_epoch):
            job.schedule.set_rates(job.optimizer, done, job.steps_per_epoch, job.epochs)
            means.add(*train_step(job, batch), job.weighting.consistency)
            done += 1
            after_step(job.model, done / total)
            if job.average is not None:
                job.average.update()
            if progress is not None:
                progress.update()
    has_gates = any(type(task).gates is not Task.gates for _, task in job.model.named_tasks())
    if job.sharing is not None and has_gates:
        means.join_gates(job.sharing.processes)
    found = {name: task.measures() for name, task in job.model.named_tasks()}
    found = {name: values for name, values in found.items() if values}
    return {**means.line(epoch), **({"measures": found} if found else {})}


def train_step(job: Job, items: Tensor) -> tuple[Step, dict[str, float]]:
    """One step on some items, of all processes: views, losses, weights, and the optimizer moves."""
    device = module_device(job.model)
    graph = job.data.batch(job.share(items), device, job.fan_out, job.draws)
    views = {}
    for name, task in job.model.named_tasks():
        data = job.unlabeled if task.data is None and task.uses_unlabeled else task.data
        own = None if data is None else _draw(job, data, device)
        views[name] = task.view(Batch(graph, own), job.draws)
        if name == job.target:  # at link level without the links that it predicts
            graph = views[name].graph
    step = Step(
        job.model,
        views,
        job.optimizer,
        job.target,
        meta_view=_meta_view(job, device),
        seed=job.seed,
        sharing=job.sharing,
    )
    job.optimizer.zero_grad(set_to_none=True)
    # While heads are trained first nothing is shared: tasks do not compete and are not weighted.
    apart = job.mode.head_first and not step.shared
    weights = (WEIGHTINGS.build("equal") if apart else job.weighting).backward(step)
    job.optimizer.step()
    return step, weights


def after_step(model: TaskModel, progress: float) -> None:
    """Call :meth:`Task.after_step` of all tasks."""
    for _, task in model.named_tasks():
        task.after_step(model, progress)


def batches(items: Tensor, size: int, rng: torch.Generator, steps: int) -> Iterator[Tensor]:
    """Shuffled batches of item numbers; ``size`` 0 means one batch of all.

    The last of the ``steps`` has all that are left: contrasts and batch norms compare graphs, and
    tasks take a batch of one graph for node-level data.
    """
    order = items[torch.randperm(len(items), generator=rng)]
    size = size or max(len(items), 1)
    whole = size * (steps - 1)
    yield from (order[start : start + size] for start in range(0, whole, size))
    yield order[whole:]


def _meta_view(job: Job, device: torch.device) -> View | None:
    if job.target is None or not len(job.meta_items):
        return None
    size = job.batch_size or len(job.meta_items)
    chosen = job.share(job.meta_items[draw_numbers(len(job.meta_items), size, job.rng)])
    graph = (job.meta_data or job.data).batch(chosen, device, job.fan_out, job.draws)
    return dict(job.model.named_tasks())[job.target].view(Batch(graph), job.draws)


def _draw(job: Job, data: Dataset, device: torch.device) -> Graph:
    items = data.items("train") if "train" in data.split else None
    total = len(data if items is None else items)
    drawn = job.share(draw_numbers(total, job.batch_size or total, job.rng))
    fan_out = job.fan_out if data.contents.can_sample else None
    return data.batch(drawn if items is None else items[drawn], device, fan_out, job.draws)
