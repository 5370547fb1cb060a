"""GraphSAGE, a mean over neighbors (Hamilton et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.encoders.block import Stack
from gtl.encoders.inputs import EdgeTable, neighbor_sums
from gtl.encoders.sparse import SparseRows, is_narrow, project
from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema, ops

AGGREGATORS = ("mean", "gcn")


class SAGE(Stack):
    """GraphSAGE: a mean over neighbors.

    Each layer is ``W_self h_i + mean_j (W h_j + e_ij) + b`` over the neighbors ``j`` of ``i``
    (``aggregator="mean"``), or ``mean_j (W h_j + e_ij) + b`` over the neighbors and ``i`` itself
    (``aggregator="gcn"``, as in Hu et al. 2020).

    Args:
        schema: What graphs look like.
        width: Columns of every layer.
        depth: Number of layers.
        dropout: Probability of dropping a value after each layer.
        norm: ``"batch"``, ``"layer"`` or ``None``.
        jk: How layers are combined: ``"last"``, ``"concat"``, ``"sum"`` or ``"max"``.
        residual: Whether each layer's input is added to its output.
        aggregator: ``"mean"`` or ``"gcn"``.
        normalize: Whether each row is divided by its Euclidean length, before the norm.
        embedding: ``"learned"``, a learned embedding before the first layer, or ``None``: the first
            layer reads the node features itself.
        input_dropout: Probability of dropping a value of what the first layer reads.
        normalize_features: What the floating features of each node are divided by: ``"l2"``, their
            Euclidean length, ``"l1"`` or true, the sum of their absolute values, or nothing; for
            ``embedding=None``.

    Raises:
        ConfigError: If an option is outside its range.
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
        aggregator: str = "mean",
        normalize: bool = False,
        embedding: str | None = "learned",
        input_dropout: float = 0.0,
        normalize_features: bool | str = False,
    ):
        if aggregator not in AGGREGATORS:
            raise ConfigError(f"`aggregator` is {aggregator!r}, expected one of {AGGREGATORS}")

        def convolution(inputs: int) -> nn.Module:
            return SAGEConvolution(schema.edge, width, aggregator, normalize, inputs)

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


class SAGEConvolution(nn.Module):
    """One GraphSAGE layer without norm and activation.

    Args:
        edge: Edge columns or ``None``.
        width: Columns of the output.
        aggregator: ``"mean"`` or ``"gcn"``.
        normalize: Whether rows are scaled to length 1.
        inputs: Columns of the input, which may be sparse; ``None`` means ``width``.
    """

    own: nn.Linear | None

    def __init__(
        self,
        edge: Columns | None,
        width: int,
        aggregator: str,
        normalize: bool,
        inputs: int | None = None,
    ):
        super().__init__()
        self.normalize, self.loops = normalize, aggregator == "gcn"
        self.edges = EdgeTable(edge, width, self.loops)
        inputs = width if inputs is None else inputs
        self.linear = nn.Linear(inputs, width, bias=False)
        self.own = None if self.loops else nn.Linear(inputs, width, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, graph: Graph, h: Tensor | SparseRows) -> Tensor:
        """Node vectors ``(n, width)`` of ``(n, inputs)``."""
        degree = graph.full_in_degrees() + int(self.loops)
        count = degree.clamp(min=1).to(h.dtype).unsqueeze(1)  # (n, 1)
        if is_narrow(h, self.linear.out_features):
            total = self.linear(neighbor_sums(graph, h, self.loops))
        else:  # the sum is over the fewer columns
            total = neighbor_sums(graph, project(self.linear, h), self.loops)
        out = ops.scaled(self.edges.add_sums(graph, total), 1 / count) + self.bias
        if self.own is not None:
            out = out + project(self.own, h)
        return F.normalize(out, dim=1) if self.normalize else out
