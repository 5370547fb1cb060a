"""The loop: the only place where encoder, tasks, weighting and data meet."""

from __future__ import annotations

import copy
import logging
import math
import resource
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from gtl import checkpoint
from gtl.adapters import Adapted
from gtl.adapters.adapted import frozen_names
from gtl.adapters.freezing import is_frozen_by_adapter
from gtl.adapters.trainable import count_parameters
from gtl.catalog import ADAPTERS
from gtl.data.dataset import Dataset
from gtl.errors import ConfigError, GtlError, GtlWarning
from gtl.graph import Graph
from gtl.graph.sample import draw_numbers
from gtl.metrics import is_better
from gtl.roles import View, Weighting
from gtl.run_folder import RunFolder
from gtl.train.model import load_part, module_device
from gtl.train.step import Step, TaskModel

log = logging.getLogger(__name__)
CHECKPOINT_SECONDS = 10.0
OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


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
    """

    model: TaskModel
    weighting: Weighting
    optimizer: torch.optim.Optimizer
    data: Dataset
    items: Tensor
    epochs: int
    batch_size: int
    rng: torch.Generator
    seed: int = 0
    target: str | None = None
    fan_out: Sequence[int | None] | None = None
    meta_items: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    validate: Callable[[], float | None] = lambda: None
    folder: RunFolder | None = None
    title: str = ""


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


class Training:
    """A run that can be put aside and gone on with, in this process or, with a folder, in another.

    What it does depends on its own state alone, torch's global generators included: several
    trainings may take turns and each goes as it would have gone by itself.

    Args:
        job: What to train; goes on with the run in its folder, if there is one.
        random: State of torch's global generators to start from; as they are now by default.

    Attributes:
        history: What it has left so far.
    """

    def __init__(self, job: Job, random: Mapping[str, Tensor] | None = None):
        self.job = job
        self.random = dict(checkpoint.random_state() if random is None else random)
        self._frozen = frozen_names(job.model)
        self.history = self._resume()
        self._saved = time.monotonic()

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history.epochs)

    def advance(self, epochs: int, bar: Any = None) -> None:
        """Train until ``epochs`` epochs are done, in all.

        Args:
            epochs: How far to go; nothing happens if the training is there already.
            bar: Progress bar to move on by one an epoch.

        Raises:
            GtlError: If a loss stops being finite.
        """
        checkpoint.set_random_state(self.random)
        while self.epoch < epochs:
            self._train_epoch()
            self.random = checkpoint.random_state()
            if time.monotonic() - self._saved >= CHECKPOINT_SECONDS or self.epoch == epochs:
                self.save()
            if bar is not None:
                bar.update()
                bar.set_postfix(self._progress())

    def save(self) -> None:
        """Write a checkpoint, if there is a folder."""
        if self.job.folder is not None:
            self.job.folder.save(self._state())
            self._saved = time.monotonic()

    def finish(self) -> dict[str, Tensor]:
        """The weights of the chosen epoch, which the model is given too."""
        weights = {**self._weights(frozen=True), **self.history.best["model"]}
        self.job.model.load_state_dict(weights)
        return weights

    def _train_epoch(self) -> None:
        job, history = self.job, self.history
        started = time.monotonic()
        job.model.train()
        averages = self._all_batches()
        valid = job.validate()
        seconds = time.monotonic() - started
        history.seconds += seconds
        line = {"epoch": self.epoch, **averages, "valid": valid, "seconds": round(seconds, 4)}
        if is_better(valid, history.best.get("valid"), job.data.metric):
            self._choose(self.epoch, valid)
        history.epochs.append(line)
        if job.folder is not None:
            job.folder.log(line)

    def _all_batches(self) -> dict[str, dict[str, float | None]]:
        """Train on all items; returns mean losses, weights and consistency by task."""
        job = self.job
        means = _Means(job.model.tasks.keys())
        for batch in batches(job.items, job.batch_size, job.rng):
            means.add(*train_step(job, batch), job.weighting.consistency)
        return means.line(self.epoch)

    def _choose(self, epoch: int, valid: float | None) -> None:
        """Keep the present weights as the best; without values the latest always are, uncopied."""
        weights = self._weights() if valid is None else copy.deepcopy(self._weights())
        self.history.best = {"epoch": epoch, "valid": valid, "model": weights}

    def _progress(self) -> dict[str, str]:
        valid = self.history.epochs[-1]["valid"]
        return {} if valid is None else {self.job.data.metric: f"{valid:.4g}"}

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
        }

    def _resume(self) -> History:
        job = self.job
        state = job.folder.load() if job.folder is not None else None
        if job.folder is None or state is None:
            if job.folder is not None:
                job.folder.keep_epochs(0)
                job.folder.save_frozen(self._weights(frozen=True))
            return History()
        job.folder.keep_epochs(state["epoch"])
        load_part(job.model, {**job.folder.frozen(), **state["model"]}, "", job.folder.path)
        job.folder.save_frozen(self._weights(frozen=True))
        job.optimizer.load_state_dict(state["optimizer"])
        job.weighting.load_state_dict(state["weighting"])
        job.rng.set_state(state["rng"])
        self.random = state["random"]
        log.info("going on with %s after epoch %d", job.folder.path, state["epoch"])
        return History(job.folder.read_metrics(), state["best"], state["seconds"])


def run(job: Job) -> History:
    """Train; the model ends at the epoch that validation data chose (the last one without any).

    Raises:
        GtlError: If a loss stops being finite.
    """
    training = Training(job)
    with progress(job.title, job.epochs, training.epoch) as bar:
        training.advance(job.epochs, bar)
    training.finish()
    return training.history


def progress(title: str, epochs: int, done: int = 0) -> Any:
    """A progress bar over epochs, silent where nobody watches."""
    return tqdm(total=epochs, initial=done, desc=title, unit="epoch", disable=None, leave=False)


def train_step(job: Job, items: Tensor) -> tuple[Step, dict[str, float]]:
    """One step: views, losses, weights, and the optimizer moves."""
    device = module_device(job.model)
    graph = job.data.batch(items, device, job.fan_out, job.rng)
    views = {}
    for name, task in job.model.named_tasks():
        source = graph
        if task.data is not None:
            source = _draw(job, task.data, device)
        views[name] = task.view(source, job.rng)
        if name == job.target:  # at link level without the links that are asked about
            graph = views[name].graph
    step = Step(
        job.model,
        views,
        job.optimizer,
        job.target,
        meta_view=_meta_view(job, device),
        seed=job.seed,
    )
    job.optimizer.zero_grad(set_to_none=True)
    weights = job.weighting.backward(step)
    job.optimizer.step()
    return step, weights


def batches(items: Tensor, size: int, rng: torch.Generator) -> Iterator[Tensor]:
    """Shuffled batches of item numbers; ``size`` 0 means one batch of all."""
    order = items[torch.randperm(len(items), generator=rng)]
    yield from order.split(size or max(len(items), 1))


def build_optimizer(
    model: TaskModel,
    name: str,
    lr: float,
    weight_decay: float,
    rates: Mapping[str, float] | None = None,
) -> torch.optim.Optimizer:
    """An optimizer of the parameters that may move.

    Args:
        model: Encoder and tasks.
        name: A key of :data:`OPTIMIZERS`.
        lr: Learning rate.
        weight_decay: Weight decay.
        rates: Learning rates of some parts, by the names of :func:`parts_of`.

    Raises:
        ConfigError: If the name is unknown, a rate is for no part, or nothing may move.
    """
    if name not in OPTIMIZERS:
        raise ConfigError(f"unknown optimizer {name!r}; known: {', '.join(OPTIMIZERS)}")
    warn_if_held(model.encoder)
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise ConfigError("no parameter may move; unfreeze some or attach an adapter")
    extra = {"momentum": 0.9} if name == "sgd" else {}
    groups: Any = trained if not rates else _by_rate(model, lr, rates)
    return OPTIMIZERS[name](groups, lr=lr, weight_decay=weight_decay, **extra)


def warn_if_held(encoder: nn.Module) -> None:
    """Warn of an encoder that is frozen for an adapter which is no part of this training."""
    if is_frozen_by_adapter(encoder):
        warnings.warn(
            "the encoder was frozen when an adapter was attached to it, and stays so here; call "
            "gtl.adapters.detach on the adapted one before, or give a copy made before",
            GtlWarning,
            stacklevel=3,
        )


def parts_of(model: TaskModel) -> dict[str, str]:
    """Parts by the beginning of their parameters' names; one inside another comes first.

    Parts are the adapters in use and the auxiliary tasks by name, ``head`` (with its readout) and
    ``encoder``.
    """
    parts = {}
    if isinstance(model.encoder, Adapted):
        for i, part in enumerate(model.encoder.parts()):
            parts[f"encoder.adapters.{model.encoder.active_adapter}.{i}."] = ADAPTERS.name_of(part)
    parts["encoder."] = "encoder"
    for name, _ in model.named_tasks():
        parts[f"tasks.{name}."] = "head" if name == "supervised" else name
    return parts


def _by_rate(model: TaskModel, lr: float, rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """The parameters that may move, in groups of one learning rate each."""
    parts, groups, moving = parts_of(model), defaultdict(list), set()
    for name, rate in rates.items():
        if name not in parts.values():
            raise ConfigError(
                f"`rates` names {name!r}, which is no part of this training; parts: "
                f"{', '.join(dict.fromkeys(parts.values()))}"
            )
        if not rate > 0:
            raise ConfigError(f"the rate of {name!r} is {rate}, expected a positive number")
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = next(part for start, part in parts.items() if name.startswith(start))
            groups[rates.get(part, lr)].append(parameter)
            moving.add(part)
    for name in rates:
        if name not in moving:
            raise ConfigError(f"`rates` names {name!r}, of which nothing may move; leave it out")
    return [{"params": group, "lr": rate} for rate, group in groups.items()]


def footprint(model: nn.Module, seconds: float) -> dict[str, Any]:
    """What a run cost: parameters, bytes of weights that are not frozen, time, peak memory."""
    total, trained = count_parameters(model)
    frozen = frozen_names(model)
    state = [value for name, value in model.state_dict().items() if name not in frozen]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "parameters_total": total,
        "parameters_trained": trained,
        "stored_bytes": sum(value.numel() * value.element_size() for value in state),
        "seconds": round(seconds, 3),
        "peak_memory_bytes": peak if sys.platform == "darwin" else peak * 1024,
    }


class _Means:
    """Mean loss, weight and consistency of each task over an epoch."""

    def __init__(self, tasks: Iterable[str]):
        tasks = list(tasks)
        self._sums = {name: torch.zeros((), dtype=torch.float64) for name in tasks}
        self._counts = dict.fromkeys(tasks, 0)
        self._weights = dict.fromkeys(tasks, 0.0)
        self._consistency: dict[str, float] = {}
        self._steps = 0

    def add(
        self, step: Step, weights: Mapping[str, float], consistency: Mapping[str, float]
    ) -> None:
        for name, losses in step.losses.items():
            self._sums[name] += losses.detach().double().sum().cpu()
            self._counts[name] += len(losses)
        for name, weight in weights.items():
            self._weights[name] += weight
        self._steps += 1
        for name, cosine in consistency.items():
            self._consistency[name] = self._consistency.get(name, 0.0) + cosine

    def line(self, epoch: int) -> dict[str, dict[str, float | None]]:
        losses: dict[str, float | None] = {}
        for name, total in self._sums.items():
            losses[name] = float(total) / self._counts[name] if self._counts[name] else None
            if not math.isfinite(losses[name] or 0.0):
                raise GtlError(
                    f"the loss of {name!r} is {losses[name]} in epoch {epoch}; "
                    "lower the learning rate (lr) or check the data"
                )
        weights = {name: weight / max(self._steps, 1) for name, weight in self._weights.items()}
        consistency = {name: c / max(self._steps, 1) for name, c in self._consistency.items()}
        return {"losses": losses, "weights": weights, "consistency": consistency}  # type: ignore[dict-item]


def _meta_view(job: Job, device: torch.device) -> View | None:
    if job.target is None or not len(job.meta_items):
        return None
    size = job.batch_size or len(job.meta_items)
    chosen = job.meta_items[draw_numbers(len(job.meta_items), size, job.rng)]
    graph = job.data.batch(chosen, device, job.fan_out, job.rng)
    return dict(job.model.named_tasks())[job.target].view(graph, job.rng)


def _draw(job: Job, data: Dataset, device: torch.device) -> Graph:
    items = data.items("train") if "train" in data.split else None
    total = len(data if items is None else items)
    drawn = draw_numbers(total, job.batch_size or total, job.rng)
    fan_out = job.fan_out if data.level == "node" else None
    return data.batch(drawn if items is None else items[drawn], device, fan_out, job.rng)
