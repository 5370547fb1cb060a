"""Node features as the input of a first convolution, without an embedding before it.

Kipf and Welling 2017 ("Semi-supervised classification with graph convolutional networks"): with few
labels the convolution itself maps bags of words to the hidden width. A bag of words has a handful
of values in thousands of columns, so where most values are zero only the others are multiplied, and
only they are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.encoders.inputs import code_width, node_codes
from gtl.encoders.typed import padded, type_codes
from gtl.graph import Graph, Schema, ops

# Up to this share of nonzero values, a product that skips the zeros is the faster one.
_SPARSE = 0.1
_FIELDS = ("num_nodes", "x", "node_type")  # what features are read from


def has_features(schema: Schema) -> bool:
    """Whether nodes have something to read but their own number: features, types or both."""
    own_number = schema.node is not None and schema.node.identity
    return not own_number and (schema.node is not None or schema.node_types > 1)


class RawFeatures(nn.Module):
    """Features of the nodes as they are: floating columns, or one column a category.

    Where there are several node types, one column a type follows.

    Args:
        schema: What graphs look like; nodes have features, types or both.
        normalize: Whether floating features are divided by the sum of their absolute values.

    Attributes:
        width: Columns of the output.
    """

    one: Tensor

    def __init__(self, schema: Schema, normalize: bool = False):
        super().__init__()
        self.columns, self.normalize = schema.node, normalize
        self.types = schema.node_types if schema.node_types > 1 else 0
        self.width = code_width(schema.node) + self.types
        self.register_buffer("one", torch.ones(()), persistent=False)  # dtype of the output

    def forward(self, graph: Graph) -> Tensor:
        """Features ``(n, width)``.

        Raises:
            DataError: If ``x`` of the graph has other columns, or node types are missing.
        """
        if graph.x is not None and graph.x.requires_grad:
            return self._read(graph)
        key = ("raw_features", self.columns, self.types, self.one.dtype, self.normalize)
        raw: _Raw = graph.remember(key, lambda: _Raw.of(self._read(graph)), _FIELDS)
        known = _known(graph)
        if not any(other is raw for other in known):
            known.append(raw)
        return raw.features

    def _read(self, graph: Graph) -> Tensor:
        dtype, parts = self.one.dtype, []
        if self.columns is not None:
            codes = node_codes(graph, self.columns, dtype)
            if self.normalize and self.columns.categories is None:
                codes = F.normalize(codes, p=1.0, dim=1)
            parts.append(codes)
        if self.types:
            parts.append(type_codes(graph, self.types, dtype))
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]


@dataclass(frozen=True)
class SparseRows:
    """Rows of which most values are zero.

    Attributes:
        into: From columns to rows, an edge for each value that is not zero; it has as many nodes
            as the larger of the two numbers.
        values: These values, ``(m,)``.
        shape: Numbers of rows and columns.
    """

    into: Graph
    values: Tensor
    shape: tuple[int, int]

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the values."""
        return self.values.dtype

    @staticmethod
    def of(rows: Tensor) -> SparseRows | None:
        """The nonzero values of a matrix ``(n, d)``; ``None`` where there are too many."""
        n, d = rows.shape
        if int(rows.count_nonzero()) > _SPARSE * n * d:
            return None
        row, column = rows.nonzero().unbind(1)
        return SparseRows(Graph(column, row, max(n, d)), rows[row, column], (n, d))

    def dropped(self, p: float) -> SparseRows:
        """The same with values dropped with probability ``p``, the others scaled up."""
        return SparseRows(self.into, drop(self.values, p), self.shape)

    def dense(self) -> Tensor:
        """The rows with their zeros, ``(n, d)``."""
        rows = self.values.new_zeros(self.shape)
        return rows.index_put((self.into.dst, self.into.src), self.values)

    def times(self, weight: Tensor) -> Tensor:
        """Product with the transpose of a matrix ``(o, d)``, ``(n, o)``."""
        vectors = padded(weight.T.contiguous(), self.into.num_nodes)
        return ops.weighted_sum_neighbors(self.into, vectors, self.values)[: self.shape[0]]


def sparse_rows(graph: Graph, h: Tensor) -> SparseRows | None:
    """The nonzero values of ``h``, if those are what :class:`RawFeatures` gave for this graph.

    ``None`` where they are not (an adapter changed them, say), or where most of them are not zero.
    """
    return next((raw.sparse for raw in _known(graph) if raw.features is h), None)


def drop(values: Tensor, p: float) -> Tensor:
    """Values dropped with probability ``p``, the others divided by ``1 - p``.

    On a CPU uniform numbers are drawn several times as fast as the Bernoulli ones of torch's own
    dropout, which would take most of a step on features of a thousand columns.
    """
    return values * (torch.rand_like(values) >= p).to(values.dtype).div_(1 - p)


def is_narrow(h: Tensor | SparseRows, width: int) -> TypeGuard[Tensor]:
    """Whether rows are dense and have at most ``width`` columns: neighbors are summed first."""
    return isinstance(h, Tensor) and h.shape[1] <= width


def times(h: Tensor | SparseRows, weight: Tensor) -> Tensor:
    """Product of rows ``(n, d)``, sparse or not, with the transpose of ``(o, d)``: ``(n, o)``."""
    return h @ weight.T if isinstance(h, Tensor) else h.times(weight)


def project(linear: nn.Linear, h: Tensor | SparseRows) -> Tensor:
    """A linear map of rows ``(n, d)``, sparse or not, ``(n, o)``."""
    if isinstance(h, Tensor):
        return linear(h)
    out = h.times(linear.weight)
    return out if linear.bias is None else out + linear.bias


@dataclass(frozen=True)
class _Raw:
    features: Tensor
    sparse: SparseRows | None

    @staticmethod
    def of(features: Tensor) -> _Raw:
        return _Raw(features, SparseRows.of(features))


def _known(graph: Graph) -> list[_Raw]:
    return graph.remember("raw_features", list, _FIELDS)
