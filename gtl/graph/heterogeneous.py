"""Union of the nodes and edges of several types in one homogeneous graph with types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from gtl.errors import DataError
from gtl.graph.graph import Graph


@dataclass(frozen=True)
class NodesOfType:
    """The nodes of one type.

    Attributes:
        count: Number of nodes.
        values: Fields of :class:`Graph` that nodes have, by name; ``None`` where absent.
        sizes: Nodes of the type in each graph of a batch, int64 ``(g,)``; ``None`` if no batch.
    """

    count: int
    values: dict[str, Tensor | None]
    sizes: Tensor | None = None


@dataclass(frozen=True)
class EdgesOfType:
    """The edges of one type.

    Attributes:
        src: Sending nodes, counted within their type.
        dst: Receiving nodes, likewise.
        values: Fields of :class:`Graph` that edges have, by name; ``None`` where absent.
        ends: Numbers of the sending and of the receiving type.
    """

    src: Tensor
    dst: Tensor
    values: dict[str, Tensor | None]
    ends: tuple[int, int] = (0, 0)


def join(nodes: Sequence[NodesOfType], edges: Sequence[EdgesOfType], typed: bool) -> Graph:
    """One graph of all types, numbered type by type; in a batch, within each of its graphs.

    Args:
        nodes: Nodes of each type, at least one; types are numbered in this order.
        edges: Edges of each type; types are numbered in this order.
        typed: Whether the graph gets ``node_type`` and ``edge_type``.

    Raises:
        DataError: If a field other than floating features is absent in some types or differs in
            form between them.
    """
    if not nodes:
        raise DataError("the graph has no node type; give a graph with nodes")
    device = edges[0].src.device if edges else None
    counts = torch.tensor([part.count for part in nodes])
    starts = starts_of(counts).tolist()
    node_counts = [part.count for part in nodes]
    edge_counts = [len(part.src) for part in edges]
    empty = torch.empty(0, dtype=torch.int64, device=device)
    fields: dict[str, Any] = {
        "src": torch.cat([empty, *(part.src + starts[part.ends[0]] for part in edges)]),
        "dst": torch.cat([empty, *(part.dst + starts[part.ends[1]] for part in edges)]),
        "num_nodes": starts[-1],
    }
    for parts, rows in ((nodes, node_counts), (edges, edge_counts)):
        for key in parts[0].values if parts else ():
            fields[key] = _stack(key, [part.values[key] for part in parts], rows)
    if typed:
        fields["node_type"] = _numbers(node_counts, device)
        fields["edge_type"] = _numbers(edge_counts, device)
    graph = Graph(**fields)
    sizes = [part.sizes for part in nodes if part.sizes is not None]
    return _by_graph(graph, sizes) if sizes else graph


def _stack(key: str, values: list[Tensor | None], rows: list[int]) -> Tensor | None:
    """Rows of all types, one type after the other."""
    present = [value for value in values if value is not None]
    if not present:
        return None
    shapes = {value.shape[1:] for value in present}
    if len(present) == len(values) and len(shapes) == 1 and not _mixed(present):
        return torch.cat(present)
    if key not in ("x", "e") or not all(v.is_floating_point() and v.dim() == 2 for v in present):
        raise DataError(
            f"`{key}` differs in form between types or is absent in some, which only floating "
            "features may; set it for all types or leave it out"
        )
    return _side_by_side(values, rows, shared=len(shapes) == 1)


def _mixed(values: list[Tensor]) -> bool:
    return len({value.is_floating_point() for value in values}) > 1


def _side_by_side(values: list[Tensor | None], rows: list[int], shared: bool) -> Tensor:
    """Floating features of all types: in the same columns if ``shared``, else in their own."""
    present = [value for value in values if value is not None]
    width = present[0].shape[1] if shared else sum(value.shape[1] for value in present)
    dtype = reduce(torch.promote_types, (value.dtype for value in present))
    whole = present[0].new_zeros(sum(rows), width, dtype=dtype)  # allocated once: it may be large
    row = column = 0
    for value, count in zip(values, rows):
        if value is not None:
            whole[row : row + count, column : column + value.shape[1]] = value
            column += 0 if shared else value.shape[1]
        row += count
    return whole


def _by_graph(graph: Graph, sizes: Sequence[Tensor]) -> Graph:
    """Order the nodes of a batch by graph, since types came one after the other."""
    total = torch.stack(list(sizes)).sum(0)
    if len(sizes) == 1:
        return graph.replace(sizes=total)
    owners = torch.cat([torch.repeat_interleave(part) for part in sizes])
    return graph.subgraph(torch.argsort(owners, stable=True)).replace(sizes=total)


def _numbers(counts: list[int], device: torch.device | None) -> Tensor:
    return torch.repeat_interleave(torch.tensor(counts, dtype=torch.int64, device=device))


def starts_of(sizes: Tensor) -> Tensor:
    """First row of each group and the total, ``(g + 1,)``."""
    return torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
