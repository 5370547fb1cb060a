"""GIN, the usual encoder of molecular pre-training (Xu et al. 2019; edges: Hu et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gtl.encoders.block import Stack
from gtl.encoders.inputs import EdgeTable, neighbor_sums
from gtl.graph import Columns, Graph, Schema


class GIN(Stack):
    """Graph isomorphism network: an MLP of the sum over neighbors and node.

    Each layer is ``mlp((1 + eps) h_i + sum_j (h_j + e_ij) + e_loop)`` with an MLP of twice the
    width inside.

    Args:
        schema: What graphs look like.
        width: Columns of every layer.
        depth: Number of layers.
        dropout: Probability of dropping a value after each layer.
        norm: ``"batch"``, ``"layer"`` or ``None``.
        jk: How layers are combined: ``"last"``, ``"concat"``, ``"sum"`` or ``"max"``.
        residual: Whether each layer's input is added to its output.
        learn_eps: Whether ``eps`` is learned, from 0; otherwise it stays 0.

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
        learn_eps: bool = False,
    ):
        def convolution() -> nn.Module:
            return GINConvolution(schema.edge, width, learn_eps)

        super().__init__(schema, convolution, width, depth, dropout, norm, jk, residual)


class GINConvolution(nn.Module):
    """One GIN layer without norm and activation.

    Args:
        edge: Edge columns or ``None``.
        width: Columns of input and output.
        learn_eps: Whether ``eps`` is learned.
    """

    eps: nn.Parameter | None

    def __init__(self, edge: Columns | None, width: int, learn_eps: bool = False):
        super().__init__()
        self.edges = EdgeTable(edge, width, loops=True)
        self.eps = nn.Parameter(torch.zeros(())) if learn_eps else None
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(inplace=True), nn.Linear(2 * width, width)
        )

    def forward(self, graph: Graph, h: Tensor) -> Tensor:
        """Node vectors ``(n, width)``."""
        total = neighbor_sums(graph, h, loops=True)
        if self.eps is not None:
            total = total + self.eps * h
        return self.mlp(self.edges.add_sums(graph, total))
