"""Motifs around nodes: rings of given sizes and degrees, found without a loop over nodes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gtl.errors import ConfigError
from gtl.graph.graph import Graph
from gtl.graph.sample import are_joined, edges_into, incoming, node_pairs

_CHUNK = 1 << 14  # paths that are extended at a time, which bounds memory


def in_rings(graph: Graph, sizes: Sequence[int], max_degree: int = 8) -> Tensor:
    """Whether each node lies in a ring of each size.

    A ring is a cycle without a chord: no edge joins two of its nodes that do not follow one
    another. The direction of edges does not matter.

    Args:
        graph: A graph or batch of ``n`` nodes.
        sizes: Lengths ``k``, each 3 or more.
        max_degree: Rings through nodes with more neighbors are not searched: around the hubs of a
            large graph there are too many paths.

    Returns:
        Boolean ``(n, k)``.

    Raises:
        ConfigError: If a size is below 3.

    Example:
        >>> square = Graph(torch.tensor([0, 1, 2, 3, 3]), torch.tensor([1, 2, 3, 0, 4]), 5)
        >>> in_rings(square, [3, 4]).int().tolist()
        [[0, 1], [0, 1], [0, 1], [0, 1], [0, 0]]
    """
    if any(size < 3 for size in sizes):
        raise ConfigError(f"`sizes` is {list(sizes)}, expected rings of 3 or more nodes")
    found = torch.zeros(graph.num_nodes, max(sizes, default=0) + 1, dtype=torch.bool)
    found = found.to(graph.device)
    simple = _without_hubs(graph, max_degree)
    for paths in torch.stack([simple.src, simple.dst], 1).split(_CHUNK):
        paths = paths[paths[:, 1] > paths[:, 0]]  # a ring is followed from its smallest node
        for size in range(3, found.shape[1]):
            paths, closes = _grown(simple, paths)
            found[paths[closes].flatten(), size] = True
            paths = paths[~closes]  # grown further, its last edge to the start would be a chord
    return found[:, list(sizes)]


def degrees(graph: Graph) -> Tensor:
    """Distinct neighbors of each node but itself, in whichever direction, int64 ``(n,)``."""

    def make() -> Tensor:
        keys, _ = node_pairs(graph)
        n = max(graph.num_nodes, 1)
        return torch.bincount(torch.cat([keys // n, keys % n]), minlength=graph.num_nodes)

    return graph.remember("degrees", make)


def _without_hubs(graph: Graph, max_degree: int) -> Graph:
    """Both directions of each joined pair once, without pairs that have a hub."""
    keys, _ = node_pairs(graph)
    n = max(graph.num_nodes, 1)
    low, high = keys // n, keys % n
    calm = degrees(graph) <= max_degree
    kept = calm[low] & calm[high]
    low, high = low[kept], high[kept]
    return Graph(torch.cat([low, high]), torch.cat([high, low]), graph.num_nodes)


def _grown(graph: Graph, paths: Tensor) -> tuple[Tensor, Tensor]:
    """Chordless paths ``(p, k)`` with one more node ``(q, k + 1)``, and which of them close."""
    starts, _, senders = incoming(graph)
    edges, row = edges_into(starts, paths[:, -1])
    paths = torch.cat([paths[row], senders[edges].unsqueeze(1)], 1)
    new = paths[:, -1:]
    free = (new > paths[:, :1]).squeeze(1)
    for column in range(1, paths.shape[1] - 2):  # all but the last node, its neighbor
        inner = paths[:, column]
        free &= (new[:, 0] != inner) & ~are_joined(graph, new[:, 0], inner)
    free &= new[:, 0] != paths[:, -2]
    paths = paths[free]
    return paths, are_joined(graph, paths[:, -1], paths[:, 0])
