"""Molecules from files of SMILES: a table with labels, or a corpus of any length without."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from gtl.data import cache
from gtl.data.corpus import Corpus, LeftOut, Piece, cached_corpus, write_corpus
from gtl.data.dataset import Dataset
from gtl.data.molecules import Pile, check_on_invalid, pack_smiles, parse, rejected
from gtl.data.readers.table import Table
from gtl.data.splits import random_split, scaffold_split
from gtl.data.text_file import TextFile
from gtl.data.workers import in_order
from gtl.errors import ConfigError, DataError
from gtl.optional import needs
from gtl.suggest import nearest

__all__ = ["load_smiles", "pack_corpus", "pack_smiles"]

CHUNK = 5000  # molecules that are in memory at once; no more than that are not worth keeping
LISTS = (".smi", ".smiles", ".ism")  # one SMILES a line, then perhaps a name
DUPLICATES = ("keep", "drop")


class Entry(NamedTuple):
    """A SMILES, its number among the entries of its file, and its row in it."""

    number: int
    row: int
    text: str


def load_smiles(
    name: str,
    root: Path | None = None,
    seed: int = 0,
    *,
    smiles_column: str = "smiles",
    target: Sequence[str] | str | None = None,
    split: str | None = "random",
    on_invalid: str = "skip",
    duplicates: str = "keep",
    kind: str | None = None,
    metric: str | None = None,
    workers: int = 1,
) -> Dataset:
    """Read molecules, and labels if there are any.

    More than a few thousand are kept in the cache, memory-mapped: the next call is at once, and
    the graphs may exceed memory. Labels are read each time and stay in memory.

    Args:
        name: A CSV file with a header, or a list (``.smi``, ``.txt``) with a SMILES at the
            beginning of each line; possibly compressed (``.csv.gz``), possibly in a zip archive
            or wheel (``molecules.zip/folder/train.csv``); here or in ``root``.
        root: Where to look if the file is not here.
        seed: Of the random split.
        smiles_column: Column of the SMILES.
        target: Columns of the labels: a name, a list, or names between commas; ``None`` for
            unlabeled molecules. Empty cells are missing labels; a single column of words is
            a class each.
        split: ``"random"`` or ``"scaffold"`` (80/10/10), a column that says train, valid or test,
            or ``None``. Unlabeled molecules are not split at random.
        on_invalid: ``"skip"`` leaves out molecules that RDKit cannot read and warns of them,
            ``"raise"`` refuses the file.
        duplicates: ``"keep"``, or ``"drop"`` what has the same SMILES, to the letter, as an
            earlier row, labels or not; that takes about 100 bytes of memory a molecule while the
            file is read.
        kind: ``"binary"``, ``"multiclass"`` or ``"regression"``; read off the labels if not given.
        metric: Judges predictions; chosen by ``kind`` if not given.
        workers: Processes that read molecules; scripts that ask for several need
            ``if __name__ == "__main__":``. The result is the same.

    Raises:
        DataError: If the file, a column or a cell cannot be used, or the split leaves a part empty.
        ConfigError: If an option is out of range.
        MissingDependencyError: If RDKit is not installed.
    """
    _check_options(on_invalid, duplicates, workers)
    file = TextFile.find(name, root)
    column = None if _is_list(file, smiles_column) else smiles_column
    by_column = split not in (None, "random", "scaffold")
    table = _table(file, column) if target is not None or by_column else None
    targets = [] if table is None else table.target_names(target)
    if table is not None and by_column and split not in table.cells.columns:
        known = ["random", "scaffold", *table.cells.columns]
        raise DataError(
            f"{file}: there is no split or column {split!r}; {nearest(str(split), known)}"
        )
    labels, class_names = table.labels(targets, kind) if table and targets else (None, ())
    parts = table.split(str(split)) if table and by_column else None
    molecules = _read(file, column, on_invalid, duplicates, workers)
    names, kept = molecules.names, molecules.entries
    if parts is not None and table is not None:
        parts = _renumber(parts, kept, len(table.rows))
    elif split == "scaffold":
        parts = scaffold_split(names)
    elif split == "random" and labels is not None:
        parts = random_split(len(names), seed=seed)
    return Dataset(
        f"smiles:{name}",
        molecules.graphs,
        labels=None if labels is None else labels[kept],
        split=parts or {},
        kind=kind or "",
        metric=metric or "",
        names=names,
        class_names=class_names,
    )


def pack_corpus(
    smiles: Iterable[str],
    path: Path | str,
    *,
    on_invalid: str = "skip",
    duplicates: str = "keep",
    workers: int = 1,
) -> int:
    """Write any number of molecules to a packed file, which ``packed:<path>`` reads.

    Args:
        smiles: One per molecule; read as they are needed.
        path: The file to write; it appears, or replaces another, when it is complete.
        on_invalid: As in :func:`load_smiles`.
        duplicates: As in :func:`load_smiles`.
        workers: As in :func:`load_smiles`.

    Returns:
        How many molecules were written.

    Raises:
        DataError: If none can be read, or one cannot and ``on_invalid`` is ``"raise"``.
        ConfigError: If an option is out of range.
        MissingDependencyError: If RDKit is not installed.
        OSError: If the file cannot be written.
    """
    _check_options(on_invalid, duplicates, workers)
    left_out, written = LeftOut(), 0
    entries = (Entry(i, i, text) for i, text in enumerate(smiles))

    def pieces() -> Iterator[Piece]:
        nonlocal written
        for piece in _pieces(entries, "SMILES", on_invalid, duplicates, workers, left_out):
            written += len(piece.names)
            yield piece
        left_out.report("SMILES", on_invalid)

    write_corpus(Path(path), pieces(), left_out)
    return written


def _check_options(on_invalid: str, duplicates: str, workers: int) -> None:
    check_on_invalid(on_invalid)
    if duplicates not in DUPLICATES:
        raise ConfigError(f"`duplicates` is {duplicates!r}, expected 'keep' or 'drop'")
    if workers < 1:
        raise ConfigError(f"`workers` is {workers}, expected at least 1")


def _is_list(file: TextFile, smiles_column: str) -> bool:
    """Is it a list? A ``.txt`` is one, unless its first line names the column."""
    if file.suffix != ".txt":
        return file.suffix in LISTS
    first = next((line for _, line in file.lines()), "")
    return smiles_column not in [cell.strip() for cell in first.split(",")]


def _table(file: TextFile, column: str | None) -> Table:
    if column is None:
        raise DataError(f"{file} is a list of SMILES; labels and splits need a CSV file")
    table = Table.read(file)
    table.column(column)
    return table


def _read(
    file: TextFile, column: str | None, on_invalid: str, duplicates: str, workers: int
) -> Corpus:
    with needs("chem", "reading SMILES"):
        from rdkit import __version__ as version

    facts = (str(file.path.resolve()), file.member, str(column), duplicates, version)
    molecules = cached_corpus(
        cache.place(f"smiles-{file.stem}", [file.path], *facts),
        str(file),
        lambda left_out: _pieces(
            _entries(file, column), str(file), on_invalid, duplicates, workers, left_out
        ),
    )
    molecules.left_out.report(str(file), on_invalid)
    return molecules


def _entries(file: TextFile, column: str | None) -> Iterator[Entry]:
    count = itertools.count()
    if column is None:
        for row, line in file.lines():
            yield Entry(next(count), row, line.split(None, 1)[0])
        return
    for table in Table.chunks(file, CHUNK):
        for row, text in zip(table.rows, table.column(column).fillna("").str.strip()):
            yield Entry(next(count), row, text)


def _pieces(
    entries: Iterable[Entry],
    source: str,
    on_invalid: str,
    duplicates: str,
    workers: int,
    left_out: LeftOut,
) -> Generator[Piece]:
    from tqdm import tqdm

    entries = _distinct(entries) if duplicates == "drop" else iter(entries)
    chunks = iter(partial(_chunk, entries), [])
    with tqdm(desc="molecules", unit="", disable=None, delay=1, leave=False) as bar:
        for chunk, (pile, kept) in in_order(_parse, chunks, workers):
            numbers, rows, texts = zip(*chunk)
            left_out.add(len(chunk), rejected(texts, rows, kept))
            if left_out.count and on_invalid == "raise":
                left_out.report(source, on_invalid)
            if kept:
                yield Piece(pile.pack(), [texts[i] for i in kept], [numbers[i] for i in kept])
            bar.update(len(chunk))


def _chunk(entries: Iterator[Entry]) -> list[Entry]:
    return list(itertools.islice(entries, CHUNK))


def _parse(chunk: Sequence[Entry]) -> tuple[Pile, list[int]]:
    return parse([entry.text for entry in chunk])


def _distinct(entries: Iterable[Entry]) -> Iterator[Entry]:
    seen: set[int] = set()
    for entry in entries:
        key = hash(entry.text)  # a wrong match among 10 million has a chance of 3 in a million
        if key not in seen:
            seen.add(key)
            yield entry


def _renumber(parts: Mapping[str, Tensor], kept: Tensor, items: int) -> dict[str, Tensor]:
    """The split of all rows as a split of those that were kept."""
    new = torch.full((items,), -1)
    new[kept] = torch.arange(len(kept))
    return {part: new[index][new[index] >= 0] for part, index in parts.items()}
