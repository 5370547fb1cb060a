"""Reader of WordNet's file of nouns, a hierarchy of classes.

The format is that of WordNet's ``wndb(5)`` page: a line per synset, its number being the place of
the line in the file, with a list of pointers to other synsets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from gtl.errors import DataError

_UP = ("@", "@i")  # hypernym, and hypernym of an instance
_SHOWN = 5


def read_wordnet(file: str | Path, classes: Sequence[str]) -> list[tuple[str, str]]:
    """Links from classes up to the root, as pairs of child and parent, sorted.

    Args:
        file: WordNet's ``data.noun``.
        classes: Names such as ``n01440764``: an ``n`` and the eight digits of the synset.

    Returns:
        Pairs above the classes alone; a synset may have several parents.

    Raises:
        DataError: If the file is missing or a line is none of WordNet's, or a class is not there.

    Example:
        >>> import tempfile
        >>> text = "00000000 03 n 01 thing 0 000 | all\\n"
        >>> text += "00000035 03 n 01 cat 0 001 @ 00000000 n 0000 | purrs\\n"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "data.noun").write_text(text)
        ...     read_wordnet(Path(folder, "data.noun"), ["n00000035"])
        [('n00000035', 'n00000000')]
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise DataError(f"there is no file {path}; give WordNet's data.noun")
    with path.open(encoding="utf-8", errors="strict") as lines:
        try:
            parents = dict(_synsets(lines, path))
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not text in UTF-8 ({error}); convert it") from error
    missing = [name for name in classes if name not in parents]
    if missing:
        raise DataError(
            f"{path} has no synset {', '.join(missing[:_SHOWN])} ({len(missing)} of "
            f"{len(classes)} classes); numbers differ between versions of WordNet"
        )
    return sorted(_upwards(classes, parents))


def _synsets(lines: Iterable[str], path: Path) -> Iterable[tuple[str, list[str]]]:
    for number, line in enumerate(lines, 1):
        if line.startswith("  ") or not line.strip():  # the licence, at the beginning
            continue
        try:
            yield _synset(line.partition("|")[0].split())
        except (ValueError, IndexError) as error:
            raise DataError(f"{path}, line {number} is no synset of WordNet: {error}") from error


def _synset(words: list[str]) -> tuple[str, list[str]]:
    """Name and parents: offset, file, type, count of words in base 16, words, count, pointers."""
    first = 4 + 2 * int(words[3], 16)
    count = int(words[first])
    pointers = words[first + 1 : first + 1 + 4 * count]
    if len(words[0]) != 8 or not words[0].isdigit() or len(pointers) != 4 * count:
        raise ValueError("expected an offset of eight digits and four words for each pointer")
    kinds, offsets, parts = pointers[::4], pointers[1::4], pointers[2::4]
    above = [f"n{o}" for kind, o, part in zip(kinds, offsets, parts) if kind in _UP and part == "n"]
    return f"n{words[0]}", above


def _upwards(classes: Sequence[str], parents: dict[str, list[str]]) -> set[tuple[str, str]]:
    links: set[tuple[str, str]] = set()
    seen, waiting = set(classes), list(classes)
    while waiting:
        child = waiting.pop()
        links.update((child, parent) for parent in parents.get(child, ()))
        more = [parent for parent in parents.get(child, ()) if parent not in seen]
        seen.update(more)
        waiting += more
    return links
