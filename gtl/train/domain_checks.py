"""Checks of an alignment of two domains, before anything is trained or written."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from typing import Any

from gtl.catalog import ENCODERS, TASKS
from gtl.data.dataset import Dataset
from gtl.errors import ConfigError, DataError, GtlError
from gtl.roles import Encoder
from gtl.suggest import nearest
from gtl.tasks.domain.task import DomainTask
from gtl.train.domain_alignment import ALIGNMENTS, finetune_defaults, is_equal, settings_of
from gtl.train.domain_plan import Plan
from gtl.train.domains import Domains
from gtl.train.finetune import settings_of as settings_of_steps
from gtl.train.label_shift import METHODS
from gtl.train.labels import LabelNames
from gtl.train.optimizers import check_optimizer
from gtl.train.pretrain import pretrain
from gtl.train.resolve import check_fan_out
from gtl.train.settings import Settings
from gtl.train.target_kinds import target_for
from gtl.train.transfer_criteria import CRITERIA, OF_CLASSES


def check_alignment(domains: Domains, plan: Plan) -> None:
    """Refuse what the stages ``source`` and ``align`` cannot use, before anything is written.

    Raises:
        ConfigError: If an option is unusable.
        DataError: If the source has no validation data, items are pairs, or the target's labels
            have another meaning than the source's and no stage learns them.
    """
    alignment = plan.alignment
    _require_candidates(domains.source, plan)
    if alignment.criterion not in CRITERIA:
        raise ConfigError(
            f"`criterion` is {alignment.criterion!r}; {nearest(alignment.criterion, CRITERIA)}"
        )
    source = domains.source
    if source.level == "edge":
        raise DataError(
            f"items of {source.spec} are pairs of nodes, whose domains are not aligned; use "
            "method='joint'"
        )
    if not len(source.split.get("valid", ())):
        raise DataError(
            f"the source {source.spec} has no validation data, by which epochs and settings are "
            "selected; load it with a split `valid`"
        )
    if source.kind == "regression" and alignment.criterion in OF_CLASSES:
        raise ConfigError(
            f"`criterion` is {alignment.criterion!r}, which reads classes, and labels of "
            f"{source.spec} are numbers; use 'dev', 'iwcv' or 'source'"
        )
    if domains.target.labels is not None and "adapt" not in plan.stages:
        _require_same_meaning(domains)
    _require_corrections(domains.source, plan)
    for name in ("class_prior", "edges"):
        if getattr(alignment, name) is not None and "source" not in plan.stages:
            raise ConfigError(
                f"`{name}` is estimated by the model of the stage 'source'; add it to `stages`"
            )
    if "source" not in plan.stages and any(
        ALIGNMENTS[setting.method].after_source for setting in settings_of(plan)
    ):
        raise ConfigError("ADDA starts from the model of the stage 'source'; add it to `stages`")


def check_settings(plan: Plan, domains: Domains, encoder: Encoder) -> None:
    """Refuse settings that the training of a later stage would refuse, before the first begins.

    Rates and weights of single parts, and adapters of candidates, are left to the trainings.

    Args:
        plan: How the stages are trained.
        domains: All data.
        encoder: Of the first stage.

    Raises:
        GtlError: If there are some, naming stage or candidate.
    """
    for stage in plan.stages:
        given = plan.options(stage)
        if stage == "pretrain":
            with _named("the stage 'pretrain'"):
                _check_pretraining(given, domains.corpus, encoder)
        elif stage == "align":
            for setting in settings_of(plan):
                with _named(f"the candidate {setting.title!r}"):
                    _check_training({**given, **setting.training}, domains.source, plan, encoder)
        else:
            with _named(f"the stage {stage!r}"):
                data = domains.target if stage == "adapt" else domains.source
                _check_training(given, data, plan, encoder)


def _check_pretraining(given: Mapping[str, Any], data: Dataset, encoder: Encoder) -> None:
    own = {p.name: p.default for p in signature(pretrain).parameters.values()}
    own.update(given)
    check_fan_out(own["fan_out"], data, encoder)
    rate = 1.0 if own["lr"] is None else own["lr"]
    size = own["batch_size"] or 0
    Settings(own["epochs"], size, None, rate, own["weight_decay"], own["optimizer"])
    check_optimizer(own["optimizer"])


def _check_training(given: Mapping[str, Any], data: Dataset, plan: Plan, encoder: Encoder) -> None:
    own = {**finetune_defaults(), **given}
    fan_out = check_fan_out(own["fan_out"], data, encoder)
    settings = settings_of_steps(own, data, ENCODERS.name_of(encoder), fan_out)
    check_optimizer(settings.optimizer)
    head, readout = copy.deepcopy((plan.head, plan.readout or "mean"))
    if not own["properties"]:  # which widen what a head reads
        how = (head, readout, own["links"], own["class_weights"], ())
        target_for(encoder, data, data.items("train"), settings.batch_size, *how)


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Name what an error is about."""
    try:
        yield
    except GtlError as error:
        raise type(error)(f"{what}: {error}") from error


def _require_candidates(source: Dataset, plan: Plan) -> None:
    """Refuse candidates with a task or setting that does not go with the labels or the plan."""
    alignment, found = plan.alignment, settings_of(plan)
    for setting, given in zip(found, alignment.candidates):
        task = setting.task()
        assert isinstance(task, DomainTask)
        if source.kind == "regression" and task.reads_classes:
            others = [name for name in ALIGNMENTS if not _reads_classes(name)]
            raise ConfigError(
                f"{setting.method} compares predicted classes, and labels of {source.spec} are "
                f"numbers; use {', '.join(others)}, which read vectors alone"
            )
        if "strength" in given and not is_equal(plan.weighting):
            raise ConfigError(
                f"the candidate {setting.title} names `strength`, but losses are weighted by "
                f"`weighting` {plan.weighting!r}; leave out one of the two"
            )
        weights = {**plan.settings.get("align", {}), **setting.training}.get("class_weights")
        if weights is not None and alignment.class_prior is not None:
            raise ConfigError(
                f"the candidate {setting.title} has `class_weights`, which `class_prior` "
                f"{alignment.class_prior!r} would replace; leave out one of the two"
            )


def _require_corrections(source: Dataset, plan: Plan) -> None:
    """Refuse values of ``class_prior`` and ``edges`` that are unknown or need other labels."""
    prior, edges = plan.alignment.class_prior, plan.alignment.edges
    if prior is not None and prior not in METHODS:
        raise ConfigError(f"`class_prior` is {prior!r}; {nearest(str(prior), METHODS)}, or None")
    if prior is not None and source.kind == "regression":
        raise ConfigError(
            f"`class_prior` is {prior!r}, and labels of {source.spec} are numbers, which have no "
            "class shares; leave it out"
        )
    if edges is not None and edges != "strurw":
        raise ConfigError(f"`edges` is {edges!r}, expected 'strurw' or None")
    if edges is not None and source.level != "node":
        raise ConfigError(
            f"`edges` is for nodes of one graph, and items of {source.spec} are {source.level}s; "
            "leave it out"
        )
    if edges is not None and (source.kind == "regression" or source.num_outputs < 2):
        raise ConfigError(
            f"`edges` needs several classes or label columns, and {source.spec} has not; leave it "
            "out"
        )


def _reads_classes(method: str) -> bool:
    task = TASKS.build(ALIGNMENTS[method].task)
    return bool(getattr(task, "reads_classes", False))


def _require_same_meaning(domains: Domains) -> None:
    try:
        LabelNames.of(domains.source).aligned(domains.target)
    except DataError as error:
        raise DataError(
            f"labels of the target {domains.target.spec} do not go with those of the source "
            f"{domains.source.spec}, on which the model is trained: {error}; or give the target "
            "without labels, or a few of them to the stage 'adapt' (`stages`)"
        ) from error
