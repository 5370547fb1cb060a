"""The Dataset: graphs with labels, splits and a metric."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gtl.data.item_kinds import items_of
from gtl.data.items import Items, PairItems
from gtl.data.triples import TripleItems, Vocabulary
from gtl.errors import DataError
from gtl.graph import Graph, Schema
from gtl.graph.constant import refuse_autograd
from gtl.graph.pack import PackedGraphs
from gtl.metrics import METRICS, check_metric, direction, ranks_pairs

KINDS = ("binary", "multiclass", "regression")
_DEFAULT_METRIC = {"binary": "rocauc", "multiclass": "acc", "regression": "rmse"}


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Graphs with or without labels.

    Items are graphs (``level="graph"``), the nodes of one graph (``level="node"``), pairs of its
    nodes (``level="edge"``): is there a link?, or triples of a knowledge graph
    (``level="triple"``). The graph of a set of links or triples has those that training may know;
    links and triples of valid and test are items alone.

    Attributes:
        spec: What it was loaded from, such as ``ogb:ogbg-molbace``.
        graphs: The graphs of a graph-level set.
        graph: The graph of a node- or link-level set, or of one of triples.
        pairs: Two nodes of each item of a link-level set, int64 ``(items, 2)``.
        labels: Float ``(items, t)`` with NaN for missing, int64 classes ``(items,)`` with -1 for
            missing, or ``None``. Stored as float32 or int64. At link level 1 for a link and 0
            for none, ``(items, 1)``; training sets usually hold links alone and the negatives
            are drawn in each step.
        triples: Head, relation and tail of each item of a set of triples, int64 ``(items, 3)``.
        vocabulary: Names of entities and relations of a set of triples.
        split: Item numbers, int64, under ``train``, ``valid`` and ``test``, no item in two of
            them; may be empty for unlabeled data.
        level: ``"graph"``, ``"node"``, ``"edge"`` or ``"triple"``.
        kind: ``"binary"``, ``"multiclass"`` or ``"regression"``; read off the labels if not given.
        metric: A key of :data:`METRICS`, or ``hits@K``; chosen by ``kind`` if not given.
        names: A name per item, such as its SMILES; may be empty.
        class_names: What class 0, 1, ... is called in the file; may be empty.
        label_names: What each label column, or the one column of classes, is called in the file;
            may be empty.
        rows: Row in ``file`` of each item, int64 ``(items,)``, the header being row 1; ``None``
            where items are no rows. See :func:`gtl.data.readers.table.read_rows`.
        file: Path of the file with the rows; may be empty.
        options: What :func:`gtl.load` was given beside ``spec`` and ``root``, to load it again.
        root: Folder where :func:`gtl.load` looked for it; empty if none was named.
        contents: The items themselves, of the class for their level.

    Raises:
        DataError: If lengths disagree, a split is out of range or overlaps, no label is known, or
            the labels do not fit ``kind``.
    """

    spec: str
    graphs: PackedGraphs | None = None
    graph: Graph | None = None
    labels: Tensor | None = None
    split: Mapping[str, Tensor] = field(default_factory=dict)
    level: str = "graph"
    kind: str = ""
    metric: str = ""
    names: Sequence[str] = ()
    class_names: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    root: str = ""
    pairs: Tensor | None = None
    triples: Tensor | None = None
    vocabulary: Vocabulary | None = None
    rows: Tensor | None = None
    file: str = ""
    contents: Items = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "contents", self._contents())
        if self.graph is not None:
            refuse_autograd(self.graph)
        if self.labels is not None:
            self._check_labels(self.labels)
        if isinstance(self.contents, TripleItems):
            self._check_triples(self.contents)
        if self.names and len(self.names) != len(self):
            raise DataError(f"{self.spec}: {len(self.names)} names for {len(self)} items")
        if self.rows is not None and len(self.rows) != len(self):
            raise DataError(f"{self.spec}: {len(self.rows)} `rows` for {len(self)} items")
        self._check_split()

    def _contents(self) -> Items:
        known = None if self.vocabulary is None else len(self.vocabulary.relations)
        held = (self.graphs, self.graph, self.pairs, self.triples)
        try:
            return items_of(self.level, *held, relations=known)
        except DataError as error:
            raise DataError(f"{self.spec}: {error}") from None

    def _check_labels(self, labels: Tensor) -> None:
        if len(labels) != len(self):
            raise DataError(f"{self.spec}: {len(labels)} labels for {len(self)} items")
        floating = labels.is_floating_point()
        if labels.dim() != (2 if floating else 1):
            raise DataError(
                f"{self.spec}: `labels` have shape {tuple(labels.shape)}, expected "
                "(items, t) if floating or (items,) if they are classes"
            )
        columns = labels.shape[1] if floating else 1
        if self.label_names and len(self.label_names) != columns:
            raise DataError(
                f"{self.spec}: {len(self.label_names)} `label_names` for {columns} label columns"
            )
        if not floating and bool((labels < -1).any()):
            raise DataError(
                f"{self.spec}: there is a class {int(labels.min())}, expected classes from 0 on "
                "and -1 for missing"
            )
        known = ~labels.isnan() if floating else labels >= 0
        if not bool(known.any()):
            raise DataError(f"{self.spec}: every label is missing (NaN); check the target column")
        object.__setattr__(self, "labels", labels.float() if floating else labels.long())
        if not self.kind:
            object.__setattr__(self, "kind", _kind_of(labels))
        self._check_kind(labels)
        if not self.metric:
            object.__setattr__(self, "metric", _DEFAULT_METRIC[self.kind])
        if direction(self.metric) is None:
            raise DataError(
                f"{self.spec}: `metric` is {self.metric!r}, expected hits@K or one of "
                f"{tuple(METRICS)}"
            )
        check_metric(self.metric, self.kind)
        if ranks_pairs(self.metric) and not isinstance(self.contents, PairItems):
            raise DataError(
                f"{self.spec}: `metric` is {self.metric!r}, which ranks pairs; use it with "
                "level='edge'"
            )

    def _check_kind(self, labels: Tensor) -> None:
        if self.kind not in KINDS:
            raise DataError(f"{self.spec}: `kind` is {self.kind!r}, expected one of {KINDS}")
        floating = labels.is_floating_point()
        if floating == (self.kind == "multiclass"):
            raise DataError(
                f"{self.spec}: `kind` is {self.kind!r} but labels are {labels.dtype}; classes are "
                "int64 (items,), binary labels and values floating (items, t)"
            )
        if self.kind == "binary" and _kind_of(labels) != "binary":
            raise DataError(f"{self.spec}: `kind` is 'binary' but some label is neither 0 nor 1")
        links = isinstance(self.contents, PairItems)
        if links and (self.kind != "binary" or labels.shape[1] != 1):
            raise DataError(
                f"{self.spec}: labels of pairs are {self.kind} {tuple(labels.shape)}, expected "
                "one column of ones (links) and zeros (none)"
            )
        if self.class_names and not floating and int(labels.max()) >= len(self.class_names):
            raise DataError(
                f"{self.spec}: there is a class {int(labels.max())} but only "
                f"{len(self.class_names)} `class_names`"
            )

    def _check_triples(self, items: TripleItems) -> None:
        if self.labels is not None:
            raise DataError(f"{self.spec}: triples have no `labels`; all of them are true")
        if self.vocabulary and len(self.vocabulary.entities) != items.graph.num_nodes:
            raise DataError(
                f"{self.spec}: {len(self.vocabulary.entities)} names of entities for "
                f"{items.graph.num_nodes} nodes"
            )
        if not self.metric:
            object.__setattr__(self, "metric", "mrr")
        if not ranks_pairs(self.metric):
            raise DataError(
                f"{self.spec}: `metric` is {self.metric!r}, expected mrr or hits@K for triples"
            )

    def _check_split(self) -> None:
        for name, index in self.split.items():
            if index.dtype != torch.int64 or index.dim() != 1:
                raise DataError(
                    f"{self.spec}: split {name!r} is {index.dtype} {tuple(index.shape)}, expected "
                    "one dimension of int64 item numbers"
                )
            if len(index) and (int(index.min()) < 0 or int(index.max()) >= len(self)):
                raise DataError(
                    f"{self.spec}: split {name!r} names items outside 0..{len(self) - 1}"
                )
        if self.split:
            uses = torch.bincount(torch.cat(list(self.split.values())), minlength=len(self))
            if bool((uses > 1).any()):
                item = int((uses > 1).nonzero()[0])
                parts = [name for name, index in self.split.items() if bool((index == item).any())]
                raise DataError(
                    f"{self.spec}: item {item} is named more than once in the split "
                    f"({' and '.join(parts)}); each item may be used once"
                )

    @staticmethod
    def from_graphs(
        graphs: Any, labels: Any = None, split: Mapping[str, Any] | None = None, **options: Any
    ) -> Dataset:
        """A graph-level set of graphs in memory.

        Args:
            graphs: List of graphs that :func:`gtl.as_graph` reads (Graph, DGLGraph, PyG ``Data``,
                networkx, scipy) or of pairs of a graph and its label, a PyG data set,
                :class:`gtl.graph.PackedGraphs`, or a list of SMILES. Integer features are numbers
                of categories; give quantities as floats. Half and double precision become
                ``torch.get_default_dtype()``.
            labels: Array, tensor, list, pandas Series or DataFrame with one row per graph; see
                :func:`gtl.data.labels.read_labels`. By default those that the graphs carry (``y``
                of PyG, with one row each), or none.
            split: Item numbers, or a boolean for each item, of ``train``, ``valid`` (or ``val``)
                and ``test``. By default labeled items are drawn at random, 80/10/10.
            **options: ``kind``, ``metric``, ``names``, ``class_names``; ``seed`` and ``fractions``
                of the random split; ``x`` and ``e``, names of the features; ``on_invalid``,
                ``"raise"`` or ``"skip"``, for SMILES that cannot be read; ``spec``, a name for
                messages.

        Raises:
            DataError: If anything is of another form, or features carry autograd.

        Example:
            >>> from gtl.graph import Graph
            >>> pair = Graph(torch.tensor([0, 1]), torch.tensor([1, 0]), 2)
            >>> data = Dataset.from_graphs([pair] * 10, labels=["a", "b"] * 5)
            >>> data.kind, data.class_names, len(data.split["train"])
            ('binary', ('a', 'b'), 8)
        """
        from gtl.data.in_memory import dataset_from_graphs

        return dataset_from_graphs(graphs, labels, split, **options)

    @staticmethod
    def from_graph(
        graph: Any, labels: Any = None, split: Mapping[str, Any] | None = None, **options: Any
    ) -> Dataset:
        """A node-level set of one graph in memory, or a link-level one with ``pairs``.

        Args:
            graph: What :func:`gtl.as_graph` reads. Features are looked for under ``x`` (PyG) and
                ``feat`` (DGL). Types of a heterogeneous graph are numbered one after the other.
            labels: One row per node (per pair with ``pairs``), or the name of the field that holds
                them, or for a heterogeneous graph ``{node type: labels}``; see
                :func:`gtl.data.labels.read_labels`. By default the field ``y`` (PyG, networkx),
                ``label`` or ``labels`` (DGL), if there is one.
            split: As in :meth:`from_graphs`. By default the fields ``train_mask``, ``val_mask``
                and ``test_mask``; without them labeled items are drawn at random, 80/10/10.
            **options: ``pairs``, node numbers ``(items, 2)`` that make it a link-level set, whose
                labels are 1 for a link and 0 for none; ``x`` and ``e``, features as a matrix or
                the name of their field; ``mask_column``, which column of two-dimensional masks to
                take (0 by default); ``kind``, ``metric``, ``names``, ``class_names``, ``seed``,
                ``fractions`` and ``spec`` as in :meth:`from_graphs`.

        Raises:
            DataError: If anything is of another form, or features carry autograd.

        Example:
            >>> import scipy.sparse
            >>> ring = scipy.sparse.eye(10, k=1) + scipy.sparse.eye(10, k=-1)
            >>> data = Dataset.from_graph(ring, labels=[0, 1, 2, 0, 1, 2, 0, 1, 2, 0], seed=3)
            >>> data.level, data.kind, data.num_outputs
            ('node', 'multiclass', 3)
        """
        from gtl.data.in_memory import dataset_from_graph

        return dataset_from_graph(graph, labels, split, **options)

    def __repr__(self) -> str:
        from gtl.data.description import describe

        return describe(self)

    def __len__(self) -> int:
        return len(self.contents)

    @property
    def schema(self) -> Schema:
        """What the graphs look like."""
        return self.contents.schema

    @property
    def num_outputs(self) -> int:
        """Columns that predictions need: classes, or label columns."""
        if self.labels is None:
            raise DataError(f"{self.spec} has no labels")
        if self.kind == "multiclass":
            return len(self.class_names) or int(self.labels.max()) + 1
        return self.labels.shape[1]

    def batch(
        self,
        index: Tensor,
        device: torch.device | str = "cpu",
        fan_out: Sequence[int | None] | None = None,
        rng: torch.Generator | None = None,
    ) -> Graph:
        """The Graph of some items with their labels as ``y``.

        Args:
            index: Item numbers, int64 ``(b,)``. At node level they become the ``seeds`` of the
                whole graph, at link level their nodes become its ``pairs``, and those of triples,
                whose relations become its ``pair_type``.
            device: Where to; the one graph that holds all items is moved there once.
            fan_out: Of a node-level set, cut out sampled neighborhoods of the items alone, so many
                edges of each node at each hop; see :func:`gtl.graph.sample_neighbors`.
            rng: Generator for the draws.
        """
        graph = self.contents.batch(index, device, fan_out, rng)
        return graph.replace(y=None if self.labels is None else self.labels[index].to(device))

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

    def checksum(self, labels: bool = True) -> str:
        """SHA-256 over graphs, splits and, unless they are left out, labels; hexadecimal."""
        digest = hashlib.sha256()
        digest.update(self.contents.checksum().encode())
        values = {f"split.{name}": index for name, index in self.split.items()}
        held = {"labels": self.labels if labels else None, "pairs": self.pairs}
        for name, value in {**held, "triples": self.triples}.items():
            if value is not None:
                values[name] = value
        for name, value in sorted(values.items()):
            digest.update(name.encode())
            digest.update(value.contiguous().numpy().tobytes())
        return digest.hexdigest()


def _kind_of(labels: Tensor) -> str:
    if not labels.is_floating_point():
        return "multiclass"
    known = labels[~labels.isnan()]
    return "binary" if bool(((known == 0) | (known == 1)).all()) else "regression"
