"""A CSV file as columns of text, labels and a split; every complaint names the row of the file."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gtl.data.dataset import KINDS
from gtl.data.text_file import TextFile
from gtl.errors import ConfigError, DataError
from gtl.suggest import nearest

if TYPE_CHECKING:
    import pandas as pd

_PART_NAMES = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
}


@dataclass(frozen=True)
class Table:
    """The cells of a CSV file as text.

    Attributes:
        path: Where it was read from.
        cells: One column of text per column of the file, missing where a cell is empty.
        rows: Row of the file of each row of ``cells``; the header is row 1, blank rows count.
    """

    path: Path
    cells: pd.DataFrame
    rows: list[int]

    @staticmethod
    def read(file: Path | TextFile) -> Table:
        """Read a CSV file, compressed or not.

        Raises:
            DataError: If there is no such file, or it is not a CSV file with a header and a row.
        """
        (table,) = Table.chunks(file)
        return table

    @staticmethod
    def chunks(file: Path | TextFile, rows: int | None = None) -> Iterator[Table]:
        """Read a CSV file as tables of at most ``rows`` rows, or as one.

        Raises:
            DataError: As :meth:`read`, when the bad place is reached.
        """
        file = file if isinstance(file, TextFile) else TextFile(file)
        if not file.path.is_file():
            raise DataError(f"there is no file {file}; check the path")
        some = False
        for cells in _frames(file, rows):
            cells.columns = cells.columns.str.strip()
            filled = cells.notna().any(axis=1)
            if filled.any():
                some = True
                numbers = (cells.index[filled] + 2).tolist()
                yield Table(Path(str(file)), cells[filled], numbers)
        if not some:
            raise DataError(f"{file} has a header but no rows; expected at least one item")

    def column(self, name: str) -> pd.Series:
        """The cells of one column.

        Raises:
            DataError: If there is no such column; offers the nearest.
        """
        if name not in self.cells.columns:
            raise DataError(
                f"{self.path} has no column {name!r}; {nearest(name, self.cells.columns)}"
            )
        return self.cells[name]

    def target_names(self, target: Sequence[str] | str | None) -> list[str]:
        """Names of the label columns: ``None`` is none, text may list them between commas.

        Raises:
            DataError: If one is not in the file.
        """
        if target is None:
            return []
        if isinstance(target, str):
            whole = target in self.cells.columns
            target = [target] if whole else [name.strip() for name in target.split(",")]
        for name in target:
            self.column(name)
        return list(target)

    def labels(self, names: Sequence[str], kind: str | None) -> tuple[Tensor, tuple[str, ...]]:
        """Labels of some columns; an empty cell is a missing label.

        Args:
            names: One column or more.
            kind: ``"binary"``, ``"multiclass"``, ``"regression"`` or ``None``: then one column of
                words is multiclass, and everything else is numbers.

        Returns:
            Numbers float32 ``(items, t)``, or classes int64 ``(items,)`` and what they are called.

        Raises:
            DataError: If a cell is not a number where one is expected, naming its row.
            ConfigError: If ``kind`` is unknown, or multiclass with several columns.
        """
        import pandas as pd

        if kind not in (None, *KINDS):
            raise ConfigError(f"`kind` is {kind!r}, expected one of {KINDS}")
        if kind == "multiclass" and len(names) != 1:
            raise ConfigError(f"a multiclass target is one column, `target` names {len(names)}")
        cells = self.cells[list(names)]
        numbers = cells.apply(pd.to_numeric, errors="coerce").astype("float64")
        words = cells.notna() & ~numbers.abs().lt(float("inf"))
        only_words = (
            len(names) == 1 and bool(words.any(axis=None)) and numbers.isna().all(axis=None)
        )
        if kind == "multiclass" or (kind is None and only_words):
            return _classes(cells.iloc[:, 0], numbers.iloc[:, 0])
        if words.any(axis=None):
            self._refuse(cells, words, "expected a number or an empty cell")
        if kind == "binary":
            other = numbers.notna() & ~numbers.isin([0, 1])
            if other.any(axis=None):
                self._refuse(cells, other, "expected 0, 1 or an empty cell, as `kind` is 'binary'")
        return torch.from_numpy(numbers.to_numpy("float32", copy=True)), ()

    def split(self, name: str) -> dict[str, Tensor]:
        """The split that a column gives: each cell says train, valid or test.

        Raises:
            DataError: If a cell says something else, naming its row.
        """
        cells = self.column(name)
        parts = cells.str.strip().str.lower().map(_PART_NAMES)
        if parts.isna().any():
            at = int(parts.isna().to_numpy().argmax())
            raise DataError(
                f"{self.path} row {self.rows[at]}: {name!r} is {_shown(cells.iloc[at])}, "
                "expected train, valid or test"
            )
        return {
            part: torch.from_numpy((parts == part).to_numpy(copy=True)).nonzero().flatten()
            for part in ("train", "valid", "test")
        }

    def _refuse(self, cells: pd.DataFrame, bad: pd.DataFrame, expected: str) -> None:
        row, column = (int(i[0]) for i in bad.to_numpy().nonzero())
        raise DataError(
            f"{self.path} row {self.rows[row]}: {cells.columns[column]!r} is "
            f"{_shown(cells.iloc[row, column])}, {expected}"
        )


def _frames(file: TextFile, rows: int | None) -> Iterator[pd.DataFrame]:
    """All cells as text, ``rows`` rows at a time."""
    import pandas as pd

    def strictly(read: Callable[..., Any], *how: Any) -> Any:
        with warnings.catch_warnings():  # pandas only warns of cells beyond the header
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return read(*how)

    how = {"dtype": str, "skip_blank_lines": False, "index_col": False, "encoding": "utf-8-sig"}
    try:
        with (
            file.open() if file.member else nullcontext(file.path) as source,
            strictly(lambda: pd.read_csv(source, iterator=True, **how)) as reader,
        ):
            while True:
                try:
                    frame = strictly(reader.get_chunk, rows)
                except StopIteration:
                    return
                yield frame
    except Exception as error:  # each kind of compression fails in its own way
        reason = " ".join(str(error).split())
        raise DataError(f"{file} cannot be read as CSV: {reason}") from error


def _classes(cells: pd.Series, numbers: pd.Series) -> tuple[Tensor, tuple[str, ...]]:
    """Classes in the order of their names; numbers in theirs, so that "10" comes after "9"."""
    all_numbers = bool(numbers.notna().eq(cells.notna()).all())
    values = numbers if all_numbers else cells.str.strip()
    known = sorted(values.dropna().unique().tolist())
    numbered = values.map({value: i for i, value in enumerate(known)}).fillna(-1)
    names = tuple(str(int(v)) if all_numbers and v == int(v) else str(v) for v in known)
    return torch.from_numpy(numbered.to_numpy("int64", copy=True)), names


def _shown(cell: object) -> str:
    return repr(cell) if isinstance(cell, str) else "empty"
