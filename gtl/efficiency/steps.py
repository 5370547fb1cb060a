"""Steps of a compression: what each does to a model, by name and options."""

from __future__ import annotations

import copy
import inspect
import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from gtl.data.dataset import Dataset
from gtl.efficiency.low_rank import factored
from gtl.efficiency.pruning import pruned
from gtl.efficiency.quantization import State, quantized
from gtl.efficiency.student import settings_of_run, teach, usual_student
from gtl.errors import ConfigError
from gtl.registry import Registry
from gtl.roles.recorded import Recorded
from gtl.train.model import Model


@dataclass(frozen=True)
class Context:
    """What a step may use beside the model.

    Attributes:
        source: The model that the compression began with, the teacher of students.
        config: ``config.json`` of its run; empty if there is none.
        data: Labeled data, or ``None``.
        seed: Of trainings and draws.
        device: Where to train; ``None`` for where the model is.
        out: Run folder of a training in this step, or ``None``.
        resume: Whether that training is continued.
    """

    source: Model
    config: Mapping[str, Any]
    data: Dataset | None
    seed: int = 0
    device: str | None = None
    out: Path | None = None
    resume: bool = False

    def labeled(self, step: str) -> Dataset:
        """The data.

        Raises:
            ConfigError: If there are none.
        """
        if self.data is None:
            raise ConfigError(
                f"`{step}` trains, and the run does not name its data; give a labeled data set"
            )
        return self.data


@dataclass(frozen=True)
class Done:
    """What a step gives.

    Attributes:
        model: The new model.
        state: What is stored of it, by the names of a run folder; ``None`` for its tensors.
    """

    model: Model
    state: State | None = None


class Step(Recorded, ABC):
    """One way to make a model smaller or faster, or to train what became smaller.

    Attributes:
        is_last: Whether no step can follow, because it would undo this one.
        trains: Whether it trains, and so has a run folder.
    """

    is_last: ClassVar[bool] = False
    trains: ClassVar[bool] = False

    @abstractmethod
    def apply(self, model: Model, context: Context) -> Done:
        """The model after this step; the given one stays as it is."""


class Quantization(Step):
    """Weights as 8-bit integers with a scale for each row; see :func:`quantized`."""

    is_last = True

    def apply(self, model: Model, context: Context) -> Done:
        """Round."""
        return Done(*quantized(model))


class Pruning(Step):
    """Hidden channels that matter least are left out of every layer; see :func:`pruned`.

    Args:
        keep: Share of the channels that stay, in ``(0, 1]``.
        criterion: ``"taylor"``, by the loss on training data, or ``"magnitude"``, by weights; the
            former is the default where there are data.
    """

    def __init__(self, keep: float = 0.5, criterion: str | None = None):
        self.keep, self.criterion = keep, criterion

    def apply(self, model: Model, context: Context) -> Done:
        """Prune."""
        usual = "magnitude" if context.data is None else "taylor"
        how = usual if self.criterion is None else self.criterion
        return Done(pruned(model, self.keep, context.data, how, seed=context.seed))


class LowRank(Step):
    """Linear maps as products of two smaller ones; see :func:`factored`.

    Args:
        energy: Share of the squared singular values that each map keeps, in ``(0, 1]``.
    """

    def __init__(self, energy: float = 0.9):
        self.energy = energy

    def apply(self, model: Model, context: Context) -> Done:
        """Factor."""
        return Done(factored(model, self.energy))


class FineTuning(Step):
    """Trains the smaller model on the labels and on the first one's predictions.

    Settings that are not given are those of the run that is compressed.

    Args:
        teacher: Whether the task ``distillation`` from the first model stands beside the target.
        temperature: Of its soft targets.
        calibrate: Whether the teacher is first calibrated on the validation labels.
        epochs: Passes over the training split, at most.
        lr: Learning rate.
        weighting: How much target and distillation count.
        unlabeled: Whether predictions of unlabeled items are learned, too; by default at node
            level.
        seed: Of the training; by default that of the compression.
    """

    trains = True

    def __init__(
        self,
        teacher: bool = True,
        temperature: float = 2.0,
        calibrate: bool = True,
        epochs: int | None = None,
        lr: float | None = None,
        weighting: Any = "equal",
        unlabeled: bool | None = None,
        seed: int | None = None,
    ):
        self.options = {
            "temperature": temperature,
            "calibrate": calibrate,
            "unlabeled": unlabeled,
        }
        self.teacher, self.weighting, self.seed = teacher, weighting, seed
        self.settings = {"epochs": epochs, "lr": lr}

    def apply(self, model: Model, context: Context) -> Done:
        """Train."""
        given = {name: value for name, value in self.settings.items() if value is not None}
        model = copy.deepcopy(model)  # which is trained in place
        parts = {"head": model.predictor.head, "readout": model.predictor.readout}
        settings = {**settings_of_run(context.config), **parts, **given}
        seed = context.seed if self.seed is None else self.seed
        teachers = [context.source] if self.teacher else []
        how = {"weighting": self.weighting, "seed": seed, **self.options}
        data = context.labeled("finetune")
        return Done(teach(model.encoder, teachers, data, settings, context, **how))


class Distill(Step):
    """A new, smaller model learns what the given one predicts.

    Args:
        student: Encoder of the new model: a name or a mapping with options. By default ``mlp`` for
            nodes, which reads no neighbors, and for graphs the encoder with half of its width.
        teachers: Folders of further runs whose mean prediction, with the given one, is learned.
        temperature: Of the soft targets.
        calibrate: Whether each teacher is first calibrated on the validation labels: one that was
            selected by its accuracy after few epochs has nearly equal probabilities, which teach
            little.
        features: Weight of the difference between the vectors of both; 0 for none.
        epochs: Passes over the training split, at most; by default those of fine-tuning.
        lr: Learning rate; likewise.
        weighting: How much target and distillation count.
        unlabeled: Whether predictions of unlabeled items are learned, too; by default at node
            level.
        properties: Properties for the student's head; by default those of the given model's.
        seed: Of the training; by default that of the compression.
    """

    trains = True

    def __init__(
        self,
        student: Any = None,
        teachers: Any = (),
        temperature: float = 2.0,
        calibrate: bool = True,
        features: float = 0.0,
        epochs: int | None = None,
        lr: float | None = None,
        weighting: Any = "equal",
        unlabeled: bool | None = None,
        properties: Any = None,
        seed: int | None = None,
    ):
        self.student = student
        self.teachers = [teachers] if isinstance(teachers, str) else list(teachers)
        self.options = {
            "temperature": temperature,
            "calibrate": calibrate,
            "features": features,
            "unlabeled": unlabeled,
            "weighting": weighting,
        }
        self.settings = {"epochs": epochs, "lr": lr}
        self.properties, self.seed = properties, seed

    def apply(self, model: Model, context: Context) -> Done:
        """Train the student."""
        data = context.labeled("distill")
        student = usual_student(model, data) if self.student is None else self.student
        others = [Model.load(folder) for folder in self.teachers]
        names = model.properties if self.properties is None else self.properties
        settings = {
            **{name: value for name, value in self.settings.items() if value is not None},
            "properties": names,
            "readout": context.config.get("readout"),
        }
        seed = context.seed if self.seed is None else self.seed
        how = {"seed": seed, **self.options}
        return Done(teach(student, [model, *others], data, settings, context, **how))


STEPS = Registry(
    "compression",
    {
        "int8": "gtl.efficiency.steps:Quantization",
        "prune": "gtl.efficiency.steps:Pruning",
        "low_rank": "gtl.efficiency.steps:LowRank",
        "finetune": "gtl.efficiency.steps:FineTuning",
        "distill": "gtl.efficiency.steps:Distill",
    },
    base=Step,
)


def as_steps(method: Any) -> list[Step]:
    """Steps of a compression.

    Args:
        method: A name, a mapping with ``name`` and options, a :class:`Step`, or a list of those.

    Raises:
        ConfigError: If there is none, or one follows that would undo another.
        UnknownPartError: If a name is not registered.
    """
    if isinstance(method, str) and "," in method:
        method = [name.strip() for name in method.split(",")]
    several = method if isinstance(method, (list, tuple)) else [method]
    for part in several:
        _check(part)
    steps: list[Step] = [STEPS.build(part) for part in several]
    if not steps:
        raise ConfigError("`method` is an empty list; name at least one")
    for step, after in itertools.pairwise(steps):
        if step.is_last:
            raise ConfigError(
                f"`method` has {STEPS.name_of(after)} after {STEPS.name_of(step)}, which would "
                f"undo it; let {STEPS.name_of(step)} be the last"
            )
    return steps


def _check(part: Any) -> None:
    """Refuse what names no step, and options that should be numbers and are not."""
    if not isinstance(part, (str, Mapping, Step)):
        raise ConfigError(
            f"`method` has {part!r} ({type(part).__name__}), expected a name or a mapping with "
            f"`name` and options; known: {', '.join(STEPS.names())}"
        )
    if not isinstance(part, Mapping) or part.get("name") not in STEPS.names():
        return
    options = inspect.signature(STEPS.get(part["name"])).parameters
    for name, value in part.items():
        kind = str(options[name].annotation) if name in options else ""
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        may_be_none = value is None and "None" in kind
        if kind.startswith(("int", "float")) and not is_number and not may_be_none:
            raise ConfigError(f"{part['name']}: `{name}` is {value!r}, expected a number")
