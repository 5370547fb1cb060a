"""Supervised task: the labeled target as a training signal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.errors import ConfigError, DataError, ShapeError
from gtl.graph import Graph, Schema, ops
from gtl.graph.pairs import pair_features
from gtl.roles import Batch, Head, Task, View
from gtl.tasks.class_weights import balanced_weights, initial_weights
from gtl.tasks.links import Links

KINDS = ("binary", "multiclass", "regression")


class Supervised(Task):
    """Predicts the labels of graphs, of the nodes that are seeds, or of pairs of nodes.

    One sample is an item with at least one known label. The loss of an item is

    - binary: the cross-entropy of its known label columns, averaged;
    - multiclass: the cross-entropy of its class;
    - regression: the squared error of its known label columns, averaged, after labels were shifted
      by ``mean`` and divided by ``scale``. Predictions are made in that unit, so that neither the
      learning rate nor the balance with other tasks depends on the unit of the labels;
      :meth:`predict` answers in the unit of the labels.

    Where items are pairs, a view is the graph without the links of the step, and unjoined pairs are
    predicted with them: see :class:`gtl.tasks.links.Links`.

    Args:
        predictor: Module, ``predictor(graph, nodes) -> (items, outputs)``. Without one,
            :meth:`setup` makes a linear map from the vectors of the seeds or pairs or, where there
            are none, from the mean vectors of the graphs.
        kind: ``"binary"``, ``"multiclass"`` or ``"regression"``. Without one, int64 labels are
            classes and labels that are only zeros, ones and NaN are binary; others are an error,
            since a batch of zeros and ones may be a regression, too.
        outputs: Columns of the predictions: label columns, or classes; 1 if not given.
        mean: Mean of the labels of a regression, ``(outputs,)``; see :meth:`standardize`.
        scale: Their spread, above zero, likewise.
        links: Options of :class:`gtl.tasks.links.Links`.
        class_weights: How much the loss of an item of each class counts: a number for each class
            (of binary labels for 0 and for 1), or ``"balanced"``, inverse to its share of the
            training labels; see :meth:`balance`. ``None`` weighs all alike.

    Raises:
        ConfigError: If ``kind`` is unknown or a number is out of range.
    """

    mean: Tensor
    scale: Tensor
    weight_of_class: Tensor

    def __init__(
        self,
        predictor: nn.Module | None = None,
        kind: str | None = None,
        outputs: int | None = None,
        mean: Tensor | None = None,
        scale: Tensor | None = None,
        links: Mapping[str, Any] | None = None,
        class_weights: Any = None,
    ):
        super().__init__()
        self.links = Links.of(links)
        if kind is not None and kind not in KINDS:
            raise ConfigError(f"`kind` is {kind!r}, expected one of {KINDS}, or None")
        if outputs is not None and outputs < 1:
            raise ConfigError(f"`outputs` is {outputs}, expected at least 1")
        self.kind, self.outputs = kind, outputs
        self.predictor = predictor
        self.register_buffer("mean", torch.zeros(outputs or 1))
        self.register_buffer("scale", torch.ones(outputs or 1))
        self._set_unit(mean, scale)
        listed = getattr(class_weights, "tolist", None)  # of a tensor or an array
        class_weights = class_weights if listed is None else listed()
        self.class_weights = class_weights
        if class_weights is not None:
            weights = initial_weights(class_weights, kind, outputs or 1)
            self.register_buffer("weight_of_class", weights)

    def build(self, schema: Schema, width: int) -> None:
        """Make the default predictor, if none was given.

        Raises:
            ConfigError: If the number of classes is missing.
        """
        if self.predictor is not None:
            return
        if self.kind == "multiclass" and self.outputs is None:
            raise ConfigError("`outputs` is missing; give the number of classes")
        self.predictor = _ItemLinear(width, self.outputs or 1, self.links.features)

    def standardize(self, labels: Tensor) -> Supervised:
        """Take ``mean`` and ``scale`` from the known labels of a regression; returns the task.

        For the other kinds it does nothing. A column that is constant, or has no known label, is
        not scaled.

        Args:
            labels: Labels of the training items, float ``(b, t)`` with NaN for missing.

        Raises:
            ShapeError: If they have not two dimensions or not ``outputs`` columns.
        """
        if self.kind != "regression":
            return self
        if labels.dim() != 2 or (self.outputs or labels.shape[1]) != labels.shape[1]:
            raise ShapeError(
                f"`labels` has shape {tuple(labels.shape)}, expected (b, {self.outputs or 't'})"
            )
        labels = labels.double()
        count = (~labels.isnan()).sum(0).clamp(min=1)
        mean = labels.nansum(0) / count
        scale = ((labels - mean).square().nansum(0) / count).sqrt()
        negligible = (scale <= 1e-12 * mean.abs()) | (scale < torch.finfo(torch.float32).tiny)
        self._set_unit(mean, scale.masked_fill(negligible, 1))
        return self

    def balance(self, labels: Tensor) -> Supervised:
        """Take the class weights ``"balanced"`` from labels; returns the task.

        Args:
            labels: Labels of the training items.
        """
        if self.class_weights == "balanced":
            found = balanced_weights(labels, self.weight_of_class.shape)
            self.weight_of_class.copy_(found)
        return self

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph itself and its labels; at link level without links and with negatives.

        Raises:
            DataError: If the graph has no labels.
        """
        graph = batch.source
        if graph.y is None:
            raise DataError(
                "the graph has no labels `y`; use `graph.replace(y=...)` or a labeled data set"
            )
        if graph.pairs is not None:
            graph = self.links.training_graph(graph, rng)
        return View(graph, {"y": graph.y})

    def labeled(self, view: View) -> Tensor:
        """Which items have a known label and so a loss, boolean ``(items,)``."""
        known = _known(view.targets["y"])
        return known.any(1) if known.dim() > 1 else known

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each item with a known label, ``(b,)``, and the penalty of the head, if any.

        Raises:
            ConfigError: If the task was not set up, or the labels do not determine the kind.
            ShapeError: If labels and predictions do not go together.
        """
        y = view.targets["y"]
        kind = self.kind or _kind_of(y)
        predictions = self._predictions(view.graph, nodes)
        _require_match(kind, predictions, y)
        rows = self.labeled(view).nonzero().flatten()
        predictions, y = predictions.index_select(0, rows), y[rows]
        return self._each(kind, predictions, y) + self._penalty(predictions)

    def _each(self, kind: str, predictions: Tensor, y: Tensor) -> Tensor:
        weight = None if self.class_weights is None else self.weight_of_class.to(predictions)
        if kind == "multiclass":
            return F.cross_entropy(predictions, y, weight, reduction="none")
        known = _known(y)
        y = y.to(predictions.dtype).masked_fill(~known, 0)
        if kind == "binary":
            factor = None if weight is None else weight[0] + y * (weight[1] - weight[0])
            each = F.binary_cross_entropy_with_logits(predictions, y, factor, reduction="none")
        else:
            self._require_unit(predictions)
            each = (predictions - (y - self.mean.to(y)) / self.scale.to(y)).square()
        return each.masked_fill(~known, 0).sum(1) / known.sum(1)

    def predict(self, graph: Graph, nodes: Tensor) -> Tensor:
        """Logits ``(items, outputs)``, or values in the unit of the labels for a regression."""
        predictions = self._predictions(graph, nodes)
        if self.kind != "regression":
            return predictions
        self._require_unit(predictions)
        return predictions * self.scale.to(predictions) + self.mean.to(predictions)

    def scores(self, graph: Graph, nodes: Tensor) -> Tensor:
        """Logits ``(items, outputs)``, or values in the unit of the loss for a regression."""
        return self._predictions(graph, nodes)

    def _penalty(self, predictions: Tensor) -> Tensor:
        head = getattr(self.predictor, "head", None)
        found = head.penalty() if isinstance(head, Head) else None
        return predictions.new_zeros(()) if found is None else found

    def _predictions(self, graph: Graph, nodes: Tensor) -> Tensor:
        if self.predictor is None:
            raise ConfigError(
                "Supervised was not set up; call `task.setup(schema, width)` or give a `predictor`"
            )
        return self.predictor(graph, nodes)

    def _set_unit(self, mean: Tensor | None, scale: Tensor | None) -> None:
        for name, value in (("mean", mean), ("scale", scale)):
            if value is None:
                continue
            value = torch.as_tensor(value, dtype=torch.get_default_dtype()).reshape(-1)
            if self.outputs is not None and len(value) != self.outputs:
                raise ConfigError(f"`{name}` has {len(value)} values, expected {self.outputs}")
            if not bool(value.isfinite().all()) or (name == "scale" and bool((value <= 0).any())):
                raise ConfigError(
                    f"`{name}` is {value.tolist()}, expected finite values, scale above 0"
                )
            setattr(self, name, value.to(self.mean.device))

    def _require_unit(self, predictions: Tensor) -> None:
        for name in ("mean", "scale"):
            if len(getattr(self, name)) not in (1, predictions.shape[1]):
                raise ShapeError(
                    f"`{name}` has {len(getattr(self, name))} values for {predictions.shape[1]} "
                    "columns of predictions; standardize with labels of that many columns"
                )


class _ItemLinear(nn.Module):
    """Vectors of the items, seeds, pairs or means of graphs, and a linear map of them."""

    def __init__(self, width: int, outputs: int, pair: str):
        super().__init__()
        self.linear, self.pair = nn.Linear(width, outputs), pair

    @property
    def head(self) -> nn.Linear:
        return self.linear

    def features(self, graph: Graph, nodes: Tensor) -> Tensor:
        if graph.pairs is not None:
            return pair_features(nodes, graph.pairs, self.pair)
        if graph.seeds is not None:
            return nodes.index_select(0, graph.seeds)
        return ops.segment_mean(nodes, graph.graph_sizes())

    def forward(self, graph: Graph, nodes: Tensor) -> Tensor:
        return self.linear(self.features(graph, nodes))


def _known(y: Tensor) -> Tensor:
    return ~y.isnan() if y.is_floating_point() else y >= 0


def _kind_of(y: Tensor) -> str:
    if not y.is_floating_point():
        return "multiclass"
    known = y[~y.isnan()]
    if bool(((known == 0) | (known == 1)).all()):
        return "binary"
    raise ConfigError(
        "labels are neither classes (int64) nor zeros and ones; give kind='regression' if they "
        "are numbers"
    )


def _require_match(kind: str, predictions: Tensor, y: Tensor) -> None:
    came = f"`y` is {str(y.dtype).removeprefix('torch.')} {tuple(y.shape)}"
    shape = tuple(predictions.shape)
    if kind != "multiclass":
        if not y.is_floating_point() or y.shape != predictions.shape or y.dim() != 2:
            raise ShapeError(
                f"{came}, predictions are {shape}; for kind {kind!r} labels must be floating and "
                "of that shape, one column per output"
            )
        return
    if (
        y.dtype != torch.int64
        or y.dim() != 1
        or predictions.dim() != 2
        or len(y) != len(predictions)
    ):
        raise ShapeError(
            f"{came}, predictions are {shape}; for kind 'multiclass' labels must be int64 classes "
            "(items,) and predictions (items, classes)"
        )
    if len(y) and int(y.max()) >= predictions.shape[1]:
        raise ShapeError(
            f"`y` names class {int(y.max())}, predictions have {predictions.shape[1]} columns; "
            "set `outputs` to the number of classes"
        )
