"""Relational graph convolutional network (Schlichtkrull et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gtl.encoders.block import Stack
from gtl.encoders.inputs import EdgeTable, edge_codes, keep
from gtl.encoders.typed import Rows, glorot, padded, products, types_of
from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema, ops
from gtl.graph.graph import STRUCTURE

DECOMPOSITIONS = ("basis", "block", None)


class RGCN(Stack):
    """Relational graph convolutional network: a mean over neighbors for each type of edge.

    Each layer is ``W_self h_i + sum_r mean_j (W_r h_j + e_ij) + b`` over the neighbors ``j`` of
    ``i`` along edges of type ``r`` (Eq. 2 with ``c_{i,r}`` their number). The matrices of many
    relations share parameters:

    - ``decomposition="basis"`` (Eq. 3): ``W_r = sum_b a_rb V_b`` with ``bases`` matrices ``V_b``;
    - ``decomposition="block"`` (Eq. 4): ``W_r`` has ``bases`` blocks on its diagonal, zero beside;
    - ``decomposition=None``: each relation has a matrix of its own. So it is too where there are
      no more relations than bases, since a basis would then add parameters instead of saving some.

    Edge types are taken from ``edge_type``; a graph without them has one relation. Node types
    are used in the input embedding alone. In a sampled graph means are over the edges that were
    drawn, and a relation of which a node drew none is missing there.

    Args:
        schema: What graphs look like.
        width: Columns of every layer.
        depth: Number of layers.
        dropout: Probability of dropping a value after each layer.
        norm: ``"batch"``, ``"layer"`` or ``None``, as in the paper. With few labels on one graph
            (``typed:acm``) either norm costs accuracy.
        jk: How layers are combined: ``"last"``, ``"concat"``, ``"sum"`` or ``"max"``.
        residual: Whether each layer's input is added to its output.
        decomposition: ``"basis"``, ``"block"`` or ``None``.
        bases: Number of bases, or of blocks.

    Raises:
        ConfigError: If an option is outside its range or blocks do not share ``width`` evenly.
    """

    def __init__(
        self,
        schema: Schema,
        width: int = 128,
        depth: int = 2,
        dropout: float = 0.0,
        norm: str | None = None,
        jk: str = "last",
        residual: bool = False,
        decomposition: str | None = "basis",
        bases: int = 8,
    ):
        if decomposition not in DECOMPOSITIONS:
            raise ConfigError(
                f"`decomposition` is {decomposition!r}, expected one of {DECOMPOSITIONS}"
            )
        if bases < 1 or (decomposition == "block" and width % bases):
            raise ConfigError(
                f"`bases` is {bases}, expected at least 1 and, for decomposition='block', a "
                f"divisor of `width` ({width})"
            )

        def convolution(inputs: int) -> nn.Module:
            return RGCNConvolution(schema.edge, schema.edge_types, width, decomposition, bases)

        super().__init__(schema, convolution, width, depth, dropout, norm, jk, residual)


class RGCNConvolution(nn.Module):
    """One R-GCN layer without norm and activation.

    Neighbors are averaged before they are mapped: one product for each relation, over the nodes
    that it reaches. Memory is that of their means, at most a vector for each edge.

    Args:
        edge: Edge columns or ``None``.
        relations: Number of edge types, 0 if untyped.
        width: Columns of input and output.
        decomposition: ``"basis"``, ``"block"`` or ``None``.
        bases: Number of bases, or of blocks.
    """

    def __init__(
        self,
        edge: Columns | None,
        relations: int,
        width: int,
        decomposition: str | None = None,
        bases: int = 1,
    ):
        super().__init__()
        self.relations = relations
        self.edges = EdgeTable(edge, width, loops=False)
        self.matrices = _matrices(max(relations, 1), width, decomposition, bases)
        self.own = nn.Linear(width, width, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, graph: Graph, h: Tensor) -> Tensor:
        """Node vectors ``(n, width)``."""
        means = _means(graph, self.relations)
        mapped = self.matrices(means.of(h), means.rows)  # (p, width)
        total = means.add_up(mapped, graph.num_nodes) + self.own(h) + self.bias
        if self.edges.table is None:
            return total
        return torch.addmm(total, self._edge_means(graph, means, h.dtype), self.edges.table)

    def _edge_means(self, graph: Graph, means: _Means, dtype: torch.dtype) -> Tensor:
        """Sum over relations of the mean codes of a node's incoming edges, ``(n, q)``."""
        columns = self.edges.columns
        assert columns is not None

        def weigh() -> Tensor:
            share = means.share(dtype).index_select(0, means.rows.edge)  # (m, 1)
            return ops.sum_edges(graph, edge_codes(graph, columns, dtype) * share)

        return keep(graph, ("edge_means", columns, self.relations, dtype), weigh, "edge_type")


class _Full(nn.Module):
    """A matrix for each relation."""

    def __init__(self, relations: int, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(relations, width, width))
        glorot(self.weight)

    def forward(self, vectors: Tensor, rows: Rows) -> Tensor:
        """Each relation's rows ``(p, width)`` times its matrix."""
        return products(vectors, rows.sizes, self.weight.index_select(0, rows.kinds))


class _Basis(nn.Module):
    """Matrices that are mixtures of a few."""

    def __init__(self, relations: int, width: int, bases: int):
        super().__init__()
        self.basis = nn.Parameter(torch.empty(bases, width, width))
        self.mixture = nn.Parameter(torch.empty(relations, bases))
        glorot(self.basis)
        nn.init.normal_(self.mixture, std=bases**-0.5)  # mixtures are as large as a base

    def forward(self, vectors: Tensor, rows: Rows) -> Tensor:
        """Each relation's rows ``(p, width)`` times its matrix."""
        mixture = self.mixture.index_select(0, rows.kinds)
        return products(vectors, rows.sizes, torch.einsum("rb,bio->rio", mixture, self.basis))


class _Blocks(nn.Module):
    """Matrices that are zero outside blocks on the diagonal."""

    def __init__(self, relations: int, width: int, blocks: int):
        super().__init__()
        size = width // blocks
        self.weight = nn.Parameter(torch.empty(relations, blocks, size, size))
        glorot(self.weight)

    def forward(self, vectors: Tensor, rows: Rows) -> Tensor:
        """Each relation's rows ``(p, width)`` times its matrix."""
        weight = self.weight.index_select(0, rows.kinds)
        parts = vectors.unflatten(1, tuple(weight.shape[1:3])).split(rows.sizes)
        done = [
            torch.bmm(part.transpose(0, 1), blocks).transpose(0, 1)
            for part, blocks in zip(parts, weight)
        ]
        return torch.cat(done).flatten(1) if done else vectors


def _matrices(relations: int, width: int, decomposition: str | None, bases: int) -> nn.Module:
    if decomposition == "block":
        return _Blocks(relations, width, bases)
    if decomposition == "basis" and bases < relations:
        return _Basis(relations, width, bases)
    return _Full(relations, width)


@dataclass(frozen=True)
class _Means:
    """Means over the neighbors of each node and relation, as two sums along edges.

    Attributes:
        rows: Pairs of a node and a relation that reaches it.
        into: From neighbors to these pairs, and
        out: from the pairs to their nodes; both have numbers of nodes and of rows at their ends.
    """

    rows: Rows
    into: Graph
    out: Graph

    def of(self, h: Tensor) -> Tensor:
        """Mean vector of the neighbors of each pair, ``(p, width)``."""
        total = ops.sum_neighbors(self.into, padded(h, self.into.num_nodes))
        return total[: len(self.rows.node)] * self.share(h.dtype)

    def add_up(self, vectors: Tensor, nodes: int) -> Tensor:
        """Sum over the relations of each node, ``(n, width)`` of ``(p, width)``."""
        return ops.sum_neighbors(self.out, padded(vectors, self.out.num_nodes))[:nodes]

    def share(self, dtype: torch.dtype) -> Tensor:
        """One over the number of neighbors of each pair, ``(p, 1)``."""
        count = self.into.in_degrees()[: len(self.rows.node)]
        return count.to(dtype).reciprocal().unsqueeze(1)


def _means(graph: Graph, relations: int) -> _Means:
    def make() -> _Means:
        types = types_of(graph, "edge_type", relations)
        rows = Rows.of(types, graph.dst, graph.num_nodes)
        pairs = torch.arange(len(rows.node), device=graph.device)
        size = max(graph.num_nodes, len(pairs))
        return _Means(rows, Graph(graph.src, rows.edge, size), Graph(pairs, rows.node, size))

    return graph.remember(("relation_means", relations), make, (*STRUCTURE, "edge_type"))
