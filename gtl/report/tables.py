"""Tables of a comparison as cells, as text for a terminal and as Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from gtl.report.compare import Difference, Spread, decimals
from gtl.report.comparison import Comparison, DataSet, Method

WIDTH = 100


@dataclass(frozen=True)
class Table:
    """Cells with a title and a note above.

    Attributes:
        title: What the table is about.
        note: How to read it; may be empty.
        header: Names of the columns.
        rows: Cells, as many in each row as there are names.
    """

    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(comparison: Comparison, footprint: bool = False) -> list[Table]:
    """A table for each data set, and one over all of them if there are several.

    Args:
        comparison: What :func:`gtl.report.comparison.compare_runs` found.
        footprint: Follow each with what the runs cost.
    """
    found = []
    for data in comparison.data_sets:
        found.append(_values(data))
        if footprint:
            found.append(footprint_table(data))
    if comparison.overall:
        found.append(_overall(comparison))
    return found


def as_text(table: Table, width: int = WIDTH) -> str:
    """Aligned columns; the first one is broken into lines where a row would exceed ``width``.

    Example:
        >>> print(as_text(Table("x", "acc", ("method", "n"), (("equal weights", "3"),)), 12))
        x: acc
        method   n
        equal    3
        weights
    """
    rows = [table.header, *table.rows]
    rest = [max(len(row[i]) for row in rows) for i in range(1, len(table.header))]
    sides = [">" if number else "<" for number in number_columns(table)][1:]
    room = max(width - sum(rest) - 2 * len(rest), 8)
    caption = f"{table.title}: {table.note}" if table.note else table.title
    lines = textwrap.wrap(caption, width, subsequent_indent="  ")
    names = [textwrap.wrap(row[0], room) or [""] for row in rows]
    first = max(len(line) for name in names for line in name)
    for name, row in zip(names, rows):
        cells = [f"{cell:{side}{size}}" for cell, side, size in zip(row[1:], sides, rest)]
        lines.append("  ".join([f"{name[0]:{first}}", *cells]).rstrip())
        lines += name[1:]
    return "\n".join(lines)


def number_columns(table: Table) -> list[bool]:
    """Whether each column has numbers alone, perhaps with a unit of bytes."""
    return [all(map(_is_number, column)) for column in zip(*table.rows)] or [False] * len(
        table.header
    )


def as_markdown(table: Table) -> str:
    """A table as GitHub shows it."""
    lines = [_bars(table.header), _bars("---" for _ in table.header)]
    lines += [_bars(row) for row in table.rows]
    above = [f"## {escaped(table.title)}", "", *([escaped(table.note), ""] if table.note else [])]
    return "\n".join(above + lines)


def escaped(text: str) -> str:
    """Text that Markdown leaves as it is."""
    for mark in ("\\", "|", "*", "<", "`"):
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.replace("](", "\\](").split("\n"))


def remarks(comparison: Comparison, markdown: bool = False) -> list[str]:
    """Runs that have not ended, and notes; a paragraph with a line each."""
    pieces = {
        "unfinished": [f"{name}: {what}" for name, what in comparison.unfinished.items()],
        "notes": comparison.notes,
    }
    if markdown:
        return [
            "\n".join([f"## {title}", "", *(f"- {escaped(line)}" for line in lines)])
            for title, lines in pieces.items()
            if lines
        ]
    return [
        "\n".join([title, *(_paragraph(line) for line in lines)])
        for title, lines in pieces.items()
        if lines
    ]


def _values(data: DataSet) -> Table:
    places = _decimals(data)
    compared = data.reference is not None and len(data.methods) > 1
    more = f"; {data.part} difference to {data.reference}, 95 % interval" if compared else ""
    header = ("method", "n", f"valid {data.metric}", f"test {data.metric}")
    rows: list[tuple[str, ...]] = []
    for method in data.methods:
        cells = [_spread(part, places) for part in (method.valid, method.test)]
        cells += _difference(method, data, places) if compared else []
        rows.append((method.title, str(len(method.runs)), *cells))
    return Table(
        data.title,
        f"{data.better} {data.metric} is better{more}",
        (*header, "difference", "") if compared else header,
        tuple(rows),
    )


def _difference(method: Method, data: DataSet, places: int) -> tuple[str, str]:
    found: Difference | None = method.difference
    if found is None:
        return "", ""
    fewer = f" n={found.n}" if found.n < len(method.runs) else ""
    return found.text(places) + fewer, found.verdict(data.better)


def footprint_table(data: DataSet) -> Table:
    """What the runs of each method cost, their mean."""
    costs = {
        method.title: [(run.results or {}).get("footprint") or {} for run in method.runs]
        for method in data.methods
    }
    every = [cost for found in costs.values() for cost in found]
    columns = {
        title: (key, shown)
        for title, (key, shown) in _COSTS.items()
        if key in _ALWAYS or any(cost.get(key) for cost in every)
    }
    rows = []
    for title, found in costs.items():
        cells = []
        for key, shown in columns.values():
            known = [cost[key] for cost in found if cost.get(key) is not None]
            cells.append(shown(fmean(known)) if known else "")
        rows.append((title, *cells))
    return Table(data.title, _NOTE, ("method", *columns), tuple(rows))


def _overall(comparison: Comparison) -> Table:
    count = len(comparison.data_sets)
    compared = comparison.reference is not None
    rows: list[tuple[str, ...]] = []
    for title, tally in comparison.overall.items():
        row = (title, "" if tally.rank is None else f"{tally.rank:.2f}")
        if compared:
            of = f" of {tally.compared}"
            known = [f"{tally.better}{of}", f"{tally.worse}{of}"] if tally.compared else ["", ""]
            rows.append((*row, *known))
        else:
            rows.append(row)
    more = f"; on how many better or worse than {comparison.reference}" if compared else ""
    return Table(
        f"over {count} data sets",
        f"mean rank of the methods that are on all of them{more}",
        ("method", "mean rank", "better", "worse") if compared else ("method", "mean rank"),
        tuple(rows),
    )


def _decimals(data: DataSet) -> int:
    parts = [part for method in data.methods for part in (method.valid, method.test) if part]
    return decimals(part.mean for part in parts)


def _spread(found: Spread | None, places: int) -> str:
    return "" if found is None else found.text(places)


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"([-+]?[\d.,]+( [KMG]?i?B|[kMGT])?)?", cell) is not None


def _bytes(value: float) -> str:
    size, unit = value, "B"
    for larger in ("KiB", "MiB", "GiB"):
        if size >= 1000:
            size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if size >= 100 or unit == "B" else f"{size:.1f} {unit}"


def _count(value: float) -> str:
    size, unit = value, ""
    for larger in ("k", "M", "G", "T"):
        if size >= 1000:
            size, unit = size / 1000, larger
    return f"{size:.0f}{unit}" if size >= 100 or not unit else f"{size:.1f}{unit}"


# What a run costs: title, key of the footprint, and how a value is shown.
_COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "parameters trained": ("parameters_trained", lambda value: f"{value:,.0f}"),
    "stored": ("stored_bytes", _bytes),
    "sent": ("communicated_bytes", _bytes),
    "seconds": ("seconds", lambda value: f"{value:,.1f}"),
    "to 99 %": ("seconds_to_quality", lambda value: f"{value:,.1f}"),
    "peak memory": ("peak_memory_bytes", _bytes),
    "FLOPs": ("flops", _count),
    "ms": ("latency_p50_ms", lambda value: f"{value:.2f}"),
}
_ALWAYS = ("parameters_trained", "stored_bytes", "seconds", "peak_memory_bytes")
_NOTE = (
    "what a run costs, mean; to 99 %: seconds until the validation value was within 1 % of the "
    "best; FLOPs and ms: a prediction of a few items"
)


def _paragraph(line: str) -> str:
    wrapped = textwrap.wrap(line, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return "\n".join(("  " if i == 0 else "    ") + part for i, part in enumerate(wrapped))


def _bars(cells: Iterable[Any]) -> str:
    return f"| {' | '.join(map(escaped, cells))} |"
