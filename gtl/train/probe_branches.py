"""Branches of a probe: a fitted model on features, or the labels of a graph spread over it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.errors import ConfigError, DataError
from gtl.train.fitted_arrays import Array, Fitted, Linear
from gtl.train.predicting import logits
from gtl.train.probe_columns import Columns, one_hot
from gtl.train.probe_features import Features
from gtl.train.probe_model import ProbeModel
from gtl.train.probe_models import MODELS, LinearModel, build_model
from gtl.train.propagation import LINEAR_FILTERS, Filter, spread_labels

_SHARES = (0.9, 0.5, 0.7, 0.8, 0.95, 0.99)  # of the neighbors, in label propagation


class Branch(ABC):
    """Items to logits or values."""

    @abstractmethod
    def outputs(self, features: Features, data: Dataset, items: Tensor) -> Tensor:
        """Float64 ``(k, c)``."""

    @property
    @abstractmethod
    def numbers(self) -> int:
        """How many numbers were fitted."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """For a checkpoint."""


@dataclass(frozen=True, eq=False)
class OnFeatures(Branch):
    """Fitted models of all label columns.

    Attributes:
        by: How vectors of nodes are propagated first; ``None`` where items are graphs.
        columns: The models.
    """

    by: Filter | None
    columns: Columns

    def outputs(self, features: Features, data: Dataset, items: Tensor) -> Tensor:
        """See :class:`Branch`."""
        rows = features.rows(data, items, self.by)
        columns = self.columns
        if rows.shape[1] <= int(columns.kept.max(initial=-1)):
            raise DataError(f"{data.spec} has {rows.shape[1]} features, the probe read more")
        return columns.outputs(rows)

    @property
    def numbers(self) -> int:
        """See :class:`Branch`."""
        return self.columns.numbers

    def state(self) -> dict[str, Any]:
        """See :class:`Branch`."""
        by = None if self.by is None else list(self.by)
        return {"name": "on_features", "by": by, "columns": self.columns.state()}


@dataclass(frozen=True, eq=False)
class LabelSpread(Branch):
    """Labels of some nodes that spread along the edges of their graph.

    Attributes:
        items: Labeled nodes ``(k,)``.
        values: Their labels, 0 where missing, float64 ``(k, c)``.
        known: Which are known, boolean ``(k, c)``.
        share: Share of the neighbors.
        kind: ``"binary"``, ``"multiclass"`` or ``"regression"``.
        checksum: Of the graph: other graphs have other nodes.
    """

    items: Tensor
    values: Tensor
    known: Tensor
    share: float
    kind: str
    checksum: str

    def outputs(self, features: Features, data: Dataset, items: Tensor) -> Tensor:
        """See :class:`Branch`.

        Raises:
            DataError: If it is another graph.
        """
        if data.graph is None or data.contents.checksum() != self.checksum:
            raise DataError(
                f"{data.spec} is not the graph whose labels were spread; label propagation "
                "predicts other nodes of that graph alone: take another model"
            )
        spread = spread_labels(data.graph, self.items, self.values, self.known, self.share)
        spread = spread[items]
        if self.kind == "multiclass":
            spread = (spread + 1e-6) / (spread + 1e-6).sum(1, keepdim=True)
        return logits(spread, self.kind)

    @property
    def numbers(self) -> int:
        """See :class:`Branch`."""
        return self.values.numel()

    def state(self) -> dict[str, Any]:
        """See :class:`Branch`."""
        fields = ("items", "values", "known", "share", "kind", "checksum")
        return {"name": "label_spread", **{name: getattr(self, name) for name in fields}}


def branch_from(state: Mapping[str, Any]) -> Branch:
    """Undo :meth:`Branch.state`."""
    fields = {name: value for name, value in state.items() if name != "name"}
    if state["name"] == "label_spread":
        return LabelSpread(**fields)
    by = None if fields["by"] is None else Filter(*fields["by"])
    return OnFeatures(by, Columns.of(fields["columns"]))


@dataclass(frozen=True)
class LabelPropagation:
    """Labels spread along edges (Zhou et al. 2004); nothing else is read.

    Args:
        share: Share of the neighbors, in (0, 1); ``None`` for the best of several on validation
            data.
    """

    share: float | None = None


@dataclass(frozen=True)
class LinearSolutions:
    """Least squares on five filters of the features (Zhao et al. 2024, GraphAny).

    The features themselves, means over one and two hops, and differences to them; validation data
    choose one of the five, or the mean of their predictions. The penalty is found by leave-one-out
    predictions.
    """


NODE_MODELS: Mapping[str, Callable[..., Any]] = {
    **MODELS,
    "label_propagation": LabelPropagation,
    "linear_solutions": LinearSolutions,
}
Fit: TypeAlias = Callable[[], list[Branch]]


class _LeastSquares(ProbeModel):
    """Ridge regression of each class against the others."""

    share = True

    def fit(self, x: Array, y: Array, classes: int, seed: int) -> Fitted:
        ridge = LinearModel()
        if not classes:
            return ridge.fit(x, y, 0, seed)
        numbers = range(classes) if classes > 2 else (1,)
        found = [ridge.fit(x, (y == number).astype(float), 0, seed) for number in numbers]
        maps = [part for part in found if isinstance(part, Linear)]
        weight = np.concatenate([part.weight for part in maps], 1)
        return Linear(maps[0].low, maps[0].high, weight, np.concatenate([m.bias for m in maps]))


class Candidates:
    """Ways to fit a probe, by name; the fits share features that were computed once.

    Args:
        features: What is read.
        data: Labeled data; its training split is fitted to.
        seed: For random choices.
    """

    def __init__(self, features: Features, data: Dataset, seed: int):
        self.features, self.data, self.seed = features, data, seed
        self.items = data.items("train")
        self._rows: dict[Filter | None, Array] = {}

    def of(
        self, models: Sequence[tuple[str, Any]], hops: Sequence[int]
    ) -> Iterator[tuple[str, Fit]]:
        """Name and fit of each candidate.

        Args:
            models: Names and models.
            hops: How often vectors of nodes are propagated; each is a candidate.
        """
        for name, model in models:
            if isinstance(model, LabelPropagation):
                yield from self._spreads(name, model)
            elif isinstance(model, LinearSolutions):
                yield from self._solutions(name)
            elif self.data.graph is None:
                yield name, partial(self._fitted, model, (None,))
            else:
                for hop in hops:
                    title = f"{name} (hops={hop})" if len(hops) > 1 else name
                    yield title, partial(self._fitted, model, (Filter("sgc", hop),))

    def _spreads(self, name: str, model: LabelPropagation) -> Iterator[tuple[str, Fit]]:
        if model.share is not None and not 0 < model.share < 1:
            raise ConfigError(f"`share` is {model.share}, expected a number in (0, 1)")
        for share in _SHARES if model.share is None else (model.share,):
            yield f"{name} (share={share})", partial(self._spread, share)

    def _solutions(self, name: str) -> Iterator[tuple[str, Fit]]:
        least = _LeastSquares()
        yield f"{name} (mean)", partial(self._fitted, least, LINEAR_FILTERS)
        for by in LINEAR_FILTERS:
            yield f"{name} ({by.title})", partial(self._fitted, least, (by,))

    def _fitted(self, model: ProbeModel, filters: Sequence[Filter | None]) -> list[Branch]:
        return [OnFeatures(by, self._columns(model, by)) for by in filters]

    def _columns(self, model: ProbeModel, by: Filter | None) -> Columns:
        data = self.data
        assert data.labels is not None
        if by not in self._rows:
            self._rows[by] = self.features.rows(data, self.items, by)
        labels = data.labels[self.items]
        return Columns.fit(model, self._rows[by], labels, data.kind, data.num_outputs, self.seed)

    def _spread(self, share: float) -> list[Branch]:
        data = self.data
        assert data.labels is not None
        labels = data.labels[self.items]
        values, known = one_hot(labels, data.kind, data.num_outputs)
        return [LabelSpread(self.items, values, known, share, data.kind, data.contents.checksum())]


def models_of(model: Any, level: str) -> list[tuple[str, Any]]:
    """Name and object of each model that was given.

    Args:
        model: A name, a mapping with options, or a list of those.
        level: Of the data.

    Raises:
        ConfigError: If there is none, or one is unknown or not for items of this level.
    """
    several = model if isinstance(model, (list, tuple)) else [model]
    if not several:
        raise ConfigError("`model` is an empty list; name at least one")
    built = [build_model(part, NODE_MODELS) for part in several]
    for name, _ in built:
        if level != "node" and name not in MODELS:
            raise ConfigError(
                f"the model {name!r} reads one graph whose nodes are the items; items here are "
                f"{level}s: take one of {', '.join(MODELS)}"
            )
    return built


def model_specs(models: Sequence[tuple[str, Any]]) -> list[dict[str, Any]]:
    """Names and options, for ``config.json``."""
    return [{"name": name, **vars(model)} for name, model in models]
