"""Training of a student: the labels and the predictions of teachers, by :func:`gtl.finetune`."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gtl.adapters import Adapted
from gtl.catalog import ENCODERS
from gtl.data.dataset import Dataset
from gtl.tasks import Distillation
from gtl.train.calibration import factor_of
from gtl.train.evaluate import raw_outputs
from gtl.train.finetune import finetune
from gtl.train.model import Model

if TYPE_CHECKING:
    from gtl.efficiency.steps import Context

# Settings of a fine-tuning that a smaller model takes over.
_SETTINGS = (
    *("epochs", "batch_size", "fan_out", "lr", "rates", "weight_decay", "patience", "optimizer"),
    *("warmup", "schedule", "head_first", "batch_norm", "average", "links", "class_weights"),
)
_STUDENT_WIDTH = 128  # of an MLP (Zhang et al. 2022, Appendix), twice that of gtl's node encoders


def teach(
    encoder: Any,
    teachers: Sequence[Model],
    data: Dataset,
    settings: Mapping[str, Any],
    context: Context,
    *,
    temperature: float = 2.0,
    calibrate: bool = True,
    features: float = 0.0,
    weighting: Any = "equal",
    unlabeled: bool | None = None,
    seed: int = 0,
) -> Model:
    """Train an encoder and a head on labels, and on the mean prediction of teachers.

    Args:
        encoder: As for :func:`gtl.finetune`; an instance is trained in place.
        teachers: Models; with none it is plain fine-tuning.
        data: Labeled data.
        settings: Arguments of :func:`gtl.finetune`.
        context: Device, run folder, and whether it is continued.
        temperature: See :class:`gtl.tasks.Distillation`.
        calibrate: Whether the scores of each teacher are first multiplied by the factor that makes
            the validation labels most likely.
        features: See :class:`gtl.tasks.Distillation`.
        weighting: How much target and distillation count.
        unlabeled: Whether predictions of unlabeled items are learned; at node level by default.
        seed: Of the training.
    """
    auxiliary = []
    if teachers:
        more = data.level == "node" if unlabeled is None else unlabeled
        task = Distillation(temperature=temperature, features=features, unlabeled=more)
        factors = [_factor(model, data) for model in teachers] if calibrate else None
        auxiliary = [task.taught_by(*teachers, factors=factors)]
    return finetune(
        encoder,
        data,
        **settings,
        auxiliary=auxiliary,
        weighting=weighting,
        guard=False,
        seed=seed,
        device=context.device,
        out=context.out,
        resume=context.resume,
    )


def _factor(model: Model, data: Dataset) -> float:
    """The factor that calibrates a classifier on the validation split; 1 where there is none."""
    if data.kind == "regression" or data.labels is None or not len(data.split.get("valid", ())):
        return 1.0
    items = data.items("valid")
    labels = data.labels[items].to("cpu")
    if data.kind == "multiclass":
        labels = labels.flatten()
    return factor_of(raw_outputs(model, data, items), labels, data.kind)


def settings_of_run(config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of :func:`gtl.finetune` that a run had, those of its parts left out.

    Args:
        config: ``config.json``; what it lacks is left to the defaults.
    """
    found = {name: config[name] for name in _SETTINGS if config.get(name) is not None}
    if config.get("batch_size") == 0:
        found.pop("batch_size")
    rates = {k: v for k, v in (found.get("rates") or {}).items() if k in ("encoder", "head")}
    return {
        **copy.deepcopy(found),
        "rates": rates or None,
        "properties": list(config.get("properties") or ()),
    }


def usual_student(model: Model, data: Dataset) -> Any:
    """The student where none was given: an MLP for nodes, else half of the teacher's width."""
    if data.level == "node":
        return {"name": "mlp", "width": _STUDENT_WIDTH}
    base = model.encoder.base if isinstance(model.encoder, Adapted) else model.encoder
    spec = ENCODERS.spec(base)
    if spec["name"] not in ENCODERS.names():
        return {"name": "gin", "width": 128, "depth": 3}
    heads = _heads(base)
    return {**spec, "width": max(_width(base) // 2 // heads, 1) * heads}


def _width(encoder: Any) -> int:
    """Columns of a layer."""
    given = getattr(encoder, "arguments", {}).get("width")
    return int(given if given is not None else encoder.width)


def _heads(encoder: Any) -> int:
    """Heads that share the columns of a layer; 1 where each has all of them, or there are none."""
    parameters = inspect.signature(type(encoder).__init__).parameters
    options = {name: parameter.default for name, parameter in parameters.items()}
    options |= getattr(encoder, "arguments", {})
    return 1 if options.get("merge") == "mean" else int(options.get("heads", 1))
