"""A multi-layer perceptron on node features, a student without edges (Zhang et al. 2022, GLNN)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from gtl.encoders.block import Stack
from gtl.encoders.sparse import SparseRows, project
from gtl.graph import Graph, Schema


class MLP(Stack):
    """Multi-layer perceptron: the vector of a node depends on its own features alone.

    Each layer is ``W h_i + b``. Edges and their features are not read, so a prediction fetches no
    neighbors. It learns what a graph encoder knows through the task ``distillation``, as far as the
    features suffice (Zhang et al. 2022).

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

    Raises:
        ConfigError: If an option is outside its range.
    """

    reads_edges: ClassVar[bool] = False

    def __init__(
        self,
        schema: Schema,
        width: int = 300,
        depth: int = 3,
        dropout: float = 0.0,
        norm: str | None = "batch",
        jk: str = "last",
        residual: bool = False,
        embedding: str | None = "learned",
        input_dropout: float = 0.0,
        normalize_features: bool | str = False,
    ):
        def convolution(inputs: int) -> nn.Module:
            return NodeMap(inputs, width)

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


class NodeMap(nn.Module):
    """One layer without norm and activation: a linear map of each node by itself.

    Args:
        inputs: Columns of the input, which may be sparse.
        width: Columns of the output.
    """

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.linear = nn.Linear(inputs, width)

    def forward(self, graph: Graph, h: Tensor | SparseRows) -> Tensor:
        """Node vectors ``(n, width)`` of ``(n, inputs)``."""
        return project(self.linear, h)
