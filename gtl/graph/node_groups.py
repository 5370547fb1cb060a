"""Groups of nodes of one graph and one type, from which random nodes are drawn.

A negative sample of another type would be told apart by its type alone: that a paper is not joined
to a paper, or lacks an author's features, needs no learning. Where nodes have no types, all nodes
of a graph form one group.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gtl.graph.graph import Graph


@dataclass(frozen=True)
class NodeGroups:
    """Groups of the nodes of a graph.

    Attributes:
        group: Group of each node, int64 ``(n,)``.
        sizes: Number of nodes of each group, int64 ``(groups,)``.
        members: Node numbers, group by group, int64 ``(n,)``.
        rank: Position of each node within its group, int64 ``(n,)``.
    """

    group: Tensor
    sizes: Tensor
    members: Tensor
    rank: Tensor

    def draw(self, nodes: Tensor, rng: torch.Generator) -> Tensor:
        """A random node of the group of each of ``nodes`` int64 ``(k,)``, perhaps itself."""
        places = torch.rand(len(nodes), generator=rng, dtype=torch.float64).to(nodes.device)
        group = self.group[nodes]
        return self.members[self._starts()[group] + (places * self.sizes[group]).long()]

    def draw_others(self, nodes: Tensor, each: int, rng: torch.Generator) -> Tensor:
        """Other random nodes of the group of each of ``nodes`` int64 ``(k,)``, with replacement.

        Returns:
            Node numbers ``(k, each)``; the node itself where there is no other.
        """
        group = self.group[nodes].unsqueeze(1)
        places = torch.rand(len(nodes), each, generator=rng, dtype=torch.float64).to(nodes.device)
        step = 1 + (places * (self.sizes[group] - 1)).long()
        rank = (self.rank[nodes].unsqueeze(1) + step) % self.sizes[group]
        return self.members[self._starts()[group] + rank]

    def shuffle(self, rng: torch.Generator) -> Tensor:
        """A random permutation of all nodes ``(n,)`` within their groups."""
        drawn = torch.randperm(len(self.group), generator=rng).to(self.group.device)
        order = torch.empty_like(drawn)
        order[self.members] = drawn[torch.argsort(self.group[drawn], stable=True)]
        return order

    def _starts(self) -> Tensor:
        return self.sizes.cumsum(0) - self.sizes


def node_groups(graph: Graph, within: str = "graph") -> NodeGroups:
    """The groups of a graph's nodes: by type, and by graph of a batch unless ``within`` is "batch".

    Args:
        graph: A graph, with types or without.
        within: ``"graph"``: nodes of different graphs of a batch are in different groups;
            ``"batch"``: they share groups.
    """

    def make() -> NodeGroups:
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
        return NodeGroups(group, sizes, members, rank)

    return graph.remember(("node_groups", within), make, ("num_nodes", "sizes", "node_type"))
