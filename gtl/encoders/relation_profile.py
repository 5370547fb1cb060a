"""Relational profiles: how often each node is the head and the tail of each relation (EARL).

Many entities of a knowledge graph have the same profile, so what is computed from profiles alone is
computed once for each distinct one. Memory is that of the distinct profiles, and nothing here loops
over entities or triples (Chen et al. 2023, "Entity-Agnostic Representation Learning for
Parameter-Efficient Knowledge Graph Embedding", Eq. 1; the published code needs minutes for 40,000
entities).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from gtl.encoders.typed import types_of
from gtl.graph import Graph
from gtl.graph.graph import STRUCTURE


@dataclass(frozen=True)
class Profiles:
    """Distinct relational profiles of the ``n`` nodes of a graph with ``r`` relations.

    Attributes:
        counts: Edges of each relation that a node sends (first ``r`` columns) and receives (last
            ``r``), for each of ``u`` distinct profiles, int64 ``(u, 2 r)``.
        keys: A number for each profile, the same in every graph, int64 ``(u,)``.
        row: Profile of each node, int64 ``(n,)``.
    """

    counts: Tensor
    keys: Tensor
    row: Tensor

    def degrees(self, dtype: torch.dtype) -> Tensor:
        """Edges of each profile, sent and received; 1 for none, so that it may divide, ``(u, 1)``.

        A self-loop counts twice.
        """
        return self.counts.sum(1, keepdim=True).clamp(min=1).to(dtype)

    def means(self, table: Tensor) -> Tensor:
        """Mean of the rows of ``table`` ``(2 r, h)`` over the edges of each profile, ``(u, h)``.

        Zero for the profile without edges.
        """
        return (self.counts.to(table.dtype) @ table) / self.degrees(table.dtype)


def profiles_of(graph: Graph, relations: int) -> Profiles:
    """The relational profiles of a graph, made once for it.

    Args:
        graph: A graph; ``edge_type`` has the relations.
        relations: Number of relations that are known; 0 means one, of all edges.

    Raises:
        DataError: If the graph has no relations where several are known, or one that is not.

    Example:
        >>> triples = Graph(torch.tensor([0, 0]), torch.tensor([1, 2]), 4)
        >>> found = profiles_of(triples, 0)
        >>> found.counts[found.row].tolist()
        [[2, 0], [0, 1], [0, 1], [0, 0]]
    """

    def make() -> Profiles:
        kinds = max(relations, 1)
        sent = types_of(graph, "edge_type", relations)
        columns, nodes = torch.cat([sent, sent + kinds]), torch.cat([graph.src, graph.dst])
        keys, row = torch.unique(_keys(graph, columns, nodes, 2 * kinds), return_inverse=True)
        place = torch.arange(graph.num_nodes, device=graph.device)
        first = place.new_full((len(keys),), graph.num_nodes).scatter_reduce(0, row, place, "amin")
        return Profiles(_counts(columns, nodes, row, first, 2 * kinds), keys, row)

    return graph.remember(("profiles", relations), make, (*STRUCTURE, "edge_type"))


def _keys(graph: Graph, columns: Tensor, nodes: Tensor, count: int) -> Tensor:
    """Sum of a fixed random number for each edge of a node, int64 ``(n,)``; it may overflow.

    Two different profiles have the same sum with a probability of about 2^-60.
    """
    numbers = _numbers(count).to(graph.device)
    return columns.new_zeros(graph.num_nodes).index_add(0, nodes, numbers[columns])


@lru_cache(maxsize=64)
def _numbers(count: int) -> Tensor:
    rng = torch.Generator().manual_seed(count)
    return torch.randint(-(2**63), 2**63 - 1, (count,), generator=rng)


def _counts(columns: Tensor, nodes: Tensor, row: Tensor, first: Tensor, width: int) -> Tensor:
    """Profile ``(u, width)`` of the node ``first`` of each row, by one count of its edges."""
    chosen = first[row[nodes]] == nodes
    cells = row[nodes[chosen]] * width + columns[chosen]
    return torch.bincount(cells, minlength=len(first) * width).view(len(first), width)
