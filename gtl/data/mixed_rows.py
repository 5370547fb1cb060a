"""Rows of any kind as graphs: SMILES, molecules of RDKit and graphs of any library, in one list."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.data.foreign_fields import is_batch
from gtl.data.molecules import Pile, parse
from gtl.data.properties import PROPERTIES, compute
from gtl.data.workers import in_order
from gtl.errors import DataError
from gtl.graph import Graph, PackedGraphs, Schema, as_graph
from gtl.graph.constant import constant
from gtl.optional import needs
from gtl.suggest import nearest

CHUNK = 2000  # rows that are in memory as molecules at once
_SHOWN = 5  # rows that a message names
_EXPECTED = "a SMILES, an RDKit molecule or a graph"


@dataclass(frozen=True)
class Piece:
    """Consecutive rows as graphs.

    Attributes:
        first: Number of the first row.
        count: Rows, unreadable ones among them.
        graphs: Graphs of the readable rows; ``None`` if there are none.
        kept: Numbers of the readable rows, int64 ``(g,)``, ascending.
        names: Their SMILES, empty for graphs.
        wrong: Why a row is not readable, by its number.
        properties: Properties of the readable rows by name, ``(g, d)``.
    """

    first: int
    count: int
    graphs: PackedGraphs | None
    kept: Tensor
    names: list[str]
    wrong: Mapping[int, str] = field(default_factory=dict)
    properties: Mapping[str, Tensor] = field(default_factory=dict)


def as_rows(values: Any) -> Sequence[Any]:
    """What was given for many molecules or graphs, as a sequence with one entry each.

    Args:
        values: List, array or Series; an array or DataFrame of one column; packed graphs; a batch,
            which is taken apart.

    Raises:
        DataError: If it is a single string or molecule, a table of several columns, or nothing
            that can be counted.

    Example:
        >>> list(as_rows(np.array([["CCO"], ["C"]])))
        ['CCO', 'C']
    """
    if isinstance(values, (str, bytes)) or _is_molecule(values):
        raise DataError(f"got one {type(values).__name__}; give a list, with {_EXPECTED} a row")
    if isinstance(values, PackedGraphs):
        return values  # type: ignore[return-value]
    if is_batch(values):
        return as_graph(values).unlabeled().unbatch()
    if hasattr(values, "to_numpy"):  # pandas
        values = values.to_numpy(dtype=object)
    if isinstance(values, np.ndarray):
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim != 1 or values.dtype.kind not in "OU":
            raise DataError(
                f"got an array of {values.dtype} of shape {values.shape}; give one column, with "
                f"{_EXPECTED} a row"
            )
        return values.tolist()
    try:
        return values if isinstance(values, (list, tuple)) else list(values)
    except TypeError:
        raise DataError(
            f"got a {type(values).__name__}; give a list, with {_EXPECTED} a row"
        ) from None


def read_rows(
    rows: Sequence[Any], properties: Sequence[str] = (), workers: int = 1
) -> Iterator[Piece]:
    """Graphs of the rows, piece by piece, in order.

    Args:
        rows: Each a SMILES, an RDKit molecule or a graph that :func:`gtl.as_graph` reads.
        properties: Keys of :data:`gtl.data.properties.PROPERTIES`, computed from the SMILES; graphs
            carry theirs.
        workers: Processes that read SMILES.

    Raises:
        DataError: If graphs have other features than molecules among the same rows, or lack a
            property.
        ConfigError: If a property is unknown.
        MissingDependencyError: If there are SMILES and RDKit is not installed.
    """
    chunks = (rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK))
    if isinstance(rows, PackedGraphs):
        index = torch.arange(len(rows))
        chunks = (list(rows.subset(part)) for part in index.split(CHUNK))
    here, there = itertools.tee(chunks)
    texts = ([_text(row) for row in chunk] for chunk in here)
    work = partial(_read, properties=tuple(properties))
    count = 0
    for chunk, (_, found) in zip(there, in_order(work, texts, workers)):
        yield _piece(list(chunk), count, found, properties)
        count += len(chunk)


def joined(pieces: Sequence[PackedGraphs]) -> PackedGraphs:
    """Packed graphs of several pieces as one.

    Raises:
        DataError: If the pieces have different features.
    """
    if len(pieces) == 1:
        return pieces[0]
    try:
        schema = _widest([piece.schema for piece in pieces])
        names = [set(piece.tensors()) for piece in pieces]
        values: dict[str, Any] = {
            name: torch.cat([piece.tensors()[name] for piece in pieces])
            for name in set.union(*names) - {"node_offsets", "edge_offsets"}
        }
    except (DataError, KeyError, RuntimeError) as error:
        raise _of_several_kinds(error) from error
    nodes = _offsets([piece.node_offsets for piece in pieces])
    edges = _offsets([piece.edge_offsets for piece in pieces])
    return PackedGraphs(nodes, edges, schema=schema, properties=_properties(pieces), **values)


def describe(wrong: Mapping[int, str]) -> str:
    """Rows that are not readable, and why."""
    shown = [f"row {row} ({why})" for row, why in sorted(wrong.items())[:_SHOWN]]
    more = len(wrong) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _read(
    texts: Sequence[str | None], properties: Sequence[str]
) -> tuple[Pile | None, list[int], dict[str, Tensor]]:
    """Molecules, the numbers of those that were read, and properties of these."""
    if all(text is None for text in texts):
        return None, [], {}
    pile, kept = parse(texts)  # type: ignore[arg-type]
    good = [str(texts[i]) for i in kept]
    return pile, kept, {name: compute(good, name) for name in properties}


def _piece(
    chunk: list[Any],
    first: int,
    found: tuple[Pile | None, list[int], dict[str, Tensor]],
    properties: Sequence[str],
) -> Piece:
    pile, kept, values = found
    molecules = pile.pack() if pile is not None and kept else None
    graphs, wrong = _graphs(chunk, set(kept), first)
    rows = sorted([*kept, *graphs])
    index = torch.tensor(rows, dtype=torch.int64)
    names = [_text(chunk[i]) or "" for i in rows]
    if graphs:
        whole = _together(molecules, kept, graphs, first)
        values = {n: _carried(graphs, kept, values.get(n), n, first) for n in properties}
        return Piece(first, len(chunk), whole, index + first, names, wrong, values)
    return Piece(first, len(chunk), molecules, index + first, names, wrong, values)


def _graphs(
    chunk: list[Any], kept: set[int], first: int
) -> tuple[dict[int, Graph], dict[int, str]]:
    """Graphs among the rows by their place, and why others are not readable, by their number."""
    graphs: dict[int, Graph] = {}
    wrong: dict[int, str] = {}
    for place, row in enumerate(chunk):
        if place in kept:
            continue
        text = _text(row)
        if text is not None:
            why = "is not a molecule that RDKit can read" if text.strip() else "is empty"
            wrong[first + place] = f"{_short(row, text)} {why}"
            continue
        if row is None or isinstance(row, (int, float)):
            wrong[first + place] = f"{row!r} is missing, expected {_EXPECTED}"
            continue
        try:
            graph = constant(as_graph(row)).unlabeled()
        except (DataError, ValueError) as error:
            wrong[first + place] = str(error)
            continue
        if graph.num_graphs != 1:
            wrong[first + place] = f"a batch of {graph.num_graphs} graphs, expected one"
            continue
        graphs[place] = graph.replace(sizes=None)
    return graphs, wrong


def _together(
    molecules: PackedGraphs | None, kept: list[int], graphs: Mapping[int, Graph], first: int
) -> PackedGraphs:
    """Molecules and graphs packed in the order of the rows."""
    if molecules is not None:
        for place, graph in graphs.items():
            what = f"row {first + place} stands among SMILES and differs from them: a molecule"
            molecules.schema.require(Schema.of(graph), what)
    every = dict(graphs)
    carried = {frozenset(graph.properties or ()) for graph in graphs.values()}
    if molecules is not None or len(carried) > 1:  # not all rows have them
        every = {place: graph.replace(properties=None) for place, graph in graphs.items()}
    every.update({} if molecules is None else zip(kept, molecules))
    schema = None if molecules is None else molecules.schema
    try:
        return PackedGraphs.pack([every[place] for place in sorted(every)], schema)
    except ValueError as error:
        raise DataError(
            f"rows have different features ({error}); give graphs of one kind"
        ) from error


def _carried(
    graphs: Mapping[int, Graph], kept: list[int], computed: Tensor | None, name: str, first: int
) -> Tensor:
    """A property of all rows in order, as graphs carry it and as it was computed."""
    rows = {} if computed is None else dict(zip(kept, computed))
    for place, graph in graphs.items():
        value = (graph.properties or {}).get(name)
        if value is None:
            known = list(graph.properties or {})
            hint = f"; {nearest(name, known)}" if known else ""
            raise DataError(
                f"the graph of row {first + place} does not carry the property {name!r}{hint}; "
                "give the molecule as SMILES"
            )
        rows[place] = value[0]
    dtype = torch.get_default_dtype()
    return torch.stack([rows[place].to(dtype) for place in sorted(rows)])


def check_properties(names: Sequence[str]) -> tuple[str, ...]:
    """Names of properties, as a tuple.

    Raises:
        DataError: If one is not a property that can be computed.
    """
    several = (names,) if isinstance(names, str) else tuple(names)
    for name in several:
        if name not in PROPERTIES:
            raise DataError(f"unknown property {name!r}; {nearest(name, list(PROPERTIES))}")
    return several


def _properties(pieces: Sequence[PackedGraphs]) -> dict[str, Tensor]:
    """Properties that all pieces have."""
    shared = set.intersection(*(set(piece.properties) for piece in pieces))
    return {name: torch.cat([piece.properties[name] for piece in pieces]) for name in shared}


def _widest(schemas: Sequence[Schema]) -> Schema:
    """The schema that the others fit."""
    for schema in schemas:
        try:
            for other in schemas:
                schema.require(other, "a row")
        except DataError as error:
            reason = error
            continue
        return schema
    raise reason


def _of_several_kinds(error: Exception) -> DataError:
    return DataError(f"rows have different features ({error}); give graphs of one kind")


def _is_molecule(value: Any) -> bool:
    return type(value).__module__.startswith("rdkit.") and hasattr(value, "GetAtoms")


def _text(row: Any) -> str | None:
    """The SMILES of a row; ``None`` if it is no molecule."""
    if isinstance(row, str):
        return str(row)
    if not _is_molecule(row):
        return None
    with needs("chem", "reading molecules"):
        from rdkit import Chem
    written: str = Chem.MolToSmiles(row)
    return written


def _short(row: Any, text: str) -> str:
    shown = text if len(text) <= 40 else text[:37] + "..."
    return repr(shown) if isinstance(row, str) else f"the molecule {shown!r}"


def _offsets(several: Sequence[Tensor]) -> Tensor:
    ends, parts = 0, [torch.zeros(1, dtype=torch.int64)]
    for offsets in several:
        parts.append(offsets[1:] + ends)
        ends += int(offsets[-1])
    return torch.cat(parts)
