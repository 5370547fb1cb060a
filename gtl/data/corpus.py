"""Packed files of molecules with their names, and their cache."""

from __future__ import annotations

import itertools
import json
import logging
import tempfile
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from gtl.data.cache import opened
from gtl.data.stored_names import StoredNames, encode_names
from gtl.errors import DataError
from gtl.graph.pack import PackedGraphs
from gtl.graph.pack_writer import PackedWriter
from gtl.graph.tensor_file import map_tensors

SHOWN = 20  # entries that a message names

logger = logging.getLogger(__name__)


class Piece(NamedTuple):
    """Some molecules: their graphs, names, numbers among the entries of the source, and rows."""

    graphs: PackedGraphs
    names: Sequence[str]
    entries: Sequence[int]
    rows: Sequence[int]


@dataclass
class LeftOut:
    """Entries that are no molecules: counted, and the first ones remembered.

    Attributes:
        seen: Entries so far.
        count: Those left out.
        shown: What to call the first of them.
    """

    seen: int = 0
    count: int = 0
    shown: list[str] = field(default_factory=list)

    def add(self, seen: int, named: Sequence[str]) -> None:
        """Count ``seen`` entries more, of which those ``named`` are left out."""
        self.seen += seen
        self.count += len(named)
        self.shown += named[: SHOWN - len(self.shown)]

    def report(self, source: str, on_invalid: str) -> None:
        """Warn of what was left out, in one line.

        Raises:
            DataError: If something was and ``on_invalid`` is ``"raise"``, or if all was.
        """
        if self.count and on_invalid == "raise":
            raise DataError(
                f"{source} {self.shown[0]} is not a molecule that RDKit can read; "
                "correct it, or leave such rows out with on_invalid='skip'"
            )
        if not self.seen:
            raise DataError(f"{source}: there are no SMILES, expected at least one")
        if self.count == self.seen:
            raise DataError(
                f"{source}: none of {self.seen} SMILES can be read by RDKit; "
                "check that the right column was named"
            )
        if self.count:
            more = self.count - len(self.shown)
            logger.warning(
                "%s: %d of %d molecules left out, RDKit cannot read them: %s%s",
                source,
                self.count,
                self.seen,
                ", ".join(self.shown),
                f" and {more} more" if more else "",
            )


@dataclass(frozen=True)
class Corpus:
    """Packed graphs and what else is in their file.

    Attributes:
        graphs: The graphs.
        names: A name per graph; may be empty.
        entries: Number of each graph among the entries of its source, int64 ``(g,)``; may be
            empty.
        rows: Row of each graph in the file of its source, int64 ``(g,)``; may be empty.
        left_out: Entries that did not become a graph.
    """

    graphs: PackedGraphs
    names: Sequence[str] = ()
    entries: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    rows: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    left_out: LeftOut = field(default_factory=LeftOut)

    @staticmethod
    def load(path: Path) -> Corpus:
        """Open a file of :func:`write_corpus` or of :meth:`PackedGraphs.save`, memory-mapped.

        Raises:
            DataError: If it is neither, or truncated.
        """
        graphs = PackedGraphs.load(path)
        tensors, facts = map_tensors(path)
        if "entries" not in tensors:
            return Corpus(graphs)
        try:
            names = StoredNames(tensors["names"], tensors["name_ends"])
            left_out = LeftOut(**json.loads(facts["left_out"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is damaged ({error!r}); make it again") from error
        if not len(names) == len(tensors["entries"]) == len(graphs):
            raise DataError(f"{path} has {len(names)} names for {len(graphs)} graphs")
        rows = tensors.get("rows", torch.empty(0, dtype=torch.int64))
        return Corpus(graphs, names, tensors["entries"], rows, left_out)


def write_corpus(path: Path, pieces: Iterable[Piece], left_out: LeftOut) -> None:
    """Write molecules that come piece by piece; the file appears when it is complete.

    Args:
        path: The file to write.
        pieces: At least one.
        left_out: What the pieces leave out, complete when the last one has come.

    Raises:
        OSError: If it cannot be written.
    """
    end = 0
    with PackedWriter(path) as file:
        for piece in pieces:
            text, ends = encode_names(piece.names, end)
            end += len(text)
            numbers = {
                "entries": torch.tensor(piece.entries, dtype=torch.int64),
                "rows": torch.tensor(piece.rows, dtype=torch.int64),
            }
            file.add(piece.graphs, {"names": text, "name_ends": ends, **numbers})
        file.facts["left_out"] = json.dumps(asdict(left_out))


def cached_corpus(
    path: Path | None, source: str, pieces: Callable[[LeftOut], Generator[Piece]]
) -> Corpus:
    """What was kept under ``path``, or the pieces packed anew and kept there.

    A single piece is quickly read again and not kept. Where nothing can be written, a temporary
    file holds the graphs, and they are packed again next time.

    Args:
        path: Where to keep the file, or ``None``.
        source: What the molecules come from, for messages.
        pieces: Begins to read; fills in what it leaves out.

    Raises:
        DataError: If no entry is a molecule, or there is no room for them anywhere.
    """
    kept = opened(path, Corpus.load)
    if kept is not None:
        return kept
    if path is not None:
        try:
            return _packed(path, source, pieces)
        except OSError as error:
            logger.warning(
                "%s could not be kept in %s (%s) and is packed into a temporary file; set "
                "GTL_CACHE to a folder with room",
                source,
                path.parent,
                error,
            )
    try:
        with tempfile.TemporaryDirectory() as folder:  # a mapped file outlives its name
            return _packed(Path(folder) / "corpus", source, pieces)
    except OSError as error:
        raise DataError(
            f"{source} could not be packed ({error}); set GTL_CACHE or TMPDIR to a folder with room"
        ) from error


def _packed(path: Path, source: str, pieces: Callable[[LeftOut], Generator[Piece]]) -> Corpus:
    left_out = LeftOut()
    with closing(pieces(left_out)) as stream:
        start = list(itertools.islice(stream, 2))
        if not start:
            left_out.report(source, "skip")  # raises: all was left out
        if len(start) < 2:
            graphs, names, *numbers = start[0]
            entries, rows = (torch.tensor(number, dtype=torch.int64) for number in numbers)
            return Corpus(graphs, tuple(names), entries, rows, left_out)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_corpus(path, itertools.chain(start, stream), left_out)
    return Corpus.load(path)
