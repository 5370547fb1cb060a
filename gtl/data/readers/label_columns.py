"""Labels of a table: columns of classes or of values, and what the classes are called."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gtl.data.class_words import ordered_pair
from gtl.data.dataset import KINDS
from gtl.data.readers.number_text import MISSING, Numbers, looks_like_number, read_numbers
from gtl.data.readers.table import Table
from gtl.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

FEW = 10  # so many distinct whole numbers that repeat are taken for classes
MANY = 20  # more distinct words than that, most of them used once, are no classes
LARGEST = float(np.finfo("float32").max)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labels:
    """Labels of the rows of a table.

    Attributes:
        values: Float32 ``(rows, t)`` with NaN for missing, or classes int64 ``(rows,)`` with -1.
        kind: ``"binary"``, ``"multiclass"`` or ``"regression"``.
        names: Names of the columns.
        class_names: What class 0, 1, ... is called in the file; empty for values and for
            columns of 0 and 1.
    """

    values: Tensor
    kind: str
    names: tuple[str, ...]
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Column:
    """One label column.

    Attributes:
        cells: Text, missing where a cell is empty.
        numbers: What they are as numbers.
        words: Whether the column is one of words: some cell has one, and none has a number.
    """

    cells: pd.Series
    numbers: Numbers
    words: bool

    @property
    def known(self) -> list[float] | list[str]:
        """The distinct numbers or words, in their order."""
        values = self.cells if self.words else self.numbers.values
        return sorted(values.dropna().unique().tolist())

    @property
    def labeled(self) -> int:
        """How many cells have a label."""
        return int((self.cells if self.words else self.numbers.values).notna().sum())

    @property
    def whole(self) -> bool:
        """Whether it has numbers, and only whole ones."""
        return not self.words and all(float(value).is_integer() for value in self.known)

    @property
    def sort(self) -> str:
        """``empty``, ``zero or one``, ``two classes``, ``classes`` or ``values``."""
        known = self.known
        if not known:
            return "empty"
        if self.words:
            return "two classes" if len(known) == 2 else "classes"
        if set(known) <= {0, 1}:
            return "zero or one"
        if known == [-1, 1] or (len(known) == 2 and self.whole and self.labeled > 2):
            return "two classes"
        few = 2 < len(known) <= FEW and self.labeled >= 2 * len(known)
        return "classes" if few and self.whole else "values"


def read_labels(
    table: Table,
    names: Sequence[str],
    kind: str | None = None,
    classes: Sequence[str] | None = None,
    decimal: str | None = None,
) -> Labels:
    """Labels of some columns; an empty cell is a missing label.

    Without ``kind`` and ``classes``, a column of words or of few distinct whole numbers is one of
    classes: two classes are binary, more are multiclass; all other numbers are values. What was
    decided, and could be meant otherwise, is written to the log.

    Args:
        table: The table.
        names: One column or more.
        kind: ``"binary"``, ``"multiclass"`` or ``"regression"``.
        classes: What class 0, 1, ... is called in the file. Two are binary labels, the second
            the positive one, unless ``kind`` is ``"multiclass"``.
        decimal: The decimal mark, ``"."`` or ``","``; found from the cells if not given.

    Raises:
        DataError: If a cell cannot be read, naming its row, or classes and values are mixed.
        ConfigError: If an option is unknown or options contradict each other.
    """
    if kind not in (None, *KINDS):
        raise ConfigError(f"`kind` is {kind!r}, expected one of {KINDS}")
    if decimal not in (None, ".", ","):
        raise ConfigError(f"`decimal` is {decimal!r}, expected '.' or ','")
    if classes is not None:
        classes = classes if isinstance(classes, str) else [str(name) for name in classes]
        kind = _kind_of(classes, kind)
    if kind == "multiclass" and len(names) != 1:
        raise ConfigError(f"a multiclass target is one column, `target` names {len(names)}")
    named = kind == "multiclass" or classes is not None
    columns = [_column(table, name, decimal, named) for name in names]
    if kind is None:
        kind = _decided(table, columns)
    if kind == "multiclass":
        return _multiclass(table, columns[0], classes)
    if kind == "regression":
        values = [_values(table, column, kind) for column in columns]
        return Labels(_stack(values), kind, tuple(names))
    pairs = [_pair(table, column, classes) for column in columns]
    all_names = {pair for _, pair in pairs}
    class_names = all_names.pop() if len(all_names) == 1 else ()
    return Labels(_stack([values for values, _ in pairs]), kind, tuple(names), class_names)


def _kind_of(classes: Sequence[str], kind: str | None) -> str:
    if kind == "regression" or isinstance(classes, str) or len(set(classes)) != len(classes):
        raise ConfigError(
            f"`classes` are {classes!r} and `kind` is {kind!r}, expected distinct names of classes"
        )
    if len(classes) < 2 or (kind == "binary" and len(classes) != 2):
        raise ConfigError(
            f"`classes` are {len(classes)} names, expected two"
            + ("" if kind == "binary" else " or more")
        )
    return kind or ("binary" if len(classes) == 2 else "multiclass")


def _column(table: Table, name: str, decimal: str | None, named: bool) -> _Column:
    cells = table.text(name)
    numbers = read_numbers(cells, decimal)
    if numbers.ambiguous and not named:
        table.refuse(
            cells,
            cells == numbers.ambiguous,
            "which may have thousands or decimals after the comma; give decimal='.' or decimal=','",
        )
    words = bool(numbers.unread.any()) and not bool(numbers.values.notna().any())
    return _Column(cells, numbers, words)


def _decided(table: Table, columns: Sequence[_Column]) -> str:
    """The kind of the labels, read off the cells."""
    for column in columns:
        if column.words:
            _require_names(table, column)
        else:
            _values(table, column, None)
    sorts = {str(column.cells.name): column.sort for column in columns}
    if len(columns) == 1:
        return _decided_alone(table, columns[0])
    two = [name for name, sort in sorts.items() if sort in ("zero or one", "two classes")]
    values = [name for name, sort in sorts.items() if sort == "values"]
    some = [name for name, sort in sorts.items() if sort == "classes"]
    words = [str(column.cells.name) for column in columns if column.words]
    sure = [name for name in two if not _constant(columns, name)]
    if values and not sure and not words:
        for name in some:
            _note(table, name, "holds whole numbers, which are read as values like its neighbors")
        return "regression"
    if some or values:
        raise DataError(
            f"{table.path}: `target` mixes columns: two classes: {_listed(two)}; several classes: "
            f"{_listed(some)}; values: {_listed(values)}; name columns of one sort (several "
            "classes: one column alone)"
            + ("" if words else ", or give kind='regression' to read all as values")
        )
    return "binary"


def _decided_alone(table: Table, column: _Column) -> str:
    known, name = column.known, str(column.cells.name)
    if column.words:
        return "binary" if len(known) == 2 else "multiclass"
    if column.sort == "classes":
        logger.warning(
            "%s: %r holds %d distinct whole numbers (%s) and is read as classes; "
            "kind='regression' reads values",
            table.path,
            name,
            len(known),
            ", ".join(_name(value) for value in known),
        )
        return "multiclass"
    if column.sort == "values" and column.whole and len(known) <= MANY:
        _note(
            table,
            name,
            "holds whole numbers and is read as values; kind='multiclass' reads classes",
        )
    return "regression" if column.sort == "values" else "binary"


def _require_names(table: Table, column: _Column) -> None:
    """Refuse words that are meant as numbers, or are too many to be names of classes."""
    strange = column.cells.map(looks_like_number, na_action="ignore").fillna(False).astype(bool)
    table.refuse(
        column.cells,
        strange,
        "expected a number such as 1000 or 0.5; if it is the name of a class, give "
        "kind='multiclass'",
    )
    distinct = len(column.known)
    if distinct > MANY and 2 * distinct > column.labeled:
        raise DataError(
            f"{table.path}: {column.cells.name!r} has {distinct} distinct words in "
            f"{column.labeled} rows, expected numbers or names of classes; check `target`, or give "
            "kind='multiclass'"
        )


def _values(table: Table, column: _Column, kind: str | None) -> np.ndarray:
    """The numbers of a column, float64 with NaN for missing."""
    remedy = "" if kind else " (kind='multiclass' reads every cell as the name of a class)"
    table.refuse(column.cells, column.numbers.unread, f"expected a number or an empty cell{remedy}")
    values = column.numbers.values
    table.refuse(column.cells, values.abs() > LARGEST, "expected a finite number in float32")
    return values.to_numpy("float64", copy=True)


def _multiclass(table: Table, column: _Column, classes: Sequence[str] | None) -> Labels:
    """Classes in the order of their names; numbers in theirs, so that "10" comes after "9"."""
    cells = _class_cells(column)
    if classes is None:
        known = [_name(value) for value in column.known] if not _mixed(column) else None
        classes = known or sorted(cells.dropna().unique().tolist())
        _note_markers(table, column)
    classes = _as_cells(classes, column)
    _require_classes(table, column.cells, cells, classes)
    numbered = cells.map({name: i for i, name in enumerate(classes)}).astype("float64").fillna(-1)
    values = torch.from_numpy(numbered.to_numpy("int64", copy=True))
    return Labels(values, "multiclass", (str(column.cells.name),), tuple(classes))


def _pair(
    table: Table, column: _Column, classes: Sequence[str] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Zeros and ones, NaN for missing, and what they are called unless 0 and 1."""
    known = column.known
    if classes is None and not column.words and set(known) <= {0, 1}:
        return _values(table, column, "binary"), ()
    cells = _class_cells(column)
    if classes is None:
        if _mixed(column) or len(known) != 2:
            odd = cells.notna() & ~cells.isin(["0", "1"])
            table.refuse(
                column.cells,
                odd,
                "expected 0, 1 or an empty cell, or two words or numbers in all, as `kind` is "
                "'binary'; classes=[...] gives their names",
            )
        classes, sure = ordered_pair(*map(_name, known))
        _note_order(table, column, classes, logging.INFO if sure else logging.WARNING)
    classes = _as_cells(classes, column)
    _require_classes(table, column.cells, cells, classes)
    values = cells.map({classes[0]: 0.0, classes[1]: 1.0}).astype("float64")
    return values.to_numpy("float64", copy=True), tuple(classes)


def _class_cells(column: _Column) -> pd.Series:
    """Names of classes: numbers as short as they can be, NaN for missing."""
    if column.words or _mixed(column):
        return column.cells
    return column.numbers.values.map(_name, na_action="ignore").astype("object")


def _mixed(column: _Column) -> bool:
    return not column.words and bool(column.numbers.unread.any())


def _as_cells(classes: Sequence[str], column: _Column) -> list[str]:
    """Names of classes as :func:`_class_cells` writes them: 1.0 is 1 in a column of numbers."""
    import pandas as pd

    if column.words or _mixed(column):
        return list(classes)
    numbers = read_numbers(pd.Series(classes, dtype="str")).values
    names = [n if v != v else _name(v) for n, v in zip(classes, numbers)]
    return names if len(set(names)) == len(names) else list(classes)


def _require_classes(
    table: Table, shown: pd.Series, cells: pd.Series, classes: Sequence[str]
) -> None:
    strange = cells.notna() & ~cells.isin(list(classes))
    table.refuse(shown, strange, f"expected one of the classes {', '.join(classes)}")


def _note_order(table: Table, column: _Column, classes: Sequence[str], level: int) -> None:
    logger.log(
        level,
        "%s: %r is read as two classes, %s (0) and %s (1)%s; classes=[%r, %r] exchanges them",
        table.path,
        column.cells.name,
        *classes,
        "" if column.words else ", kind='regression' reads values",
        *reversed(classes),
    )
    _note_markers(table, column)


def _note_markers(table: Table, column: _Column) -> None:
    """Warn of NA and the like among names of classes."""
    found = [word for word in column.known if str(word).lower() in MISSING] if column.words else []
    if found:
        logger.warning(
            "%s: %r has %s as the name of a class; leave cells empty where a label is missing",
            table.path,
            column.cells.name,
            ", ".join(map(repr, found)),
        )


def _note(table: Table, name: str, text: str) -> None:
    logger.info("%s: %r %s", table.path, name, text)


def _constant(columns: Sequence[_Column], name: str) -> bool:
    return any(column.cells.name == name and len(column.known) == 1 for column in columns)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _name(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return str(int(value)) if value.is_integer() else str(value)


def _stack(values: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(values, 1).astype("float32"))
