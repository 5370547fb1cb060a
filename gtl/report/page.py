"""Report as one HTML page that needs no other file, no network and no script.

Everything from data, such as names and SMILES, is escaped; images are SVG elements or embedded
PNG files; a content security policy in the page lets a browser load nothing else.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from gtl.report.comparison import Comparison
from gtl.report.drawing import CONTROL, Drawing
from gtl.report.sections import Listing, Part, Picture, Section, Structures
from gtl.report.tables import Table, number_columns
from gtl.version import __version__

_PLACE = Path(__file__).parent


@dataclass(frozen=True)
class Group:
    """Sections about one thing.

    Attributes:
        key: Its anchor in the page.
        title: Heading.
        sections: Sections below it; those of a group of one have no heading of their own.
    """

    key: str
    title: str
    sections: tuple[Section, ...]


def as_html(
    sections: Sequence[Section], comparison: Comparison, runs: int, plots: bool = True
) -> str:
    """The page, as well-formed XML that is HTML too.

    Args:
        sections: What to show.
        comparison: Its notes, and the runs that have not ended.
        runs: How many runs there are in all.
        plots: Whether images are shown.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_PLACE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["kind"] = _kind
    environment.filters["heads"] = _heads
    environment.filters["rows"] = _rows
    environment.filters["embedded"] = _embedded
    page = environment.get_template("page.html").render(
        style=_PLACE.joinpath("page.css").read_text(encoding="utf-8"),
        groups=_groups(sections),
        comparison=comparison,
        runs=runs,
        plots=plots,
        version=__version__,
    )
    return CONTROL.sub("", page)


def _groups(sections: Sequence[Section]) -> list[Group]:
    found = []
    for number, (title, members) in enumerate(
        groupby(sections, key=lambda section: section.subtitle or section.title)
    ):
        found.append(Group(f"part-{number}", title, tuple(members)))
    return found


def _kind(part: Part) -> str:
    kinds = {
        Table: "table",
        Drawing: "drawing",
        Picture: "picture",
        Structures: "structures",
        Listing: "listing",
    }
    return kinds[type(part)]


def _heads(table: Table) -> list[dict[str, Any]]:
    """Names of the columns, above numbers to the right."""
    numbers = number_columns(table)
    return [
        {"text": name.strip(), "looks": "number" if i and numbers[i] else ""}
        for i, name in enumerate(table.header)
    ]


def _rows(table: Table) -> list[list[dict[str, Any]]]:
    """Cells with their classes: numbers to the right, verdicts colored."""
    numbers = number_columns(table)
    return [
        [{"text": cell.strip(), "looks": _looks(cell, numbers[i], i)} for i, cell in enumerate(row)]
        for row in table.rows
    ]


def _looks(cell: str, is_number: bool, column: int) -> str:
    last = cell.split()[-1:] if column else []
    verdict = {"better": "good", "worse": "bad", "+": "good", "-": "bad"}.get("".join(last), "")
    return " ".join(filter(None, ["number" if is_number and column else "", verdict]))


def _embedded(file: Path) -> str:
    """A PNG file as a data URI."""
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode("ascii")
