"""Graph convolutional network, a normalized sum over neighbors (Kipf and Welling 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gtl.encoders.block import Stack, require
from gtl.encoders.inputs import EdgeTable, degree_scale, neighbor_sums
from gtl.encoders.sparse import SparseRows, is_narrow, project
from gtl.graph import Columns, Graph, Schema, ops


class GCN(Stack):
    """Graph convolutional network: a symmetrically normalized sum over neighbors and node.

    Each layer is ``sum_j (deg_i deg_j)^(-1/2) (W h_j + e_ij) + b`` over the neighbors ``j`` of
    ``i`` and ``i`` itself; degrees count incoming edges and the loop.

    Args:
        schema: What graphs look like.
        width: Columns of every layer.
        depth: Number of layers.
        dropout: Probability of dropping a value after each layer.
        norm: ``"batch"``, ``"layer"`` or ``None``.
        jk: How layers are combined: ``"last"``, ``"concat"``, ``"sum"`` or ``"max"``.
        residual: Whether each layer's input is added to its output.
        embedding: ``"learned"``, a learned embedding before the first layer, or ``None``: the first
            layer reads the node features itself.
        input_dropout: Probability of dropping a value of what the first layer reads.
        normalize_features: What the floating features of each node are divided by: ``"l2"``, their
            Euclidean length, ``"l1"`` or true, the sum of their absolute values, or nothing; for
            ``embedding=None``.
        last_linear: Whether the last layer has ``W`` and ``b``. Without them it only sums, and a
            linear head behind it is the last layer of Kipf and Welling: with few labels two
            matrices in a row fit the training nodes more closely than one and are less accurate on
            others (``benchmarks/node_level.py``).

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
        embedding: str | None = "learned",
        input_dropout: float = 0.0,
        normalize_features: bool | str = False,
        last_linear: bool = True,
    ):
        require(last_linear or depth > 1, "depth", depth, "at least 2 with last_linear=False")

        def convolution(inputs: int) -> nn.Module:
            return GCNConvolution(schema.edge, width, inputs)

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
        if not last_linear:
            self.blocks[-1].conv = GCNSum(schema.edge, width)


class GCNConvolution(nn.Module):
    """One GCN layer without norm and activation.

    Args:
        edge: Edge columns or ``None``.
        width: Columns of the output.
        inputs: Columns of the input, which may be sparse; ``None`` means ``width``.
    """

    def __init__(self, edge: Columns | None, width: int, inputs: int | None = None):
        super().__init__()
        self.edges = EdgeTable(edge, width, loops=True)
        self.linear = nn.Linear(width if inputs is None else inputs, width, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, graph: Graph, h: Tensor | SparseRows) -> Tensor:
        """Node vectors ``(n, width)`` of ``(n, inputs)``."""
        # Rows are scaled before and after a plain sum: (deg_i deg_j)^(-1/2) needs no edge weights.
        scale = degree_scale(graph, h.dtype)  # (n, 1)
        if is_narrow(h, self.linear.out_features):
            total = self.linear(neighbor_sums(graph, ops.scaled(h, scale), loops=True))
        else:  # the sum is over the fewer columns
            own = ops.scaled(project(self.linear, h), scale)
            total = neighbor_sums(graph, own, loops=True)
        return ops.scaled(self.edges.add_scaled_sums(graph, total), scale) + self.bias


class GCNSum(nn.Module):
    """One GCN layer without a matrix: the normalized sum over neighbors and node alone.

    Args:
        edge: Edge columns or ``None``.
        width: Columns of the input and of the output.
    """

    def __init__(self, edge: Columns | None, width: int):
        super().__init__()
        self.edges = EdgeTable(edge, width, loops=True)

    def forward(self, graph: Graph, h: Tensor) -> Tensor:
        """Node vectors ``(n, width)`` of ``(n, width)``."""
        scale = degree_scale(graph, h.dtype)  # (n, 1)
        total = neighbor_sums(graph, ops.scaled(h, scale), loops=True)
        return ops.scaled(self.edges.add_scaled_sums(graph, total), scale)
