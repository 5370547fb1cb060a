"""Numbers as tables write them: decimal points or commas, thousands, percentages, missing ones."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# What programs write where a number is missing, in lower case.
MISSING = frozenset(
    (
        *("#n/a", "#n/a n/a", "#na", "<na>", "n/a", "na", "nan", "-nan", "none", "null"),
        *("1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"),  # of C on Windows
    )
)

_EXPONENT = r"(?:[eE][+-]?\d+)?"
_POINT = re.compile(rf"[+-]?(?:\d+\.?\d*|\.\d+){_EXPONENT}")
_COMMA = re.compile(rf"[+-]?(?:\d{{1,3}}(?:\.\d{{3}})+|\d*),\d+{_EXPONENT}")
_POINT_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+")  # 1.000.000 beside decimal commas
_COMMA_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?")  # 1,000.5
_LIKE_A_NUMBER = re.compile(r"[<>=\u2264\u2265~\u00b1]*\s*[+-]?[.,]?\d[\d.,'\s]*%?")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Numbers:
    """Numbers of the cells of one column.

    Attributes:
        values: Float64, NaN where a cell is no number.
        unread: Whether a cell is neither a number nor missing.
        ambiguous: A cell that is two numbers, such as ``1,000``, where no other cell says which;
            empty if there is none. Such cells are unread.
    """

    values: pd.Series
    unread: pd.Series
    ambiguous: str = ""


def read_numbers(cells: pd.Series, decimal: str | None = None) -> Numbers:
    """Read one column of text as numbers.

    The column is read in one format: with decimal points (``1,000.5`` has thousands between
    commas) or with decimal commas (``1.000,5``). A column in which every number ends with a
    percent sign is divided by 100, with a log line. ``NA``, ``NaN``, ``None``, ``null`` and the
    like are missing.

    Args:
        cells: Text without space around it, missing where a cell is empty.
        decimal: ``"."`` or ``","``; found from the cells if not given.

    Example:
        >>> import pandas as pd
        >>> read_numbers(pd.Series(["1.250,5", "0,25", "NA"])).values.tolist()
        [1250.5, 0.25, nan]
    """
    import pandas as pd

    given = cells.notna() & ~cells.str.lower().isin(MISSING)
    if decimal != ",":
        values = pd.to_numeric(cells.where(given), errors="coerce").astype("float64")
        if not (given & values.isna()).any():
            return Numbers(values, given & values.isna())
    text = cells[given].str.replace("\u2212", "-")  # the minus sign of typeset text
    percent = text.str.endswith("%")
    everywhere = len(text) > 0 and bool(percent.all())
    if everywhere:
        text = text.str.removesuffix("%").str.rstrip()
    known = text.unique().tolist()
    mark, ambiguous = (decimal, "") if decimal else _decimal_mark(known)
    grouped = decimal is not None or _points_group(known)
    size = 100 if everywhere else 1
    read = {word: _number(word, mark, grouped) / size for word in known}
    values = text.map(read).astype("float64").reindex(cells.index)
    unread = given & values.isna()
    if everywhere and not unread.any():
        shown, value = cells[given].iloc[0], values[given].iloc[0]
        logger.info("column %r holds percentages: %s is read as %g", cells.name, shown, value)
    return Numbers(values, unread, ambiguous)


def looks_like_number(word: str) -> bool:
    """Whether a word is probably meant as a number: ``1 000``, ``<0.5`` or ``10%``."""
    return _LIKE_A_NUMBER.fullmatch(word) is not None


def _decimal_mark(words: list[str]) -> tuple[str, str]:
    """The decimal mark that the words show, and a word that is ambiguous, if any."""
    comma = any(_COMMA.fullmatch(word) and not _COMMA_GROUPS.fullmatch(word) for word in words)
    groups = [word for word in words if _COMMA_GROUPS.fullmatch(word)]
    point = any(not _COMMA.fullmatch(word) for word in groups)
    grouped = _points_group(words)
    for word in words:
        if "." in word and _POINT.fullmatch(word):
            point |= not (grouped and _POINT_GROUPS.fullmatch(word))
    if groups and not comma and not point:
        return "", groups[0]
    return ("," if (comma or grouped) and not point else "."), ""


def _points_group(words: list[str]) -> bool:
    """Whether some word shows that points stand between thousands: 1.000,5 or 1.000.000."""
    return any(
        "." in word and (_COMMA.fullmatch(word) or _POINT_GROUPS.fullmatch(word))
        for word in words
        if not _POINT.fullmatch(word)
    )


def _number(word: str, mark: str, grouped: bool) -> float:
    """The number that a word is, NaN if it is none."""
    if mark == ",":
        if _COMMA.fullmatch(word) or (grouped and _POINT_GROUPS.fullmatch(word)):
            return float(word.replace(".", "").replace(",", "."))
        return float(word) if "." not in word and _POINT.fullmatch(word) else float("nan")
    if mark == "." and _COMMA_GROUPS.fullmatch(word):
        return float(word.replace(",", ""))
    try:
        return float(word) if "_" not in word and word.isascii() else float("nan")
    except ValueError:
        return float("nan")
