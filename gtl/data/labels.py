"""Labels of a data set from arrays, lists, tensors and tables, as numbers with their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.data.class_words import ordered_pair
from gtl.errors import DataError

_MOST_CLASSES = 20  # whole numbers with more values than this may be classes or quantities
_LARGEST = float(np.finfo("float32").max)


@dataclass(frozen=True)
class Labels:
    """Labels as :class:`gtl.data.Dataset` stores them.

    Attributes:
        values: Float ``(items, t)`` with NaN for missing, or classes int64 ``(items,)`` with -1.
        kind: ``"binary"``, ``"multiclass"`` or ``"regression"``.
        class_names: What class 0, 1, ... was called; may be empty.
        label_names: Names of the ``t`` columns, or of the one column of classes; may be empty.
    """

    values: Tensor
    kind: str
    class_names: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()


def read_labels(
    labels: Any,
    items: int,
    kind: str = "",
    class_names: Sequence[str] = (),
    spec: str = "memory",
) -> Labels:
    """Labels of ``items`` items, one row each.

    - **Words** are classes, numbered in alphabetical order (a pandas categorical: in the order of
      its categories). ``None``, NaN and the empty word are missing.
    - **Whole numbers** in one column are classes, numbered in ascending order; -1 is missing,
      unless the only values are -1 and 1.
    - **Two classes**, or booleans, become one binary column: the second class is 1. With
      ``kind="multiclass"`` they stay classes.
    - **Floats** are values of a regression, or a binary column if they are 0 and 1 alone; NaN is
      missing. Several columns are several tasks of one kind.

    Args:
        labels: NumPy array, tensor, list, pandas Series or DataFrame; ``(items,)``, ``(items, 1)``
            or ``(items, t)``.
        items: Number of items.
        kind: ``"binary"``, ``"multiclass"`` or ``"regression"``; read off the labels if empty.
        class_names: Names of all classes in the order of their numbers, for data in which some
            class is missing. Words, and numbers that are such names, are matched by name; other
            numbers are numbers of classes.
        spec: Name of the data set, for messages.

    Raises:
        DataError: If there is not one row per item, labels are no numbers or words, or their kind
            cannot be told.

    Example:
        >>> found = read_labels(["acid", "base", "acid", None], 4)
        >>> found.values.flatten().tolist(), found.kind, found.class_names
        ([0.0, 1.0, 0.0, nan], 'binary', ('acid', 'base'))
    """
    table, label_names, categories = _as_table(labels, spec)
    if len(table) != items:
        raise DataError(
            f"{spec}: `labels` has {len(table)} rows for {items} items; give one row per item"
        )
    if kind not in ("", "binary", "multiclass", "regression"):
        raise DataError(
            f"{spec}: `kind` is {kind!r}, expected 'binary', 'multiclass' or 'regression'"
        )
    values, known = _cells(table, spec)
    class_names = tuple(map(str, class_names)) or categories
    if values.shape[1] == 1 and (class_names or _are_classes(values, known, kind, spec)):
        found = _classes(values[:, 0], known[:, 0], kind, class_names, spec)
    else:
        found = _columns(values, known, kind, spec)
    return Labels(found.values, found.kind, found.class_names, label_names)


# -- cells ---------------------------------------------------------------------------------------


def _as_table(labels: Any, spec: str) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """An array ``(items, t)``, the names of its columns and the categories of its only column."""
    names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    if isinstance(labels, Tensor):
        labels = labels.detach().cpu()
        array = (labels.double() if labels.is_floating_point() else labels).numpy()
    elif hasattr(labels, "to_numpy"):  # pandas
        columns = getattr(labels, "columns", None)
        called = getattr(labels, "name", None) if columns is None else None
        names = () if called is None else (str(called),)
        names = names if columns is None else tuple(map(str, columns))
        only = labels if columns is None else labels.iloc[:, 0] if len(columns) == 1 else None
        if only is not None and hasattr(only.dtype, "categories"):
            categories = tuple(map(str, only.dtype.categories))
        array = labels.to_numpy(dtype=object)
    elif isinstance(labels, np.ndarray):
        array = labels
    else:
        array = _array_of(list(labels), spec)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or not array.shape[1]:
        raise DataError(
            f"{spec}: `labels` has shape {array.shape}, expected (items,) or (items, t)"
        )
    return array, names, categories


def _array_of(rows: list[Any], spec: str) -> np.ndarray:
    """A list as an array of objects: NumPy alone would turn a NaN among words into a word."""
    rows = [row.tolist() if isinstance(row, (Tensor, np.ndarray)) else row for row in rows]
    width = {len(row) if isinstance(row, (list, tuple)) else 0 for row in rows}
    if len(width) > 1:
        raise DataError(f"{spec}: rows of `labels` differ in length; give each item as many labels")
    array = np.empty((len(rows), max(width, default=0)) if width - {0} else len(rows), dtype=object)
    for i, row in enumerate(rows):
        array[i] = row
    return array


def _cells(table: np.ndarray, spec: str) -> tuple[np.ndarray, np.ndarray]:
    """Values of booleans, integers, floats or words, and which of them are known."""
    if table.dtype.kind in "biuf":
        known = ~np.isnan(table) if table.dtype.kind == "f" else np.ones(table.shape, dtype=bool)
        values = table
    elif table.dtype.kind == "U":
        known, values = table != "", table
    elif table.dtype.kind == "O":
        known = np.frompyfunc(_is_known, 1, 1)(table).astype(bool)
        values = _one_type(table, known, spec)
    else:
        raise DataError(f"{spec}: `labels` holds {table.dtype}, expected numbers or words")
    if not known.any():
        raise DataError(f"{spec}: every label is missing; check what was given as `labels`")
    large = known & (np.abs(values) > _LARGEST) if values.dtype.kind == "f" else known[:0]
    if large.any():
        row = int(np.argwhere(large)[0, 0])
        raise DataError(
            f"{spec}: the label of item {row} is infinite in float32; use another unit, or NaN if "
            "it is unknown"
        )
    return values, known


def _is_known(cell: Any) -> bool:
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return False
    return not (isinstance(cell, str) and cell == "") and not (
        isinstance(cell, (float, np.floating)) and bool(np.isnan(cell))
    )


def _one_type(table: np.ndarray, known: np.ndarray, spec: str) -> np.ndarray:
    present = table[known].tolist()
    types = {
        bool
        if isinstance(cell, (bool, np.bool_))
        else int
        if isinstance(cell, (int, np.integer))
        else float
        if isinstance(cell, (float, np.floating))
        else str
        if isinstance(cell, str)
        else None
        for cell in present
    }
    if None in types:
        wrong = next(cell for cell in present if not isinstance(cell, (bool, int, float, str)))
        raise DataError(
            f"{spec}: `labels` holds a {type(wrong).__name__}, expected numbers or words"
        )
    fillers: dict[type, tuple[Any, Any]] = {
        str: ("", np.str_),
        float: (np.nan, np.float64),
        int: (-1, np.int64),
        bool: (False, np.bool_),
    }
    kind = next((kind for kind in fillers if kind in types), int)
    filler, dtype = fillers[kind]
    return np.where(known, table, filler).astype(dtype)


# -- kinds ---------------------------------------------------------------------------------------


def _are_classes(values: np.ndarray, known: np.ndarray, kind: str, spec: str) -> bool:
    """Whether one column holds classes; its kind must be told if it may hold quantities too."""
    if kind == "regression":
        return False
    if values.dtype.kind in "Ub" or kind:
        return True
    different = np.unique(values[known])
    if set(different.tolist()) <= {0, 1}:
        return values.dtype.kind != "f"
    whole = values.dtype.kind in "iu" or bool((different == np.round(different)).all())
    floating = values.dtype.kind == "f"
    if whole and (floating if len(different) <= _MOST_CLASSES else not floating):
        shown = ", ".join(str(int(value)) for value in different[:5])
        raise DataError(
            f"{spec}: `labels` holds {len(different)} different whole numbers ({shown}, ...) as "
            f"{values.dtype}, classes or quantities; tell which with kind='multiclass' or "
            "kind='regression'"
        )
    return not floating


def _classes(
    column: np.ndarray, known: np.ndarray, kind: str, names: tuple[str, ...], spec: str
) -> Labels:
    if kind == "regression":
        raise DataError(f"{spec}: `kind` is 'regression', which goes with no `class_names`")
    if column.dtype.kind == "f":
        if not (column[known] == np.round(column[known])).all():
            raise DataError(
                f"{spec}: `labels` holds fractions but should be {kind or 'classes'}; give whole "
                "numbers or words, or kind='regression'"
            )
        column = np.where(known, column, -1).astype(np.int64)
    if column.dtype.kind in "iu":
        known = known & _known_classes(column[known], column, spec)
    words = np.unique(column[known]).tolist()
    if not names and kind != "multiclass" and column.dtype.kind == "U" and len(words) == 2:
        names, _ = ordered_pair(*words)
    numbers, names = _numbered(column, known, names, spec)
    if kind == "multiclass" or (kind == "" and len(names) > 2) or len(names) == 1:
        classes = np.where(known, numbers, -1)
        return Labels(torch.from_numpy(classes), "multiclass", names)
    if len(names) > 2:
        raise DataError(
            f"{spec}: `kind` is 'binary' but there are {len(names)} classes ({', '.join(names[:5])}"
            "); use kind='multiclass'"
        )
    binary = torch.from_numpy(np.where(known, numbers, np.nan)).float().unsqueeze(1)
    return Labels(binary, "binary", () if names == ("0", "1") else names)


def _known_classes(present: np.ndarray, column: np.ndarray, spec: str) -> np.ndarray:
    """Which integers are classes: -1 is missing unless -1 and 1 are the two classes."""
    different = set(np.unique(present).tolist())
    if different == {-1, 1}:
        return np.ones(len(column), dtype=bool)
    if min(different) < -1:
        raise DataError(
            f"{spec}: `labels` holds {min(different)}, expected classes from 0 on and -1 for "
            "missing; with negative quantities give kind='regression'"
        )
    if different == {-1}:
        raise DataError(f"{spec}: every label is missing (-1); check what was given as `labels`")
    return column != -1


def _numbered(
    column: np.ndarray, known: np.ndarray, names: tuple[str, ...], spec: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Number of each item's class and the names of the classes."""
    different, place = np.unique(column[known], return_inverse=True)
    found = tuple(str(value) for value in different.tolist())
    if not names and column.dtype.kind in "iu" and set(found) <= {"0", "1"}:
        names = ("0", "1")
    order = np.arange(len(found))
    if names and set(found) <= set(names):
        order = np.array([names.index(name) for name in found], dtype=np.int64)
    elif names:
        numbers = column.dtype.kind in "iu" and int(different[-1]) < len(names)
        if not numbers or int(different[0]) < 0:
            unknown = [name for name in found if name not in names]
            raise DataError(
                f"{spec}: `labels` names {', '.join(unknown[:5])}, which `class_names` "
                f"({', '.join(names[:5])}) lacks; add the missing names"
            )
        order = different.astype(np.int64)
    all_numbers = np.zeros(len(column), dtype=np.int64)
    all_numbers[known] = order[place]
    return all_numbers, names or found


def _columns(values: np.ndarray, known: np.ndarray, kind: str, spec: str) -> Labels:
    """One or several float columns, all of one kind."""
    if values.dtype.kind == "U":
        raise DataError(
            f"{spec}: `labels` holds words in {values.shape[1]} columns; give one column of "
            "classes, or 0 and 1 in each column"
        )
    if kind == "multiclass":
        raise DataError(
            f"{spec}: `kind` is 'multiclass' but `labels` has {values.shape[1]} columns; give the "
            "number or name of the class of each item, such as labels.argmax(1)"
        )
    wide = np.where(known, values, np.nan).astype(np.float64)
    if not kind and (wide == -1).any() and np.isin(wide[known], (-1, 0, 1)).all():
        raise DataError(
            f"{spec}: columns of `labels` hold -1 beside 0 or 1, which may be missing or a class; "
            "use NaN for missing and 0 and 1 for classes, or give kind='regression'"
        )
    marks = np.isnan(wide) | (wide == 0) | (wide == 1)
    binary = marks.all(0)
    if kind == "binary" or (not kind and binary.any()):
        if not binary.all():
            raise DataError(
                f"{spec}: columns {np.flatnonzero(binary).tolist()[:5]} of `labels` hold 0 and 1 "
                f"alone, columns {np.flatnonzero(~binary).tolist()[:5]} other numbers; make a data "
                "set of each kind (NaN is a missing label), or give kind='regression'"
            )
        kind = "binary"
    return Labels(torch.from_numpy(wide).float(), kind or "regression")
