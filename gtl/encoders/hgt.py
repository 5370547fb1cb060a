"""Heterogeneous graph transformer, attention by node and edge type (Hu, Dong et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.encoders.block import Layered, require
from gtl.encoders.dropout import Dropout
from gtl.encoders.inputs import EdgeTable, edge_codes
from gtl.encoders.typed import (
    Rows,
    TypedLinear,
    glorot,
    padded,
    products,
    type_codes,
    types_of,
)
from gtl.graph import Graph, Schema, ops
from gtl.graph.graph import STRUCTURE
from gtl.roles import Choice, Range

NORMS = ("layer", None)


class HGT(Layered):
    """Heterogeneous graph transformer: attention with maps for types of nodes and of edges.

    In each head, node ``i`` of type ``t`` has the query ``q_i = Q_t h_i``; its neighbor ``j`` of
    type ``s``, along an edge of type ``r``, has the key ``k_j = K_s h_j`` and the value
    ``v_j = V_s h_j``:

    - attention is the softmax, over all incoming edges of ``i``, of ``mu_r <q_i, A_r k_j> /
      sqrt(columns)`` (Eq. 3);
    - the message is ``M_r v_j`` (Eq. 4), and ``a_i`` is the sum of messages times attention;
    - the layer's output is ``g_t O_t gelu(a_i) + (1 - g_t) h_i``. The gate ``g_t`` is that of the
      authors' code; Eq. 5 adds without one.

    The authors' code has one prior ``mu`` for each type of edge (and head), as here; the paper has
    one for each combination with the types of both ends. Edge features, which the paper does not
    have, add a vector to keys and messages. Its relative temporal encoding is left out: it needs
    times of nodes, and a Graph has times of edges.

    Types are taken from ``node_type`` and ``edge_type``; a graph without them has one of each.

    Args:
        schema: What graphs look like.
        width: Columns of every layer, which heads share.
        depth: Number of layers.
        dropout: Probability of dropping a value of what a layer adds.
        norm: ``"layer"``, with a scale and a bias for each node type as in the authors' code, or
            ``None``. With few labels on one graph (``typed:acm``) the norm costs accuracy.
        jk: How layers are combined: ``"last"``, ``"concat"``, ``"sum"`` or ``"max"``.
        heads: Number of attention heads.

    Raises:
        ConfigError: If an option is outside its range or ``heads`` do not share ``width`` evenly.
    """

    search_space = {
        "width": Choice((32, 64, 128, 256)),
        "depth": Range(1, 3),
        "dropout": Choice((0.0, 0.2, 0.5)),
    }

    def __init__(
        self,
        schema: Schema,
        width: int = 128,
        depth: int = 2,
        dropout: float = 0.0,
        norm: str | None = None,
        jk: str = "last",
        heads: int = 4,
    ):
        require(0 <= dropout < 1, "dropout", dropout, "at least 0 and below 1")
        require(norm in NORMS, "norm", norm, f"one of {NORMS}")
        shared = heads >= 1 and width % heads == 0
        require(shared, "heads", heads, f"at least 1 and a divisor of `width` ({width})")

        def block(i: int) -> nn.Module:
            return HGTBlock(schema, width, heads, dropout, norm)

        super().__init__(schema, block, width, depth, jk)


class HGTBlock(nn.Module):
    """One HGT layer.

    A node's key and message depend on its edge through the edge's type alone, so there is one of
    each for every node and type of its outgoing edges, at most a vector for each edge. The maps of
    node type and edge type are multiplied before they meet vectors.

    Args:
        schema: What graphs look like.
        width: Columns of input and output.
        heads: Number of attention heads ``k``; each has ``c = width / k`` columns.
        dropout: Probability of dropping a value of what the layer adds.
        norm: ``"layer"`` or ``None``.
    """

    def __init__(self, schema: Schema, width: int, heads: int, dropout: float, norm: str | None):
        super().__init__()
        self.types, self.relations, self.heads = schema.node_types, schema.edge_types, heads
        self.columns = width // heads
        self.query, self.key, self.value, self.out = (
            TypedLinear(self.types, width, width) for _ in range(4)
        )
        shape = (max(self.relations, 1), heads, self.columns, self.columns)
        self.attention = nn.Parameter(torch.empty(shape))  # A, from keys to queries
        self.message = nn.Parameter(torch.empty(shape))  # M
        self.prior = nn.Parameter(torch.ones(shape[:2]))
        self.gate = nn.Parameter(torch.ones(max(self.types, 1)))  # before its sigmoid
        self.edges = EdgeTable(schema.edge, 2 * width, loops=False)
        self.dropout = Dropout(dropout)
        self.norm = _TypedNorm(self.types, width) if norm else None
        glorot(self.attention)
        glorot(self.message)

    def forward(self, graph: Graph, h: Tensor) -> Tensor:
        """Node vectors ``(n, width)`` of ``(n, width)``."""
        update = self.dropout(self.out(graph, F.gelu(self._attend(graph, h))))
        gate = type_codes(graph, self.types, h.dtype) @ self.gate.sigmoid().unsqueeze(1)  # (n, 1)
        mixed = gate * update + (1 - gate) * h
        return mixed if self.norm is None else self.norm(graph, mixed)

    def _attend(self, graph: Graph, h: Tensor) -> Tensor:
        """Sum of the messages that each node receives times its attention, ``(n, width)``."""
        senders = _senders(graph, self.relations, self.types)
        query = self.query(graph, h).unflatten(1, (self.heads, -1)) / self.columns**0.5
        vectors = h.index_select(0, senders.rows.node)  # (p, width)
        prior = self.prior.unsqueeze(2).unsqueeze(3)
        key = self._send(vectors, senders.rows, self.key, self.attention * prior)  # (p, k, c)
        value = self._send(vectors, senders.rows, self.value, self.message)
        ends, size = senders.edges, senders.edges.num_nodes
        scores = ops.dot_on_edges(ends, padded(key, size), padded(query, size))  # (m, k)
        if self.edges.table is not None:
            scores = scores + self._edge_scores(graph, query)
        weight = ops.softmax_on_edges(ends, scores)
        total = ops.weighted_sum_neighbors(ends, padded(value, size), weight)[: len(h)]
        if self.edges.table is not None:
            total = total + self._edge_messages(graph, weight)
        return total.flatten(1)

    def _send(self, vectors: Tensor, rows: Rows, first: TypedLinear, then: Tensor) -> Tensor:
        """Vectors ``(p, width)`` through the map of their node type and then their edge type."""
        relation, kind = rows.kinds // len(first.weight), rows.kinds % len(first.weight)
        weight = first.weight.index_select(0, kind).unflatten(2, (self.heads, -1))
        bias = first.bias.index_select(0, kind).unflatten(1, (self.heads, -1))
        then = then.index_select(0, relation)  # (kinds, k, c, c)
        weight = torch.einsum("rhkc,rkcd->rhkd", weight, then).flatten(2)
        bias = torch.einsum("rkc,rkcd->rkd", bias, then).flatten(1)
        return products(vectors, rows.sizes, weight, bias).unflatten(1, (self.heads, -1))

    def _edge_scores(self, graph: Graph, query: Tensor) -> Tensor:
        """What edge features add to scores, ``(m, k)``."""
        key, _ = self._edge_vectors()
        reach = torch.einsum("nkc,qkc->nkq", query, key).index_select(0, graph.dst)
        return (reach * self._codes(graph, query.dtype).unsqueeze(1)).sum(2)

    def _edge_messages(self, graph: Graph, weight: Tensor) -> Tensor:
        """What edge features add to the sums of messages, ``(n, k, c)``."""
        _, value = self._edge_vectors()
        codes = self._codes(graph, weight.dtype).unsqueeze(1)  # (m, 1, q)
        sums = ops.sum_edges(graph, weight.unsqueeze(2) * codes)  # (n, k, q)
        return torch.einsum("nkq,qkc->nkc", sums, value)

    def _edge_vectors(self) -> tuple[Tensor, Tensor]:
        assert self.edges.table is not None
        key, value = self.edges.table.unflatten(1, (2, self.heads, self.columns)).unbind(1)
        return key, value  # (q, k, c) each

    def _codes(self, graph: Graph, dtype: torch.dtype) -> Tensor:
        assert self.edges.columns is not None
        return edge_codes(graph, self.edges.columns, dtype)


class _TypedNorm(nn.Module):
    """Layer norm with a scale and a bias for each node type."""

    def __init__(self, types: int, width: int):
        super().__init__()
        self.types = types
        self.weight = nn.Parameter(torch.ones(max(types, 1), width))
        self.bias = nn.Parameter(torch.zeros(max(types, 1), width))

    def forward(self, graph: Graph, h: Tensor) -> Tensor:
        """Node vectors ``(n, width)``."""
        codes = type_codes(graph, self.types, h.dtype)
        return torch.addcmul(codes @ self.bias, F.layer_norm(h, h.shape[1:]), codes @ self.weight)


@dataclass(frozen=True)
class _Senders:
    """Nodes that send, once for each type of their outgoing edges.

    Attributes:
        rows: These pairs by edge type and, within it, node type.
        edges: From the pairs to receiving nodes; both have numbers of rows and of nodes.
    """

    rows: Rows
    edges: Graph


def _senders(graph: Graph, relations: int, types: int) -> _Senders:
    def make() -> _Senders:
        kind = types_of(graph, "edge_type", relations) * max(types, 1)
        kind = kind + types_of(graph, "node_type", types).index_select(0, graph.src)
        rows = Rows.of(kind, graph.src, graph.num_nodes)
        size = max(graph.num_nodes, len(rows.node))
        return _Senders(rows, Graph(rows.edge, graph.dst, size))

    fields = (*STRUCTURE, "node_type", "edge_type")
    return graph.remember(("senders", relations, types), make, fields)
