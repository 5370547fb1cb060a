"""Node features as the input of a first convolution, without an embedding before it.

Kipf and Welling 2017 ("Semi-supervised classification with graph convolutional networks"): with few
labels the convolution itself maps bags of words to the hidden width. Where most values are zero
only the others are multiplied, and only they are dropped (:mod:`gtl.encoders.sparse`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.encoders.inputs import code_width, node_codes
from gtl.encoders.sparse import SparseRows
from gtl.encoders.typed import type_codes
from gtl.graph import Graph, Schema

NORMALIZATIONS = (False, True, "l1", "l2")
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
        normalize: What the floating features of a node are divided by: ``"l2"``, their Euclidean
            length, ``"l1"`` or true, the sum of their absolute values, or nothing.

    Attributes:
        width: Columns of the output.
    """

    one: Tensor

    def __init__(self, schema: Schema, normalize: bool | str = False):
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
                codes = F.normalize(codes, p=2.0 if self.normalize == "l2" else 1.0, dim=1)
            parts.append(codes)
        if self.types:
            parts.append(type_codes(graph, self.types, dtype))
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]


def sparse_rows(graph: Graph, h: Tensor) -> SparseRows | None:
    """The nonzero values of ``h``, if those are what :class:`RawFeatures` gave for this graph.

    ``None`` where they are not (an adapter changed them, say), where most of them are not zero, or
    where nodes are few.
    """
    return next((raw.sparse for raw in _known(graph) if raw.features is h), None)


@dataclass(frozen=True)
class _Raw:
    features: Tensor
    sparse: SparseRows | None

    @staticmethod
    def of(features: Tensor) -> _Raw:
        return _Raw(features, SparseRows.of(features))


def _known(graph: Graph) -> list[_Raw]:
    return graph.remember("raw_features", list, _FIELDS)
