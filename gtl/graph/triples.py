"""Triples of a typed graph: which entities complete a query, by sorted keys.

A query is a head and a relation, completed by tails, or a relation and a tail, completed by heads.
What filtered negatives and filtered ranks need is the known completions of many queries at once:
the triples are sorted by query, so those of a query are a slice that binary search finds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gtl.errors import DataError
from gtl.graph.graph import Graph

_LARGEST = 2**63 - 1
FIELDS = ("src", "dst", "num_nodes", "edge_type")  # what the index of a graph is read from


@dataclass(frozen=True)
class Completions:
    """Known completions of the queries of one side.

    Queries are numbered ``entity * relations + relation``. Memory is that of the triples, whatever
    the number of queries.

    Attributes:
        keys: The triples as numbers, ``query * entities + completion``, ascending and distinct,
            int64 ``(m,)``.
        gaps: ``query * entities`` plus the completion minus its place among those of its query:
            how many other entities are smaller. See :meth:`draw_others`.
        entities: Number of entities ``e``.
        relations: Number of relations ``r``.
    """

    keys: Tensor
    gaps: Tensor
    entities: int
    relations: int

    @staticmethod
    def of(
        given: Tensor, relation: Tensor, found: Tensor, entities: int, relations: int
    ) -> Completions:
        """The completions in some triples, duplicates once.

        Args:
            given: Entities of the queries, int64 ``(m,)``.
            relation: Their relations, int64 ``(m,)``.
            found: What completes them, int64 ``(m,)``.
            entities: Number of entities.
            relations: Number of relations.

        Raises:
            DataError: If triples of so many entities cannot be numbered by 64 bits.
        """
        if entities * entities * max(relations, 1) > _LARGEST:
            raise DataError(
                f"{entities} entities and {relations} relations are too many: their triples "
                "cannot be numbered by 64 bits; leave out entities without triples"
            )
        keys = torch.unique((given * relations + relation) * entities + found)
        first = torch.searchsorted(keys, keys - keys % max(entities, 1))  # of the same query
        place = torch.arange(len(keys), device=keys.device) - first
        return Completions(keys, keys - place, entities, relations)

    def queries(self, given: Tensor, relation: Tensor) -> Tensor:
        """Numbers of queries, int64 ``(b,)``."""
        return given * self.relations + relation

    def counts(self, queries: Tensor) -> Tensor:
        """Number of known completions of each query, int64 ``(b,)``."""
        first, last = self._spans(queries)
        return last - first

    def known(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """All completions of some queries: the row of each one's query, and the entity.

        Those of a query are in ascending order.
        """
        first, last = self._spans(queries)
        counts = last - first
        row = torch.arange(len(queries), device=queries.device).repeat_interleave(counts)
        before = counts.cumsum(0) - counts
        place = torch.arange(len(row), device=queries.device) + (first - before)[row]
        return row, self.keys[place] % max(self.entities, 1)

    def draw_others(
        self, queries: Tensor, each: int, rng: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Random entities that do not complete a query, each equally likely, with replacement.

        A number below that of the other entities is drawn, and raised by the completions that come
        before: nothing is drawn twice, whatever share of the entities is known.

        Args:
            queries: Numbers of queries, int64 ``(b,)``.
            each: Entities to draw for each.
            rng: Generator for the draws, on the CPU.

        Returns:
            Entities ``(b, each)``, and which rows have any, boolean ``(b,)``; rows of queries
            that all entities complete hold entity 0.

        Example:
            >>> rows = torch.tensor([0, 0, 0])
            >>> known = Completions.of(rows, rows, torch.tensor([0, 1, 3]), 5, 1)
            >>> drawn, some = known.draw_others(rows[:1], 8, torch.Generator().manual_seed(0))
            >>> sorted(set(drawn[0].tolist())), some.tolist()
            ([2, 4], [True])
        """
        first, last = self._spans(queries)
        others = (self.entities - (last - first)).unsqueeze(1)
        places = torch.rand(len(queries), each, generator=rng, dtype=torch.float64)
        drawn = (places.to(queries.device) * others).long()
        wanted = (queries * self.entities).unsqueeze(1) + drawn
        before = torch.searchsorted(self.gaps, wanted.flatten(), right=True).view_as(drawn)
        drawn += before - first.unsqueeze(1)
        some = others.squeeze(1) > 0
        return drawn.masked_fill_(~some.unsqueeze(1), 0), some

    def _spans(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Where the keys of each query begin and end, int64 ``(b,)`` each."""
        first = torch.searchsorted(self.keys, queries * self.entities)
        return first, torch.searchsorted(self.keys, (queries + 1) * self.entities)


@dataclass(frozen=True)
class TripleIndex:
    """Known triples, sorted by either side.

    Attributes:
        tails: Tails of heads and relations.
        heads: Heads of tails and relations.
    """

    tails: Completions
    heads: Completions

    @staticmethod
    def of(triples: Tensor, entities: int, relations: int) -> TripleIndex:
        """The index of triples ``(m, 3)``: head, relation, tail."""
        head, relation, tail = triples.unbind(1)
        return TripleIndex(
            Completions.of(head, relation, tail, entities, relations),
            Completions.of(tail, relation, head, entities, relations),
        )


def triple_index(graph: Graph, relations: int) -> TripleIndex:
    """The index of the edges of a graph, made once.

    Args:
        graph: A typed graph; without ``edge_type`` all edges are of relation 0.
        relations: Number of relations.
    """
    return graph.remember(
        ("triple_index", relations),
        lambda: TripleIndex.of(triples_of(graph), graph.num_nodes, relations),
        FIELDS,
    )


def triples_of(graph: Graph) -> Tensor:
    """The edges of a graph as triples, int64 ``(m, 3)``: head, relation, tail."""
    return torch.stack([graph.src, relations_of(graph), graph.dst], 1)


def relations_of(graph: Graph) -> Tensor:
    """The relation of each edge, int64 ``(m,)``; 0 where the graph has no types."""
    return torch.zeros_like(graph.src) if graph.edge_type is None else graph.edge_type


def without_triples(graph: Graph, triples: Tensor) -> Graph:
    """The graph without the edges that are one of some triples; parallel ones go, too.

    Edges between the same entities in the other direction or of another relation stay.

    Args:
        graph: A typed graph.
        triples: Head, relation and tail, int64 ``(b, 3)``; those that are no edge are nothing to
            remove.
    """
    order, keys, relations = _sorted_edges(graph)
    head, relation, tail = triples[triples[:, 1] < relations].unbind(1)
    wanted = (head * relations + relation) * graph.num_nodes + tail
    first = torch.searchsorted(keys, wanted)
    last = torch.searchsorted(keys, wanted, right=True)
    drop = torch.zeros(graph.num_edges, dtype=torch.bool, device=graph.device)
    while bool((first < last).any()):  # once, and again for parallel edges
        drop[order[first[first < last]]] = True
        first = first + 1
    return graph.drop_edges(drop)


def _sorted_edges(graph: Graph) -> tuple[Tensor, Tensor, int]:
    """Edges in the order of their triples, these as ascending numbers, and the relations."""

    def make() -> tuple[Tensor, Tensor, int]:
        relation = relations_of(graph)
        relations = int(relation.max()) + 1 if len(relation) else 1
        keys = (graph.src * relations + relation) * graph.num_nodes + graph.dst
        keys, order = keys.sort()
        return order, keys, relations

    return graph.remember("sorted_triples", make, FIELDS)
