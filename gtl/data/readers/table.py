"""Tables of text: cells of a CSV file with the row of the file that each comes from."""

from __future__ import annotations

import csv
import itertools
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.data.readers.number_text import read_numbers
from gtl.data.splits import PART_NAMES
from gtl.data.text_file import TextFile
from gtl.errors import ConfigError, DataError
from gtl.suggest import nearest

if TYPE_CHECKING:
    import pandas as pd

SMILES = "smiles"  # the column that is looked for if none is named
LISTS = (".smi", ".smiles", ".ism")  # one SMILES a line, then perhaps a name

ALL = "all"
_IDS = re.compile(
    r"(.*[ _-])?(id|cid|idx|index|split|inchi|inchikey|cas)|unnamed: \d+|", re.IGNORECASE
)
_SEPARATORS = "\t;,"
_SAMPLE = 50  # lines that show which separator a file has

logger = logging.getLogger(__name__)


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
            DataError: If there is no such column, offering the nearest, or there are two.
        """
        require_column(self.path, name, self.cells.columns)
        if list(self.cells.columns).count(name) > 1:
            raise DataError(
                f"{self.path} has two columns {name!r} (space around a name does not count); "
                "rename one"
            )
        return self.cells[name]

    def text(self, name: str) -> pd.Series:
        """The cells of one column without the space around them, missing where nothing is left.

        Raises:
            DataError: If there is no such column; offers the nearest.
        """
        cells = self.column(name).str.strip()
        return cells.mask(cells == "")

    def split(self, name: str) -> dict[str, Tensor]:
        """The split that a column gives: each cell is train, valid, val, dev or test.

        Raises:
            DataError: If a cell is something else, naming its row.
        """
        cells = self.text(name)
        parts = cells.str.lower().map(PART_NAMES)
        self.refuse(cells, parts.isna(), "expected train, valid (val, validation, dev) or test")
        return {
            part: torch.from_numpy((parts == part).to_numpy(copy=True)).nonzero().flatten()
            for part in ("train", "valid", "test")
        }

    def refuse(self, cells: pd.Series, bad: pd.Series, expected: str) -> None:
        """Raise an error that names the first cell that is ``bad``, if there is one.

        Raises:
            DataError: If there is one.
        """
        if bad.any():
            at = int(bad.to_numpy().argmax())
            cell = cells.iloc[at]
            shown = repr(cell) if isinstance(cell, str) else "empty"
            raise DataError(
                f"{self.path} row {self.rows[at]}: {cells.name!r} is {shown}, {expected}"
            )


def read_rows(dataset: Dataset) -> pd.DataFrame:
    """All rows of the file that a data set was read from, as text.

    Those of ``dataset.rows`` became items, in that order; the others could not be read.

    Returns:
        A column of text per column of the file, missing where a cell is empty; of a list of
        SMILES the columns ``smiles`` and, where some line has one, ``name``. The index is the row
        of the file; blank rows are left out.

    Raises:
        DataError: If the data set does not come from a table or list, or the file has changed so
            that it cannot be read any more.

    Example:
        >>> read_rows(gtl.load("smiles:molecules.csv"))  # doctest: +SKIP
    """
    import pandas as pd

    if dataset.rows is None or not dataset.file:
        raise DataError(
            f"{dataset.spec} has no rows of a file; only smiles: data sets are read from rows"
        )
    file = TextFile.find(dataset.file)
    if is_list(file, dataset.options.get("smiles_column", SMILES)):
        lines = dict(file.lines())
        words = [line.split(None, 1) for line in lines.values()]
        index = pd.Index(list(lines), name="row")
        frame = pd.DataFrame({SMILES: [word[0] for word in words]}, index=index, dtype="str")
        if max(map(len, words)) > 1:
            frame["name"] = pd.Series([word[1:2] for word in words], index=index).str[0]
        return frame
    table = Table.read(file)
    return table.cells.set_axis(pd.Index(table.rows, name="row"), axis=0)


def target_columns(
    table: Table, target: Sequence[str] | str | None, leave_out: Sequence[str] = ()
) -> list[str]:
    """Names of the label columns.

    Args:
        table: The table.
        target: A name, a list, names between commas, ``None`` for none, or ``"all"``: every
            column of numbers that is neither an identifier nor to be left out; a log line names
            them.
        leave_out: Columns that have another use.

    Raises:
        DataError: If a column is not in the file, or ``"all"`` finds none.
        ConfigError: If a column with another use is named, or one is named twice.
    """
    if target is None:
        return []
    columns = list(table.cells.columns)
    if target == ALL and ALL not in columns:
        return _all_columns(table, leave_out)
    if isinstance(target, str):
        target = [target] if target in columns else [name.strip() for name in target.split(",")]
    for name in target:
        table.column(name)
        if name in leave_out:
            raise ConfigError(f"`target` names {name!r}, which has the SMILES or the split")
    if len(set(target)) < len(target):
        raise ConfigError(f"`target` names a column twice: {', '.join(target)}")
    return list(target)


def _all_columns(table: Table, leave_out: Sequence[str]) -> list[str]:
    found: list[str] = []
    others: list[str] = []
    for name in table.cells.columns:
        if name in leave_out or SMILES in name.lower() or _IDS.fullmatch(name):
            others.append(name)
            continue
        numbers = read_numbers(table.text(name))
        usable = bool(numbers.values.notna().any()) and not bool(numbers.unread.any())
        (found if usable else others).append(name)
    if not found:
        raise DataError(f"{table.path} has no column of numbers; name the columns of the labels")
    logger.info(
        "%s: target='all' is %d columns: %s; left out: %s",
        table.path,
        len(found),
        ", ".join(found),
        ", ".join(others) or "none",
    )
    return found


def header(file: TextFile) -> list[str]:
    """Names of the columns of a CSV file.

    Raises:
        DataError: If the file cannot be read, or is empty.
    """
    lines = _sample(file)
    if not lines:
        raise DataError(f"{file} cannot be read as CSV: it is empty")
    return [name.strip() for name in next(csv.reader(lines, delimiter=_separator(lines)))]


def require_column(file: Path | TextFile, name: str, columns: Sequence[str]) -> None:
    """Raise an error that offers the nearest column if there is none of that name.

    Raises:
        DataError: If there is none.
    """
    if name not in columns:
        raise DataError(
            f"{file} has no column {name!r}; {nearest(name, columns)} (the names of the columns "
            "are taken from the first row)"
        )


def smiles_column_of(file: TextFile, wanted: str = SMILES) -> str:
    """The column of the SMILES in a CSV file.

    That of the very name, else of that name in other letters (``SMILES``). Where none was named
    by the user, the only one with ``smiles`` in its name (``canonical_smiles``) is found too.

    Raises:
        DataError: If there is none, or there are several such.
    """
    columns = header(file)
    if wanted in columns:
        return wanted
    found = [name for name in columns if name.lower() == wanted.lower()]
    if not found and wanted == SMILES:
        found = [name for name in columns if SMILES in name.lower()]
    if len(found) > 1:
        raise DataError(
            f"{file} has the columns {', '.join(map(repr, found))}; choose one with smiles_column"
        )
    if not found:
        require_column(file, wanted, columns)
    return found[0]


def is_list(file: TextFile, wanted: str = SMILES) -> bool:
    """Whether a file is a list of SMILES; a ``.txt`` is one unless a column is named so."""
    if file.suffix != ".txt":
        return file.suffix in LISTS
    lines = _sample(file)
    names = [name.strip().lower() for line in lines[:1] for name in _split(line)]
    return not any(wanted.lower() == name or (len(names) > 1 and SMILES in name) for name in names)


def _split(line: str) -> list[str]:
    return next(csv.reader([line], delimiter=_separator([line])))


def _sample(file: TextFile) -> list[str]:
    """The first lines of a file."""
    try:
        with file.text(newline="") as text:
            return list(itertools.islice(text, _SAMPLE))
    except DataError:
        raise
    except Exception as error:  # each kind of compression fails in its own way
        raise DataError(f"{file} cannot be read as CSV: {_line(error)}") from error


def _separator(lines: Sequence[str]) -> str:
    """What stands between columns: that which gives each row as many cells as the header."""
    best, most = ",", 1
    for mark in _SEPARATORS:
        try:
            counts = [len(row) for row in csv.reader(lines, delimiter=mark) if row]
        except csv.Error:
            continue
        if (
            counts
            and counts[0] > most
            and all(count == counts[0] for count in counts[1:-1] or counts[1:])
        ):
            best, most = mark, counts[0]
    return best


def _frames(file: TextFile, rows: int | None) -> Iterator[pd.DataFrame]:
    """All cells as text, ``rows`` rows at a time."""
    import pandas as pd

    def strictly(read: Callable[..., Any], *how: Any) -> Any:
        with warnings.catch_warnings():  # pandas only warns of cells beyond the header
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return read(*how)

    lines = _sample(file)
    how = {
        "dtype": str,
        "skip_blank_lines": False,
        "index_col": False,
        "sep": _separator(lines) if lines else ",",
        "keep_default_na": False,
        "na_values": [""],  # what else marks a missing value depends on the column
    }
    try:
        with (
            file.text(newline="") as source,
            strictly(lambda: pd.read_csv(source, iterator=True, **how)) as reader,
        ):
            while True:
                try:
                    frame = strictly(reader.get_chunk, rows)
                except StopIteration:
                    return
                yield frame
    except DataError:
        raise
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise DataError(
            f"{file} cannot be read as CSV: {_line(error)}; every row needs as many cells as the "
            "first, and a cell with a comma in it needs quotes"
        ) from error
    except Exception as error:  # each kind of compression fails in its own way
        raise DataError(f"{file} cannot be read as CSV: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
