"""Graph along time: edges that join each node to itself at other steps of a window.

Its rows are those of a batch of snapshots, ``history`` consecutive ones being one window. So any
layer on graphs can be applied along time (as AIM reuses attention, Yang et al. 2023, Section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gtl.errors import ConfigError, ShapeError
from gtl.graph.graph import STRUCTURE, Graph

_FIELDS = ("num_nodes", "sizes", "origin")


def history_rows(graph: Graph, history: int) -> Tensor:
    """Row of each node at each step of each window; -1 where it is absent.

    Args:
        graph: Batch of ``w * history`` snapshots, the steps of a window one after the other.
            ``origin`` is the node of each row; if it is ``None`` all snapshots have the same nodes.
        history: Steps of a window.

    Returns:
        int64 ``(w, history, nodes)``.

    Raises:
        ConfigError: If ``history`` is below 1.
        ShapeError: If the snapshots are not whole windows, or one has a node twice.

    Example:
        >>> from gtl.graph import Graph
        >>> none = torch.empty(0, dtype=torch.int64)
        >>> pair = Graph(none, none, 3, sizes=torch.tensor([2, 1]), origin=torch.tensor([0, 1, 1]))
        >>> history_rows(pair, 2).tolist()
        [[[0, 1], [-1, 2]]]
    """
    if history < 1:
        raise ConfigError(f"`history` is {history}, expected 1 step or more")
    if graph.num_graphs % history:
        raise ShapeError(
            f"the batch has {graph.num_graphs} snapshots, expected whole windows of {history}"
        )
    return graph.remember(("history_rows", history), lambda: _rows(graph, history), _FIELDS)


def time_graph(
    graph: Graph,
    history: int,
    causal: bool = True,
    reach: int | None = None,
    edge: Sequence[float] | None = None,
    edge_type: int = 0,
) -> Graph:
    """The rows of the snapshots, each window one graph with edges along time.

    A node has no edge to itself at the same step: encoders add their own loops.

    Args:
        graph: Batch of snapshots as in :func:`history_rows`.
        history: Steps of a window.
        causal: Edges lead from earlier to later steps alone; otherwise both ways.
        reach: Largest number of steps between the two ends; ``None`` for the whole window.
        edge: Feature row of these edges, where edges have features; zeros by default.
        edge_type: Their type, where edges have types.

    Raises:
        ConfigError: If ``history`` or ``reach`` is below 1.
        ShapeError: If the snapshots are not whole windows, or ``edge`` has other columns.

    Example:
        >>> from gtl.graph import Graph
        >>> none = torch.empty(0, dtype=torch.int64)
        >>> along = time_graph(Graph(none, none, 3, sizes=torch.tensor([1, 1, 1])), 3)
        >>> list(zip(along.src.tolist(), along.dst.tolist()))
        [(0, 1), (0, 2), (1, 2)]
    """
    if reach is not None and reach < 1:
        raise ConfigError(f"`reach` is {reach}, expected 1 step or more, or None for all")
    edge = None if edge is None else tuple(edge)
    rows = history_rows(graph, history)

    def make() -> Graph:
        src, dst = _links(rows, causal, reach)
        return graph.unlabeled().replace(
            src=src,
            dst=dst,
            x=None,
            e=_features(graph, len(src), edge),
            edge_type=None if graph.edge_type is None else torch.full_like(src, edge_type),
            time=None,
            sizes=graph.graph_sizes().view(-1, history).sum(1),
            undrawn=None,
        )

    key = ("time_graph", history, causal, reach, edge, edge_type)
    along = graph.remember(key, make, (*STRUCTURE, *_FIELDS, "e", "edge_type", "node_type"))
    return along if graph.x is None else along.replace(x=graph.x)


def _rows(graph: Graph, history: int) -> Tensor:
    n = graph.num_nodes
    origin = _places(graph, history) if graph.origin is None else graph.origin
    nodes = int(origin.max()) + 1 if n else 0
    place = graph.graph_ids() * nodes + origin
    if len(place.unique()) < n:
        raise ShapeError("a snapshot has a node twice in `origin`; each may be there once")
    table = torch.full((graph.num_graphs * nodes,), -1, device=graph.device)
    table[place] = torch.arange(n, device=graph.device)
    return table.view(graph.num_graphs // history, history, nodes)


def _places(graph: Graph, history: int) -> Tensor:
    """Place of each row in its own snapshot."""
    sizes = graph.graph_sizes()
    if history > 1 and bool((sizes != sizes[:1]).any()):
        raise ShapeError(
            f"snapshots have {int(sizes.min())} to {int(sizes.max())} nodes; give the node of each "
            "row as `origin`"
        )
    starts = (sizes.cumsum(0) - sizes).index_select(0, graph.graph_ids())
    return torch.arange(graph.num_nodes, device=graph.device) - starts


def _links(rows: Tensor, causal: bool, reach: int | None) -> tuple[Tensor, Tensor]:
    steps = torch.arange(rows.shape[1], device=rows.device)
    gap = steps - steps.unsqueeze(1)  # from the row's step to the column's
    joined = gap > 0 if causal else gap != 0
    if reach is not None:
        joined &= gap.abs() <= reach
    start, end = joined.nonzero().unbind(1)
    src, dst = rows[:, start].flatten(), rows[:, end].flatten()
    both = (src >= 0) & (dst >= 0)
    return src[both], dst[both]


def _features(graph: Graph, count: int, edge: tuple[float, ...] | None) -> Tensor | None:
    if graph.e is None:
        return None
    if edge is None:
        return graph.e.new_zeros(count, graph.e.shape[1])
    if len(edge) != graph.e.shape[1]:
        raise ShapeError(f"`edge` has {len(edge)} columns, expected {graph.e.shape[1]} as `e` has")
    return graph.e.new_tensor(edge).expand(count, -1)
