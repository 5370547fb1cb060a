"""Table of predictions in a run folder: labels, predictions, and components of item vectors."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gtl.errors import GtlWarning

if TYPE_CHECKING:
    import pandas as pd

Fact = tuple[str, str]


@dataclass(frozen=True)
class PredictionTable:
    """What ``predictions.csv`` of a run folder holds.

    Attributes:
        names: Of the items ``(k,)``.
        labels: Float ``(k, t)`` with NaN for missing; of classes 1 where the prediction was right.
        predicted: Float ``(k, t)``: values, or probabilities; of classes that of the predicted one.
        columns: What the ``t`` columns are called; empty for one without a name.
        classes: Label and predicted class of each item, or ``None`` where there are no classes.
        own: Predicted probability of the item's class ``(k,)``, or ``None``.
        components: Item vectors in two dimensions ``(k, 2)``, or ``None``.
        domains: Domain of each item, or ``None``.
        has_names: Whether items have names; else numbers.
    """

    names: list[str]
    labels: np.ndarray
    predicted: np.ndarray
    columns: list[str]
    classes: tuple[list[str], list[str]] | None
    own: np.ndarray | None
    components: np.ndarray | None
    domains: list[str] | None
    has_names: bool

    @property
    def is_regression(self) -> bool:
        """Whether predictions are values and no probabilities."""
        if self.classes is not None:
            return False
        known = self.labels[~np.isnan(self.labels)]
        chances = self.predicted.min(initial=0) >= 0 and self.predicted.max(initial=0) <= 1
        return not (set(np.unique(known)) <= {0.0, 1.0} and chances)

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Predictions and labels of all columns ``(k,)``, those without a label left out."""
        known = ~np.isnan(self.labels) & ~np.isnan(self.predicted)
        return self.predicted[known], self.labels[known]

    def colors(self, what: str) -> np.ndarray | None:
        """What dots are colored by: the ``label``, of several columns the first, or the domain."""
        if what == "domain":
            return None if self.domains is None else np.array(self.domains, dtype=object)
        if self.classes is not None:
            return np.array(self.classes[0], dtype=object)
        return np.nan_to_num(self.labels[:, 0], nan=-1.0)

    def worst(self, count: int) -> list[tuple[str, bool, tuple[Fact, ...]]]:
        """The items with the largest errors: name, whether it is one, and facts."""
        if self.own is not None:
            error = 1 - self.own[:, None]
        else:
            error = np.abs(self.predicted - self.labels)
        error = np.where(np.isnan(error), -1.0, error)
        column = error.argmax(1)
        order = np.argsort(-error.max(1), kind="stable")[:count]
        return [
            (self.names[i], self.has_names, self._facts(int(i), int(column[i])))
            for i in order
            if error[i].max() >= 0
        ]

    def _facts(self, item: int, column: int) -> tuple[Fact, ...]:
        if self.classes is not None:
            label, guess = self.classes[0][item], self.classes[1][item]
            own = "" if self.own is None else f"{self.own[item]:.3f}"
            return ("label", label), ("predicted", guess), ("probability of the label", own)
        label, guess = self.labels[item, column], self.predicted[item, column]
        of = (("column", self.columns[column]),) if len(self.columns) > 1 else ()
        return (*of, ("label", f"{label:.4g}"), ("predicted", f"{guess:.4g}"))


def read_predictions(file: Path) -> PredictionTable | None:
    """The table in a file, as ``finetune`` writes it; ``None`` if there is no such file.

    The columns are ``item`` (or ``smiles``), ``label NAME`` and ``predicted NAME`` for each label
    column, or for classes ``label``, ``predicted``, ``probability`` and ``probability of the
    label``; and perhaps ``component 1``, ``component 2`` and ``domain``. A file of another form is
    left out with a warning.
    """
    if not file.is_file():
        return None
    import pandas as pd

    try:
        return _table(pd.read_csv(file, **_as_written(file)))
    except (KeyError, ValueError, TypeError) as error:
        text = f"{file} was left out: it is no table of labels and predictions ({error})"
        warnings.warn(text, GtlWarning, stacklevel=2)
        return None


def _table(rows: pd.DataFrame) -> PredictionTable:
    title = next((name for name in ("smiles", "item") if name in rows), None)
    names = [str(number) for number in range(len(rows))] if title is None else rows[title]
    has_names = title is not None and rows[title].dtype.kind not in "iuf"
    classes, own = None, None
    if "probability" in rows:
        classes = _texts(rows["label"]), _texts(rows["predicted"])
        own = rows.get("probability of the label")
        right = [float(a == b) if a else np.nan for a, b in zip(*classes)]
        labels, predicted, columns = np.array(right)[:, None], rows[["probability"]], [""]
    else:
        columns = [
            name.removeprefix("label").strip() for name in rows if str(name).startswith("label")
        ]
        labels = rows[[f"label {name}".strip() for name in columns]].to_numpy(float)
        predicted = rows[[f"predicted {name}".strip() for name in columns]]
        if not columns:
            raise ValueError("no column is called label")
    both = ["component 1", "component 2"]
    return PredictionTable(
        [str(name) for name in names],
        labels,
        predicted.to_numpy(float),
        columns,
        classes,
        None if own is None else own.to_numpy(float),
        rows[both].to_numpy(float) if set(both) <= set(rows) else None,
        _texts(rows["domain"]) if "domain" in rows else None,
        has_names,
    )


def _as_written(file: Path) -> dict[str, Any]:
    """Options to read names of classes: 1 is 1.0 beside an empty cell else, and None is missing."""
    import pandas as pd

    if "probability" not in pd.read_csv(file, nrows=0):
        return {}
    text = dict.fromkeys(("label", "predicted"), str)
    return {"dtype": text, "keep_default_na": False, "na_values": [""]}


def _texts(column: pd.Series) -> list[str]:
    return ["" if value != value else str(value) for value in column]
