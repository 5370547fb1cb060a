"""Sections of a report: what is shown of the runs, whatever it is written as.

A section is made once and written as text, Markdown with PNG files, LaTeX, or HTML.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from gtl.report.drawing import Drawing
from gtl.report.tables import Table


@dataclass(frozen=True)
class Picture:
    """A PNG file that a run left.

    Attributes:
        file: Where it is.
        caption: What it shows.
    """

    file: Path
    caption: str


@dataclass(frozen=True)
class Structure:
    """A molecule with its label and prediction.

    Attributes:
        name: What the item is called, such as its SMILES.
        svg: Its structure; empty where the name is none.
        facts: Label, prediction and error, by title.
    """

    name: str
    svg: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Structures:
    """Molecules side by side.

    Attributes:
        title: Which ones.
        items: The molecules.
    """

    title: str
    items: tuple[Structure, ...]


@dataclass(frozen=True)
class Listing:
    """How a run is repeated.

    Attributes:
        title: Which run.
        command: What starts it again; empty if no command does.
        config: Contents of its ``config.json``.
    """

    title: str
    command: str
    config: str


Part: TypeAlias = "Table | Drawing | Picture | Structures | Listing"


@dataclass(frozen=True)
class Section:
    """Parts under one heading.

    Attributes:
        title: The heading.
        parts: What is shown, in order.
        note: How to read it; may be empty.
        folder: Where its drawings are saved, below ``plots``; may be empty.
        is_brief: Whether its tables are shown in the terminal and in Markdown too.
        subtitle: What it is about where several sections have one title, such as a data set.
    """

    title: str
    parts: Sequence[Part]
    note: str = ""
    folder: str = ""
    is_brief: bool = False
    subtitle: str = ""

    def tables(self) -> Iterator[Table]:
        """Its tables, molecules side by side as one of them."""
        for part in self.parts:
            if isinstance(part, Table):
                yield part
            elif isinstance(part, Structures):
                yield as_table(part)

    def drawings(self) -> Iterator[Drawing]:
        """Its drawings."""
        yield from (part for part in self.parts if isinstance(part, Drawing))


def as_table(structures: Structures) -> Table:
    """Molecules as rows, by name."""
    facts = structures.items[0].facts if structures.items else ()
    header = ("item", *(title for title, _ in facts))
    rows = tuple((item.name, *(value for _, value in item.facts)) for item in structures.items)
    return Table(structures.title, "", header, rows)
