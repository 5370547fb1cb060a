"""Node embeddings and edge tables: feature columns as vectors.

A convolution needs edge features only summed over the incoming edges of a node, and a sum of rows
of a table is a count of categories times the table. So an edge table is multiplied by an
``(n, q)`` matrix of counts, which is made once per graph and shared by all layers; published code
looks up and adds one vector per edge and layer.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.encoders.sparse import SparseRows, project
from gtl.encoders.typed import type_codes
from gtl.errors import DataError
from gtl.graph import Columns, Graph, Schema, ops
from gtl.graph.graph import STRUCTURE

# Above this many rows a table is read by index: a multi-hot matrix would be mostly zeros.
_MOST_ROWS = 1024


def node_input(schema: Schema, width: int) -> nn.Module:
    """The input embedding for nodes as in the schema: ``embed(graph) -> (n, width)``."""
    if schema.node_types > 1:
        features = None if schema.node is None else _feature_input(schema.node, width)
        if features is None and schema.nodes:
            features = NodeTable(schema.nodes, width)
        return TypedInput(features, schema.node_types, width)
    if schema.node is None:
        return NodeTable(schema.nodes, width) if schema.nodes else LearnedVector(width)
    return _feature_input(schema.node, width)


def _feature_input(columns: Columns, width: int) -> nn.Module:
    return Projection(columns, width) if columns.categories is None else Lookup(columns, width)


class LearnedVector(nn.Module):
    """One learned vector that all nodes share, where nodes have no features."""

    def __init__(self, width: int):
        super().__init__()
        self.vector = nn.Parameter(torch.empty(1, width))
        nn.init.xavier_uniform_(self.vector)

    def forward(self, graph: Graph) -> Tensor:
        """The same row for each node, ``(n, width)``."""
        return self.vector.expand(graph.num_nodes, -1)


class NodeTable(nn.Module):
    """A learned vector for each node, where all items lie in one graph without features.

    It is not copied: a gradient of all rows is needed anyway where a step draws negatives among all
    nodes. Entries start uniform in a range of ``24 / width`` around 0, that of Sun et al. 2019 for
    complex vectors of that width and margin 10.

    Args:
        nodes: Number of nodes.
        width: Columns of the vectors.
    """

    def __init__(self, nodes: int, width: int):
        super().__init__()
        self.table = nn.Parameter(torch.empty(nodes, width).uniform_(-24 / width, 24 / width))

    def forward(self, graph: Graph) -> Tensor:
        """Node vectors ``(n, width)``; of a batch of copies of the graph those of each copy.

        Raises:
            DataError: If the graph has another number of nodes.
        """
        copies, n = graph.num_graphs, len(self.table)
        if copies > 1 and bool((graph.graph_sizes() == n).all()):
            return self.table.repeat(copies, 1)
        if graph.num_nodes != n:
            raise DataError(
                f"the encoder learned a vector for each of {len(self.table)} nodes, the graph has "
                f"{graph.num_nodes}; use that graph, or an encoder that reads edges alone (earl)"
            )
        return self.table


class TypedInput(nn.Module):
    """Embedding of the features of a node, plus a learned vector of its type.

    A node whose type has no features has this vector alone. Where types have features in
    columns of their own, zero elsewhere (:func:`gtl.graph.heterogeneous.join`), a
    :class:`Projection` and these vectors are an affine map for each type.

    Args:
        features: Embedding of the features; ``None`` if nodes have none.
        types: Number of node types.
        width: Columns of the vectors.
    """

    def __init__(self, features: nn.Module | None, types: int, width: int):
        super().__init__()
        self.features = features
        self.types = nn.Parameter(torch.zeros(types, width))
        if features is None:  # beside features they start at 0, since features may be small
            nn.init.xavier_uniform_(self.types)

    def forward(self, graph: Graph) -> Tensor:
        """Node vectors ``(n, width)``.

        Raises:
            DataError: If the graph lacks node types or has others, or its ``x`` has other columns.
        """
        codes = type_codes(graph, len(self.types), self.types.dtype)
        if self.features is None:
            return codes @ self.types
        return torch.addmm(self.features(graph), codes, self.types)


class Projection(nn.Module):
    """Linear map of floating node features; on a CPU, values of zero are left out of it.

    They are where most values are zero, as in bags of words.
    """

    def __init__(self, columns: Columns, width: int):
        super().__init__()
        self.columns = columns
        self.map = nn.Linear(columns.width, width)

    def forward(self, graph: Graph) -> Tensor:
        """Node vectors ``(n, width)``.

        Raises:
            DataError: If the graph's ``x`` is not of the columns that this was built for.
        """
        x = _require_columns(graph.x, self.columns, "x").to(self.map.weight.dtype)
        if x.requires_grad or x.device.type != "cpu":
            return self.map(x)
        key = ("sparse_rows", x.dtype)
        sparse = graph.remember(key, lambda: SparseRows.of(x), ("num_nodes", "x"))
        return project(self.map, x if sparse is None else sparse)


class Lookup(nn.Module):
    """Sum of one table row per categorical column; each column has a last row for *masked*.

    Written as a product of a multi-hot matrix with the table: faster than gathering rows, and
    above all in the backward pass, where gathered rows would have to be scattered.
    """

    def __init__(self, columns: Columns, width: int):
        super().__init__()
        self.columns = columns
        self.table = _new_table(_row_counts(columns), width)

    def forward(self, graph: Graph) -> Tensor:
        """Node vectors ``(n, width)``.

        Raises:
            DataError: If a category is out of range, or ``x`` has other columns.
        """
        if len(self.table) <= _MOST_ROWS:
            return node_codes(graph, self.columns, self.table.dtype) @ self.table
        rows = graph.remember(
            ("node_rows", self.columns), lambda: table_rows(graph.x, self.columns, "x"), ("x",)
        )
        return F.embedding(rows, self.table).sum(1)


class EdgeTable(nn.Module):
    """Vectors of the categories (or per unit of the floating features) of edges, ``(q, width)``.

    Args:
        columns: Edge columns; ``None`` makes a table that adds nothing.
        width: Columns of the table.
        loops: Whether there is a last row for the self-loop that a convolution adds.
    """

    table: nn.Parameter | None

    def __init__(self, columns: Columns | None, width: int, loops: bool):
        super().__init__()
        self.columns, self.loops = columns, loops
        if columns is None:
            self.table = None
        else:
            self.table = _new_table([*_row_counts(columns), *[1] * loops], width)

    def add_sums(self, graph: Graph, vectors: Tensor) -> Tensor:
        """Add the sum of the edge vectors of each node's incoming edges to ``(n, width)``."""
        if self.table is None or self.columns is None:
            return vectors
        sums = edge_sums(graph, self.columns, vectors.dtype, self.loops)
        return torch.addmm(vectors, sums, self.table)

    def add_scaled_sums(self, graph: Graph, vectors: Tensor) -> Tensor:
        """Likewise, each edge and loop times the :func:`degree_scale` of its sending node."""
        if self.table is None or self.columns is None:
            return vectors
        columns = self.columns

        def weigh() -> Tensor:
            scale = degree_scale(graph, vectors.dtype)
            codes = edge_codes(graph, columns, vectors.dtype)
            sums = ops.sum_edges(graph, codes * scale.index_select(0, graph.src))
            return torch.cat([_for_all(graph, sums), scale], 1)

        sums = keep(graph, ("scaled_edge_sums", columns, vectors.dtype), weigh)
        return torch.addmm(vectors, sums, self.table)

    def looped_codes(self, graph: Graph, dtype: torch.dtype) -> Tensor | None:
        """Codes of the edges of :func:`with_loops`, ``(m + n, q)``; ``None`` without a table."""
        if self.columns is None:
            return None
        columns = self.columns

        def join() -> Tensor:
            codes = edge_codes(graph, columns, dtype)
            edges, q = codes.shape
            both = torch.zeros(edges + graph.num_nodes, q + 1, dtype=dtype, device=codes.device)
            both[:edges, :q], both[edges:, q] = codes, 1.0
            return both

        return keep(graph, ("looped_edge_codes", columns, dtype), join)


def edge_codes(graph: Graph, columns: Columns, dtype: torch.dtype) -> Tensor:
    """What a table of edge vectors is multiplied with, edge by edge.

    Args:
        graph: A graph of ``m`` edges.
        columns: Its edge columns, as the encoder was built for.
        dtype: Floating dtype of the result.

    Returns:
        Multi-hot rows of categorical columns, or the floating features, ``(m, q)``.

    Raises:
        DataError: If a category is out of range, or ``e`` has other columns.
    """
    return keep(graph, ("edge_codes", columns, dtype), lambda: _codes(graph.e, columns, "e", dtype))


def edge_sums(graph: Graph, columns: Columns, dtype: torch.dtype, loops: bool) -> Tensor:
    """Sum of the codes of each node's incoming edges, ``(n, q)``; with loops a last column of 1.

    Where only some edges were drawn, it is estimated as in :func:`neighbor_sums`.
    """

    def add() -> Tensor:
        sums = _for_all(graph, ops.sum_edges(graph, edge_codes(graph, columns, dtype)))
        return F.pad(sums, (0, 1), value=1.0) if loops else sums

    return keep(graph, ("edge_sums", columns, dtype, loops), add)


def degree_scale(graph: Graph, dtype: torch.dtype) -> Tensor:
    """``deg^(-1/2)`` of each node, ``(n, 1)``; degrees count incoming edges and one loop.

    Edges that sampling left behind count too: a node has one scale in all samples.
    """

    def compute() -> Tensor:
        return (graph.full_in_degrees() + 1).to(dtype).rsqrt().unsqueeze(1)

    return graph.remember(("degree_scale", dtype), compute, (*STRUCTURE, "undrawn"))


def neighbor_sums(graph: Graph, h: Tensor, loops: bool = False) -> Tensor:
    """Sum of the vectors ``(n, h)`` of each node's neighbors, with loops of the node too.

    In a sampled graph each edge stands for as many as the node has for each that it drew, which
    makes the sum right on average (Chen et al. 2018, "Stochastic Training of Graph Convolutional
    Networks with Variance Reduction", Eq. 3): without that, an encoder trained on ten neighbors
    would meet sums at prediction time that it has never seen.
    """
    if graph.undrawn is None:
        return ops.sum_neighbors(with_loops(graph) if loops else graph, h)
    total = _for_all(graph, ops.sum_neighbors(graph, h))
    return total + h if loops else total


def edges_stood_for(graph: Graph, dtype: torch.dtype) -> Tensor | None:
    """How many edges each incoming edge of a node stands for, ``(n,)``; ``None`` if each for one.

    A node without incoming edges has 1.
    """
    if graph.undrawn is None:
        return None
    drawn = graph.in_degrees()
    return torch.where(drawn > 0, graph.full_in_degrees(), 1).to(dtype) / drawn.clamp(min=1)


def with_loops(graph: Graph) -> Graph:
    """The bare structure of ``graph`` with one loop more at each node, after its own edges."""
    return graph.remember(
        "with_loops", lambda: Graph(graph.src, graph.dst, graph.num_nodes).with_self_loops()
    )


def keep(graph: Graph, key: tuple, compute: Callable[[], Tensor], *fields: str) -> Tensor:
    """Remember on the graph what is computed from its edges, unless their features are learned.

    Args:
        graph: Where to remember.
        key: Names the value.
        compute: Called the first time.
        *fields: What it depends on besides structure and edge features.
    """
    if graph.e is not None and graph.e.requires_grad:
        return compute()
    return graph.remember(key, compute, (*STRUCTURE, "e", "undrawn", *fields))


def _for_all(graph: Graph, sums: Tensor) -> Tensor:
    """Sums ``(n, h)`` over the edges that are here, made sums over all of them."""
    each = edges_stood_for(graph, sums.dtype)
    return sums if each is None else ops.scaled(sums, each.unsqueeze(1))


def node_codes(graph: Graph, columns: Columns, dtype: torch.dtype) -> Tensor:
    """Multi-hot rows of categorical node features, or the floating ones, ``(n, q)``.

    Raises:
        DataError: If a category is out of range, or ``x`` has other columns.
    """
    if columns.categories is None:
        return _codes(graph.x, columns, "x", dtype)
    key = ("node_codes", columns, dtype)
    return graph.remember(key, lambda: _codes(graph.x, columns, "x", dtype), ("x",))


def _codes(values: Tensor | None, columns: Columns, name: str, dtype: torch.dtype) -> Tensor:
    if columns.categories is None:
        return _require_columns(values, columns, name).to(dtype)
    rows = table_rows(values, columns, name)
    zeros = torch.zeros(len(rows), sum(_row_counts(columns)), dtype=dtype, device=rows.device)
    return zeros.scatter_(1, rows, 1.0)


def table_rows(values: Tensor | None, columns: Columns, name: str) -> Tensor:
    """Table row of each category, int64 ``(rows, columns)``: columns follow one another."""
    values = _require_columns(values, columns, name)
    counts = torch.tensor(_row_counts(columns), device=values.device)
    bad = (values < 0) | (values >= counts)
    if bool(bad.any()):
        row, column = bad.nonzero()[0].tolist()
        top = int(counts[column]) - 1
        raise DataError(
            f"`{name}` of {'node' if name == 'x' else 'edge'} {row}, column {column}, is category "
            f"{int(values[row, column])}, expected 0..{top - 1} (or {top} for masked); build the "
            "encoder with a schema that covers this data"
        )
    return values.long() + (counts.cumsum(0) - counts)


def code_width(columns: Columns | None) -> int:
    """Columns of :func:`node_codes`; 0 without features."""
    return 0 if columns is None else sum(_row_counts(columns))


def _require_columns(values: Tensor | None, columns: Columns, name: str) -> Tensor:
    kind = "floating" if columns.categories is None else "categorical (integer)"
    expected = f"{columns.width} {kind} columns, which the encoder was built for"
    if values is None:
        raise DataError(f"the graph has no `{name}`, expected {expected}")
    if values.is_floating_point() != (columns.categories is None):
        raise DataError(f"`{name}` has dtype {values.dtype}, expected {expected}")
    if values.shape[1] != columns.width:
        raise DataError(f"`{name}` has {values.shape[1]} columns, expected {expected}")
    return values


def _row_counts(columns: Columns) -> list[int]:
    if columns.categories is None:
        return [columns.width]
    return [count + 1 for count in columns.categories]


def _new_table(counts: list[int], width: int) -> nn.Parameter:
    table = torch.empty(sum(counts), width)
    for part in table.split(counts):
        nn.init.xavier_uniform_(part)
    return nn.Parameter(table)
