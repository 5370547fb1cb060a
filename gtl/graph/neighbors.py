"""Neighbor sampling for graphs whose node vectors do not fit into memory (Hamilton et al. 2017).

A batch of seeds has one subgraph for all layers of an encoder (in the paper each layer has its
own), so that everything that reads a Graph, auxiliary tasks included, can read it. The cost depends
on the seeds and fan-outs alone, not on the size of the graph.

Nodes of the last hop draw no edges. They get the edges of the graph that lead back to them along
the edges that reached them: that changes nothing for the seeds, and auxiliary tasks on such a node
find some of its neighborhood.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gtl.errors import ConfigError, ShapeError
from gtl.graph.graph import Graph
from gtl.graph.sample import contains, distinct, edges_into, incoming


def sample_neighbors(
    graph: Graph,
    seeds: Tensor,
    fan_outs: Sequence[int | None],
    rng: torch.Generator | None = None,
) -> Graph:
    """The seeds and the nodes that their vectors are computed from, as one graph.

    Edges are followed against their direction. Hop by hop, each new node draws some of its incoming
    edges, without replacement and each equally likely, once for all seeds. With ``fan_outs`` that
    are all ``None`` and as many as an encoder has layers, the seeds' vectors are those of the whole
    graph.

    Args:
        graph: A graph of ``n`` nodes. Its edges are sorted once (:func:`incoming`); further samples
            take no time that grows with the graph.
        seeds: Node numbers, int64 ``(b,)``.
        fan_outs: How many incoming edges a node draws, at each hop from the seeds; ``None`` means
            all of them.
        rng: Generator for the draws; needed with numbers among ``fan_outs``.

    Returns:
        A graph on the device of ``graph`` with distinct nodes: the seeds in their order, then
        those of the first hop, of the second and so on, with their features, types and times.
        ``seeds`` are renumbered (a repeated seed is one node), ``origin`` holds the numbers of the
        nodes in ``graph`` and ``undrawn`` the number of incoming edges of each that were not drawn.
        Labels and the sizes of a batch are dropped.

    Raises:
        ConfigError: If a fan-out is below 1, or one is given without a generator.
        ShapeError: If ``seeds`` is not a list of node numbers.

    Example:
        >>> path = Graph(torch.tensor([0, 1, 2]), torch.tensor([1, 2, 3]), 4)
        >>> part = sample_neighbors(path, torch.tensor([3]), [None, None])
        >>> part.origin.tolist(), part.src.tolist(), part.dst.tolist(), part.undrawn.tolist()
        ([3, 2, 1], [1, 2], [0, 1], [0, 0, 1])
    """
    _require(graph, seeds, fan_outs, rng)
    starts, _, senders = incoming(graph)
    first, seeds = distinct(seeds)
    if not fan_outs:  # an encoder that does not read edges
        none = first[:0]
        return _cut(graph, first, none, none, none).replace(seeds=seeds)
    hops, seen, count = [first], first.sort().values, 0
    drawn, sent, received = [first[:0]], [first[:0]], [first[:0]]
    for fan_out in fan_outs:
        edges, row = edges_into(starts, hops[-1], fan_out, rng)
        drawn.append(edges)
        sent.append(senders[edges])
        received.append(row + count)
        count += len(hops[-1])  # rows that have drawn
        reached = torch.unique(sent[-1])
        hops.append(reached[~contains(seen, reached)])
        seen = torch.cat([seen, hops[-1]]).sort().values
    nodes, dst = torch.cat(hops), torch.cat(received)
    src = _rows(nodes, torch.cat(sent))
    back, to, by = _edges_back(graph, nodes, src, dst, count)
    picked = torch.cat([*drawn, back])
    return _cut(graph, nodes, picked, torch.cat([src, by]), torch.cat([dst, to])).replace(
        seeds=seeds
    )


def _rows(nodes: Tensor, wanted: Tensor) -> Tensor:
    """Row of each of ``wanted`` among distinct ``nodes`` that hold them all."""
    ascending, rows = nodes.sort()
    return rows[torch.searchsorted(ascending, wanted)]


def _edges_back(
    graph: Graph, nodes: Tensor, src: Tensor, dst: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Edges into the rows from ``count`` on, from those that their own edges lead to.

    Returns:
        Positions of the edges, one for each pair that has some, receiving and sending rows.
    """
    pairs = torch.unique((src * max(count, 1) + dst)[src >= count])  # ascending, for faster access
    to, by = pairs // max(count, 1), pairs % max(count, 1)
    edges, found = _edges_between(graph, nodes[by], nodes[to])
    return edges, to[found], by[found]


def _edges_between(graph: Graph, src: Tensor, dst: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of edges between such nodes, one each, and which of the pairs have one.

    The senders of each receiver ascend, so all pairs are found by bisection at the same time.
    """
    starts, _, senders = incoming(graph)
    low, end = starts[dst], starts[dst + 1]
    high = end
    while bool((low < high).any()):
        middle = (low + high) >> 1
        less = (low < high) & (senders[middle.clamp(max=len(senders) - 1)] < src)
        low, high = torch.where(less, middle + 1, low), torch.where(less, high, middle)
    found = (low < end).nonzero().flatten()
    found = found[senders[low[found]] == src[found]]
    return low[found], found


def _cut(graph: Graph, nodes: Tensor, picked: Tensor, src: Tensor, dst: Tensor) -> Graph:
    starts, order, _ = incoming(graph)

    def rows(values: Tensor | None, index: Tensor) -> Tensor | None:
        return None if values is None else values[index]

    fields = ("e", "edge_type", "time")
    edges = picked if all(getattr(graph, name) is None for name in fields) else order[picked]

    return Graph(
        src,
        dst,
        len(nodes),
        x=rows(graph.x, nodes),
        e=rows(graph.e, edges),
        node_type=rows(graph.node_type, nodes),
        edge_type=rows(graph.edge_type, edges),
        time=rows(graph.time, edges),
        origin=nodes,
        undrawn=starts[nodes + 1] - starts[nodes] - torch.bincount(dst, minlength=len(nodes)),
    )


def _require(
    graph: Graph, seeds: Tensor, fan_outs: Sequence[int | None], rng: torch.Generator | None
) -> None:
    for hop, limit in enumerate(fan_outs):
        if limit is not None and limit < 1:
            raise ConfigError(
                f"`fan_outs[{hop}]` is {limit}, expected at least 1, or None for all edges"
            )
        if limit is not None and rng is None:
            raise ConfigError("`fan_outs` draws at random; give a generator as `rng`")
    if seeds.dtype != torch.int64 or seeds.dim() != 1:
        raise ShapeError(
            f"`seeds` is {seeds.dtype} {tuple(seeds.shape)}, expected one-dimensional int64"
        )
    if len(seeds) and (int(seeds.min()) < 0 or int(seeds.max()) >= graph.num_nodes):
        raise ShapeError(f"`seeds` names nodes outside 0..{graph.num_nodes - 1}")
