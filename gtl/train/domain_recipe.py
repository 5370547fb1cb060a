"""JUST-Hydra recipe of domain adaptation (Li et al. 2023), in three stages."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any, TypeAlias

from torch import nn

from gtl.catalog import TASKS
from gtl.errors import ConfigError
from gtl.roles import Task
from gtl.suggest import nearest
from gtl.tasks.self_supervised.random_quantizer import RandomQuantizer
from gtl.train.domains import Domains
from gtl.train.finetune import finetune
from gtl.train.labels import LabelNames
from gtl.train.model import Model
from gtl.train.pretrain import pretrain
from gtl.train.resolve import sample_of
from gtl.train.run import Run

Stage: TypeAlias = Run | Model
STAGES = ("pretrain", "joint", "adapt")
_LOOPS: Mapping[str, Callable[..., Any]] = {
    "pretrain": pretrain,
    "joint": finetune,
    "adapt": finetune,
}
_GIVEN = (  # arguments of the loops that the recipe itself gives
    *("encoder", "data", "dataset", "tasks", "auxiliary", "weighting", "adapter", "head"),
    *("readout", "members", "guard", "seed", "device", "out", "resume"),
)


@dataclass(frozen=True)
class Plan:
    """How the stages are trained.

    Attributes:
        stages: Which of :data:`STAGES` are trained.
        task: The self-supervised task of the first two.
        weighting: How much it counts beside the source labels.
        adapter: What is trained beside the head in the last one.
        head: Vectors to predictions.
        readout: Node vectors to graph vectors.
        keep_head: Whether the target's head starts as the source's, where labels are the same.
        epochs: Passes of every stage; ``None`` for the defaults of each.
        settings: Further arguments of :func:`gtl.pretrain` or :func:`gtl.finetune`, by stage.
        seed: Of every stage.
        device: Where to train.
        out: Folder with a run folder for each stage, or ``None``.
        resume: Whether they are continued.

    Raises:
        ConfigError: If a stage or a setting is unknown.
    """

    stages: Sequence[str] = STAGES
    task: Any = "random_quantizer"
    weighting: Any = "equal"
    adapter: Any = "bottleneck"
    head: Any = "linear"
    readout: Any = None
    keep_head: bool = True
    epochs: int | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seed: int = 0
    device: str | None = None
    out: Path | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        for name in (*self.stages, *self.settings):
            if name not in STAGES:
                raise ConfigError(f"unknown stage {name!r}; {nearest(name, STAGES)}")
        if not self.stages:
            raise ConfigError(f"`stages` is empty; name at least one of: {', '.join(STAGES)}")
        for stage, given in self.settings.items():
            known = [name for name in signature(_LOOPS[stage]).parameters if name not in _GIVEN]
            for name in given:
                if name not in known:
                    raise ConfigError(
                        f"`settings[{stage!r}]` names {name!r}, which is no setting of this stage; "
                        f"{nearest(name, known)}"
                    )

    def options(self, stage: str) -> dict[str, Any]:
        """Arguments of the loop of a stage, those of its run folder included."""
        epochs = {} if self.epochs is None else {"epochs": self.epochs}
        out = None if self.out is None else self.out / stage
        own = {"seed": self.seed, "device": self.device, "out": out, "resume": self.resume}
        return {**epochs, **self.settings.get(stage, {}), **own}


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
        task = copy.deepcopy(plan.task)
        last = found["pretrain"] = pretrain(
            encoder_of(last), domains.corpus, [task], **plan.options("pretrain")
        )
    if "joint" in plan.stages:
        last = found["joint"] = finetune(
            encoder_of(last),
            domains.source,
            auxiliary=[on_target(last, plan.task, domains)],
            weighting=plan.weighting,
            head=plan.head,
            readout=plan.readout,
            guard=False,
            **plan.options("joint"),
        )
    if "adapt" in plan.stages:
        found["adapt"] = finetune(
            encoder_of(last),
            domains.target,
            adapter=plan.adapter,
            head=head_of(last, domains, plan),
            readout=plan.readout,
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
    known = stage.tasks.get(TASKS.name_of(built)) if isinstance(stage, Run) else None
    if known is not None and TASKS.spec(known) == TASKS.spec(built):
        built = copy.deepcopy(known)
        if isinstance(built, RandomQuantizer):
            built.require_spread(sample_of(domains.unlabeled))
    return built.on(domains.unlabeled)


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
    return copy.deepcopy(stage.predictor.head).cpu() if same else plan.head


def _meaning(labels: LabelNames) -> tuple[Any, ...]:
    return labels.kind, labels.outputs, labels.label_names, labels.class_names
