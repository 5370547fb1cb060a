"""Molecules from files of SMILES: tables with labels, and lists or corpora of any length."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from gtl.data import cache
from gtl.data.corpus import Corpus, LeftOut, Piece, cached_corpus, write_corpus
from gtl.data.dataset import Dataset
from gtl.data.molecules import Pile, check_on_invalid, pack_smiles, parse, rejected
from gtl.data.properties import with_properties
from gtl.data.readers.label_columns import Labels, read_labels
from gtl.data.readers.molecule_split import COMPUTED, MoleculeSplit
from gtl.data.readers.table import SMILES, Table, is_list, smiles_column_of, target_columns
from gtl.data.same_molecules import warn_of_copies
from gtl.data.text_file import TextFile
from gtl.data.workers import in_order
from gtl.errors import ConfigError, DataError
from gtl.optional import needs
from gtl.progress import Progress
from gtl.suggest import nearest

__all__ = ["load_smiles", "pack_corpus", "pack_smiles"]

CHUNK = 5000  # molecules that are in memory at once; no more than that are not worth keeping
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
    smiles_column: str = SMILES,
    target: Sequence[str] | str | None = None,
    kind: str | None = None,
    classes: Sequence[str] | None = None,
    decimal: str | None = None,
    metric: str | None = None,
    split: str | None = "random",
    fractions: Sequence[float] | None = None,
    stratify: bool = False,
    folds: int | None = None,
    fold: int | None = None,
    on_invalid: str = "skip",
    duplicates: str = "keep",
    properties: Sequence[str] | str = (),
    workers: int = 1,
) -> Dataset:
    """Read molecules, and labels if there are any.

    More than a few thousand are kept in the cache, memory-mapped: the next call is at once, and
    the graphs may exceed memory. Labels are read each time and stay in memory.

    Args:
        name: A CSV file with a header (commas, semicolons or tabs between columns), or a list
            (``.smi``, ``.txt``) with a SMILES at the beginning of each line; possibly compressed
            (``.csv.gz``), possibly in a zip archive or wheel (``molecules.zip/folder/train.csv``);
            here or in ``root``.
        root: Where to look if the file is not here.
        seed: Of the random split.
        smiles_column: Column of the SMILES; ``SMILES`` or ``canonical_smiles`` are found too.
        target: Columns of the labels: a name, a list, or names between commas; ``"all"`` for
            every column of numbers but identifiers; ``None`` for unlabeled molecules. Empty cells
            are missing labels.
        kind: ``"binary"``, ``"multiclass"`` or ``"regression"``. If not given, columns of words
            and of few distinct whole numbers are classes (two are binary), others are values; the
            log shows what was decided.
        classes: What class 0, 1, ... is called in the file, if the order of the names in the file
            (numbers by size, words by alphabet) is not meant. Of two, the second is the positive.
        decimal: Decimal mark of the labels, ``"."`` or ``","``, if the cells do not show it.
        metric: Scores predictions; chosen by ``kind`` if not given.
        split: ``"random"`` or ``"scaffold"``, a column of train, valid (or val) and test, or
            ``None``. Unlabeled molecules are not split at random. Copies of a molecule, by
            canonical SMILES, are in one part of a random split.
        fractions: Shares of train, valid and test in a random or scaffold split; 80/10/10 if not
            given.
        stratify: Each part of the random split has its share of every class.
        folds: Cross-validate with so many folds, each with its share of every class if the
            labels are one column of classes.
        fold: Number of the fold that is the test part, from 0; the next one is the valid part.
        on_invalid: ``"skip"`` leaves out molecules that RDKit cannot read and warns of them,
            ``"raise"`` refuses the file.
        duplicates: ``"keep"``, or ``"drop"`` what has the same SMILES, to the letter, as an
            earlier row, labels or not; that takes about 100 bytes of memory a molecule while the
            file is read.
        properties: Columns per molecule that RDKit computes, ``descriptors`` or ``morgan`` (a name,
            a list, or names between commas); see :data:`gtl.data.properties.PROPERTIES`.
        workers: Processes that read molecules; scripts that use several need
            ``if __name__ == "__main__":``. The result is the same.

    Raises:
        DataError: If the file, a column or a cell cannot be used, or the split leaves a part empty.
        ConfigError: If an option is out of range.
        MissingDependencyError: If RDKit is not installed.
    """
    _check_options(on_invalid, duplicates, workers)
    how = MoleculeSplit(split, fractions, stratify, folds, fold)
    file = TextFile.find(name, root)
    column = None if is_list(file, smiles_column) else smiles_column_of(file, smiles_column)
    labels, parts, rows = _labels(file, column, target, how, kind, classes, decimal)
    one_of_classes = labels is not None and labels.kind != "regression" and len(labels.names) == 1
    how.require_labels(labels is not None, one_of_classes)
    molecules = _read(file, column, on_invalid, duplicates, workers)
    kept = molecules.entries
    values = None if labels is None else labels.values[kept]
    if parts is None:
        parts = how.of(molecules.names, molecules.graphs, values, one_of_classes, seed, str(file))
    else:
        parts = _renumber(parts, kept, rows)
        warn_of_copies(molecules.names, molecules.graphs, parts, str(file))
    data = Dataset(
        f"smiles:{name}",
        molecules.graphs,
        labels=values,
        split=parts,
        kind=kind or "" if labels is None else labels.kind,
        metric=metric or "",
        names=molecules.names,
        class_names=() if labels is None else labels.class_names,
        label_names=() if labels is None else labels.names,
        rows=molecules.rows,
        file=str(file.path.resolve() / file.member) if file.member else str(file.path.resolve()),
    )
    return with_properties(data, properties, workers)


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


def _labels(
    file: TextFile,
    column: str | None,
    target: Sequence[str] | str | None,
    how: MoleculeSplit,
    kind: str | None,
    classes: Sequence[str] | None,
    decimal: str | None,
) -> tuple[Labels | None, dict[str, Tensor] | None, int]:
    """Labels, the split of a column if one gives it, and the number of rows of both."""
    if target is None and how.column is None:
        return None, None, 0
    if column is None:
        raise DataError(f"{file} is a list of SMILES; labels and splits need a CSV file")
    table = Table.read(file)
    if how.column is not None and how.column not in table.cells.columns:
        known = [*COMPUTED, *table.cells.columns]
        raise DataError(
            f"{file}: there is no split or column {how.column!r}; {nearest(how.column, known)}"
        )
    used = [column, *([] if how.column is None else [how.column])]
    targets = target_columns(table, target, used)
    labels = read_labels(table, targets, kind, classes, decimal) if targets else None
    parts = None if how.column is None else table.split(how.column)
    return labels, parts, len(table.rows)


def _read(
    file: TextFile, column: str | None, on_invalid: str, duplicates: str, workers: int
) -> Corpus:
    with needs("chem", "reading SMILES"):
        from rdkit import __version__ as version

    facts = (str(file.path.resolve()), file.member, str(column), duplicates, version, "rows")
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
    entries = _distinct(entries) if duplicates == "drop" else iter(entries)
    chunks = iter(partial(_chunk, entries), [])
    with Progress("molecules", None, unit="molecule") as bar:
        work = partial(_parse, count=bar.update) if workers == 1 else _parse
        for chunk, (pile, kept) in in_order(work, chunks, workers):
            _, rows, texts = zip(*chunk)
            left_out.add(len(chunk), rejected(texts, rows, kept))
            if left_out.count and on_invalid == "raise":
                left_out.report(source, on_invalid)
            if kept:
                good = [chunk[i] for i in kept]
                names = [entry.text for entry in good]
                yield Piece(pile.pack(), names, [e.number for e in good], [e.row for e in good])
            if workers > 1:
                bar.update(len(chunk))


def _chunk(entries: Iterator[Entry]) -> list[Entry]:
    return list(itertools.islice(entries, CHUNK))


def _parse(
    chunk: Sequence[Entry], count: Callable[[int], None] | None = None
) -> tuple[Pile, list[int]]:
    return parse([entry.text for entry in chunk], count)


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
