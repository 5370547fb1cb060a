"""Graph attention network (Velickovic et al. 2018; edge features: Hu et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.encoders.block import Stack
from gtl.encoders.inputs import EdgeTable, edges_stood_for, with_loops
from gtl.encoders.sparse import SparseRows, project
from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema, ops

MERGES = ("mean", "concat")


class GAT(Stack):
    """Graph attention network: a sum over neighbors and node, weighted by learned attention.

    With ``t = W h + b``, head by head, each layer is ``sum_j alpha_ij (t_j + e_ij)`` over the
    neighbors ``j`` of ``i`` and ``i`` itself; ``alpha_ij`` is the softmax over ``j`` of
    ``LeakyReLU(<a, t_i> + <a', t_j + e_ij>)``. Heads are averaged or set side by side.

    Args:
        schema: What graphs look like.
        width: Columns of every layer.
        depth: Number of layers.
        dropout: Probability of dropping a value after each layer.
        norm: ``"batch"``, ``"layer"`` or ``None``.
        jk: How layers are combined: ``"last"``, ``"concat"``, ``"sum"`` or ``"max"``.
        residual: Whether each layer's input is added to its output.
        heads: Number of attention heads.
        merge: ``"mean"`` (each head has ``width`` columns) or ``"concat"`` (they share them).
        embedding: ``"learned"``, a learned embedding before the first layer, or ``None``: the first
            layer reads the node features itself.
        input_dropout: Probability of dropping a value of what the first layer reads.
        normalize_features: What the floating features of each node are divided by: ``"l2"``, their
            Euclidean length, ``"l1"`` or true, the sum of their absolute values, or nothing; for
            ``embedding=None``.

    Raises:
        ConfigError: If an option is outside its range or ``heads`` do not share ``width`` evenly.
    """

    def __init__(
        self,
        schema: Schema,
        width: int = 300,
        depth: int = 5,
        dropout: float = 0.0,
        norm: str | None = "batch",
        jk: str = "last",
        residual: bool = False,
        heads: int = 2,
        merge: str = "mean",
        embedding: str | None = "learned",
        input_dropout: float = 0.0,
        normalize_features: bool | str = False,
    ):
        if merge not in MERGES:
            raise ConfigError(f"`merge` is {merge!r}, expected one of {MERGES}")
        if heads < 1 or (merge == "concat" and width % heads):
            raise ConfigError(
                f"`heads` is {heads}, expected at least 1 and, for merge='concat', a divisor of "
                f"`width` ({width})"
            )

        def convolution(inputs: int) -> nn.Module:
            return GATConvolution(schema.edge, width, heads, merge, inputs)

        super().__init__(
            schema,
            convolution,
            width,
            depth,
            dropout,
            norm,
            jk,
            residual,
            embedding,
            input_dropout,
            normalize_features,
        )


class GATConvolution(nn.Module):
    """One GAT layer without norm and activation.

    Args:
        edge: Edge columns or ``None``.
        width: Columns of the output.
        heads: Number of attention heads ``k``.
        merge: ``"mean"`` or ``"concat"``.
        inputs: Columns of the input, which may be sparse; ``None`` means ``width``.
    """

    def __init__(
        self, edge: Columns | None, width: int, heads: int, merge: str, inputs: int | None = None
    ):
        super().__init__()
        self.heads, self.merge = heads, merge
        self.columns = width if merge == "mean" else width // heads
        self.edges = EdgeTable(edge, heads * self.columns, loops=True)
        self.linear = nn.Linear(width if inputs is None else inputs, heads * self.columns)
        self.receive = nn.Parameter(torch.empty(heads, self.columns))
        self.send = nn.Parameter(torch.empty(heads, self.columns))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.xavier_uniform_(self.receive)
        nn.init.xavier_uniform_(self.send)

    def forward(self, graph: Graph, h: Tensor | SparseRows) -> Tensor:
        """Node vectors ``(n, width)`` of ``(n, inputs)``."""
        looped = with_loops(graph)
        t = project(self.linear, h).view(-1, self.heads, self.columns)  # (n, k, columns)
        scores = (t * self.receive).sum(-1).index_select(0, looped.dst)
        scores = scores + (t * self.send).sum(-1).index_select(0, looped.src)  # (m + n, k)
        codes = self.edges.looped_codes(graph, t.dtype)
        table: Tensor | None = self.edges.table
        if codes is not None and table is not None:
            table = table.view(-1, self.heads, self.columns)  # (q, k, columns)
            scores = scores + codes @ (table * self.send).sum(-1)
        scores = F.leaky_relu(scores, 0.2)
        each = edges_stood_for(graph, t.dtype)
        if each is not None:  # an edge that stands for two counts like two edges of that score
            loops = (0, 0, 0, graph.num_nodes)
            scores = scores + F.pad(each.log().index_select(0, graph.dst).unsqueeze(1), loops)
        weight = ops.softmax_on_edges(looped, scores)  # (m + n, k)
        out = ops.weighted_sum_neighbors(looped, t, weight)
        if codes is not None and table is not None:
            sums = ops.sum_edges(looped, weight.unsqueeze(2) * codes.unsqueeze(1))  # (n, k, q)
            out = out + torch.einsum("nkq,qkc->nkc", sums, table)
        merged = out.mean(1) if self.merge == "mean" else out.flatten(1)
        return merged + self.bias
