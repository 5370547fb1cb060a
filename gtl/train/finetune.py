"""Fine-tuning: a labeled target, helped by auxiliary tasks under a weighting (Han et al. 2021)."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gtl.adapters import Adapted, AdaptedEncoder
from gtl.adapters.attachment import attached
from gtl.catalog import ADAPTERS, HEADS, READOUTS, TASKS, WEIGHTINGS
from gtl.data.dataset import Dataset
from gtl.errors import ConfigError, DataError
from gtl.graph.pairs import without_pairs
from gtl.metrics import score
from gtl.report.plots import write_plots
from gtl.roles import Encoder, Weighting
from gtl.run_folder import RunFolder, read_json
from gtl.tasks.links import Links
from gtl.train import loop
from gtl.train.evaluate import evaluate
from gtl.train.model import Model, build_target, encoder_config
from gtl.train.resolve import (
    as_dataset,
    as_encoder,
    as_tasks,
    check_fan_out,
    check_positive,
    origin_of,
)
from gtl.train.seed import reseed, seeded
from gtl.train.selection import ALONE, Chance, Entrant, race, same_again, standings, ways_of
from gtl.train.step import TaskModel

log = logging.getLogger(__name__)
TARGET = "supervised"


def finetune(
    encoder: Any,
    dataset: Dataset,
    *,
    auxiliary: Sequence[Any] = (),
    weighting: Any = "aux_ts",
    adapter: Any = None,
    head: Any = "linear",
    readout: Any = "mean",
    links: Mapping[str, Any] | None = None,
    epochs: int = 50,
    batch_size: int = 32,
    fan_out: Sequence[int | None] | None = None,
    lr: float = 1e-3,
    rates: Mapping[str, float] | None = None,
    weight_decay: float = 0.0,
    optimizer: str = "adam",
    meta_share: float = 0.0,
    guard: bool = True,
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
            Several (a list, or one with :attr:`gtl.roles.Weighting.choices`, as ``aux_ts`` has)
            are trained side by side and validation data choose; without any the first is used.
        adapter: Freeze the encoder and train this instead: a name, a mapping with options, an
            instance, or a list of those, such as ``["bottleneck", "layerwise"]``. An empty list
            trains the head alone; ``None`` trains the encoder.
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
        rates: Learning rates of parts that have another: ``encoder``, ``head``, or an adapter or
            an auxiliary task by its name, such as ``{"head": 5e-3, "layerwise": 1e-3}``.
        weight_decay: Weight decay.
        optimizer: ``adam``, ``adamw`` or ``sgd`` (momentum 0.9).
        meta_share: Share of the training split set aside to judge look-aheads; 0 means that
            alternating halves of each batch do.
        guard: Beside auxiliary tasks, train a twin on the target alone, and return it where it is
            better on validation data: tasks that hurt then cost time but no accuracy. The twin
            is, bit for bit, the run without auxiliary tasks.
        seed: Reproduces the run bit for bit on one machine.
        device: Where to train; by default where the encoder is.
        out: Run folder to write.
        resume: Go on with the run in ``out``.

    Returns:
        The model at its best epoch, with ``results`` and ``history``. Where several were
        trained, ``results["race"]`` says how each did, and ``history`` is that of the best one
        with auxiliary tasks, also where the twin won.

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
    with seeded(seed) as rng, ExitStack() as undo:
        model_encoder, trained = as_encoder(encoder, dataset.schema)
        fan_out = check_fan_out(fan_out, dataset, model_encoder)
        reseed(rng)
        if adapter is not None:
            model_encoder = undo.enter_context(attached(model_encoder, adapter))
        shape = {"kind": dataset.kind, "outputs": dataset.num_outputs, "level": dataset.level}
        train, meta = _set_aside(dataset.items("train"), meta_share, rng)
        asked = _links(links, dataset, train, batch_size)
        target = build_target(model_encoder, shape, head, readout, asked)
        target.standardize(dataset.labels[train])
        target.setup(dataset.schema, model_encoder.width)
        alone = Chance.now(rng)  # where a run without auxiliary tasks starts
        helpers = as_tasks(auxiliary, dataset, model_encoder, trained)
        if helpers and not any(p.requires_grad for p in model_encoder.parameters()):
            raise ConfigError(
                "auxiliary tasks help through the encoder, and all of it is frozen; attach an "
                "`adapter`, or leave them out"
            )
        model = TaskModel(model_encoder, {TARGET: target, **helpers})
        model.to(device or loop.module_device(model_encoder))
        together = Chance.now(rng)
        hows = _built(weighting)  # so that a wrong name is told also where none is needed
        hows = hows if helpers else [WEIGHTINGS.build("equal")]
        ways = ways_of(hows, choose=has_valid, alone=bool(guard and helpers))
        specs = [WEIGHTINGS.spec(how) for how in hows]
        answer = Model(model_encoder, target, dataset.level)
        answer.fan_out = fan_out
        config = {
            "command": "finetune",
            "data": dataset.spec,
            "data_options": dict(dataset.options),
            "data_checksum": dataset.checksum(),
            **encoder_config(model_encoder),
            "pretrained": origin_of(encoder),
            "target": shape,
            "tasks": {name: TASKS.spec(task) for name, task in helpers.items()},
            "weighting": specs[0] if len(specs) == 1 else specs,
            "head": HEADS.spec(answer.predictor.head),
            "readout": READOUTS.spec(answer.predictor.readout),
            "links": asked,
            "epochs": epochs,
            "batch_size": batch_size,
            "fan_out": fan_out,
            "lr": lr,
            "rates": dict(rates) if rates else None,
            "weight_decay": weight_decay,
            "optimizer": optimizer,
            "meta_share": meta_share,
            "guard": guard,
            "seed": seed,
        }
        loop.build_optimizer(model, optimizer, lr, weight_decay, rates)  # so that it complains now
        folder = None if out is None else RunFolder(out, config, resume)
        entrants = []
        for name, how in ways.items():
            tasks = [TARGET] if name == ALONE else list(model.tasks)
            mine = model if len(ways) == 1 else same_again(model, tasks)
            own_rng = (alone if name == ALONE else together).again()
            how.to(loop.module_device(mine)).setup(tasks, TARGET)
            job = loop.Job(
                mine,
                how,
                loop.build_optimizer(mine, optimizer, lr, weight_decay, _rates_for(mine, rates)),
                dataset,
                train,
                epochs,
                0 if dataset.level == "node" and fan_out is None else batch_size,
                own_rng,
                seed=seed,
                target=TARGET,
                fan_out=fan_out,
                meta_items=meta,
                validate=_validation(mine, dataset, fan_out) if has_valid else lambda: None,
                folder=folder if len(ways) == 1 else _place(folder, name, how, tasks, resume),
            )
            entrants.append(Entrant(name, loop.Training(job)))
        _encode_once(model_encoder, dataset, train, meta)
        best, *others = race(entrants, epochs, f"finetune {dataset.spec}")
    shown = best if best.name != ALONE or not others else others[0]
    model.load_state_dict(best.training.finish(), strict=False)
    answer.history, answer.folder = shown.training.history.epochs, folder
    answer.results = {
        "metric": dataset.metric,
        "valid": best.training.history.best["valid"],
        "test": _test_value(answer, dataset),
        "epoch": best.training.history.best["epoch"],
        "seed": seed,
        "footprint": loop.footprint(answer, sum(e.training.history.seconds for e in entrants)),
    }
    if isinstance(model_encoder, AdaptedEncoder):
        model_encoder.forget()
    findings = _findings(model_encoder)
    if findings:
        answer.results["adapter"] = findings
    if len(entrants) > 1:
        answer.results["race"] = {"winner": best.name, "entrants": standings(entrants)}
    if folder is not None:
        metrics, weights = shown.training.job.folder, best.training.job.folder
        if len(entrants) > 1 and metrics is not None and weights is not None:
            folder.take(metrics, weights)
        folder.write_results(answer.results)
        write_plots(folder.path)
    return answer.eval()


def _built(weighting: Any) -> list[Weighting]:
    several = isinstance(weighting, (list, tuple))
    if several and not weighting:
        raise ConfigError("`weighting` is an empty list; name at least one")
    return [WEIGHTINGS.build(part) for part in (weighting if several else [weighting])]


def _encode_once(encoder: nn.Module, dataset: Dataset, *training: Tensor) -> None:
    """Vectors of all graphs that training and validation come back to, if they cannot change."""
    if isinstance(encoder, AdaptedEncoder) and dataset.graphs is not None:
        valid = dataset.split.get("valid", training[0][:0])
        encoder.encode_once(dataset.graphs, torch.cat([*training, valid]))


def _place(
    folder: RunFolder | None, name: str, how: Weighting, tasks: Sequence[str], resume: bool
) -> RunFolder | None:
    """The folder of one of several trainings: a run folder of its own below the run's."""
    if folder is None:
        return None
    config = read_json(folder.path / "config.json")
    config["weighting"], config["guard"] = WEIGHTINGS.spec(how), False
    config["tasks"] = {k: spec for k, spec in config["tasks"].items() if k in tasks}
    plain = re.sub(r"[^A-Za-z0-9.=_-]+", "-", name).strip("-")
    return RunFolder(folder.path / "race" / plain, config, resume)


def _rates_for(model: TaskModel, rates: Mapping[str, float] | None) -> dict[str, float]:
    """The rates of parts that this training has; a twin has no auxiliary tasks."""
    parts = loop.parts_of(model).values()
    return {name: rate for name, rate in (rates or {}).items() if name in parts}


def _validation(
    model: TaskModel, dataset: Dataset, fan_out: Sequence[int | None] | None
) -> Callable[[], float | None]:
    target = model.tasks[TARGET]
    judge = Model(model.encoder, target, dataset.level)  # type: ignore[arg-type]
    judge.fan_out = fan_out
    return lambda: _value(judge, dataset, "valid")


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
        score(dataset.metric, labels, zeros, dataset.queries(dataset.split["valid"]))
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


def _findings(encoder: Encoder) -> dict[str, Any]:
    """What each adapter tells about the task, by its name."""
    parts = encoder.parts() if isinstance(encoder, Adapted) else []
    told = {ADAPTERS.name_of(part): part.findings() for part in parts}
    return {name: found for name, found in told.items() if found}
