"""Blocks of convolution, norm, activation and dropout, and encoders that are stacks of them.

The order within a block, and no activation in the last one, follow Hu et al. 2020 ("Strategies
for Pre-training Graph Neural Networks"), the combination of layers Xu et al. 2018 ("Jumping
Knowledge Networks").
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.encoders.dropout import Dropout, drop
from gtl.encoders.features import NORMALIZATIONS, RawFeatures, has_features, sparse_rows
from gtl.encoders.inputs import node_input
from gtl.encoders.sparse import SparseRows
from gtl.errors import ConfigError
from gtl.graph import Graph, Schema
from gtl.roles import Choice, Encoder, Range

NORMS = ("batch", "layer", None)
EMBEDDINGS = ("learned", None)
JUMPS = ("last", "concat", "sum", "max")


class Block(nn.Module):
    """One layer: convolution, norm, ReLU, dropout, and the input on top where residual.

    Args:
        conv: ``conv(graph, h) -> (n, width)``.
        width: Columns of the output.
        norm: ``"batch"``, ``"layer"`` or ``None``.
        dropout: Probability of dropping a value.
        residual: Whether the block's input, of as many columns, is added to its output.
        activate: Whether there is a ReLU; the last block has none.
        input_dropout: Probability of dropping a value of the input.
    """

    def __init__(
        self,
        conv: nn.Module,
        width: int,
        norm: str | None,
        dropout: float,
        residual: bool,
        activate: bool,
        input_dropout: float = 0.0,
    ):
        super().__init__()
        self.conv = conv
        self.norm = _norm(norm, width)
        self.dropout = Dropout(dropout)
        self.residual, self.activate = residual, activate
        self.input_dropout = input_dropout

    def forward(self, graph: Graph, h: Tensor) -> Tensor:
        """Node vectors ``(n, width)`` of ``(n, inputs)``."""
        out = self._normalized(self.conv(graph, self._read(graph, h)))
        if self.activate:
            out = out.relu()
        out = self.dropout(out)
        return h + out if self.residual else out

    def _read(self, graph: Graph, h: Tensor) -> Tensor | SparseRows:
        """The input as the convolution gets it."""
        sparse = sparse_rows(graph, h)
        p = self.input_dropout if self.training else 0.0
        if p == 0:
            return h if sparse is None else sparse
        return drop(h, p) if sparse is None else sparse.dropped(p)

    def _normalized(self, h: Tensor) -> Tensor:
        norm = self.norm
        joint = getattr(norm, "is_joint", False)  # this batch is a part of a larger one
        if isinstance(norm, nn.BatchNorm1d) and self.training and len(h) < 2 and not joint:
            # One row has no variance: a single node is normalized as at prediction time.
            mean, variance = norm.running_mean, norm.running_var
            return F.batch_norm(h, mean, variance, norm.weight, norm.bias, eps=norm.eps)
        return norm(h)


class Layered(Encoder):
    """An encoder of an input embedding and blocks that end in a choice of layers.

    Args:
        schema: What graphs look like.
        block: Makes block number ``i``, ``block(graph, h) -> (n, width)``.
        width: Columns of every layer.
        depth: Number of blocks.
        jk: How layers are combined: ``"last"``, or ``"concat"``, ``"sum"``, ``"max"`` of all,
            the input embedding included if it is learned.
        embed: The input; by default a learned embedding of ``width`` columns.

    Raises:
        ConfigError: If an option is outside its range.
    """

    def __init__(
        self,
        schema: Schema,
        block: Callable[[int], nn.Module],
        width: int,
        depth: int,
        jk: str,
        embed: nn.Module | None = None,
    ):
        super().__init__()
        require(width >= 1, "width", width, "at least 1")
        require(depth >= 1, "depth", depth, "at least 1")
        require(jk in JUMPS, "jk", jk, f"one of {JUMPS}")
        self.schema, self.jk = schema, jk
        self.width = width * (depth + (embed is None)) if jk == "concat" else width
        self.embed = node_input(schema, width) if embed is None else embed
        self.blocks = nn.ModuleList(block(i) for i in range(depth))

    def forward(self, graph: Graph) -> Tensor:
        """Node vectors ``(n, width)``.

        Raises:
            DataError: If the graph does not fit the schema.
        """
        layers = self.layers(graph)
        if isinstance(self.embed, RawFeatures):
            layers = layers[1:]  # other columns than the blocks have
        if self.jk == "concat":
            return torch.cat(layers, 1)
        if self.jk == "sum":
            return torch.stack(layers).sum(0)
        if self.jk == "max":
            return torch.stack(layers).amax(0)
        return layers[-1]


class Stack(Layered):
    """An encoder of equal blocks; the concrete ones differ in the convolution alone.

    Args:
        schema: What graphs look like.
        convolution: Makes one convolution ``conv(graph, h) -> (n, width)`` of ``(n, inputs)``,
            given the number of inputs.
        width: Columns of every layer.
        depth: Number of blocks.
        dropout: Probability of dropping a value after each block.
        norm: ``"batch"``, ``"layer"`` or ``None``.
        jk: How layers are combined: ``"last"``, or ``"concat"``, ``"sum"``, ``"max"`` of all,
            the input embedding included if it is learned.
        residual: Whether each block's input is added to its output (where the first block reads
            the features itself, it adds nothing).
        embedding: ``"learned"``: a learned embedding of ``width`` columns comes before the first
            block; ``None``: the first convolution reads the node features, and all convolutions
            start from the weights of Glorot and Bengio 2010. Nodes without features,
            and those that have their number alone, have learned vectors with either.
        input_dropout: Probability of dropping a value of what the first block reads.
        normalize_features: What the floating features of each node are divided by: ``"l2"``, their
            Euclidean length, ``"l1"`` or true, the sum of their absolute values, or nothing; for
            ``embedding=None``.

    Raises:
        ConfigError: If an option is outside its range.
    """

    search_space = {
        "width": Choice((32, 64, 128, 256)),
        "depth": Range(2, 5),
        "dropout": Choice((0.0, 0.2, 0.5)),
    }

    def __init__(
        self,
        schema: Schema,
        convolution: Callable[[int], nn.Module],
        width: int,
        depth: int,
        dropout: float,
        norm: str | None,
        jk: str,
        residual: bool,
        embedding: str | None = "learned",
        input_dropout: float = 0.0,
        normalize_features: bool | str = False,
    ):
        require(0 <= dropout < 1, "dropout", dropout, "at least 0 and below 1")
        require(0 <= input_dropout < 1, "input_dropout", input_dropout, "at least 0 and below 1")
        require(norm in NORMS, "norm", norm, f"one of {NORMS}")
        require(embedding in EMBEDDINGS, "embedding", embedding, f"one of {EMBEDDINGS}")
        require(
            normalize_features in NORMALIZATIONS,
            "normalize_features",
            normalize_features,
            f"one of {NORMALIZATIONS}",
        )
        if normalize_features and embedding is not None:
            raise ConfigError(
                "`normalize_features` is given, expected false beside a learned embedding; give "
                "embedding=None, or data with normalized features"
            )
        raw = embedding is None and has_features(schema)
        embed = RawFeatures(schema, normalize_features) if raw else None

        def block(i: int) -> nn.Module:
            conv = convolution(embed.width if embed is not None and i == 0 else width)
            if embed is not None:
                _glorot(conv)
            return Block(
                conv,
                width,
                norm,
                dropout,
                residual=residual and (embed is None or i > 0),
                activate=i < depth - 1,
                input_dropout=0.0 if i else input_dropout,
            )

        super().__init__(schema, block, width, depth, jk, embed)


def require(fine: bool, name: str, value: object, expected: str) -> None:
    """Refuse the value of an option.

    Raises:
        ConfigError: If it is not ``fine``.
    """
    if not fine:
        raise ConfigError(f"`{name}` is {value!r}, expected {expected}")


def _glorot(conv: nn.Module) -> None:
    """Weights of Glorot and Bengio 2010, as Kipf and Welling 2017 have them.

    torch's own are smaller the more columns there are: with few labels on thousands of columns,
    an encoder that starts from those is less accurate (``benchmarks/node_level.py``).
    """
    for part in conv.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)


def _norm(name: str | None, width: int) -> nn.Module:
    if name == "batch":
        return nn.BatchNorm1d(width)
    return nn.LayerNorm(width) if name == "layer" else nn.Identity()
