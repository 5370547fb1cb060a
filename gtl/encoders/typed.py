"""Linear maps by node or edge type, on rows that are grouped by type.

The nodes of one type, or those at one end of the edges of one relation, follow one another; each
run of rows is one product with one matrix. The grouping depends on the graph alone and is
remembered on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.errors import DataError
from gtl.graph import Graph


def types_of(graph: Graph, name: str, count: int) -> Tensor:
    """The types of the nodes ``(n,)`` or edges ``(m,)`` of a graph.

    Args:
        graph: A graph.
        name: ``"node_type"`` or ``"edge_type"``.
        count: Number of types that are known; 0 means that types are ignored. Where no more than
            one is known the graph need not have types, and all are 0.

    Raises:
        DataError: If the graph has no types where several are known, or one that is not.
    """
    rows = graph.num_nodes if name == "node_type" else graph.num_edges

    def read() -> Tensor:
        value = getattr(graph, name)
        if count == 0 or (value is None and count == 1):
            return torch.zeros(rows, dtype=torch.int64, device=graph.device)
        if value is None:
            raise DataError(f"the graph has no `{name}`, expected types in 0..{count - 1}")
        bad = ((value < 0) | (value >= count)).nonzero().flatten()
        if len(bad):
            row = int(bad[0])
            raise DataError(
                f"`{name}` of {name[:4]} {row} is {int(value[row])}, expected 0..{count - 1}; "
                "build the encoder with a schema that covers this data"
            )
        return value

    size = "num_nodes" if name == "node_type" else "src"
    return graph.remember(("types", name, count), read, (size, name))


def type_codes(graph: Graph, count: int, dtype: torch.dtype) -> Tensor:
    """One-hot node types ``(n, max(count, 1))``: times a table, they are a row for each node."""

    def make() -> Tensor:
        return F.one_hot(types_of(graph, "node_type", count), max(count, 1)).to(dtype)

    return graph.remember(("type_codes", count, dtype), make, ("num_nodes", "node_type"))


class TypedLinear(nn.Module):
    """A linear map of its own for the nodes of each type.

    Args:
        types: Number of node types, 0 if untyped.
        inputs: Columns of the input.
        outputs: Columns of the output.
    """

    def __init__(self, types: int, inputs: int, outputs: int):
        super().__init__()
        self.types = types
        self.weight = nn.Parameter(torch.empty(max(types, 1), inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(max(types, 1), outputs))
        glorot(self.weight)

    def forward(self, graph: Graph, h: Tensor) -> Tensor:
        """Node vectors ``(n, outputs)`` of ``(n, inputs)``."""
        groups = _node_groups(graph, self.types)
        if groups.order is None or groups.place is None:
            return products(h, groups.sizes, self.weight, self.bias)
        sorted_ = products(h.index_select(0, groups.order), groups.sizes, self.weight, self.bias)
        return sorted_.index_select(0, groups.place)


def products(
    rows: Tensor, sizes: Sequence[int], weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Each run of rows times its own matrix.

    Args:
        rows: ``(p, i)``, runs of ``sizes`` rows one after the other.
        sizes: Rows of each of ``c`` runs.
        weight: ``(c, i, o)``.
        bias: ``(c, o)`` or ``None``.

    Returns:
        ``(p, o)``.
    """
    if not sizes:
        return rows.new_zeros(0, weight.shape[2])
    parts = rows.split(list(sizes))
    if bias is None:
        done = [part @ matrix for part, matrix in zip(parts, weight)]
    else:
        done = [torch.addmm(b, part, matrix) for part, matrix, b in zip(parts, weight, bias)]
    return done[0] if len(done) == 1 else torch.cat(done)


@dataclass(frozen=True)
class Rows:
    """The nodes at one end of the edges of each kind, each of them once; kinds in order.

    There are at most as many rows as edges, and at most as many as nodes times kinds.

    Attributes:
        node: Node of each row, int64 ``(p,)``.
        kinds: Kinds that occur, ascending, int64 ``(c,)``.
        sizes: Rows of each of these kinds.
        edge: Row of each edge, int64 ``(m,)``.
    """

    node: Tensor
    kinds: Tensor
    sizes: list[int]
    edge: Tensor

    @staticmethod
    def of(kind: Tensor, node: Tensor, nodes: int) -> Rows:
        """Group the ends of edges.

        Args:
            kind: Kind of each edge, int64 ``(m,)``.
            node: Node at the end of each edge, int64 ``(m,)``.
            nodes: Number of nodes ``n``.
        """
        n = max(nodes, 1)
        keys, edge = torch.unique(kind * n + node, return_inverse=True)  # sorted
        kinds, sizes = torch.unique_consecutive(keys // n, return_counts=True)
        return Rows(keys % n, kinds, sizes.tolist(), edge)


def padded(values: Tensor, rows: int) -> Tensor:
    """``values`` with zeros below, so that there are ``rows`` rows."""
    missing = rows - len(values)
    return F.pad(values, (0, 0) * (values.dim() - 1) + (0, missing)) if missing else values


def glorot(matrices: Tensor) -> None:
    """Fill matrices ``(..., i, o)`` as Glorot and Bengio (2010) say, each for itself."""
    bound = (6 / (matrices.shape[-2] + matrices.shape[-1])) ** 0.5
    nn.init.uniform_(matrices, -bound, bound)


@dataclass(frozen=True)
class _Groups:
    """Nodes by type: ``order`` sorts them, ``place`` undoes it; both ``None`` if sorted already."""

    order: Tensor | None
    place: Tensor | None
    sizes: list[int]


def _node_groups(graph: Graph, count: int) -> _Groups:
    def make() -> _Groups:
        types = types_of(graph, "node_type", count)
        sizes = torch.bincount(types, minlength=max(count, 1)).tolist()
        if bool((types[1:] >= types[:-1]).all()):
            return _Groups(None, None, sizes)
        order = torch.argsort(types, stable=True)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=order.device)
        return _Groups(order, place, sizes)

    return graph.remember(("node_groups", count), make, ("num_nodes", "node_type"))
