"""Parts of a graph: neighborhoods of many centers, induced subgraphs, joined pairs of nodes.

Nothing here loops over nodes: a breadth-first search advances all centers together by one hop, and
edges are looked up by binary search in sorted keys that the Graph caches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gtl.errors import ConfigError, ShapeError
from gtl.graph.graph import Graph


def neighborhoods(
    graph: Graph,
    centers: Tensor,
    hops: int,
    *,
    fan_out: int | None = None,
    max_nodes: int | None = None,
    rng: torch.Generator | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Nodes whose messages reach each center within ``hops`` layers, with their distance.

    Edges are followed against their direction. Each center has its own search; one node may belong
    to several.

    Args:
        graph: A graph of ``n`` nodes.
        centers: Node numbers, int64 ``(c,)``; repeats are searched twice.
        hops: Largest distance; 0 gives the centers alone.
        fan_out: Follow at most so many edges of each node, drawn without replacement and each
            equally likely; ``None`` follows all. Edges that are not drawn are not followed, so
            that a distance may be larger than the true one.
        max_nodes: Keep at most so many nodes at each distance from a center, drawn uniformly;
            ``None`` keeps all. Nodes behind dropped ones are not reached.
        rng: Generator for the draws; needed with ``fan_out`` or ``max_nodes``.

    Returns:
        ``owner``, ``node`` and ``distance``, each int64 ``(k,)`` and sorted by owner, then node:
        ``node[i]`` lies ``distance[i]`` hops from ``centers[owner[i]]``. Every center is its own
        neighbor at distance 0.

    Raises:
        ConfigError: If a number is out of range, or a limit comes without a generator.
        ShapeError: If ``centers`` is not a list of node numbers.

    Example:
        >>> path = Graph(torch.tensor([0, 1]), torch.tensor([1, 2]), 3)
        >>> owner, node, distance = neighborhoods(path, torch.tensor([2, 0]), 2)
        >>> list(zip(owner.tolist(), node.tolist(), distance.tolist()))
        [(0, 0, 2), (0, 1, 1), (0, 2, 0), (1, 0, 0)]
    """
    _require_search(graph, centers, hops, fan_out, max_nodes, rng)
    n = max(graph.num_nodes, 1)
    starts, _, senders = incoming(graph)
    frontier = torch.arange(len(centers), device=graph.device) * n + centers
    seen = frontier  # one key per (owner, node) pair, sorted
    levels = [frontier]
    for _ in range(hops):
        edges, row = edges_into(starts, frontier % n, fan_out, rng)
        reached = torch.unique((frontier // n)[row] * n + senders[edges])
        frontier = reached[~contains(seen, reached)]
        seen = torch.cat([seen, frontier]).sort().values  # dropped nodes too, which stay dropped
        if max_nodes is not None:
            frontier = _thin_out(frontier, frontier // n, max_nodes, rng)
        if not len(frontier):
            break
        levels.append(frontier)
    keys, order = torch.cat(levels).sort()
    counts = torch.tensor([len(level) for level in levels], device=graph.device)
    distance = torch.arange(len(levels), device=graph.device).repeat_interleave(counts)[order]
    return keys // n, keys % n, distance


def induced(graph: Graph, owner: Tensor, node: Tensor, pieces: int | None = None) -> Graph:
    """The disjoint union of the subgraphs that groups of nodes induce.

    Features, types and times are kept; labels, seeds, ``origin`` and ``undrawn`` refer to the
    whole graph and are dropped.

    Args:
        graph: The whole graph.
        owner: Piece of each node, int64 ``(k,)``, ascending.
        node: Node numbers ``(k,)``, distinct within a piece; one node may be in many pieces.
        pieces: Number of pieces ``g``; pieces without nodes stay, empty. The largest owner
            and one by default.

    Returns:
        A batch of ``g`` graphs, ``sizes`` set; row ``i`` is ``node[i]``.

    Raises:
        ShapeError: If owners do not ascend or do not go with the nodes, or a piece names a node
            twice.
    """
    if owner.shape != node.shape or owner.dim() != 1 or bool((owner[1:] < owner[:-1]).any()):
        raise ShapeError(
            f"`owner` {tuple(owner.shape)} and `node` {tuple(node.shape)} must be lists of one "
            "length, ordered by owner; sort them first"
        )
    n = max(graph.num_nodes, 1)
    keys, rows = (owner * n + node).sort()
    if bool((keys[1:] == keys[:-1]).any()):
        raise ShapeError("a piece names one of its nodes twice; give distinct nodes for each owner")
    starts, by_receiver, senders = incoming(graph)
    edges, receiver = edges_into(starts, node)
    wanted = owner[receiver] * n + senders[edges]
    place = torch.searchsorted(keys, wanted).clamp_(max=max(len(keys) - 1, 0))
    inside = keys[place] == wanted
    kept = by_receiver[edges[inside]]
    if pieces is None:
        pieces = int(owner[-1]) + 1 if len(owner) else 0
    return Graph(
        src=rows[place[inside]],
        dst=receiver[inside],
        num_nodes=len(node),
        x=None if graph.x is None else graph.x[node],
        node_type=None if graph.node_type is None else graph.node_type[node],
        e=None if graph.e is None else graph.e[kept],
        edge_type=None if graph.edge_type is None else graph.edge_type[kept],
        time=None if graph.time is None else graph.time[kept],
        sizes=torch.bincount(owner, minlength=pieces),
    )


def node_pairs(graph: Graph) -> tuple[Tensor, Tensor]:
    """The distinct pairs of nodes that an edge joins, in whichever direction; sorted once.

    Returns:
        ``keys``, int64 ``(p,)``, ascending: ``low * n + high`` for each pair of different nodes;
        and ``pair``, int64 ``(m,)``: the row of ``keys`` that each edge belongs to, -1 for a
        self-loop.
    """

    def make() -> tuple[Tensor, Tensor]:
        proper = graph.src != graph.dst
        keys, rows = torch.unique(_keys(graph, graph.src, graph.dst)[proper], return_inverse=True)
        pair = torch.full_like(graph.src, -1)
        pair[proper] = rows
        return keys, pair

    return graph.remember("node_pairs", make)


def are_joined(graph: Graph, u: Tensor, v: Tensor) -> Tensor:
    """Whether an edge joins ``u`` and ``v``, in whichever direction; boolean, shaped like them.

    A node is not joined to itself, even by a self-loop.
    """
    return pair_rows(graph, u, v) >= 0


def pair_rows(graph: Graph, u: Tensor, v: Tensor) -> Tensor:
    """Row of each pair among the keys of :func:`node_pairs`; -1 where no edge joins it."""
    keys, wanted = node_pairs(graph)[0], _keys(graph, u, v)
    if not len(keys):
        return torch.full_like(wanted, -1)
    place = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
    return place.masked_fill_((keys[place] != wanted) | (u == v), -1)


def draw_rows(total: int, share: float, rng: torch.Generator) -> Tensor:
    """A random ``share`` of the numbers below ``total``, rounded, at least one if there is any.

    Returns:
        Distinct numbers in random order, int64, on the CPU.
    """
    return torch.randperm(total, generator=rng)[: min(total, max(1, round(share * total)))]


def draw_numbers(total: int, count: int, rng: torch.Generator) -> Tensor:
    """``count`` of the numbers below ``total``, all of them if there are not as many.

    Repeats are drawn again, so that the time does not grow with ``total``.

    Returns:
        Distinct numbers in random order, every order equally likely, int64, on the CPU.
    """
    if total <= 16 * count:
        return torch.randperm(total, generator=rng)[:count]
    drawn = torch.empty(0, dtype=torch.int64)
    while len(drawn) < count:
        more = torch.randint(total, (count - len(drawn),), generator=rng)
        drawn, _ = distinct(torch.cat([drawn, more]))
    return drawn


def draw_centers(graph: Graph, count: int, rng: torch.Generator) -> Tensor:
    """Random nodes: one of each graph of a batch, ``count`` distinct ones of a single graph.

    Returns:
        Node numbers int64; empty graphs have none, and a small single graph fewer than ``count``.
    """
    if graph.num_graphs == 1:
        return torch.randperm(graph.num_nodes, generator=rng)[:count].to(graph.device)
    sizes = graph.graph_sizes()
    drawn = sizes.cumsum(0) - sizes + (_uniform(len(sizes), sizes, rng) * sizes).long()
    return drawn[sizes > 0]


def some_of_each(group: Tensor, limit: int, rng: torch.Generator) -> Tensor:
    """Rows drawn uniformly so that no group has more than ``limit`` of them.

    Args:
        group: Group of each row, int64 ``(k,)``, in any order.
        limit: Rows of a group at the most.
        rng: Generator for the draw.

    Returns:
        Distinct row numbers, group after group, in random order within each.
    """
    rows = torch.arange(len(group), device=group.device)
    counts = torch.bincount(group)
    if len(counts) and int(counts.max()) > 64 * limit:  # sort a small part of the large groups
        share = (16 * limit + 32) / counts
        rows = (_uniform(len(group), group, rng) < share[group]).nonzero().flatten()
    order = rows[torch.argsort(_uniform(len(rows), group, rng))]
    order = order[torch.argsort(group[order], stable=True)]
    counts = torch.unique_consecutive(group[order], return_counts=True)[1]
    first = (counts.cumsum(0) - counts).repeat_interleave(counts, output_size=len(rows))
    rank = torch.arange(len(rows), device=group.device) - first
    return order[rank < limit]


def distances_from(graph: Graph, sources: Tensor) -> Tensor:
    """Hops to each node ``(n,)`` from the nearest of ``sources`` int64 ``(s,)``; -1 without a path.

    Edges are followed against their direction, as in :func:`neighborhoods`.
    """
    starts, _, senders = incoming(graph)
    distance = torch.full((graph.num_nodes,), -1, device=graph.device)
    distance[sources] = 0
    frontier, hops = sources, 0
    while len(frontier):
        hops += 1
        reached = senders[edges_into(starts, frontier)[0]]
        frontier = torch.unique(reached[distance[reached] < 0])
        distance[frontier] = hops
    return distance


def _keys(graph: Graph, u: Tensor, v: Tensor) -> Tensor:
    return torch.minimum(u, v) * graph.num_nodes + torch.maximum(u, v)


def contains(keys: Tensor, wanted: Tensor) -> Tensor:
    """Which of ``wanted`` are among the ascending ``keys``."""
    if not len(keys):
        return torch.zeros_like(wanted, dtype=torch.bool)
    place = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
    return keys[place] == wanted


def distinct(values: Tensor) -> tuple[Tensor, Tensor]:
    """Different values in the order of their first appearance, and the place of each value there.

    Example:
        >>> distinct(torch.tensor([7, 3, 7]))
        (tensor([7, 3]), tensor([0, 1, 0]))
    """
    ascending, inverse = torch.unique(values, return_inverse=True)
    places = torch.arange(len(values), device=values.device)
    if len(ascending) == len(values):
        return values, places
    first = torch.full_like(ascending, len(values)).scatter_reduce_(0, inverse, places, "amin")
    order = first.argsort()
    return ascending[order], order.argsort()[inverse]


def incoming(graph: Graph) -> tuple[Tensor, Tensor, Tensor]:
    """Edges by receiver and sender, sorted once.

    Returns:
        Where each receiver's edges start ``(n + 1,)``, the numbers of the edges ``(m,)``, and their
        senders ``(m,)``, which ascend within a receiver.
    """

    def make() -> tuple[Tensor, Tensor, Tensor]:
        order = torch.argsort(graph.dst * graph.num_nodes + graph.src, stable=True)
        starts = torch.zeros(graph.num_nodes + 1, dtype=torch.int64, device=graph.device)
        starts[1:] = graph.in_degrees().cumsum(0)
        return starts, order, graph.src[order]

    return graph.remember("incoming", make)


def edges_into(
    starts: Tensor, nodes: Tensor, limit: int | None = None, rng: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Positions of the edges into ``nodes``, node after node, and the row of each edge's node."""
    first = starts[nodes]
    degree = starts[nodes + 1] - first
    counts = degree if limit is None else degree.clamp(max=limit)
    ends = counts.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    row = torch.arange(len(nodes), device=nodes.device)
    row = row.repeat_interleave(counts, output_size=total)
    rank = torch.arange(total, device=nodes.device) - (ends - counts)[row]
    if limit is not None and bool((degree > limit).any()):
        assert rng is not None
        turn = (_uniform(len(nodes), nodes, rng) * degree).long()
        crowded = (degree > limit)[row].nonzero().flatten()
        which = row[crowded]
        rank[crowded] = _spread_out(rank[crowded], limit, degree[which], turn[which], rng)
    return first[row] + rank, row


def _spread_out(
    rank: Tensor, limit: int, degree: Tensor, turn: Tensor, rng: torch.Generator
) -> Tensor:
    """Draw ``limit`` of ``degree`` edges without listing all of them.

    The edges are cut into ``limit`` strata of nearly equal length and one is drawn from each, so
    they are distinct; the random ``turn`` of the circle makes every edge equally likely.
    """
    low, high = rank * degree // limit, (rank + 1) * degree // limit
    drawn = low + (_uniform(len(rank), rank, rng) * (high - low)).long()
    return (drawn + turn) % degree


def _thin_out(keys: Tensor, owner: Tensor, limit: int, rng: torch.Generator | None) -> Tensor:
    """At most ``limit`` keys of each owner, drawn uniformly; keys and owners ascend."""
    counts = torch.unique_consecutive(owner, return_counts=True)[1]
    if not len(counts) or int(counts.max()) <= limit:
        return keys
    assert rng is not None
    return keys[some_of_each(owner, limit, rng)].sort().values


def _uniform(count: int, like: Tensor, rng: torch.Generator) -> Tensor:
    # Drawn on the CPU, so that a seed means the same on every device.
    return torch.rand(count, generator=rng, dtype=torch.float64).to(like.device)


def _require_search(
    graph: Graph,
    centers: Tensor,
    hops: int,
    fan_out: int | None,
    max_nodes: int | None,
    rng: torch.Generator | None,
) -> None:
    if hops < 0:
        raise ConfigError(f"`hops` is {hops}, expected 0 or more")
    for name, limit in (("fan_out", fan_out), ("max_nodes", max_nodes)):
        if limit is not None and limit < 1:
            raise ConfigError(f"`{name}` is {limit}, expected at least 1, or None for no limit")
        if limit is not None and rng is None:
            raise ConfigError(f"`{name}` draws at random; give a generator as `rng`")
    if centers.dtype != torch.int64 or centers.dim() != 1:
        raise ShapeError(
            f"`centers` is {centers.dtype} {tuple(centers.shape)}, expected one-dimensional int64"
        )
    if len(centers) and (int(centers.min()) < 0 or int(centers.max()) >= graph.num_nodes):
        raise ShapeError(f"`centers` names nodes outside 0..{graph.num_nodes - 1}")
