"""Adaptation to a domain with few labels, from a labeled domain and graphs without labels."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from gtl.catalog import ADAPTERS, TASKS, WEIGHTINGS
from gtl.checkpoint import read_json
from gtl.data.dataset import Dataset
from gtl.errors import CheckpointError, ConfigError, DataError, UnknownPartError
from gtl.report.tables import Table, as_text
from gtl.roles import Encoder
from gtl.run_folder import RunFolder
from gtl.run_kinds import kind_of
from gtl.suggest import nearest
from gtl.train.defaults import with_defaults
from gtl.train.domain_recipe import STAGES, Plan, Stage, encoder_of, on_target, train_stages
from gtl.train.domains import Domains, domains_of
from gtl.train.evaluate import raw_outputs
from gtl.train.labels import LabelNames
from gtl.train.model import Model, encoder_config
from gtl.train.predicting import Predicting, trained_on
from gtl.train.probe import probe
from gtl.train.resolve import as_encoder, as_tasks, origin_of
from gtl.train.run import Run
from gtl.train.seed import reseed
from gtl.train.session import Session
from gtl.train.target import check_labels

log = logging.getLogger(__name__)
METHODS: Mapping[str, Callable[[Any, Domains, Plan], dict[str, Stage]]] = {"joint": train_stages}


class DomainAdaptation(Predicting):
    """What :func:`adapt_domain` returns; it predicts with the last model that was trained.

    Args:
        stages: What each stage left, by name, in order.
        labels: What the outputs of the last model stand for.
        results: What ``results.json`` holds.
    """

    def __init__(self, stages: Mapping[str, Stage], labels: LabelNames, results: Mapping[str, Any]):
        super().__init__(labels)
        self.stages, self.results = dict(stages), dict(results)

    @property
    def model(self) -> Model:
        """The model of the last stage.

        Raises:
            ConfigError: If only ``pretrain`` was trained, which leaves an encoder and no model.
        """
        last = list(self.stages.values())[-1]
        if not isinstance(last, Model):
            raise ConfigError(
                "only the stage 'pretrain' was trained, which predicts nothing; train 'joint' or "
                "'adapt' too (`stages`), or use the encoder: stages['pretrain'].encoder"
            )
        return last

    def outputs(self, data: Dataset, items: Tensor) -> Tensor:
        """See :class:`Predicting`."""
        return raw_outputs(self.model, data, items)

    def save(self, folder: Path | str) -> RunFolder:
        """The last model alone, as a run folder of its kind."""
        return self.model.save(folder)

    @staticmethod
    def load(folder: Path | str) -> DomainAdaptation:
        """The adaptation of a run folder.

        Raises:
            CheckpointError: If the folder is no adaptation, or was interrupted.
        """
        folder = Path(folder)
        config = read_json(folder / "config.json")
        kind = kind_of(config, folder)
        if kind.command != "adapt":
            raise CheckpointError(f"{folder} is {kind.what}, not an adaptation; use gtl.load_run")
        if not (folder / "results.json").is_file():
            raise CheckpointError(
                f"{folder} was interrupted before its stages had ended; run it again with "
                "resume=True (--resume)"
            )
        results = read_json(folder / "results.json")
        names = [name for name in STAGES if name in results["stages"]]
        stages = {name: _load_stage(folder / name) for name in names}
        found = DomainAdaptation(stages, LabelNames.from_json(config["labels"]), results)
        if names[-1] == "adapt":
            found.trained_on = trained_on(config)
        return found

    def __str__(self) -> str:
        return table_of(self.results)


def adapt_domain(
    encoder: Any,
    source: Any,
    target: Any,
    *,
    method: str = "joint",
    corpus: Any = None,
    unlabeled: Any = None,
    stages: Sequence[str] = STAGES,
    task: Any = "random_quantizer",
    weighting: Any = "equal",
    adapter: Any = "bottleneck",
    head: Any = "linear",
    readout: Any = None,
    keep_head: bool = True,
    epochs: int | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    device: str | None = None,
    out: Path | str | None = None,
    resume: bool = False,
) -> DomainAdaptation:
    """Adapt an encoder from a labeled source domain to a target domain with few labels.

    The method ``joint`` has three stages (Li et al. 2023): ``pretrain`` trains the encoder on
    graphs without labels by a self-supervised task; ``joint`` trains it on the labels of the source
    and, in the same steps, by that task on graphs of the target; ``adapt`` freezes it, and trains
    adapters and a head on the labels of the target.

    Args:
        encoder: As for :func:`gtl.pretrain`; it is copied and stays as it is.
        source: Labeled data of the source domain, with the splits ``train`` and ``valid``.
        target: Data of the target domain, of the same level and features. Its training split has
            the few labels; none are needed without the stage ``adapt``.
        method: How to adapt; ``joint``.
        corpus: Graphs without labels to pre-train on; those of source and target by default.
        unlabeled: Graphs of the target domain for ``joint``. By default the graph of the target
            or, where items are graphs, those that neither validate nor test; give the target itself
            to learn from the inputs of all. Labels are not read.
        stages: Which stages to train. With ``resume`` the ones in ``out`` are kept, and later ones
            start from them; else the first starts from ``encoder``.
        task: Self-supervised task of ``pretrain`` and ``joint``.
        weighting: How much the task counts beside the source labels.
        adapter: What ``adapt`` trains beside the head, as for :func:`gtl.finetune`.
        head: Vectors to predictions.
        readout: Node vectors to graph vectors, for graph-level data.
        keep_head: Whether the target's head starts as the source's where kind, number and names of
            the labels agree.
        epochs: Passes of each stage; by default those of :func:`gtl.pretrain` and
            :func:`gtl.finetune`.
        settings: Further arguments of these, by stage: ``{"pretrain": {"epochs": 100}, "adapt":
            {"lr": 3e-3}}``.
        seed: Reproduces the adaptation bit for bit on one machine.
        device: Where to train; by default where the encoder is.
        out: Folder to write, with a run folder for each stage.
        resume: Continue the adaptation in ``out``; stages that have ended are not trained again.

    Returns:
        The adaptation. ``results["stages"]`` says what each stage gave: ``valid``, the metric on
        validation data of the target, of ``adapt`` that of the model and of the others that of a
        linear probe fitted to the target's training labels, ``start`` being the encoder as it was
        given; and the source's validation value of ``joint``.

    Raises:
        GtlError: On any unusable argument, before anything is written.
    """
    if method not in METHODS:
        raise UnknownPartError(f"unknown method {method!r}; {nearest(method, METHODS)}")
    place = None if out is None else Path(out)
    how = (task, weighting, adapter, head, readout, keep_head, epochs, settings or {})
    kept = _kept(stages, place if resume else None)
    plan = Plan(kept, *how, seed=seed, device=device, out=place, resume=resume)
    domains = domains_of(source, target, corpus, unlabeled)
    _check_stages(plan, domains)
    target = domains.target
    with Session("adapt", target, seed=seed, device=device, out=out, resume=resume) as session:
        given = with_defaults(encoder, target.level, target.contents.node_features())
        start, checked = _start(given, domains)
        _check_task(plan, domains, checked.encoder)
        reseed(session.rng)
        labels = LabelNames.of(target if "adapt" in plan.stages else _labeled(domains))
        folder = session.open(_config(plan, domains, method, encoder, checked, labels))
        log.info("adapt %s to %s: %s", domains.source.spec, target.spec, ", ".join(plan.stages))
        trained = METHODS[method](start, domains, plan)
        measured = {"start": checked, **trained}
        rows = {name: _row(name, stage, domains, plan) for name, stage in measured.items()}
        last = list(trained.values())[-1].results
        ended = last if "adapt" in trained else {}
        results = {name: ended.get(name) for name in ("metric", "valid", "test", "epoch")}
        metric = None if target.labels is None else target.metric
        done = session.close(
            {
                **results,
                "metric": metric,
                "footprint": last["footprint"],
                "data": target.spec,
                "source": domains.source.spec,
                "method": method,
                "unlabeled": {
                    "spec": domains.unlabeled.spec,
                    "items": len(domains.unlabeled),
                    "test_inputs": domains.test_inputs,
                },
                "stages": rows,
            }
        )
    found = DomainAdaptation(trained, labels, done)
    found.folder = folder
    return found


def table_of(results: Mapping[str, Any]) -> str:
    """The results of an adaptation as text: a line for each stage.

    Args:
        results: What ``results.json`` holds.
    """
    rows = []
    for name, stage in results["stages"].items():
        what = stage["measured"] or ""
        rows.append((name, _number(stage["valid"]), what, _number(stage.get("source_valid"))))
    metric = results["metric"] or "value"
    header = ("stage", f"valid {metric}", "of", "valid of the source")
    caption = f"from {results['source']}"
    table = as_text(Table(results["data"], caption, header, tuple(rows)))
    test = results["test"]
    return table if test is None else f"{table}\n\ntest {metric} {test:.4f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _kept(stages: Sequence[str], out: Path | None) -> list[str]:
    """The stages to train in their order, and those before them that a resumed folder has."""
    stages = [stages] if isinstance(stages, str) else list(stages)
    unknown = [name for name in stages if name not in STAGES]
    if unknown or not stages:
        return stages  # which the plan refuses
    before = STAGES[: max(STAGES.index(name) for name in stages)]
    there = [n for n in before if out is not None and (out / n / "config.json").is_file()]
    return [name for name in STAGES if name in stages or name in there]


def _check_stages(plan: Plan, domains: Domains) -> None:
    """Refuse data without the labels that the stages need, and parts that do not exist.

    Raises:
        DataError: If labels are missing.
        UnknownPartError: If a name is wrong.
    """
    for registry, part in ((TASKS, plan.task), (WEIGHTINGS, plan.weighting)):
        registry.build(part)
    several = plan.adapter if isinstance(plan.adapter, (list, tuple)) else [plan.adapter]
    for part in several:
        ADAPTERS.build(part)
    if plan.adapter is None:
        raise ConfigError(
            "`adapter` is None, but the stage 'adapt' freezes the encoder; name an adapter, or [] "
            "for the head alone"
        )
    if "joint" in plan.stages:
        check_labels(domains.source)
    if "adapt" in plan.stages:
        if domains.target.labels is None:
            raise DataError(
                f"the target {domains.target.spec} has no labels, which the stage 'adapt' needs; "
                "give labels of a few training items, or leave it out: "
                "stages=['pretrain', 'joint']"
            )
        check_labels(domains.target)


def _start(encoder: Any, domains: Domains) -> tuple[Any, Run]:
    """What the first stage starts from, and the same as an encoder that fits all domains."""
    base, tasks = as_encoder(encoder_of(encoder), domains.schema)
    checked = Run(base, tasks)
    is_trained = isinstance(encoder, (Run, Model)) or origin_of(encoder) is not None
    return (encoder if is_trained else base), checked


def _check_task(plan: Plan, domains: Domains, encoder: Encoder) -> None:
    """Refuse a task that does not suit the graphs it will be trained on.

    Raises:
        ConfigError: If it does not, such as codebooks that collapse.
    """
    if "pretrain" not in plan.stages and "joint" not in plan.stages:
        return
    data = domains.corpus if "pretrain" in plan.stages else domains.unlabeled
    tasks = as_tasks([copy.deepcopy(plan.task)], data, encoder, {})
    if "joint" in plan.stages:
        on_target(Run(encoder, tasks), plan.task, domains)


def _labeled(domains: Domains) -> Dataset:
    """The data whose labels the last model predicts; the target where nothing is trained."""
    for data in (domains.source, domains.target):
        if data.labels is not None:
            return data
    raise DataError(
        f"neither {domains.source.spec} nor {domains.target.spec} has labels; with graphs alone "
        "use gtl.pretrain"
    )


def _config(
    plan: Plan,
    domains: Domains,
    method: str,
    encoder: Any,
    start: Run,
    labels: LabelNames,
) -> dict[str, Any]:
    spec = encoder_config(start.encoder)
    several = plan.adapter if isinstance(plan.adapter, (list, tuple)) else [plan.adapter]
    return {
        "schema": domains.schema.to_json(),
        "encoder": spec["encoder"],
        "pretrained": origin_of(encoder),
        "labels": labels.to_json(),
        "items_checksum": None if plan.out is None else domains.target.checksum(labels=False),
        "method": method,
        **domains.to_json(),
        "stages": list(plan.stages),
        "task": TASKS.spec(TASKS.build(plan.task)),
        "weighting": WEIGHTINGS.spec(WEIGHTINGS.build(plan.weighting)),
        "adapter": [ADAPTERS.spec(ADAPTERS.build(part)) for part in several],
        "head": _plain(plan.head),
        "readout": _plain(plan.readout),
        "keep_head": plan.keep_head,
        "epochs": plan.epochs,
        "settings": {stage: dict(given) for stage, given in plan.settings.items()},
    }


def _plain(part: Any) -> Any:
    """A name, mapping or list of them as it is, the name of an instance's class."""
    return type(part).__name__ if isinstance(part, nn.Module) else part


def _row(name: str, stage: Stage, domains: Domains, plan: Plan) -> dict[str, Any]:
    """What a stage gave."""
    results = stage.results
    row: dict[str, Any] = {"valid": None, "measured": None}
    if name == "adapt":
        row.update(valid=results["valid"], measured="model", test=results["test"])
    elif _can_probe(domains.target):
        run = Run(stage.encoder, {})
        how = {"model": "linear", "readout": plan.readout, "seed": plan.seed}
        found = probe(run, domains.target, device=plan.device, **how).results
        row.update(valid=found["valid"], measured="linear probe")
    if name == "joint":
        row["source_metric"], row["source_valid"] = domains.source.metric, results["valid"]
    if results:
        row["footprint"] = results["footprint"]
    if stage.__dict__.get("history"):
        row["losses"] = stage.history[-1]["losses"]
        row["measures"] = stage.history[-1].get("measures", {})
    return row


def _can_probe(target: Dataset) -> bool:
    has = target.labels is not None and target.level != "edge"
    return has and all(len(target.split.get(part, ())) for part in ("train", "valid"))


def _load_stage(folder: Path) -> Stage:
    return Run.load(folder) if folder.name == "pretrain" else Model.load(folder)
