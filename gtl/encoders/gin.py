"""Graph isomorphism network (Xu et al. 2019; edge features: Hu et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gtl.encoders.block import Stack
from gtl.encoders.inputs import EdgeTable, neighbor_sums
from gtl.encoders.sparse import SparseRows, is_narrow, times
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
        learn_eps: bool = False,
        embedding: str | None = "learned",
        input_dropout: float = 0.0,
        normalize_features: bool | str = False,
    ):
        def convolution(inputs: int) -> nn.Module:
            return GINConvolution(schema.edge, width, learn_eps, inputs)

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


class GINConvolution(nn.Module):
    """One GIN layer without norm and activation.

    Args:
        edge: Edge columns or ``None``.
        width: Columns of the output.
        learn_eps: Whether ``eps`` is learned.
        inputs: Columns of the input, which may be sparse; ``None`` means ``width``.
    """

    eps: nn.Parameter | None

    def __init__(
        self,
        edge: Columns | None,
        width: int,
        learn_eps: bool = False,
        inputs: int | None = None,
    ):
        super().__init__()
        inputs = width if inputs is None else inputs
        self.inside = 2 * width
        self.edges = EdgeTable(edge, inputs, loops=True)
        self.eps = nn.Parameter(torch.zeros(())) if learn_eps else None
        self.mlp = nn.Sequential(
            nn.Linear(inputs, 2 * width), nn.ReLU(inplace=True), nn.Linear(2 * width, width)
        )

    def forward(self, graph: Graph, h: Tensor | SparseRows) -> Tensor:
        """Node vectors ``(n, width)`` of ``(n, inputs)``."""
        if self.edges.table is None and not is_narrow(h, self.inside):
            first = self.mlp[0]  # the sum is over the fewer columns
            assert isinstance(first, nn.Linear)
            return self.mlp[1:](self._sums(graph, times(h, first.weight)) + first.bias)
        h = h if isinstance(h, Tensor) else h.dense()
        return self.mlp(self.edges.add_sums(graph, self._sums(graph, h)))

    def _sums(self, graph: Graph, h: Tensor) -> Tensor:
        total = neighbor_sums(graph, h, loops=True)
        if self.eps is not None:
            total = total + self.eps * h
        return total
