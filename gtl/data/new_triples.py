"""A knowledge graph with more triples known, such as those of entities that training had not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.data.readers.kg import numbered, sorted_names
from gtl.data.readers.triple_file import NamedTriples, read_triples
from gtl.data.text_file import TextFile
from gtl.data.triples import Vocabulary
from gtl.errors import DataError
from gtl.graph import Graph
from gtl.graph.sample import distinct
from gtl.graph.triples import triples_of


def with_triples(
    data: Dataset, triples: str | Path | Sequence[Sequence[str]], header: bool | None = None
) -> Dataset:
    """The knowledge graph with more edges, and with new entities where these name some.

    New entities are numbered after all others, by name; so all others keep their numbers. The new
    triples are known ones: edges of the graph, but items of no split. An encoder that reads edges
    alone (``earl``) has vectors for the new entities without further training. Triples that are
    edges already, and repeated ones, are left out; where relations have inverses, each new triple
    is there in both directions.

    Args:
        data: A knowledge graph with names.
        triples: A file of triples, with columns and separator as in the files of the data, or
            heads, relations and tails by name.
        header: Whether the first line of a file has titles; by default where they are well-known.

    Raises:
        DataError: If the file cannot be read, or a relation is new.

    Example:
        >>> graph = Graph(torch.tensor([0]), torch.tensor([1]), 2, edge_type=torch.tensor([0]))
        >>> names = Vocabulary(("ann", "bob"), ("knows",))
        >>> part = torch.tensor([[0, 0, 1]])
        >>> data = Dataset("memory", graph=graph, triples=part, vocabulary=names, level="triple")
        >>> more = with_triples(data, [("eve", "knows", "ann")])
        >>> more.vocabulary.entities, more.graph.num_edges
        (('ann', 'bob', 'eve'), 2)
    """
    vocabulary, graph = data.vocabulary, data.graph
    if vocabulary is None or graph is None or graph.edge_type is None:
        raise DataError(f"{data.spec} is no knowledge graph with names; load one with kg:...")
    named = _named(triples, header, data)
    unknown = sorted_names(set(named.relations) - set(vocabulary.relations))
    if unknown:
        raise DataError(
            f"{named.file}: the relation {unknown[0]!r} is not in {data.spec}, likewise "
            f"{len(unknown) - 1} more; use its relations: no vector of a new one is known"
        )
    known = vocabulary.entity_numbers
    new = sorted_names({*named.heads, *named.tails} - set(known))
    names = Vocabulary((*vocabulary.entities, *new), tuple(vocabulary.relations))
    head, relation, tail = _new_edges(numbered(named, names), graph, names).t()
    return replace(
        data,
        graph=Graph(
            torch.cat([graph.src, head]),
            torch.cat([graph.dst, tail]),
            len(names.entities),
            edge_type=torch.cat([graph.edge_type, relation]),
        ),
        vocabulary=names,
    )


def read_triples_like(data: Dataset, file: str | Path, header: bool | None = None) -> NamedTriples:
    """Triples of a file with columns and separator as in the files of the data."""
    how = {name: data.options.get(name) for name in ("columns", "separator")}
    return read_triples(TextFile.find(str(file)), header, **how)


def _named(
    triples: str | Path | Sequence[Sequence[str]], header: bool | None, data: Dataset
) -> NamedTriples:
    if isinstance(triples, (str, Path)):
        return read_triples_like(data, triples, header)
    rows = [tuple(row) for row in triples]
    bad = next((row for row in rows if len(row) != 3), None)
    if bad is not None:
        raise DataError(f"{bad!r} is no triple of names; give a head, a relation and a tail each")
    head, relation, tail = ([str(row[i]) for row in rows] for i in range(3))
    return NamedTriples("`triples`", head, relation, tail, list(range(1, len(rows) + 1)))


def _new_edges(triples: Tensor, graph: Graph, names: Vocabulary) -> Tensor:
    """Triples ``(k, 3)`` that are no edges yet, each once, with their inverses if there are any."""
    entities, relations = len(names.entities), len(names.relations)
    if names.has_inverses:
        head, relation, tail = triples.unbind(1)
        back = (relation + relations // 2) % relations
        triples = torch.cat([triples, torch.stack([tail, back, head], 1)])

    def keys(of: Tensor) -> Tensor:
        return (of[:, 0] * relations + of[:, 1]) * entities + of[:, 2]

    found, _ = distinct(keys(triples))
    found = found[~torch.isin(found, keys(triples_of(graph)))]
    query = found // entities
    return torch.stack([query // relations, query % relations, found % entities], 1)
