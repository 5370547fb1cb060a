"""JUST-Hydra recipe of domain adaptation (Li et al. 2023), in three stages."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from gtl.catalog import ENCODERS, TASKS
from gtl.data.dataset import Dataset
from gtl.roles import Task
from gtl.tasks.self_supervised.random_quantizer import RandomQuantizer
from gtl.train.domain_plan import Plan, Stage
from gtl.train.domains import Domains, joined
from gtl.train.finetune import finetune
from gtl.train.labels import LabelNames
from gtl.train.model import Model
from gtl.train.pretrain import pretrain
from gtl.train.resolve import sample_of
from gtl.train.run import Run

STAGES = ("pretrain", "joint", "adapt")


def train_stages(start: Any, domains: Domains, plan: Plan) -> dict[str, Stage]:
    """Train the stages of a plan, each from the one before it.

    Args:
        start: What the first one starts from: an encoder as for :func:`gtl.pretrain`, or an earlier
            stage.
        domains: All data.
        plan: How.

    Returns:
        Each stage by name: a run of ``pretrain``, and models of ``joint`` and ``adapt``.
    """
    found: dict[str, Stage] = {}
    last = start
    if "pretrain" in plan.stages:
        last = found["pretrain"] = pre_trained(last, domains, plan)
    if "joint" in plan.stages:
        last = found["joint"] = finetune(
            encoder_of(last),
            labeled_of(domains) if plan.target_labels else domains.source,
            auxiliary=[on_target(last, plan.task, domains)],
            weighting=plan.weighting,
            head=copy.deepcopy(plan.head),
            readout=copy.deepcopy(plan.readout),
            guard=False,
            **plan.options("joint"),
        )
    if "adapt" in plan.stages:
        found["adapt"] = adapted(last, domains, plan)
    return found


def pre_trained(last: Any, domains: Domains, plan: Plan) -> Run:
    """The encoder after self-supervised training on graphs of both domains."""
    task = copy.deepcopy(plan.task)
    return pretrain(encoder_of(last), domains.corpus, [task], **plan.options("pretrain"))


def labeled_of(domains: Domains) -> Dataset:
    """Source and target with their training and validation labels, as one data set.

    It is the source alone where the target has no training labels, or labels of other meaning.
    """
    source, target = domains.source, domains.target
    has_labels = target.labels is not None and len(target.split.get("train", ()))
    same = has_labels and _meaning(LabelNames.of(source)) == _meaning(LabelNames.of(target))
    return joined(source, target, domains.schema) if same and target.level != "edge" else source


def adapted(last: Any, domains: Domains, plan: Plan) -> Model:
    """Adapters and a head on the few labels of the target, on the frozen encoder."""
    found: Model = finetune(
        encoder_of(last),
        domains.target,
        adapter=copy.deepcopy(plan.adapter),
        head=head_of(last, domains, plan),
        readout=copy.deepcopy(plan.readout),
        **plan.options("adapt"),
    )
    return found


def encoder_of(stage: Any) -> Any:
    """What a stage starts from: a copy of the encoder of the stage before it, or as given."""
    if isinstance(stage, Model):
        return Run(stage.encoder, {}, folder=stage.folder)
    return copy.deepcopy(stage) if isinstance(stage, nn.Module) else stage


def on_target(stage: Any, task: Any, domains: Domains) -> Task:
    """The self-supervised task on graphs of the target, as it was pre-trained where it was.

    Raises:
        ConfigError: If its codebooks collapse on graphs of the target.
    """
    built: Task = copy.deepcopy(TASKS.build(task))
    known = _tasks_of(stage).get(TASKS.name_of(built))
    if known is not None and TASKS.spec(known) == TASKS.spec(built):
        built = copy.deepcopy(known)
        if isinstance(built, RandomQuantizer):
            built.require_spread(sample_of(domains.unlabeled))
    return built.on(domains.unlabeled)


def _tasks_of(stage: Any) -> Mapping[str, Task]:
    """Tasks that were trained with the encoder of a stage, or of a run folder."""
    if isinstance(stage, (str, Path)) and str(stage) not in ENCODERS.names():
        stage = Run.load(stage) if Path(stage).is_dir() else stage
    return stage.tasks if isinstance(stage, Run) else {}


def head_of(stage: Any, domains: Domains, plan: Plan) -> Any:
    """The head of the source, where it fits the labels of the target; else as the plan says."""
    same = (
        plan.keep_head
        and isinstance(stage, Model)
        and stage.labels is not None
        and _meaning(stage.labels) == _meaning(LabelNames.of(domains.target))
        and not list(stage.predictor.readout.parameters() if stage.predictor.readout else ())
        and stage.predictor.properties is None
    )
    return copy.deepcopy(stage.predictor.head).cpu() if same else copy.deepcopy(plan.head)


def _meaning(labels: LabelNames) -> tuple[Any, ...]:
    return labels.kind, labels.outputs, labels.label_names, labels.class_names
