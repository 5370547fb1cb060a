"""Report as Markdown, with drawings as PNG files beside it."""

from __future__ import annotations

from collections.abc import Sequence

from gtl.report.sections import Listing, Section
from gtl.report.tables import as_markdown, escaped


def as_page(sections: Sequence[Section], remarks: Sequence[str], places: Sequence[str]) -> str:
    """The page.

    Args:
        sections: What to show; of those that are not brief only the drawings.
        remarks: What follows the tables of the comparison, as Markdown.
        places: Paths of the drawings, from the page on.
    """
    first, *others = [section for section in sections if section.is_brief]
    parts = ["# Report", *map(as_markdown, first.tables()), *remarks]
    for section in others:
        parts += map(as_markdown, section.tables())
    if places:
        parts += ["## plots", *(f"![{escaped(place)}]({place})" for place in places)]
    commands = [
        part.command
        for section in sections
        for part in section.parts
        if isinstance(part, Listing) and part.command
    ]
    if commands:
        lines = "\n".join(f"    {line}" for line in commands)
        parts += ["## reproduction", lines]
    return "\n\n".join(parts) + "\n"
