"""Fine-tuning: a labeled target, helped by auxiliary tasks under a weighting (Han et al. 2021)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.errors import ConfigError, DataError
from gtl.graph.pairs import without_pairs
from gtl.registry import ENCODERS, HEADS, READOUTS, TASKS, WEIGHTINGS
from gtl.report.plots import write_plots
from gtl.run_folder import RunFolder
from gtl.tasks.links import Links
from gtl.train import loop
from gtl.train.evaluate import evaluate
from gtl.train.model import Model, build_target
from gtl.train.parts import as_dataset, as_encoder, as_tasks, check_fan_out, check_positive
from gtl.train.score import queries_of, score
from gtl.train.seed import reseed, seeded
from gtl.train.step import TaskModel

log = logging.getLogger(__name__)
TARGET = "supervised"


def finetune(
    encoder: Any,
    dataset: Dataset,
    *,
    auxiliary: Sequence[Any] = (),
    weighting: Any = "aux_ts",
    head: Any = "linear",
    readout: Any = "mean",
    links: Mapping[str, Any] | None = None,
    epochs: int = 50,
    batch_size: int = 32,
    fan_out: Sequence[int | None] | None = None,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    optimizer: str = "adam",
    meta_share: float = 0.0,
    seed: int = 0,
    device: str | None = None,
    out: Path | str | None = None,
    resume: bool = False,
) -> Model:
    """Train an encoder and a head on a labeled target, with auxiliary tasks if wanted.

    The epoch is chosen on validation data and the test split is looked at once, at the end.

    Args:
        encoder: Name, mapping with options, instance (trained in place), pre-training run or its
            folder, or a published checkpoint.
        dataset: Labeled data with the splits ``train``, ``valid`` and ``test``.
        auxiliary: Auxiliary tasks: names, mappings with options, or instances. Tasks that were
            pre-trained with the encoder go on from there.
        weighting: How much each task, each sample, counts; without auxiliary tasks it is not used.
        head: Node, graph or pair vectors to predictions.
        readout: Node vectors to graph vectors, for graph-level data.
        links: For link-level data: ``negatives`` drawn per link (1, or 0 if the training split has
            some), ``corrupt`` (``both``, ``one`` or ``second`` end), ``remove`` the links of a
            batch from its graph (true), ``features`` of a pair (``product``, ``mean``, ``l1`` or
            ``l2``).
        epochs: Passes over the training split.
        batch_size: Items per step; 0 means all at once (at node level always so without
            ``fan_out``). At link level each step encodes the whole graph, so a batch should have
            thousands of pairs.
        fan_out: For node-level data that is too large to be seen whole: how many incoming edges a
            node draws at each hop from the nodes of a batch, a number for each layer of the
            encoder, such as ``[10, 10]``; ``None`` among them draws all.
        lr: Learning rate.
        weight_decay: Weight decay.
        optimizer: ``adam``, ``adamw`` or ``sgd`` (momentum 0.9).
        meta_share: Share of the training split set aside to judge look-aheads; 0 means that
            alternating halves of each batch do.
        seed: Reproduces the run bit for bit on one machine.
        device: Where to train; by default where the encoder is.
        out: Run folder to write.
        resume: Go on with the run in ``out``.

    Returns:
        The model at its best epoch, with ``results`` and ``history``.

    Raises:
        GtlError: On any unusable argument, before anything is written.
    """
    check_positive(epochs=epochs, lr=lr)
    dataset = as_dataset(dataset)
    if dataset.labels is None:
        raise DataError(f"{dataset.spec} has no labels; name the target column, or use pretrain")
    has_valid = len(dataset.split.get("valid", ())) > 0
    if has_valid:
        _require_defined_metric(dataset)
    with seeded(seed) as rng:
        model_encoder, trained = as_encoder(encoder, dataset.schema)
        fan_out = check_fan_out(fan_out, dataset, model_encoder)
        reseed(rng)
        shape = {"kind": dataset.kind, "outputs": dataset.num_outputs, "level": dataset.level}
        train, meta = _set_aside(dataset.items("train"), meta_share, rng)
        asked = _links(links, dataset, train, batch_size)
        target = build_target(model_encoder, shape, head, readout, asked)
        target.standardize(dataset.labels[train])
        target.setup(dataset.schema, model_encoder.width)
        helpers = as_tasks(auxiliary, dataset, model_encoder, trained)
        model = TaskModel(model_encoder, {TARGET: target, **helpers})
        model.to(device or loop.module_device(model_encoder))
        how = WEIGHTINGS.build(weighting)
        how = (how if helpers else WEIGHTINGS.build("equal")).to(loop.module_device(model))
        how.setup([TARGET, *helpers], TARGET)
        answer = Model(model_encoder, target, dataset.level)
        answer.fan_out = fan_out
        config = {
            "command": "finetune",
            "data": dataset.spec,
            "data_options": dict(dataset.options),
            "data_checksum": dataset.checksum(),
            "schema": model_encoder.schema.to_json(),
            "encoder": ENCODERS.spec(model_encoder),
            "pretrained": _origin(encoder),
            "target": shape,
            "tasks": {name: TASKS.spec(task) for name, task in helpers.items()},
            "weighting": WEIGHTINGS.spec(how),
            "head": HEADS.spec(answer.predictor.head),
            "readout": READOUTS.spec(answer.predictor.readout),
            "links": asked,
            "epochs": epochs,
            "batch_size": batch_size,
            "fan_out": fan_out,
            "lr": lr,
            "weight_decay": weight_decay,
            "optimizer": optimizer,
            "meta_share": meta_share,
            "seed": seed,
        }
        job = loop.Job(
            model,
            how,
            loop.build_optimizer(model, optimizer, lr, weight_decay),
            dataset,
            train,
            epochs,
            0 if dataset.level == "node" and fan_out is None else batch_size,
            rng,
            seed=seed,
            target=TARGET,
            fan_out=fan_out,
            meta_items=meta,
            validate=lambda: _value(answer, dataset, "valid") if has_valid else None,
            folder=None if out is None else RunFolder(out, config, resume),
            title=f"finetune {dataset.spec}",
        )
        history = loop.run(job)
    answer.history, answer.folder = history.epochs, job.folder
    answer.results = {
        "metric": dataset.metric,
        "valid": history.best["valid"],
        "test": _test_value(answer, dataset),
        "epoch": history.best["epoch"],
        "seed": seed,
        "footprint": loop.footprint(answer, history.seconds),
    }
    if job.folder is not None:
        job.folder.write_results(answer.results)
        write_plots(job.folder.path)
    return answer.eval()


def _set_aside(train: Tensor, share: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    if not 0 <= share < 1:
        raise ConfigError(
            f"`meta_share` is {share}, expected a share from 0 up to, not including, 1"
        )
    count = round(share * len(train))
    order = train[torch.randperm(len(train), generator=rng)]
    return order[count:].sort().values, order[:count].sort().values


def _links(
    options: Mapping[str, Any] | None, dataset: Dataset, train: Tensor, batch_size: int
) -> dict[str, Any] | None:
    """All options of links, those that were not given as they suit the data."""
    if dataset.level != "edge":
        if options:
            raise ConfigError(f"`links` are for link-level data; {dataset.spec} has other items")
        return None
    assert dataset.labels is not None and dataset.pairs is not None and dataset.graph is not None
    positive = dataset.labels[train, 0] == 1
    links = Links.of({"negatives": int(positive.all()), **(options or {})})
    if not links.negatives and bool(positive.all()):
        raise ConfigError(
            f"{dataset.spec}: the training split has links alone; draw at least 1 of `negatives`"
        )
    at_once = links.remove and not 0 < batch_size < len(train)
    known = dataset.pairs[train[positive]]
    if at_once and not without_pairs(dataset.graph, known).num_edges:
        raise ConfigError(
            "a batch of all links leaves no edge in the graph to learn from; use a smaller "
            "`batch_size`, or leave them in with links={'remove': False}"
        )
    return asdict(links)


def _require_defined_metric(dataset: Dataset) -> None:
    assert dataset.labels is not None
    labels = dataset.labels[dataset.split["valid"]].numpy()
    try:
        zeros = np.zeros((len(labels), dataset.num_outputs))
        score(dataset.metric, labels, zeros, queries_of(dataset, dataset.split["valid"]))
    except DataError as error:
        raise DataError(
            f"{dataset.spec}: no epoch could be chosen on the validation split, since {error}; "
            "use another seed, another split or another metric"
        ) from error


def _value(model: Model, dataset: Dataset, split: str) -> float:
    return evaluate(model, dataset, split)[dataset.metric]


def _test_value(model: Model, dataset: Dataset) -> float | None:
    if not len(dataset.split.get("test", ())):
        return None
    try:
        return _value(model, dataset, "test")
    except DataError as error:  # the training is not lost because a tiny test split has one class
        log.warning("no test result: %s", error)
        return None


def _origin(encoder: Any) -> str | None:
    folder = getattr(getattr(encoder, "folder", None), "path", None)
    if folder is not None:
        return folder.name
    return (
        Path(encoder).name if isinstance(encoder, (str, Path)) and Path(encoder).exists() else None
    )
