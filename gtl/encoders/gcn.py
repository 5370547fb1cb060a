"""GCN, the smallest useful encoder: a normalized sum over neighbors (Kipf and Welling 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gtl.encoders.block import Stack
from gtl.encoders.inputs import EdgeTable, degree_scale, neighbor_sums
from gtl.graph import Columns, Graph, Schema


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
    ):
        def convolution() -> nn.Module:
            return GCNConvolution(schema.edge, width)

        super().__init__(schema, convolution, width, depth, dropout, norm, jk, residual)


class GCNConvolution(nn.Module):
    """One GCN layer without norm and activation.

    Args:
        edge: Edge columns or ``None``.
        width: Columns of input and output.
    """

    def __init__(self, edge: Columns | None, width: int):
        super().__init__()
        self.edges = EdgeTable(edge, width, loops=True)
        self.linear = nn.Linear(width, width, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, graph: Graph, h: Tensor) -> Tensor:
        """Node vectors ``(n, width)``."""
        # Rows are scaled before and after a plain sum: (deg_i deg_j)^(-1/2) needs no edge weights.
        scale = degree_scale(graph, h.dtype)  # (n, 1)
        total = self.linear(neighbor_sums(graph, h * scale, loops=True))
        return self.edges.add_scaled_sums(graph, total) * scale + self.bias
