"""Tables of a report for LaTeX, in the style of the package ``booktabs``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gtl.report.drawing import CONTROL
from gtl.report.tables import Table, number_columns

_MARKS = {
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
    **{
        "±": r"$\pm$",
        "\u2212": r"$-$",
        "≥": r"$\geq$",
        "≤": r"$\leq$",
        "\u2013": "--",
        "…": r"\ldots{}",
    },
    **{'"': "''", "\n": " "},
}


def as_latex(tables: Iterable[Table]) -> str:
    r"""A file of ``table`` environments, to be used with ``\input``."""
    head = r"% \usepackage{booktabs} in the preamble; characters beyond ASCII need UTF-8"
    return "\n\n".join([head, *map(_one, tables)]) + "\n"


def escaped(text: str) -> str:
    r"""Text that LaTeX prints as it is.

    Example:
        >>> escaped("50 % of a_b")
        '50 \\% of a\\_b'
    """
    return "".join(_MARKS.get(mark, mark) for mark in CONTROL.sub("", text))


def _one(table: Table) -> str:
    numbers = number_columns(table)
    sides = "".join("r" if i and number else "l" for i, number in enumerate(numbers))
    caption = f"{table.title}: {table.note}" if table.note else table.title
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(caption)}}}",
        rf"\begin{{tabular}}{{{sides}}}",
        r"\toprule",
        _row(table.header),
        r"\midrule",
        *map(_row, table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    text = " & ".join(escaped(cell.strip()) for cell in cells)
    # a row that begins with a bracket or a star would be read as an option of the line above
    protected = "{}" + text if text.startswith(("[", "*")) else text
    return rf"{protected} \\"
