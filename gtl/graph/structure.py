"""Structure around nodes: triangles, clustering, core numbers, returns of a random walk.

All of it is of the undirected simple graph: the direction of edges does not matter, parallel edges
count once and self-loops not at all. Time and memory are linear in the edges; nothing loops over
nodes but the peeling of cores, which loops over layers of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from gtl.errors import ConfigError
from gtl.graph import ops
from gtl.graph.graph import Graph
from gtl.graph.motifs import degrees
from gtl.graph.sample import are_joined, edges_into, incoming, node_pairs

EXACT = 256  # nodes of a graph up to which returns are exact
_SKETCH = 128  # random vectors of an estimate
_COLUMNS = 64  # that are multiplied at a time
_CHUNK = 1 << 14  # edges whose triangles are searched at a time


def simple(graph: Graph) -> Graph:
    """Each joined pair of nodes in both directions once, without features; made once."""

    def make() -> Graph:
        keys, _ = node_pairs(graph)
        n = max(graph.num_nodes, 1)
        low, high = keys // n, keys % n
        return Graph(torch.cat([low, high]), torch.cat([high, low]), graph.num_nodes)

    return graph.remember("simple", make)


def triangles(graph: Graph, max_degree: int = 128) -> Tensor:
    """Triangles that each node is part of, float64 ``(n,)``.

    Each pair is followed from its node of lower degree, so that hubs cost little: it is dense parts
    that do, and there the count is not made.

    Args:
        graph: A graph or batch of ``n`` nodes.
        max_degree: Around nodes with more neighbors *of their own degree or a higher one* nothing
            is counted: they and their neighbors have NaN. Star-like hubs are no such nodes.

    Example:
        >>> square = Graph(torch.tensor([0, 1, 2, 3, 0]), torch.tensor([1, 2, 3, 0, 2]), 4)
        >>> triangles(square).tolist()
        [2.0, 1.0, 2.0, 1.0]
    """
    return graph.remember(("triangles", max_degree), lambda: _triangles(graph, max_degree))


def clustering(graph: Graph, max_degree: int = 128) -> Tensor:
    """Share of the pairs of neighbors that are joined, float64 ``(n,)``; 0 below two neighbors.

    Args:
        graph: A graph or batch of ``n`` nodes.
        max_degree: As for :func:`triangles`; NaN where those are.
    """
    count = degrees(graph).double()
    return 2 * triangles(graph, max_degree) / (count * (count - 1)).clamp(min=1)


def core_numbers(graph: Graph) -> Tensor:
    """Largest ``k`` of which each node is in the ``k``-core, int64 ``(n,)`` (Seidman 1983).

    The ``k``-core is what is left when nodes with fewer than ``k`` neighbors are removed until
    there are none.

    Example:
        >>> tail = Graph(torch.tensor([0, 1, 2, 2]), torch.tensor([1, 2, 0, 3]), 4)
        >>> core_numbers(tail).tolist()
        [2, 2, 2, 1]
    """
    return graph.remember("core_numbers", lambda: _core_numbers(graph))


def return_probabilities(graph: Graph, steps: Sequence[int]) -> Tensor:
    """Probability that a random walk is back after so many steps, float64 ``(n, k)``.

    These are diagonals of powers of ``D^-1/2 A D^-1/2``; their mean over the nodes of a graph is
    the spectral moment of that order. A node without neighbors has 0.

    In graphs of up to 256 nodes they are exact. In larger ones those of 1 and 2 steps are, and the
    others are estimates from products with 128 random vectors that are the same in every call
    (Johnson and Lindenstrauss 1984). The standard deviation is at most an eighth of the probability
    itself if the number of steps is even, and an eighth of the geometric mean of those of one step
    less and one more if it is odd: returns in 3 steps, which are rare, are known less well.

    Args:
        graph: A graph or batch of ``n`` nodes.
        steps: Numbers of steps, each at least 1.

    Raises:
        ConfigError: If a number of steps is below 1.

    Example:
        >>> pair = Graph(torch.tensor([0]), torch.tensor([1]), 3)
        >>> return_probabilities(pair, [1, 2]).tolist()
        [[0.0, 1.0], [0.0, 1.0], [0.0, 0.0]]
    """
    if any(step < 1 for step in steps):
        raise ConfigError(f"`steps` is {list(steps)}, expected numbers from 1 on")
    if not steps or not graph.num_edges:
        return torch.zeros(graph.num_nodes, len(steps), dtype=torch.float64, device=graph.device)
    total = [torch.zeros(graph.num_nodes, dtype=torch.float64, device=graph.device) for _ in steps]
    for start in _starts(graph):
        powers = [start]
        while 2 * (len(powers) - 1) < max(steps):
            powers.append(_step(graph, powers[-1]))
        for place, step in enumerate(steps):  # the matrix is symmetric
            total[place] += (powers[step // 2] * powers[step - step // 2]).sum(1)
    one_back = {1: torch.zeros_like(total[0]), 2: _two_steps(graph)}
    return torch.stack([one_back.get(step, found) for step, found in zip(steps, total)], 1)


def _triangles(graph: Graph, max_degree: int) -> Tensor:
    keys, _ = node_pairs(graph)
    n = max(graph.num_nodes, 1)
    count = degrees(graph)
    low, high = keys // n, keys % n
    swap = count[low] > count[high]  # among equals the smaller number is the lower one
    low, high = torch.where(swap, high, low), torch.where(swap, low, high)
    starts, _, above = incoming(Graph(high, low, graph.num_nodes))
    crowded = starts.diff() > max_degree
    found = torch.zeros(graph.num_nodes, dtype=torch.float64, device=graph.device)
    calm = ~crowded[high]
    for first, middle in zip(low[calm].split(_CHUNK), high[calm].split(_CHUNK)):
        place, row = edges_into(starts, middle)
        first, middle, last = first[row], middle[row], above[place]
        closed = are_joined(graph, first, last)
        for corner in (first, middle, last):
            found += torch.bincount(corner[closed], minlength=graph.num_nodes)
    unknown = crowded.clone()
    unknown[low[crowded[high]]] = True
    unknown[high[crowded[low]]] = True
    return found.masked_fill(unknown, torch.nan)


def _core_numbers(graph: Graph) -> Tensor:
    starts, _, senders = (part.cpu().numpy() for part in incoming(simple(graph)))
    left = degrees(graph).cpu().numpy().copy()  # neighbors that are not removed
    core = np.zeros(graph.num_nodes, "int64")
    here = np.ones(graph.num_nodes, "bool")
    while here.any():
        k = left[here].min()
        layer = np.flatnonzero(here & (left <= k))
        while len(layer):
            core[layer], here[layer] = k, False
            counts = starts[layer + 1] - starts[layer]
            ends = counts.cumsum()
            place = np.repeat(starts[layer] - ends + counts, counts) + np.arange(ends[-1])
            around = senders[place]
            around, lost = np.unique(around[here[around]], return_counts=True)
            left[around] -= lost
            layer = around[left[around] <= k]
    return torch.from_numpy(core).to(graph.device)


def _starts(graph: Graph) -> Iterator[Tensor]:
    """Columns to multiply: unit vectors of small graphs, random signs of large ones."""
    sizes = graph.graph_sizes()
    size = sizes[graph.graph_ids()]
    number = torch.arange(graph.num_nodes, device=graph.device)
    number = number - (sizes.cumsum(0) - sizes)[graph.graph_ids()]  # within the node's own graph
    small = size <= EXACT
    for first in range(0, int(size[small].max()) if bool(small.any()) else 0, _COLUMNS):
        columns = torch.arange(first, first + _COLUMNS, device=graph.device)
        yield ((number.unsqueeze(1) == columns) & small.unsqueeze(1)).double()
    if not bool(small.all()):
        for first in range(0, _SKETCH, _COLUMNS):
            # A seed of its own: what was drawn before depends on the largest graph of the batch.
            rng = torch.Generator().manual_seed(first)
            bits = torch.randint(2, (int(size.max()), _COLUMNS), generator=rng, dtype=torch.int8)
            signs = (2 * bits - 1).to(graph.device)[number].double()
            yield signs.masked_fill_(small.unsqueeze(1), 0) / _SKETCH**0.5


def _step(graph: Graph, h: Tensor) -> Tensor:
    """Product of the normalized adjacency matrix and columns ``(n, k)``."""
    scale = degrees(graph).to(h).clamp(min=1).rsqrt().unsqueeze(1)
    return scale * ops.sum_neighbors(simple(graph), scale * h)


def _two_steps(graph: Graph) -> Tensor:
    inverse = 1 / degrees(graph).clamp(min=1).double()
    return inverse * ops.sum_neighbors(simple(graph), inverse.unsqueeze(1)).squeeze(1)
