"""Episodic fine-tuning of an adapter and a head with a closed form.

FiT (Shysheya et al. 2023): the encoder is frozen but for an adapter (FiLM). In each episode a head
with a closed form is fitted to one half of the labels, and its loss on the other half is minimized:
what is trained is how well classes are separated after a fit to few samples. In the end the head is
fitted to all labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gtl.adapters import Adapted
from gtl.catalog import HEADS, WEIGHTINGS
from gtl.checks import check_positive
from gtl.data.dataset import Dataset
from gtl.data.items import PairItems
from gtl.errors import ConfigError, DataError, GtlError
from gtl.heads.closed_form import ClosedForm
from gtl.progress import Progress
from gtl.roles import Encoder
from gtl.run_folder import RunFolder
from gtl.train.device import module_device
from gtl.train.epoch_means import Averages
from gtl.train.evaluate import evaluate
from gtl.train.footprint import footprint
from gtl.train.inference_cost import prediction_of
from gtl.train.job import Batches, Job
from gtl.train.labels import LabelNames
from gtl.train.loop import PassOver, Training
from gtl.train.model import TARGET, Model, build_target
from gtl.train.optimizers import warn_if_frozen
from gtl.train.resolve import as_dataset
from gtl.train.session import Session
from gtl.train.step import TaskModel
from gtl.train.target import shape_of

COMMAND = "finetune_by_episodes"
LEAST_WAY, MOST_WAY = 5, 100
CENTERS = "classes.centers"  # trained where a head is not fitted; here it always is


def finetune_by_episodes(
    encoder: Any,
    dataset: Dataset,
    *,
    head: Any = "gaussian",
    adapter: Any = "film",
    readout: Any = "mean",
    episodes: int = 400,
    lr: float = 3.5e-3,
    support: int = 100,
    queries: int = 2000,
    items: Tensor | None = None,
    seed: int = 0,
    device: str | None = None,
    out: Path | str | None = None,
    resume: bool = False,
) -> Model:
    """Train an adapter and a head's few numbers on episodes, then fit the head to all labels.

    An episode draws at least 5 classes (all, if there are fewer) and at most 100, ``support``
    samples in all to fit the head to, at least one of each class, and up to ``queries`` others to
    evaluate it. Half of each class can be drawn for the one, half for the other; the odd one is
    support. A class with one sample has no queries. Where every class has one, nothing is trained.

    At node level the whole graph is encoded once an episode, at graph level the drawn graphs are.

    Args:
        encoder: As for :func:`gtl.finetune`; an instance is frozen and adapted in place.
        dataset: Labeled data with one class an item.
        head: A head with a closed form: ``"prototype"``, ``"gaussian"`` (LDA), or
            ``{"name": "gaussian", "kind": "qda"}``; instances cannot be used.
        adapter: What may move in the encoder; ``None`` leaves all of it free.
        readout: Node vectors to graph vectors, for graph-level data.
        episodes: Steps; 0 fits the head to features of the encoder as it is.
        lr: Learning rate (Adam).
        support: Samples that a head is fitted to in an episode.
        queries: Query samples of an episode, at most.
        items: Labeled items to learn from, int64 ``(k,)``; the training split by default.
        seed: Reproduces the run bit for bit on one machine.
        device: Where to train; by default where the encoder is.
        out: Run folder to write, with an episode where others have an epoch.
        resume: Continue the run in ``out``.

    Returns:
        The fitted model. ``results`` holds the metric on validation and test data, where those
        splits are, and the footprint; ``history`` the loss of each episode.

    Raises:
        GtlError: On any unusable argument, before anything is written.
    """
    check_positive(lr=lr, support=support, queries=queries)
    if episodes < 0:
        raise ConfigError(f"`episodes` is {episodes}, expected 0 or more")
    dataset = as_dataset(dataset)
    labeled = _labeled(dataset, items)
    with Session(COMMAND, dataset, seed=seed, device=device, out=out, resume=resume) as session:
        base, _ = session.encoder(encoder)
        base = session.adapted(base, adapter)
        model = session.placed(_model(base, dataset, head, readout))
        known, held_out = _halves(dataset, labeled, session.rng)
        folder = session.open(
            {
                **model.config(),
                "pretrained": session.origin,
                "tasks": {},
                "episodes": episodes,
                "lr": lr,
                "support": support,
                "queries": queries,
                "items": None if items is None else items.tolist(),
            }
        )
        count = episodes if held_out else 0
        job = _job(model, dataset, labeled, count, lr, session.rng, seed, folder)
        source = _Episodes((known, held_out), support, queries, session.rng)
        training = Training(job, pass_over=_training_on(source, model))
        with Progress(job.title, job.epochs, training.epoch, "episode") as progress:
            training.advance(job.epochs, progress)
        _fit(model, dataset, labeled)
        training.keep_present()
        model.history, model.folder = training.history.epochs, folder
        model.results = session.close(
            {
                "metric": dataset.metric,
                **{part: _value(model, dataset, part) for part in ("valid", "test")},
                "footprint": footprint(
                    model,
                    training.history.seconds,
                    optimizer=job.optimizer,
                    predict=prediction_of(model, dataset),
                ),
            }
        )
    return model


class _Episodes:
    """Source of episodes: support items, query items, and their classes."""

    def __init__(
        self,
        halves: tuple[Mapping[int, Tensor], Mapping[int, Tensor]],
        support: int,
        queries: int,
        rng: torch.Generator,
    ):
        self.known, self.held_out = halves
        self.support, self.queries, self.rng = support, queries, rng

    def draw(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Support items, their classes from 0 on, queries, theirs; classes are renumbered."""
        most = min(len(self.known), MOST_WAY)
        least = min(LEAST_WAY, most)
        way = int(torch.randint(least, most + 1, (), generator=self.rng))
        numbers = self._classes(way)
        shots, most = max(round(self.support / way), 1), max(self.queries // way, 1)
        parts: list[list[Tensor]] = [[], [], [], []]
        for place, number in enumerate(numbers):
            for first, pool, size in ((0, self.known, shots), (2, self.held_out, most)):
                own = pool.get(number, torch.empty(0, dtype=torch.int64))
                own = own[torch.randperm(len(own), generator=self.rng)][:size]
                parts[first].append(own)
                parts[first + 1].append(torch.full((len(own),), place))
        support, labels, queries, truth = (torch.cat(part) for part in parts)
        return support, labels, queries, truth

    def _classes(self, way: int) -> list[int]:
        """Classes of an episode, one or more of which have query items."""
        every = list(self.known)
        order = torch.randperm(len(every), generator=self.rng)
        numbers = [every[i] for i in order.tolist()]
        first = next(i for i, number in enumerate(numbers) if number in self.held_out)
        return [numbers[first], *numbers[:first], *numbers[first + 1 :]][:way]


def _training_on(source: _Episodes, model: Model) -> PassOver:
    """The pass of a training in which an epoch is an episode."""

    def episode(job: Job, number: int, progress: Progress | None) -> Averages:
        support, labels, queries, truth = source.draw()
        features = _features(model, job.data, torch.cat([support, queries]))
        known, others = features.split([len(support), len(queries)])
        small = _like(_head(model), int(labels.max()) + 1)
        small.fit(known, labels.to(features.device))
        loss = cross_entropy(small(others), truth.to(features.device))
        if not torch.isfinite(loss):
            raise GtlError(f"the loss is {float(loss)} in episode {number}; lower `lr`")
        job.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        job.optimizer.step()
        if progress is not None:
            progress.update()
        return {"losses": {TARGET: float(loss.detach())}, "weights": {}, "consistency": {}}

    return episode


def _features(model: Model, data: Batches, items: Tensor) -> Tensor:
    """Vectors of items: the encoder with its adapter, and the readout."""
    return model.embed(data.batch(items, module_device(model)))


def _fit(model: Model, data: Dataset, items: Tensor) -> None:
    """Fit the head to all labeled items."""
    model.eval()
    with torch.no_grad():
        labels = _labels(data, items).to(module_device(model))
        _head(model).fit(_features(model, data, items), labels)


def _job(
    model: Model,
    data: Dataset,
    items: Tensor,
    episodes: int,
    lr: float,
    rng: torch.Generator,
    seed: int,
    folder: RunFolder | None,
) -> Job:
    warn_if_frozen(model.encoder)
    trained = [p for n, p in model.named_parameters() if p.requires_grad and CENTERS not in n]
    return Job(
        TaskModel(model.encoder, {TARGET: model.target}),
        WEIGHTINGS.build("equal"),
        torch.optim.Adam([{"params": trained}], lr=lr),
        data,
        items,
        episodes if trained else 0,
        0,
        rng,
        seed=seed,
        target=TARGET,
        folder=folder,
        title=f"episodes {data.spec}",
    )


def _like(head: ClosedForm, classes: int) -> ClosedForm:
    """A head of other classes with the same trained numbers, not copies of them."""
    small: ClosedForm = HEADS.build(HEADS.spec(head), head.classes.centers.shape[1], classes)
    small.to(head.classes.centers)
    for name, parameter in head.named_parameters():
        if name != CENTERS:
            path, _, last = name.rpartition(".")
            setattr(small.get_submodule(path), last, parameter)
    return small


def _model(encoder: Encoder, data: Dataset, head: Any, readout: Any) -> Model:
    if isinstance(head, nn.Module):
        raise ConfigError("`head` is an instance; give a name or a mapping: episodes need others")
    target = build_target(encoder, shape_of(data), head, readout)
    model = Model(encoder, target, LabelNames.of(data))
    if not isinstance(_head(model), ClosedForm):
        raise ConfigError(
            f"the head {HEADS.name_of(_head(model))!r} has no closed form to be fitted by; take "
            "'prototype' or 'gaussian'"
        )
    target.setup(data.schema, encoder.width)
    return model


def _head(model: Model) -> Any:
    return model.predictor.head


def _labeled(data: Dataset, items: Tensor | None) -> Tensor:
    if data.labels is None or data.kind != "multiclass" or isinstance(data.contents, PairItems):
        raise DataError(
            f"{data.spec} has no classes of nodes or graphs; episodes need one class an item"
        )
    items = data.items("train") if items is None else items
    known = items[data.labels[items] >= 0]
    missing = set(range(data.num_outputs)) - set(data.labels[known].tolist())
    if missing:
        raise DataError(
            f"no labeled item of class {min(missing)} to learn from ({len(missing)} of "
            f"{data.num_outputs} classes); give each class one or more"
        )
    return known


def _labels(data: Dataset, items: Tensor) -> Tensor:
    assert data.labels is not None
    return data.labels[items]


def _halves(
    data: Dataset, items: Tensor, rng: torch.Generator
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Support and query items of each class; classes with one item have no queries."""
    labels = _labels(data, items)
    known, held_out = {}, {}
    for number in labels.unique().tolist():
        own = items[labels == number]
        own = own[torch.randperm(len(own), generator=rng)]
        half = (len(own) + 1) // 2
        known[number] = own[:half]
        if half < len(own):
            held_out[number] = own[half:]
    return known, held_out


def _value(model: Model, data: Dataset, part: str) -> float | None:
    if not len(data.split.get(part, ())):
        return None
    return float(evaluate(model, data, part)[data.metric])


def update_bytes(model: Model) -> dict[str, int]:
    """Bytes that must be stored or sent in addition to the shared encoder.

    Returns:
        ``adapter``: its tensors; ``head``: numbers that the head was trained to, and its
        statistics of classes, which can be made again from the labeled items.
    """
    adapter = nn.ModuleList(model.encoder.parts() if isinstance(model.encoder, Adapted) else [])
    return {"adapter": _bytes(adapter), "head": _bytes(_head(model))}


def _bytes(module: nn.Module) -> int:
    kept = {n: t for n, t in module.state_dict().items() if not n.endswith(CENTERS)}
    return sum(tensor.numel() * tensor.element_size() for tensor in kept.values())
