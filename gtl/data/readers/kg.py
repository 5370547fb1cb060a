"""Reader of knowledge graphs: a folder with files of triples for train, valid and test."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.data.find import find
from gtl.data.readers.triple_file import NamedTriples, read_triples
from gtl.data.text_file import TextFile
from gtl.data.triples import INVERSE, Vocabulary
from gtl.errors import ConfigError, DataError
from gtl.graph import Graph

UNSEEN = ("inductive", "drop", "raise")
DUPLICATES = ("raise", "drop")
_NAMES = {"train": ("train",), "valid": ("valid", "val", "dev", "validation"), "test": ("test",)}
_ENDINGS = [f"{e}{c}" for e in (".txt", ".tsv", ".csv", "") for c in ("", ".gz", ".bz2", ".xz")]
_SHOWN = 3

log = logging.getLogger(__name__)


def load_kg(
    name: str,
    root: Path | None,
    seed: int = 0,
    *,
    unseen: str = "inductive",
    duplicates: str = "raise",
    inverses: bool = False,
    header: bool | None = None,
    columns: str | None = None,
    separator: str | None = None,
) -> Dataset:
    """Read a knowledge graph: training triples as a typed graph, and triples to rank.

    The folder has files ``train``, ``valid`` and ``test``, of which the last two may be missing,
    that end in ``.txt``, ``.tsv`` or ``.csv``, compressed (``.gz``, ``.bz2``, ``.xz``) or not. Each
    line has the names, or numbers, of a head, a relation and a tail. The edges of the graph are the
    training triples, from head to tail; edge types are relations. Entities and relations are
    numbered by their sorted names, entities without a training triple last.

    Args:
        name: A folder, here, in ``root`` or in its folder ``kg``.
        root: Where to look if the folder is not here.
        seed: Not used: the splits are those of the files.
        unseen: What to do with entities in valid and test that no training triple has:
            ``"inductive"`` keeps them as nodes without edges, ``"drop"`` leaves out their triples,
            ``"raise"`` refuses them.
        duplicates: What to do with a triple that was there before, in this file or in that of an
            earlier part: ``"raise"`` or ``"drop"``.
        inverses: Whether each training triple is there a second time, in the other direction, with
            a relation of its own called ``inverse of ...`` (Lacroix et al. 2018). It gives encoders
            whose messages follow edges both directions.
        header: Whether the first line of a file has titles; by default where they are well-known.
        columns: Order of the columns, ``"hrt"`` or ``"htr"``; by default that of the titles, else
            head, relation, tail.
        separator: ``"tab"``, ``"space"`` or ``"comma"``; by default tab where a file has one, else
            space.

    Raises:
        DataError: If there is no such folder or no training file, a line has not three fields, a
            triple is there twice, or an entity or relation is unknown and may not be.
        ConfigError: If an option is none of these.
    """
    for option, given, known in (
        ("unseen", unseen, UNSEEN),
        ("duplicates", duplicates, DUPLICATES),
    ):
        if given not in known:
            raise ConfigError(f"`{option}` is {given!r}, expected one of {', '.join(known)}")
    places = [name, f"kg/{name}"]
    remedy = "put a folder with train.txt, valid.txt and test.txt there"
    folder = find(f"kg:{name}", root, places, remedy, fits=Path.is_dir)
    files = {part: _file(folder, part) for part in _NAMES}
    parts = {
        part: read_triples(file, header, columns, separator)
        for part, file in files.items()
        if file is not None
    }
    if not parts.get("train"):
        raise DataError(f"{folder} has no training triples; {remedy}")
    return dataset_of(f"kg:{name}", parts, unseen, duplicates, inverses)


def dataset_of(
    spec: str,
    parts: Mapping[str, NamedTriples],
    unseen: str = "inductive",
    duplicates: str = "raise",
    inverses: bool = False,
) -> Dataset:
    """The data set of triples by name; see :func:`load_kg` for options and errors.

    Args:
        spec: A name for messages and run folders.
        parts: Triples of ``train`` and perhaps ``valid`` and ``test``.
        unseen: As for :func:`load_kg`.
        duplicates: Likewise.
        inverses: Likewise.
    """
    train = parts["train"]
    seen = sorted_names([*train.heads, *train.tails])
    relations = sorted_names(train.relations)
    numbers = dict(parts)
    if unseen != "inductive":
        numbers = {p: _of_seen(named, set(seen), unseen) for p, named in numbers.items()}
    numbers = {
        p: _of_known_relations(named, set(relations), unseen) for p, named in numbers.items()
    }
    others = [name for named in numbers.values() for name in (*named.heads, *named.tails)]
    new = sorted_names(set(others) - set(seen))
    if new:
        log.info(
            "%s: %d entities have no training triple (%s, ...); they are nodes without edges "
            "(unseen='drop' leaves out their triples)",
            spec,
            len(new),
            ", ".join(new[:_SHOWN]),
        )
    vocabulary = Vocabulary((*seen, *new), tuple(relations))
    rows = {part: numbered(named, vocabulary) for part, named in numbers.items()}
    rows = _distinct(numbers, rows, vocabulary, duplicates)
    if inverses:
        vocabulary, rows["train"] = _with_inverses(vocabulary, rows["train"])
    head, relation, tail = rows["train"].t().contiguous()
    sizes = [len(found) for found in rows.values()]
    split = dict(zip(rows, torch.arange(sum(sizes)).split(sizes)))
    return Dataset(
        spec,
        graph=Graph(head, tail, len(vocabulary.entities), edge_type=relation),
        triples=torch.cat(list(rows.values())),
        vocabulary=vocabulary,
        split={part: split.get(part, torch.empty(0, dtype=torch.int64)) for part in _NAMES},
        level="triple",
        metric="mrr",
    )


def numbered(named: NamedTriples, vocabulary: Vocabulary) -> Tensor:
    """Triples by number, int64 ``(k, 3)``, all of whose names are known."""
    entities, relations = vocabulary.entity_numbers, vocabulary.relation_numbers
    columns = [
        [entities[name] for name in named.heads],
        [relations[name] for name in named.relations],
        [entities[name] for name in named.tails],
    ]
    return torch.tensor(columns, dtype=torch.int64).reshape(3, -1).t().contiguous()


def sorted_names(names: Sequence[str] | set[str]) -> list[str]:
    """The different names in order; where all are numbers, in the order of those.

    Example:
        >>> sorted_names(["10", "9", "10"]), sorted_names(["10", "9", "a"])
        (['9', '10'], ['10', '9', 'a'])
    """
    different = set(names)
    if all(name.isdecimal() for name in different):
        return sorted(different, key=lambda name: (int(name), name))
    return sorted(different)


def _file(folder: Path, part: str) -> TextFile | None:
    """The file of a part of the split, if there is one.

    Raises:
        DataError: If there are several.
    """
    paths = [folder / f"{word}{ending}" for word in _NAMES[part] for ending in _ENDINGS]
    found = [path for path in paths if path.is_file()]
    if len(found) > 1:
        raise DataError(
            f"{folder} has several files for {part}: {', '.join(p.name for p in found)}; leave one"
        )
    return TextFile(found[0]) if found else None


def _of_seen(named: NamedTriples, seen: set[str], unseen: str) -> NamedTriples:
    """The triples whose entities are all seen in training."""
    kept = [h in seen and t in seen for h, t in zip(named.heads, named.tails)]
    if all(kept):
        return named
    row = kept.index(False)
    name = named.tails[row] if named.heads[row] in seen else named.heads[row]
    if unseen == "raise":
        raise DataError(
            f"{named.file}, line {named.lines[row]}: the entity {name!r} has no training triple, "
            f"likewise in {kept.count(False) - 1} more triples; keep such entities for an "
            "inductive encoder with unseen='inductive', or leave out their triples with "
            "unseen='drop'"
        )
    log.info("%s: %d triples with unseen entities were left out", named.file, kept.count(False))
    return _kept(named, kept)


def _of_known_relations(named: NamedTriples, known: set[str], unseen: str) -> NamedTriples:
    kept = [name in known for name in named.relations]
    if all(kept):
        return named
    row = kept.index(False)
    if unseen != "drop":
        raise DataError(
            f"{named.file}, line {named.lines[row]}: the relation {named.relations[row]!r} has no "
            "training triple, so its triples cannot be ranked; leave them out with unseen='drop'"
        )
    log.info("%s: %d triples of unseen relations were left out", named.file, kept.count(False))
    return _kept(named, kept)


def _kept(named: NamedTriples, kept: Sequence[bool]) -> NamedTriples:
    head, relation, tail = (
        list(itertools.compress(column, kept))
        for column in (named.heads, named.relations, named.tails)
    )
    return NamedTriples(
        named.file, head, relation, tail, list(itertools.compress(named.lines, kept))
    )


def _distinct(
    named: Mapping[str, NamedTriples],
    rows: Mapping[str, Tensor],
    vocabulary: Vocabulary,
    duplicates: str,
) -> dict[str, Tensor]:
    """The triples of each part without those that were there before."""
    every = torch.cat(list(rows.values()))
    relations, entities = len(vocabulary.relations), len(vocabulary.entities)
    keys = (every[:, 0] * relations + every[:, 1]) * entities + every[:, 2]
    order = torch.argsort(keys, stable=True)
    again = torch.zeros(len(keys), dtype=torch.bool)
    again[order[1:]] = keys[order[1:]] == keys[order[:-1]]
    if not bool(again.any()):
        return dict(rows)
    if duplicates == "raise":
        second = int(again.nonzero()[0])
        first = int((keys[:second] == keys[second]).nonzero()[0])
        places = [(part.file, line) for part in named.values() for line in part.lines]
        (file, line), (earlier, before) = places[second], places[first]
        raise DataError(
            f"{file}, line {line} repeats the triple of {earlier}, line {before}, likewise "
            f"{int(again.sum()) - 1} more; leave repeated ones out with duplicates='drop'"
        )
    log.info("%d repeated triples were left out", int(again.sum()))
    parts = again.split([len(found) for found in rows.values()])
    return {part: found[~twice] for (part, found), twice in zip(rows.items(), parts)}


def _with_inverses(vocabulary: Vocabulary, train: Tensor) -> tuple[Vocabulary, Tensor]:
    """Twice as many relations, and each triple also in the other direction."""
    names = tuple(f"{INVERSE}{name}" for name in vocabulary.relations)
    known = set(vocabulary.relations)
    if known & set(names):
        raise DataError("some relation is called 'inverse of ...' already; set inverses=False")
    head, relation, tail = train.unbind(1)
    back = torch.stack([tail, relation + len(names), head], 1)
    both = Vocabulary(vocabulary.entities, (*vocabulary.relations, *names))
    return both, torch.cat([train, back])
