"""Alignment of two domains without labels of the target, in up to four stages.

``pretrain`` learns from the graphs of both; ``source`` from the labels of the source alone, which
is the baseline and where ADDA begins; ``align`` from these labels and, in the same steps, by a
domain task from the inputs of the target; ``adapt`` from a few labels of the target.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import torch

from gtl.catalog import TASKS, WEIGHTINGS
from gtl.checks import check_not_negative
from gtl.data.dataset import Dataset
from gtl.errors import ConfigError, DataError
from gtl.roles import Task
from gtl.suggest import nearest
from gtl.train.candidates import OtherData, Validation
from gtl.train.domain_choice import Tried, choose
from gtl.train.domain_plan import Plan, Stage, require_settings
from gtl.train.domain_recipe import adapted, encoder_of, pre_trained
from gtl.train.domain_shift import drawn_like_target, prior_weights
from gtl.train.domain_validation import DomainValidation
from gtl.train.domains import Domains
from gtl.train.finetune import fine_tuned, finetune
from gtl.train.labels import LabelNames
from gtl.train.model import Model
from gtl.train.transfer_criteria import OF_CLASSES
from gtl.weightings.equal import Equal

STAGES = ("pretrain", "source", "align", "adapt")
DEFAULT_STAGES = ("source", "align")
BY_DEFAULT = "infomax"


@dataclass(frozen=True)
class Method:
    """A method that is a domain task beside the source's labels.

    Attributes:
        task: Name of the task, or a mapping of it with options.
        strength: Weight of its losses where none is given.
        after_source: Whether it starts from the trained model of the source, and not from where
            that one started.
        trains: Criteria that its losses improve, which therefore say nothing of it.
    """

    task: Any
    strength: float = 1.0
    after_source: bool = False
    trains: tuple[str, ...] = ()


ALIGNMENTS: Mapping[str, Method] = {
    "dann": Method("dann"),
    "cdan": Method({"name": "cdan", "entropy": False}),
    "cdan+e": Method({"name": "cdan", "entropy": True}),
    "adda": Method("adda", after_source=True),
    "mcd": Method("mcd"),
    "mdd": Method("mdd"),
    "wdgrl": Method("wdgrl"),
    "dsn": Method("dsn"),
    "mk_mmd": Method("mk_mmd"),
    "coral": Method("coral"),
    "afn": Method("afn"),
    "mcc": Method("mcc", trains=OF_CLASSES),
    "target_entropy": Method("target_entropy", trains=OF_CLASSES),
}


@dataclass(frozen=True)
class Setting:
    """One way to align.

    Attributes:
        method: A key of :data:`ALIGNMENTS`.
        strength: Weight of its losses.
        options: Of its task.
        training: Arguments of :func:`gtl.finetune`.
    """

    method: str
    strength: float
    options: Mapping[str, Any]
    training: Mapping[str, Any]

    @staticmethod
    def of(given: Mapping[str, Any]) -> Setting:
        """Read a candidate.

        Raises:
            ConfigError: If the method or a name is unknown.
        """
        rest = dict(given)
        name = rest.pop("method", None)
        if name not in ALIGNMENTS:
            raise ConfigError(
                f"a candidate has the method {name!r}; {nearest(str(name), ALIGNMENTS)}"
            )
        strength = rest.pop("strength", ALIGNMENTS[name].strength)
        check_not_negative(strength=strength)
        if not math.isfinite(strength):
            raise ConfigError(f"`strength` is {strength}, expected a finite number")
        options = rest.pop("options", {})
        if not isinstance(options, Mapping):
            raise ConfigError(
                f"`options` of the candidate {name!r} is {options!r}, expected a mapping with "
                "options of its task"
            )
        if "name" in options:
            raise ConfigError(
                f"`options` of the candidate {name!r} names 'name', which is no option of its "
                "task; give another method as `method`"
            )
        require_settings("align", rest, f"candidate {name!r}")
        return Setting(name, float(strength), options, rest)

    @property
    def title(self) -> str:
        """In words, for results and folders."""
        parts = [f"strength {self.strength:g}"]
        both = self.options.keys() & finetune_defaults().keys()  # a training may have them too
        parts += [f"{f'options.{k}' if k in both else k} {v}" for k, v in self.options.items()]
        parts += [f"{k} {v}" for k, v in self.training.items()]
        return f"{self.method} ({', '.join(parts)})"

    def task(self) -> Task:
        """The domain task, new."""
        known = ALIGNMENTS[self.method].task
        spec = {"name": known} if isinstance(known, str) else dict(known)
        built: Task = TASKS.build({**spec, **self.options})
        return built


def train_alignment(start: Any, domains: Domains, plan: Plan) -> dict[str, Stage]:
    """Train the stages of a plan.

    Args:
        start: What the first one starts from, as for :func:`gtl.train.domain_recipe.train_stages`.
        domains: All data.
        plan: How.

    Returns:
        Each stage by name; ``align`` is the candidate that the criterion selected. Where that is
        ``source``, ``adapt`` starts from there.
    """
    found: dict[str, Stage] = {}
    last = start
    if "pretrain" in plan.stages:
        last = found["pretrain"] = pre_trained(last, domains, plan)
    if "source" in plan.stages:
        found["source"] = source_model(last, domains, plan)
    if "align" in plan.stages:
        source, tried = found.get("source"), []
        for setting, folder in zip(settings_of(plan), folders_of(plan)):
            model = aligned(last, source, domains, plan, setting)
            tried.append(Tried(setting.title, folder, model, ALIGNMENTS[setting.method].trains))
        found["align"], chosen = choose(tried, source, plan)
        last = found["source"] if chosen == "source" else found["align"]
    elif "source" in found:
        last = found["source"]
    if "adapt" in plan.stages:
        found["adapt"] = adapted(last, domains, plan)
    return found


def source_model(last: Any, domains: Domains, plan: Plan) -> Model:
    """The model of the source's labels alone; its validation data select the epoch."""
    return _trained(last, domains, plan, "source", None, criterion="source")


def aligned(
    last: Any, source: Stage | None, domains: Domains, plan: Plan, setting: Setting
) -> Model:
    """A model of the source's labels and, in the same steps, of a domain task on the target.

    Args:
        last: What ``source`` started from.
        source: The model of the source alone, or ``None``.
        domains: All data.
        plan: How.
        setting: What aligns.
    """
    index = [each.title for each in settings_of(plan)].index(setting.title)
    alignment = plan.alignment
    data, training = domains.source, dict(setting.training)
    if isinstance(source, Model):
        if alignment.class_prior is not None:
            training["class_weights"] = prior_weights(source, domains, alignment.class_prior)
        if alignment.edges is not None:
            data = drawn_like_target(source, domains, plan.seed)
        if ALIGNMENTS[setting.method].after_source:
            last = source
    folder, criterion = folders_of(plan)[index], alignment.criterion
    return _trained(last, domains, plan, "align", folder, criterion, setting, training, data)


def _trained(
    last: Any,
    domains: Domains,
    plan: Plan,
    stage: str,
    folder: str | None,
    criterion: str,
    setting: Setting | None = None,
    training: Mapping[str, Any] | None = None,
    data: Dataset | None = None,
) -> Model:
    """One training on the source's labels, or ``data``, with a domain task or without."""
    tasks, weighting = [], plan.weighting
    head, readout, training = copy.deepcopy((plan.head, plan.readout, training))
    if setting is not None:
        task = setting.task().on(domains.unlabeled)
        tasks = [task]
        if is_equal(weighting):
            weighting = {"name": "fixed", "weights": {TASKS.name_of(task): setting.strength}}
    if setting is not None and ALIGNMENTS[setting.method].after_source and isinstance(last, Model):
        head = copy.deepcopy(last.predictor.head).cpu()
        pool = last.predictor.readout
        readout = readout if pool is None else copy.deepcopy(pool).cpu()

    def validation(model: Model) -> Validation:
        return DomainValidation(model, domains, criterion)

    own = {"guard": False, "auxiliary": tasks, "weighting": weighting, "head": head}
    given = {**plan.options(stage, folder), **(training or {}), "readout": readout, **own}
    arguments = {**finetune_defaults(), **given}
    other = OtherData(validation, look_ahead_data(domains, plan) if tasks else None)
    return fine_tuned(
        encoder_of(last), domains.source if data is None else data, **arguments, other=other
    )


def look_ahead_data(domains: Domains, plan: Plan) -> Dataset | None:
    """Labels that a look-ahead is computed on in place of the source's: a few of the target's.

    They are known where the stage ``adapt`` is trained, which needs them. ``None`` elsewhere, and
    where they do not have the meaning of the source's labels.
    """
    if "adapt" not in plan.stages:
        return None
    names, target = LabelNames.of(domains.source), domains.target
    try:
        known = names.aligned(target)
    except DataError:
        return None
    labels = known.labels
    if known.columns is not None:
        labels = torch.full((len(labels), names.outputs), torch.nan)
        labels[:, known.columns] = known.labels.to(labels)
    meaning = ("kind", "metric", "class_names", "label_names")
    source = {name: getattr(domains.source, name) for name in meaning}
    return replace(target, labels=labels, **source)


def looked_ahead_on(domains: Domains, plan: Plan) -> str:
    """What the look-ahead of a weighting such as ``aux_ts`` is computed on, in words."""
    known = look_ahead_data(domains, plan)
    if known is not None:
        return f"{len(known.items('train'))} labels of the target"
    return (
        "labels of the source, half of each batch in turn; total weights of tasks are selected by "
        f"validation of the source and {plan.alignment.criterion}"
    )


def settings_of(plan: Plan) -> list[Setting]:
    """The candidates of a plan.

    Raises:
        ConfigError: If one is unusable, or two are the same.
    """
    found = [Setting.of(given) for given in plan.alignment.candidates]
    titles = [setting.title for setting in found]
    for title in titles:
        if titles.count(title) > 1:
            raise ConfigError(f"the candidate {title} is given twice; give it once")
    return found


def is_equal(weighting: Any) -> bool:
    """Whether a weighting is the plain sum, in whose place candidates have their strength."""
    return type(WEIGHTINGS.build(weighting)) is Equal


def folders_of(plan: Plan) -> list[str]:
    """Names of the run folders of the candidates."""
    count = len(plan.alignment.candidates)
    return ["align", *(f"align-{number}" for number in range(2, count + 1))]


def finetune_defaults() -> dict[str, Any]:
    """Arguments of :func:`gtl.finetune` that were not given."""
    parameters = signature(finetune).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}
