"""Reader of files of triples: a head, a relation and a tail in each line, by name.

A tab or the end of the line ends a field, and nothing else does: names keep spaces, quotes and
whatever signs they have. A file without any tab has fields between spaces instead.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gtl.data.text_file import TextFile
from gtl.errors import ConfigError, DataError

ORDERS = ("hrt", "htr")
_TITLES = {
    "h": {"head", "head_id", "subject", "source", "src", "from"},
    "r": {"relation", "relation_id", "predicate", "rel", "edge", "edge_type"},
    "t": {"tail", "tail_id", "object", "target", "dst", "to"},
}
_LETTERS = {"h": {"h", "s"}, "r": {"r", "p"}, "t": {"t", "o"}}  # names of entities, too
_SEPARATORS = {"tab": "\t", "space": None, "comma": ","}
_SHOWN = 40  # characters of a field in a message

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NamedTriples:
    """Triples of a file by name.

    Attributes:
        file: Where they are from, for messages.
        heads: Names of the heads.
        relations: Names of the relations.
        tails: Names of the tails.
        lines: Line of the file of each, from 1.
    """

    file: str
    heads: list[str]
    relations: list[str]
    tails: list[str]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.heads)


def read_triples(
    file: TextFile,
    header: bool | None = None,
    columns: str | None = None,
    separator: str | None = None,
) -> NamedTriples:
    """Read a file of triples, compressed or not.

    Args:
        file: The file.
        header: Whether its first line has titles; by default where they are well-known ones, such
            as ``head``, ``relation``, ``tail`` or ``subject``, ``predicate``, ``object`` in any
            order. Titles of one letter, as ``s``, ``p``, ``o``, are only known with ``True``.
        columns: Order of the columns, ``"hrt"`` or ``"htr"``; by default that of the titles, and
            head, relation, tail without.
        separator: ``"tab"``, ``"space"`` or ``"comma"``; by default tab where the file has one,
            else space.

    Raises:
        ConfigError: If an option is none of these.
        DataError: If a line has not three fields or an empty one; names it.
    """
    _check(columns, separator)
    rows = list(_lines(file))
    if not rows:
        raise DataError(f"{file} is empty; expected a head, a relation and a tail in each line")
    sign = _SEPARATORS[separator or ("tab" if any("\t" in text for _, text in rows) else "space")]
    fields = [(number, text.split(sign)) for number, text in rows]
    titles = _order_of(fields[0][1], letters=bool(header))
    if header or (header is None and titles is not None):
        if header is None:
            shown = " ".join(part[:_SHOWN] for part in fields[0][1])
            log.info("%s: titles in the first line: %s (header=False: a triple)", file, shown)
        fields = fields[1:]
        columns = columns or titles
    places = [(columns or ORDERS[0]).index(letter) for letter in ORDERS[0]]
    for number, parts in fields:
        if len(parts) != 3 or not all(parts):
            raise DataError(_wrong(file, number, parts, separator))
    head, relation, tail = ([parts[place] for _, parts in fields] for place in places)
    return NamedTriples(str(file), head, relation, tail, [number for number, _ in fields])


def _lines(file: TextFile) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, without the end of the line, and their numbers from 1."""
    try:
        with file.text(newline="\n") as text:  # else other signs would end a line, too
            for number, line in enumerate(text, 1):
                line = line.removesuffix("\n").removesuffix("\r")
                if line.strip(" "):
                    yield number, line
    except DataError:
        raise
    except Exception as error:  # each kind of compression fails in its own way
        reason = " ".join(str(error).split())
        raise DataError(f"{file} cannot be read as text: {reason}") from error


def _order_of(fields: list[str], letters: bool) -> str | None:
    """Order of the columns that titles name; ``None`` if the fields are no titles.

    Args:
        fields: Of a line.
        letters: Whether single letters are titles, too.
    """
    known = {key: words | (_LETTERS[key] if letters else set()) for key, words in _TITLES.items()}
    words = [field.strip().strip("\"'#").lower() for field in fields]
    order = "".join(next((key for key in known if word in known[key]), "?") for word in words)
    return order if sorted(order) == ["h", "r", "t"] else None


def _wrong(file: TextFile, number: int, parts: list[str], separator: str | None) -> str:
    shown = ", ".join(repr(part[:_SHOWN]) for part in parts)
    if len(parts) == 3:
        return f"{file}, line {number}: an empty name in {shown}; give every entity a name"
    how = separator or "tab, or by space in a file without tabs"
    return (
        f"{file}, line {number} has {len(parts)} columns ({shown}), expected 3: head, relation and "
        f"tail, separated by {how}; mend the line, or set `separator` or `header`"
    )


def _check(columns: str | None, separator: str | None) -> None:
    known: Mapping[str, tuple[object, tuple[str, ...]]] = {
        "columns": (columns, ORDERS),
        "separator": (separator, tuple(_SEPARATORS)),
    }
    for name, (given, choices) in known.items():
        if given is not None and given not in choices:
            raise ConfigError(f"`{name}` is {given!r}, expected one of {', '.join(choices)}")
