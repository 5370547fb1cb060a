"""Distillation: predictions of trained models as soft targets (Hinton et al. 2015)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.errors import ConfigError, ShapeError
from gtl.graph import Graph, Schema
from gtl.roles import Batch, View
from gtl.tasks.checks import require_positive
from gtl.tasks.items import all_inputs, item_vectors, labeled_inputs
from gtl.tasks.model_task import ModelTask


class Distillation(ModelTask):
    """Predicts what trained models, the teachers, predict with their probabilities.

    One sample is a labeled item or, with ``unlabeled``, an unlabeled one too. With scores ``s`` of
    the model and ``z`` of a teacher its loss is

    - multiclass: ``T^2 KL(softmax(z / T), softmax(s / T))`` (Hinton et al. 2015, Section 2.1);
    - binary: the same of each label column, averaged;
    - regression: the squared difference in units of the spread of the labels, averaged.

    Several teachers are one: probabilities, or values, are averaged. With ``features`` the mean
    squared difference of vectors is added, times ``features``: the model's item vectors, through a
    learned linear map, to those of all teachers side by side (Romero et al. 2015, "FitNets"). The
    vector of a node is its own, that of a graph the mean of its nodes.

    Teachers are constant, in eval mode, and no part of the state that is saved. A student without
    edges (encoder ``mlp``) and unlabeled nodes are the method of Zhang et al. 2022 (GLNN).

    Args:
        teacher: Folder of the run of a trained model, or a list of those; loops open them. Models
            in memory are given to :meth:`taught_by`.
        temperature: ``T``, above 0; larger ones show more of what the teacher finds unlikely.
        features: Weight of the difference of vectors, 0 or more.
        unlabeled: Whether unlabeled items are samples.
        warmup: Steps over which the losses rise linearly to their full size.

    Raises:
        ConfigError: If an option is out of range, there is no teacher, or it predicts something of
            another kind than the target.
    """

    def __init__(
        self,
        teacher: str | Sequence[str] | None = None,
        temperature: float = 2.0,
        features: float = 0.0,
        unlabeled: bool = False,
        warmup: int = 0,
    ):
        super().__init__(warmup)
        if not features >= 0:
            raise ConfigError(f"`features` is {features}, expected 0 or more")
        self.temperature = require_positive("temperature", temperature)
        self.features = features
        self.uses_unlabeled = bool(unlabeled)  # type: ignore[misc]
        given = [teacher] if isinstance(teacher, str) else list(teacher or ())
        self.teacher = [str(folder) for folder in given]
        self.map: nn.Linear | None = None
        # In tuples, so that the teachers are no part of this module.
        self._teachers: tuple[Any, ...] = ()
        self._factors: tuple[float, ...] = ()
        self._last: tuple[Any, ...] = ()

    def taught_by(self, *models: Any, factors: Sequence[float] | None = None) -> Distillation:
        """Use these teachers; returns the task.

        Args:
            *models: Each a :class:`gtl.Model`, or a module with ``encoder(graph) -> (n, h)``,
                ``outputs(graph, nodes) -> (b, c)`` and ``target.kind``. They are copied.
            factors: By which the scores of each are multiplied, one over a temperature that
                calibrates it (:func:`gtl.train.calibration.factor_of`); of values it changes
                nothing. By default 1.

        Raises:
            ConfigError: If one is something else, or there are not as many factors as models.
        """
        if factors is not None and len(factors) != len(models):
            raise ConfigError(
                f"there are {len(factors)} `factors` for {len(models)} teachers; give one for each"
            )
        for model in models:
            if not all(hasattr(model, name) for name in ("encoder", "outputs", "target")):
                raise ConfigError(
                    f"a teacher is a {type(model).__name__}, expected a gtl.Model, as gtl.finetune "
                    "returns, or the folder of its run"
                )
        teachers = [copy.deepcopy(model).eval().requires_grad_(False) for model in models]
        self._teachers, self._last = tuple(teachers), ()
        self._factors = tuple(factors or (1.0,) * len(models))
        names = [name for model in teachers for name in getattr(model, "properties", ())]
        self.properties = tuple(dict.fromkeys(names))
        return self

    @property
    def has_teacher(self) -> bool:
        """Whether there is a teacher in memory."""
        return bool(self._teachers)

    def prepare(self, schema: Schema, width: int) -> None:
        """Make the map to the teachers' vectors, if they are compared."""
        if self.features and self._teachers:
            self.map = nn.Linear(width, sum(model.encoder.width for model in self._teachers))

    def begin(self, encoder: nn.Module) -> None:
        """Refuse a teacher of another kind than the target."""
        self._require_teacher()
        for model in self._teachers:
            if model.target.kind != self.target.kind:
                raise ConfigError(
                    f"a teacher predicts {model.target.kind!r} labels, the target's are "
                    f"{self.target.kind!r}; give a teacher that was trained on this target"
                )

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The items, and what the teachers predict of them."""
        inputs = labeled_inputs(batch)
        if batch.own is not None:
            inputs = all_inputs(batch, (0.0, 0.0), rng, self.columns)
        every = self._vectors(inputs.items)
        outputs = self._outputs(inputs.items, every)
        found: dict[str, Any] = {"items": inputs.items, "taught": outputs, "factor": self.factor}
        if self.features:
            found["known"] = torch.cat([item_vectors(inputs.items, nodes) for nodes in every], 1)
        return View(inputs.graph, found)

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each item, ``(b,)``.

        Raises:
            ShapeError: If teacher and target have other numbers of outputs.
        """
        found = view.targets
        scores = self.target.scores(found["items"], nodes)
        taught = found["taught"].to(scores)
        if taught.shape != scores.shape:
            raise ShapeError(
                f"the teacher's predictions are {tuple(taught.shape)} and the target's "
                f"{tuple(scores.shape)}; give a teacher that was trained on this target"
            )
        each = soft_losses(scores, taught, self.target.kind, self.temperature)
        if self.map is not None:
            mine = self.map(item_vectors(found["items"], nodes))
            each = each + self.features * (mine - found["known"].to(mine)).square().mean(1)
        return each * found["factor"].to(each)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        weight = state_dict.get(f"{prefix}map.weight")
        if weight is not None and self.map is None:  # loaded without the teachers
            self.map = nn.Linear(weight.shape[1], weight.shape[0])
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    @torch.no_grad()
    def _vectors(self, items: Graph) -> list[Tensor]:
        """Node vectors of each teacher; those of a graph that is seen whole are kept."""
        content = (items.src, items.dst, items.x, items.e)
        if self._last and all(a is b for a, b in zip(self._last[0], content)):
            return list(self._last[1])
        every = [model.to(items.device).encoder(items) for model in self._teachers]
        self._last = (content, every) if items.seeds is not None else ()
        return every

    @torch.no_grad()
    def _outputs(self, items: Graph, every: Sequence[Tensor]) -> Tensor:
        """Mean probabilities at the temperature, or values in the unit of the loss, ``(b, c)``."""
        parts = zip(self._teachers, every)
        outputs = torch.stack([model.outputs(items, nodes) for model, nodes in parts])
        kind = self.target.kind
        scale = outputs.new_tensor(self._factors)[:, None, None] / self.temperature
        if kind == "multiclass":
            return (outputs * scale).softmax(2).mean(0)
        if kind == "binary":
            return (outputs * scale).sigmoid().mean(0)
        unit = self.target
        return (outputs.mean(0) - unit.mean.to(outputs)) / unit.scale.to(outputs)

    def _require_teacher(self) -> None:
        if not self._teachers:
            raise ConfigError(
                "`distillation` has no teacher; give the folder of a trained run, such as "
                "{name: distillation, teacher: runs/a}, or models with `taught_by`"
            )


def soft_losses(scores: Tensor, taught: Tensor, kind: str | None, temperature: float) -> Tensor:
    """Divergence of predictions from a teacher's, ``(b,)``.

    Args:
        scores: Scores ``(b, c)``, or values in the unit of the loss.
        taught: The teacher's probabilities at the temperature, or values, ``(b, c)``.
        kind: ``"multiclass"``, ``"binary"`` or ``"regression"``.
        temperature: By which scores are divided; the losses are multiplied by its square, so that
            their gradient does not depend on it where it is large (Hinton et al. 2015).

    Example:
        >>> scores = torch.tensor([[1.0, 3.0]])
        >>> float(soft_losses(scores, (scores / 2).softmax(1), "multiclass", 2.0).abs()) < 1e-6
        True
    """
    if kind == "regression":
        return (scores - taught).square().mean(1)
    scaled = scores / temperature
    if kind == "multiclass":
        each = F.kl_div(scaled.log_softmax(1), taught, reduction="none").sum(1)
    else:
        on, off = F.logsigmoid(scaled), F.logsigmoid(-scaled)
        each = F.kl_div(on, taught, reduction="none")
        each = (each + F.kl_div(off, 1 - taught, reduction="none")).mean(1)
    return each * temperature**2
