"""Pairs of nodes: joined ones to remove, unjoined ones to draw, features of both."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gtl.graph.graph import Graph
from gtl.graph.node_groups import node_groups
from gtl.graph.sample import are_joined, draw_rows, node_pairs, pair_rows

_REDRAWS = 16
_LISTED_NODES = 4096  # the pairs of so many nodes are listed: 8 million
PAIR_FEATURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "product": lambda one, other: one * other,
    "mean": lambda one, other: (one + other) / 2,
    "l1": lambda one, other: (one - other).abs(),
    "l2": lambda one, other: (one - other).square(),
}


def pair_features(nodes: Tensor, pairs: Tensor, how: str = "product") -> Tensor:
    """One vector per pair, whichever end comes first (the operators of Grover and Leskovec 2016).

    Args:
        nodes: Node vectors ``(n, h)``.
        pairs: Node numbers int64 ``(b, 2)``.
        how: A key of :data:`PAIR_FEATURES`, column by column.

    Returns:
        ``(b, h)``.
    """
    one, other = (nodes.index_select(0, end) for end in pairs.unbind(1))
    return PAIR_FEATURES[how](one, other)


def without_pairs(graph: Graph, pairs: Tensor) -> Graph:
    """The graph without the edges that join some pairs, in both directions, parallel ones too.

    Args:
        graph: A graph of ``n`` nodes.
        pairs: Node numbers int64 ``(b, 2)``; pairs that are not joined are nothing to remove.
    """
    keys, pair = node_pairs(graph)
    rows = pair_rows(graph, *pairs.unbind(1))
    gone = torch.zeros(len(keys) + 1, dtype=torch.bool, device=graph.device)
    gone[rows] = True
    gone[-1] = False  # unjoined pairs, and self-loops, whose pair is -1
    return graph.drop_edges(gone[pair])


def remove_pairs(graph: Graph, share: float, rng: torch.Generator) -> tuple[Graph, Tensor, Tensor]:
    """Take away a random share of the joined pairs, both directions and parallel edges of each.

    Self-loops stay. At least one pair goes if there is any.

    Args:
        graph: A graph of ``n`` nodes.
        share: Share of the pairs, of the whole batch together.
        rng: Generator for the draw.

    Returns:
        The graph that is left, and the two ends of each removed pair, int64 ``(b,)`` each,
        in random order of the two.
    """
    keys, pair = node_pairs(graph)
    chosen = draw_rows(len(keys), share, rng).to(graph.device)
    gone = torch.zeros(len(keys) + 1, dtype=torch.bool, device=graph.device)
    gone[chosen] = True  # the last entry is for self-loops, whose pair is -1
    n = max(graph.num_nodes, 1)
    ends = torch.stack([keys[chosen] // n, keys[chosen] % n])  # (2, b)
    coin = torch.randint(2, (len(chosen),), generator=rng).to(graph.device)
    one, other = ends.gather(0, torch.stack([coin, 1 - coin]))
    return graph.drop_edges(gone[pair]), one, other


def draw_unjoined(graph: Graph, count: int, rng: torch.Generator) -> Tensor:
    """Random pairs of different nodes of one graph that no edge joins, each equally likely.

    Joined pairs are drawn again, sixteen times at most, so that a nearly complete graph gives
    fewer pairs than ``count``. A graph of a batch is drawn in proportion to its number of nodes.

    Returns:
        Node numbers ``(k, 2)``, ``k`` at most ``count``; with replacement.
    """
    sizes, owners = graph.graph_sizes(), graph.graph_ids()
    starts = sizes.cumsum(0) - sizes
    found = [torch.empty(0, 2, dtype=torch.int64, device=graph.device)]
    for _ in range(_REDRAWS if graph.num_nodes else 0):
        places = torch.rand(2, count, generator=rng, dtype=torch.float64).to(graph.device)
        one = (places[0] * graph.num_nodes).long()
        own = owners[one]
        other = starts[own] + (places[1] * sizes[own]).long()
        fine = (one != other) & ~are_joined(graph, one, other)
        found.append(torch.stack([one, other], 1)[fine])
        count -= len(found[-1])
        if not count:
            break
    return torch.cat(found)


def draw_distinct_unjoined(
    graph: Graph, count: int, rng: torch.Generator, besides: Tensor | None = None
) -> Tensor:
    """Distinct pairs of different nodes of one graph that no edge joins.

    Two pairs are distinct if they differ in whichever order. Of a small or nearly complete graph
    all pairs are listed if drawing at random does not find enough.

    Args:
        graph: A graph, or a batch of some.
        count: Number of pairs.
        rng: Generator for the draws.
        besides: Pairs ``(b, 2)`` that are not drawn either.

    Returns:
        Node numbers ``(k, 2)``; ``k`` is less than ``count`` only if there are no more such pairs,
        or, on graphs of more than 4096 nodes, if sixteen rounds of draws did not find them.
    """
    known = torch.empty(0, 2, dtype=torch.int64, device=graph.device)
    besides = known if besides is None else besides
    for _ in range(_REDRAWS):
        if len(known) == count:
            return known
        drawn = draw_unjoined(graph, count - len(known), rng)
        if not len(drawn):
            break
        known = _new_pairs(graph, torch.cat([besides, known, drawn]))[len(besides) :]
    if len(known) < count and graph.num_nodes <= _LISTED_NODES:
        ends = torch.triu_indices(graph.num_nodes, graph.num_nodes, 1, device=graph.device)
        owners = graph.graph_ids()
        free = (owners[ends[0]] == owners[ends[1]]) & ~are_joined(graph, *ends)
        rest = ends.t()[free]
        rest = rest[torch.randperm(len(rest), generator=rng).to(graph.device)]
        known = _new_pairs(graph, torch.cat([besides, known, rest]))[len(besides) :]
    return known[:count]


def _new_pairs(graph: Graph, pairs: Tensor) -> Tensor:
    """The first of each pair, whichever end comes first, in the order in which they come."""
    keys = pairs.amin(1) * graph.num_nodes + pairs.amax(1)
    places = torch.arange(len(keys), device=keys.device)
    _, group = torch.unique(keys, return_inverse=True)
    first = torch.full((len(keys),), len(keys), device=keys.device)
    first = first.scatter_reduce(0, group, places, "amin")[group]
    return pairs[first == places]


def draw_unjoined_nodes(
    graph: Graph, nodes: Tensor, each: int, rng: torch.Generator, like: Tensor | None = None
) -> Tensor:
    """Random nodes that no edge joins to ``nodes`` int64 ``(b,)``, other than the nodes themselves.

    They are of the same graph. Where sixteen draws find none (a complete graph has none) they are
    of any graph of the batch, and after sixteen more draws the entry is -1.

    Args:
        graph: A graph, or a batch of some.
        nodes: Node numbers int64 ``(b,)``.
        each: Number of unjoined nodes to draw for each node.
        rng: Generator for the draws.
        like: Nodes ``(b,)`` of the same graphs whose type the drawn nodes have, if there are
            types; ``nodes`` if not given.

    Returns:
        Node numbers ``(b, each)``, -1 where none was found.
    """
    like = (nodes if like is None else like).repeat_interleave(each)
    nodes = nodes.repeat_interleave(each)
    found = torch.full_like(nodes, -1)
    left = torch.arange(len(nodes), device=nodes.device)
    for attempt in range(2 * _REDRAWS):
        if not len(left):
            break
        groups = node_groups(graph, "graph" if attempt < _REDRAWS else "batch")
        drawn = groups.draw(like[left], rng)
        wrong = (drawn == nodes[left]) | are_joined(graph, drawn, nodes[left])
        found[left[~wrong]] = drawn[~wrong]
        left = left[wrong]
    return found.view(-1, each)
