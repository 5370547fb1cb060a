"""Fitted models of all label columns of a data set, behind one treatment of missing values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.train.fitted_arrays import Array, Constant, Fitted, fitted_from, fitted_state
from gtl.train.probe_model import ProbeModel


@dataclass(frozen=True, eq=False)
class Column:
    """A fitted model of one label column, or of the classes of a data set.

    Attributes:
        fitted: Features to outputs of the labels that training had.
        share: Whether those are shares; if not, logits or values.
        votes: Weight of those shares against one vote for all outputs alike, which keeps logits
            finite; also that of the classes which training had against those that it had not.
        present: Classes that training had, in order; empty for one column.
    """

    fitted: Fitted
    share: bool
    votes: float
    present: tuple[int, ...] = ()

    def outputs(self, x: Array, kind: str, count: int) -> Array:
        """Logits or values, float64 ``(k, count)``.

        Args:
            x: Features ``(k, d)``.
            kind: ``"binary"``, ``"multiclass"`` or ``"regression"``.
            count: Outputs: 1, or the number of classes.
        """
        found = self.fitted(x)
        if kind == "regression" or (kind == "binary" and not self.share):
            return found
        if kind == "binary":
            logit: Array = _logit((self.votes * found.clip(0, 1) + 0.5) / (self.votes + 1))
            return logit
        if len(self.present) == 2 and found.shape[1] == 1:  # of two classes the second
            second = found if self.share else 1 / (1 + np.exp(-found))
            shares = np.concatenate([1 - second, second], 1)
        else:
            shares = _shares(found) if self.share else _softmax(found)
        every = np.zeros((len(x), count))
        every[:, list(self.present)] = shares
        smooth: Array = np.log((self.votes * every + 1 / count) / (self.votes + 1))
        return smooth

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            **fitted_state(self.fitted),
            "share": self.share,
            "votes": self.votes,
            "present": list(self.present),
        }

    @staticmethod
    def of(state: Mapping[str, Any]) -> Column:
        """Undo :meth:`state`."""
        return Column(fitted_from(state), state["share"], state["votes"], tuple(state["present"]))


@dataclass(frozen=True, eq=False)
class Columns:
    """Models of all label columns.

    Attributes:
        kept: Features that are not constant in training, int64 ``(d,)``.
        medians: Their medians, which stand for missing values, float32 ``(d,)``.
        columns: A model of each label column; of classes one.
        kind: ``"binary"``, ``"multiclass"`` or ``"regression"``.
        count: Number of outputs.
    """

    kept: Array
    medians: Array
    columns: tuple[Column, ...]
    kind: str
    count: int

    @staticmethod
    def fit(
        model: ProbeModel, x: Array, labels: Tensor, kind: str, count: int, seed: int
    ) -> Columns:
        """Fit to features ``(k, d)``, NaN where missing, and labels as a data set has them."""
        medians = _medians(x)
        x = np.where(np.isnan(x), medians, x)
        kept = np.flatnonzero((x != x[:1]).any(0))
        x = np.ascontiguousarray(x[:, kept])
        if kind == "multiclass":
            columns = [_classes(model, x, labels.numpy(), count, seed)]
        else:
            columns = [_column(model, x, y, kind, seed) for y in labels.double().numpy().T]
        return Columns(kept, medians[kept], tuple(columns), kind, count)

    def outputs(self, x: Array) -> Tensor:
        """Logits or values, float64 ``(k, c)``."""
        x = x[:, self.kept]
        x = np.where(np.isnan(x), self.medians, x)
        count = self.count if self.kind == "multiclass" else 1
        parts = [column.outputs(x, self.kind, count) for column in self.columns]
        return torch.from_numpy(np.concatenate(parts, 1))

    @property
    def numbers(self) -> int:
        """How many numbers were fitted."""
        return sum(column.fitted.numbers for column in self.columns)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "kept": torch.from_numpy(self.kept),
            "medians": torch.from_numpy(self.medians),
            "columns": [column.state() for column in self.columns],
            "kind": self.kind,
            "count": self.count,
        }

    @staticmethod
    def of(state: Mapping[str, Any]) -> Columns:
        """Undo :meth:`state`."""
        columns = tuple(Column.of(each) for each in state["columns"])
        arrays = state["kept"].numpy(), state["medians"].numpy()
        return Columns(*arrays, columns, state["kind"], state["count"])


def one_hot(labels: Tensor, kind: str, count: int) -> tuple[Tensor, Tensor]:
    """Labels as values float64 ``(k, c)``, 0 where missing, and which are known, boolean."""
    if kind == "multiclass":
        known = (labels >= 0).unsqueeze(1).expand(-1, count)
        hot = torch.nn.functional.one_hot(labels.clamp(min=0), count).double()
        return hot * known, known
    known = ~labels.isnan()
    return labels.double().nan_to_num(0.0), known


def _column(model: ProbeModel, x: Array, y: Array, kind: str, seed: int) -> Column:
    known = ~np.isnan(y)
    x, y = x[known], y[known]
    if kind == "regression":
        if len(np.unique(y)) < 2 or not x.shape[1]:
            return Column(_constant(y.mean() if len(y) else 0.0), False, len(y))
        return Column(model.fit(x, y, 0, seed), False, len(y))
    if len(np.unique(y)) < 2 or not x.shape[1]:
        share = (y.sum() + 0.5) / (len(y) + 1)
        return Column(_constant(float(_logit(share))), False, len(y))
    votes = float(getattr(model, "trees", len(y)))
    return Column(model.fit(x, y.astype(np.int64), 2, seed), model.share, votes)


def _classes(model: ProbeModel, x: Array, y: Array, count: int, seed: int) -> Column:
    known = y >= 0
    x, y = x[known], y[known]
    present, numbers = np.unique(y, return_inverse=True)
    classes = tuple(int(number) for number in present)
    if len(classes) < 2 or not x.shape[1]:
        shares = np.bincount(numbers) / max(len(y), 1)
        return Column(Constant(shares), True, len(y), classes)
    votes = float(getattr(model, "trees", len(y)))
    return Column(model.fit(x, numbers, len(classes), seed), model.share, votes, classes)


def _medians(x: Array) -> Array:
    """Median of the known values of each feature; 0 where there is none."""
    medians = np.zeros(x.shape[1], dtype=np.float32)
    some = (~np.isnan(x)).any(0)
    medians[some] = np.nanmedian(x[:, some], 0)
    return medians


def _constant(value: float) -> Constant:
    return Constant(np.array([value], dtype=np.float64))


def _logit(share: Any) -> Any:
    return np.log(share) - np.log1p(-share)


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    found: Array = powers / powers.sum(1, keepdims=True)
    return found


def _shares(found: Array) -> Array:
    inside = found.clip(1e-6, None)
    shares: Array = inside / inside.sum(1, keepdims=True)
    return shares
