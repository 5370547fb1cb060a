"""A Dataset: graphs, labels, splits and the metric they are judged by, from wherever they came."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gtl.errors import DataError
from gtl.graph import Graph, Schema
from gtl.graph.pack import PackedGraphs

LEVELS = ("graph", "node")
KINDS = ("binary", "multiclass", "regression")
METRICS = {
    "rocauc": "higher",
    "ap": "higher",
    "acc": "higher",
    "f1": "higher",
    "rmse": "lower",
    "mae": "lower",
}
_DEFAULT_METRIC = {"binary": "rocauc", "multiclass": "acc", "regression": "rmse"}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Graphs with or without labels.

    Items are graphs (``level="graph"``) or the nodes of one graph (``level="node"``).

    Attributes:
        spec: What it was loaded from, such as ``ogb:ogbg-molbace``.
        graphs: The graphs of a graph-level set.
        graph: The graph of a node-level set.
        labels: Float ``(items, t)`` with NaN for missing, int64 classes ``(items,)`` with -1 for
            missing, or ``None``.
        split: Item numbers, int64, under ``train``, ``valid`` and ``test``; may be empty for
            unlabeled data.
        level: ``"graph"`` or ``"node"``.
        kind: ``"binary"``, ``"multiclass"`` or ``"regression"``; read off the labels if not given.
        metric: A key of :data:`METRICS`; chosen by ``kind`` if not given.
        names: A name per item, such as its SMILES; may be empty.

    Raises:
        DataError: If lengths disagree, a split is out of range or overlaps, or no label is known.
    """

    spec: str
    graphs: PackedGraphs | None = None
    graph: Graph | None = None
    labels: Tensor | None = None
    split: Mapping[str, Tensor] = field(default_factory=dict)
    level: str = "graph"
    kind: str = ""
    metric: str = ""
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.graphs is None) == (self.graph is None):
            raise DataError(f"{self.spec}: give either `graphs` or `graph`")
        if self.level not in LEVELS:
            raise DataError(f"{self.spec}: `level` is {self.level!r}, expected one of {LEVELS}")
        if self.labels is not None:
            self._check_labels(self.labels)
        for name, index in self.split.items():
            if len(index) and (int(index.min()) < 0 or int(index.max()) >= len(self)):
                raise DataError(
                    f"{self.spec}: split {name!r} names items outside 0..{len(self) - 1}"
                )

    def _check_labels(self, labels: Tensor) -> None:
        if len(labels) != len(self):
            raise DataError(f"{self.spec}: {len(labels)} labels for {len(self)} items")
        known = ~labels.isnan() if labels.is_floating_point() else labels >= 0
        if not bool(known.any()):
            raise DataError(f"{self.spec}: every label is missing (NaN); check the target column")
        if not self.kind:
            object.__setattr__(self, "kind", _kind_of(labels))
        if self.kind not in KINDS:
            raise DataError(f"{self.spec}: `kind` is {self.kind!r}, expected one of {KINDS}")
        if not self.metric:
            object.__setattr__(self, "metric", _DEFAULT_METRIC[self.kind])
        if self.metric not in METRICS:
            raise DataError(
                f"{self.spec}: `metric` is {self.metric!r}, expected one of {tuple(METRICS)}"
            )

    def __len__(self) -> int:
        if self.graphs is not None:
            return len(self.graphs)
        assert self.graph is not None
        return self.graph.num_nodes

    @property
    def schema(self) -> Schema:
        """What the graphs look like."""
        if self.graphs is not None:
            return self.graphs.schema
        assert self.graph is not None
        return self.graph.remember("schema", lambda: Schema.of(self.graph), ("x", "e"))

    @property
    def num_outputs(self) -> int:
        """Columns that predictions need: classes, or label columns."""
        if self.labels is None:
            raise DataError(f"{self.spec} has no labels")
        if self.kind == "multiclass":
            return int(self.labels.max()) + 1
        return self.labels.shape[1]

    def batch(self, index: Tensor) -> Graph:
        """The Graph of some items with their labels as ``y``.

        Args:
            index: Item numbers, int64 ``(b,)``. At node level they become the ``seeds`` of the
                whole graph.
        """
        y = None if self.labels is None else self.labels[index]
        if self.graphs is not None:
            return self.graphs.batch(index).replace(y=y)
        assert self.graph is not None
        return self.graph.replace(seeds=index, y=y)

    def items(self, part: str) -> Tensor:
        """Item numbers of a part of the split, or of ``"all"`` items.

        Raises:
            DataError: If there is no such part, or it is empty.
        """
        if part == "all":
            return torch.arange(len(self))
        if part not in self.split:
            known = ", ".join([*self.split, "all"])
            raise DataError(f"{self.spec} has no split {part!r}; it has: {known}")
        if not len(self.split[part]):
            raise DataError(
                f"{self.spec}: split {part!r} is empty; choose another split or more data"
            )
        return self.split[part]

    def checksum(self) -> str:
        """SHA-256 over graphs, labels and splits, hexadecimal."""
        digest = hashlib.sha256()
        packed = self.graphs or PackedGraphs.pack([self.graph.replace(y=None, seeds=None)])  # type: ignore[union-attr]
        digest.update(packed.checksum().encode())
        values = {f"split.{name}": index for name, index in self.split.items()}
        if self.labels is not None:
            values["labels"] = self.labels
        for name, value in sorted(values.items()):
            digest.update(name.encode())
            digest.update(value.contiguous().numpy().tobytes())
        return digest.hexdigest()


def _kind_of(labels: Tensor) -> str:
    if not labels.is_floating_point():
        return "multiclass"
    known = labels[~labels.isnan()]
    return "binary" if bool(((known == 0) | (known == 1)).all()) else "regression"
