"""Nodes of the same graph and type: in a typed graph any other node would give the answer away.

That a paper is not joined to a paper, or has not an author's features, needs no learning. Where
nodes have no types, all nodes of a graph are alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gtl.graph.graph import Graph


@dataclass(frozen=True)
class Alike:
    """The nodes of a graph in groups.

    Attributes:
        group: Group of each node, int64 ``(n,)``.
        sizes: Nodes of each group.
        members: Nodes, group by group.
        rank: Place of each node within its group.
    """

    group: Tensor
    sizes: Tensor
    members: Tensor
    rank: Tensor

    def draw(self, nodes: Tensor, rng: torch.Generator) -> Tensor:
        """For each of ``nodes`` int64 ``(k,)`` one of its group, perhaps itself."""
        places = torch.rand(len(nodes), generator=rng, dtype=torch.float64).to(nodes.device)
        group = self.group[nodes]
        return self.members[self._starts()[group] + (places * self.sizes[group]).long()]

    def draw_others(self, nodes: Tensor, each: int, rng: torch.Generator) -> Tensor:
        """For each of ``nodes`` int64 ``(k,)`` others of its group, with replacement.

        Returns:
            Node numbers ``(k, each)``; the node itself where there is no other.
        """
        group = self.group[nodes].unsqueeze(1)
        places = torch.rand(len(nodes), each, generator=rng, dtype=torch.float64).to(nodes.device)
        step = 1 + (places * (self.sizes[group] - 1)).long()
        rank = (self.rank[nodes].unsqueeze(1) + step) % self.sizes[group]
        return self.members[self._starts()[group] + rank]

    def shuffle(self, rng: torch.Generator) -> Tensor:
        """A random order of all nodes ``(n,)`` in which each place is taken by one of its group."""
        drawn = torch.randperm(len(self.group), generator=rng).to(self.group.device)
        order = torch.empty_like(drawn)
        order[self.members] = drawn[torch.argsort(self.group[drawn], stable=True)]
        return order

    def _starts(self) -> Tensor:
        return self.sizes.cumsum(0) - self.sizes


def alike(graph: Graph, within: str = "graph") -> Alike:
    """Which nodes are of the same type, and of the same graph of a batch or not.

    Args:
        graph: A graph, with types or without.
        within: ``"graph"``, or ``"batch"`` for the nodes of all graphs together.
    """

    def make() -> Alike:
        group = torch.zeros(graph.num_nodes, dtype=torch.int64, device=graph.device)
        groups = 1
        if within == "graph":
            group, groups = graph.graph_ids(), graph.num_graphs
        if graph.node_type is not None and graph.num_nodes:
            types = int(graph.node_type.max()) + 1
            group, groups = group * types + graph.node_type, groups * types
        sizes = torch.bincount(group, minlength=groups)
        members = torch.argsort(group, stable=True)
        rank = torch.empty_like(members)
        starts = sizes.cumsum(0) - sizes
        rank[members] = torch.arange(len(members), device=graph.device) - starts[group[members]]
        return Alike(group, sizes, members, rank)

    return graph.remember(("alike", within), make, ("num_nodes", "sizes", "node_type"))
