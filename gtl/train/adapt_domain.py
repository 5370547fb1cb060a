"""Adaptation to a domain with few labels or none, from a labeled domain and unlabeled graphs."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from gtl.catalog import ADAPTERS, TASKS, WEIGHTINGS
from gtl.data.dataset import Dataset
from gtl.errors import ConfigError, DataError, UnknownPartError
from gtl.roles import Encoder
from gtl.suggest import nearest
from gtl.train.defaults import with_defaults
from gtl.train.domain_adaptation import DomainAdaptation
from gtl.train.domain_alignment import (
    ALIGNMENTS,
    BY_DEFAULT,
    DEFAULT_STAGES,
    train_alignment,
)
from gtl.train.domain_alignment import STAGES as ALIGN_STAGES
from gtl.train.domain_checks import check_alignment, check_settings
from gtl.train.domain_findings import alignment_results
from gtl.train.domain_plan import Alignment, Plan, Stage
from gtl.train.domain_recipe import STAGES, encoder_of, on_target, train_stages
from gtl.train.domains import Domains, domains_of
from gtl.train.evaluate import value_on
from gtl.train.labels import LabelNames
from gtl.train.model import Model, encoder_config
from gtl.train.probe import probe
from gtl.train.resolve import as_encoder, as_tasks, origin_of
from gtl.train.run import Run
from gtl.train.seed import reseed
from gtl.train.session import Session
from gtl.train.target import check_labels

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """A way to adapt.

    Attributes:
        stages: All of its stages, in order.
        by_default: Those that are trained if none are named.
        train: Trains those of a plan.
    """

    stages: tuple[str, ...]
    by_default: tuple[str, ...]
    train: Callable[[Any, Domains, Plan], dict[str, Stage]]


_ALIGN = Recipe(ALIGN_STAGES, DEFAULT_STAGES, train_alignment)
METHODS: Mapping[str, Recipe] = {
    "joint": Recipe(STAGES, STAGES, train_stages),
    **dict.fromkeys(ALIGNMENTS, _ALIGN),
}


def adapt_domain(
    encoder: Any,
    source: Any,
    target: Any,
    *,
    method: str = "joint",
    candidates: Sequence[Mapping[str, Any]] | None = None,
    criterion: str = BY_DEFAULT,
    guard: bool = True,
    class_prior: str | None = None,
    edges: str | None = None,
    feature_names: Sequence[Sequence[str]] | None = None,
    project: int | None = None,
    context: int | None = None,
    corpus: Any = None,
    unlabeled: Any = None,
    stages: Sequence[str] | None = None,
    task: Any = "random_quantizer",
    weighting: Any = "equal",
    adapter: Any = "bottleneck",
    head: Any = "linear",
    readout: Any = None,
    keep_head: bool = True,
    target_labels: bool = True,
    epochs: int | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    device: str | None = None,
    out: Path | str | None = None,
    resume: bool = False,
) -> DomainAdaptation:
    """Adapt an encoder from a labeled source domain to a target with few labels or none.

    The method ``joint`` has three stages (Li et al. 2023): ``pretrain`` trains the encoder on
    graphs without labels by a self-supervised task; ``joint`` trains it on the labels of the source
    with the few of the target and, in the same steps, by that task on graphs of the target;
    ``adapt`` freezes it, and trains adapters and a head on the labels of the target.

    The other methods align the vectors of both domains, and need no label of the target. Their
    stages are ``pretrain``, if wanted; ``source``, on the labels of the source alone; ``align``,
    on these and, in the same steps, by a domain task on the inputs of the target; and ``adapt``, if
    there are a few labels. The source's validation data and ``criterion`` select.

    Args:
        encoder: As for :func:`gtl.pretrain`; it is copied and stays as it is.
        source: Labeled data of the source domain, with the splits ``train`` and ``valid``.
        target: Data of the target domain, of the same level and features. Its training split has
            the few labels; none are needed without the stage ``adapt``.
        method: How to adapt. It is ``joint``, or an alignment: ``dann``, ``cdan``, ``cdan+e``,
            ``adda``, ``mcd``, ``mdd``, ``wdgrl``, ``dsn``, ``mk_mmd``, ``coral``, ``afn``, ``mcc``
            or ``target_entropy``.
        candidates: Settings of ``align`` to try. Each has any of ``method``, ``strength`` (weight
            of the task's losses), ``options`` of the task, and arguments of :func:`gtl.finetune`:
            ``[{"method": "dann", "strength": 0.1, "lr": 3e-3}]``.
        criterion: What selects epoch and candidate with the source's validation data. It is
            ``infomax``, ``entropy``, ``snd``, ``iwcv``, ``dev`` or ``source``, for these data
            alone. Test labels of the target never do.
        guard: Whether the model of the source alone is used where the criterion prefers it.
        class_prior: ``bbse`` or ``em``, to weigh classes by their estimated share of the target.
        edges: ``strurw``, to draw edges of the source as often as classes are joined in the target.
        feature_names: Names of the columns of source and target. Those in common are kept.
        project: Number of components to reduce features to, found on both domains together.
        context: Longest walk from a node to those whose mean features are appended to its own, by
            how much more often they are met than by chance (PPMI). It is for nodes, such as 3.
        corpus: Graphs without labels to pre-train on; those of source and target by default.
        unlabeled: Graphs of the target domain for ``joint`` or ``align``. By default the graph of
            the target or, where items are graphs, those that neither validate nor test; give the
            target itself to learn from the inputs of all. Labels are not read.
        stages: Which stages to train. With ``resume`` the ones in ``out`` are kept, and later ones
            start from them; else the first starts from ``encoder``. By default all of ``joint``,
            and ``source`` and ``align`` of the others.
        task: Self-supervised task of ``pretrain`` and ``joint``.
        weighting: How much the task counts beside the source labels.
        adapter: What ``adapt`` trains beside the head, as for :func:`gtl.finetune`.
        head: Vectors to predictions.
        readout: Node vectors to graph vectors, for graph-level data.
        keep_head: Whether the target's head starts as the source's where kind, number and names of
            the labels agree.
        target_labels: Whether ``joint`` learns the few labels of the target with those of the
            source where these agree; validation items of both then choose its epoch.
        epochs: Passes of each stage; by default those of :func:`gtl.pretrain` and
            :func:`gtl.finetune`.
        settings: Further arguments of these, by stage: ``{"pretrain": {"epochs": 100}, "adapt":
            {"lr": 3e-3}}``.
        seed: Reproduces the adaptation bit for bit on one machine.
        device: Where to train; by default where the encoder is.
        out: Folder to write, with a run folder for each stage.
        resume: Continue the adaptation in ``out``; stages that have ended are not trained again.

    Returns:
        The adaptation. ``results["stages"]`` says what each stage gave. Of ``joint`` that is
        ``valid``, the metric on validation data of the target, of ``adapt`` that of the model and
        of the others that of a linear probe fitted to the target's training labels, ``start`` being
        the encoder as it was given; and the source's validation value. Of an alignment it is the
        distance of the domains; ``results["selection"]`` says what each criterion selects,
        ``results["label_shift"]`` how class shares seem to differ.

    Raises:
        GtlError: On any unusable argument, before anything is written.
    """
    if method not in METHODS:
        raise UnknownPartError(f"unknown method {method!r}; {nearest(method, METHODS)}")
    recipe, place = METHODS[method], None if out is None else Path(out)
    how = (task, weighting, adapter, head, readout, keep_head, target_labels, epochs)
    tried = [{"method": method, **each} for each in _mappings(candidates) or [{}]]
    alignment = Alignment(tried, criterion, guard, class_prior, edges)
    kept = _kept(recipe, stages, place if resume else None)
    run = (seed, device, place, resume)
    plan = Plan(recipe.stages, kept, *how, settings or {}, alignment, *run)
    features = {"feature_names": feature_names, "project": project, "context": context}
    domains = domains_of(source, target, corpus, unlabeled, feature_names, project, context)
    _check_stages(plan, domains, corpus)
    aligns = recipe is _ALIGN
    if aligns:
        check_alignment(domains, plan)
    elif candidates or class_prior or edges or criterion != BY_DEFAULT or not guard:
        raise ConfigError(
            "`candidates`, `criterion`, `guard`, `class_prior` and `edges` are for methods that "
            "align domains, and `method` is 'joint'; leave them out, or use another method such as "
            "'dann'"
        )
    target = domains.target
    with Session("adapt", target, seed=seed, device=device, out=out, resume=resume) as session:
        given = with_defaults(encoder, target.level, target.contents.node_features(), head=False)
        start, checked = _start(given, domains)
        _check_trainings(plan, domains, checked.encoder)
        reseed(session.rng)
        labels = LabelNames.of(target if "adapt" in plan.stages else _labeled(domains))
        own = asdict(alignment) if aligns else {}
        own |= {name: value for name, value in features.items() if value is not None}
        folder = session.open({**_config(plan, domains, method, encoder, checked, labels), **own})
        log.info("adapt %s to %s: %s", domains.source.spec, target.spec, ", ".join(plan.stages))
        trained = recipe.train(start, domains, plan)
        last = list(trained.values())[-1].results
        if aligns:
            found = alignment_results(trained, domains, plan, folder)
        else:
            measured = {"start": checked, **trained}
            rows = {name: _row(name, stage, domains, plan) for name, stage in measured.items()}
            ended = last if "adapt" in trained else {}
            found = {name: ended.get(name) for name in ("metric", "valid", "test", "epoch")}
            found["stages"] = rows
            found["metric"] = None if target.labels is None else target.metric
        done = session.close(
            {
                **found,
                "footprint": last["footprint"],
                "data": target.spec,
                "source": domains.source.spec,
                "method": method,
                "unlabeled": {
                    "spec": domains.unlabeled.spec,
                    "items": len(domains.items),
                    "test_inputs": domains.test_inputs,
                },
            }
        )
    adaptation = DomainAdaptation(trained, labels, done)
    adaptation.folder, adaptation.source, adaptation.target = folder, domains.source, target
    return adaptation


def _mappings(candidates: Any) -> Sequence[Mapping[str, Any]]:
    given = [] if candidates is None else candidates
    is_list = isinstance(given, Sequence) and all(isinstance(each, Mapping) for each in given)
    if not is_list or isinstance(given, str):
        raise ConfigError(
            f"`candidates` is {candidates!r}, expected a list of mappings, such as "
            "[{'strength': 0.1}]"
        )
    return given


def _kept(recipe: Recipe, given: Sequence[str] | None, out: Path | None) -> list[str]:
    """The stages to train in their order, and those before them that a resumed folder has."""
    given = recipe.by_default if given is None else given
    stages = [given] if isinstance(given, str) else list(given)
    unknown = [name for name in stages if name not in recipe.stages]
    if unknown or not stages:
        return stages  # which the plan refuses
    before = recipe.stages[: max(recipe.stages.index(name) for name in stages)]
    there = [n for n in before if out is not None and (out / n / "config.json").is_file()]
    return [name for name in recipe.stages if name in stages or name in there]


def _check_stages(plan: Plan, domains: Domains, corpus: Any) -> None:
    """Refuse data that no stage reads or whose labels are missing, and parts that do not exist.

    Raises:
        ConfigError: If a corpus is given and not trained on.
        DataError: If labels are missing.
        UnknownPartError: If a name is wrong.
    """
    for registry, part in ((TASKS, plan.task), (WEIGHTINGS, plan.weighting)):
        registry.build(part)
    several = plan.adapter if isinstance(plan.adapter, (list, tuple)) else [plan.adapter]
    for part in several:
        ADAPTERS.build(part)
    if corpus is not None and "pretrain" not in plan.stages:
        raise ConfigError(
            "`corpus` is for the stage 'pretrain', which is not trained; add it to `stages`, or "
            "leave `corpus` out"
        )
    if plan.adapter is None:
        raise ConfigError(
            "`adapter` is None, but the stage 'adapt' freezes the encoder; name an adapter, or [] "
            "for the head alone"
        )
    if {"joint", "source", "align"} & {*plan.stages}:
        check_labels(domains.source)
    if "adapt" in plan.stages:
        if domains.target.labels is None:
            raise DataError(
                f"the target {domains.target.spec} has no labels, which the stage 'adapt' needs; "
                "give labels of a few training items, or leave it out: "
                f"stages={[name for name in plan.stages if name != 'adapt']}"
            )
        check_labels(domains.target)


def _start(encoder: Any, domains: Domains) -> tuple[Any, Run]:
    """What the first stage starts from, and the same as an encoder that fits all domains."""
    base, tasks = as_encoder(encoder_of(encoder), domains.schema)
    checked = Run(base, tasks)
    is_trained = isinstance(encoder, (Run, Model)) or origin_of(encoder) is not None
    return (encoder if is_trained else base), checked


def _check_trainings(plan: Plan, domains: Domains, encoder: Encoder) -> None:
    """Refuse settings of any stage, and a task that does not suit the graphs it will be trained on.

    Raises:
        ConfigError: If they do not fit, such as codebooks that collapse.
    """
    check_settings(plan, domains, encoder)
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
        "target_labels": plan.target_labels,
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
    if name == "joint" and isinstance(stage, Model):
        row["source_metric"] = domains.source.metric
        row["source_valid"] = value_on(stage, domains.source, "valid")
    if results:
        row["footprint"] = results["footprint"]
    if stage.__dict__.get("history"):
        row["losses"] = stage.history[-1]["losses"]
        row["measures"] = stage.history[-1].get("measures", {})
    return row


def _can_probe(target: Dataset) -> bool:
    has = target.labels is not None and target.level != "edge"
    return has and all(len(target.split.get(part, ())) for part in ("train", "valid"))
