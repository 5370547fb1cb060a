"""Items of a data set: graphs, nodes of one graph, or pairs of its nodes.

Everything that depends on what an item is stands here, a class for each kind. Triples of a
knowledge graph are :class:`gtl.data.triples.TripleItems`, windows of a series
:class:`gtl.data.window_items.WindowItems`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from gtl.errors import DataError
from gtl.graph import Graph, Schema, sample_neighbors
from gtl.graph.graph import CONTENT
from gtl.graph.pack import PackedGraphs
from gtl.graph.pairs import pair_features

_GRAPHS, _PAIRS, _NODES = 1024, 1 << 16, 1024
_LARGE = 10_000_000  # edges from which on a graph that was sampled in training is not read whole


class Items(ABC):
    """What is labeled, predicted and counted in a data set.

    Attributes:
        level: Name of the kind of items, as in :attr:`gtl.Dataset.level`.
        one_graph: Whether all items lie in one graph, whose node vectors serve every batch.
        can_sample: Whether a batch can be the sampled neighborhoods of its items.
        has_readout: Whether node vectors are pooled to item vectors by a readout.
        pretraining_part: Part of the split that pre-training uses: ``"all"``, labels being left
            out, unless the items themselves are what is to be predicted.
    """

    level: ClassVar[str]
    one_graph: ClassVar[bool]
    can_sample: ClassVar[bool] = False
    has_readout: ClassVar[bool] = False
    pretraining_part: ClassVar[str] = "all"

    @abstractmethod
    def __len__(self) -> int:
        """Number of items."""

    @property
    @abstractmethod
    def schema(self) -> Schema:
        """What the graphs look like."""

    @abstractmethod
    def batch(
        self,
        index: Tensor,
        device: torch.device | str = "cpu",
        fan_out: Sequence[int | None] | None = None,
        rng: torch.Generator | None = None,
    ) -> Graph:
        """The Graph of some items, int64 ``(b,)``, on a device.

        Args:
            index: Item numbers.
            device: Where to.
            fan_out: Where :attr:`can_sample`, edges to draw of each node at each hop; see
                :func:`gtl.graph.sample_neighbors`.
            rng: Generator for the draws.
        """

    @staticmethod
    @abstractmethod
    def features(graph: Graph, nodes: Tensor, pool: Any) -> Tensor:
        """Item vectors ``(b, h)`` from the node vectors ``(n, h)`` of a batch.

        Args:
            graph: The batch.
            nodes: Node vectors.
            pool: A readout for graphs, a key of :data:`gtl.graph.pairs.PAIR_FEATURES` for pairs,
                ``None`` for nodes.

        Raises:
            DataError: If the batch has items of another kind.
        """

    def packed(self) -> PackedGraphs | None:
        """The graphs, packed, where each item has its own; ``None`` elsewhere."""
        return None

    def node_features(self) -> Tensor | None:
        """Features of all nodes ``(n, d)``, where items are nodes that have some."""
        return None

    def validate(self) -> None:
        """Check the one graph, where there is one; packed graphs were checked when packed."""
        return None

    def queries(self, index: Tensor) -> Any:
        """Group of each item in which a ranking metric compares it, NumPy ``(b,)``, or ``None``."""
        return None

    def columns(self, index: Tensor) -> dict[str, Any]:
        """Columns that identify items in a table, beside their names; NumPy arrays by title."""
        return {}

    def step_size(self, batch_size: int, fan_out: Sequence[int | None] | None) -> int:
        """Items of a training step; 0 means all at once."""
        return batch_size

    def pretraining_step(self, batch_size: int, fan_out: Sequence[int | None] | None) -> int:
        """Items of a step of pre-training, likewise: one graph is seen whole unless sampled."""
        return 0 if self.one_graph and fan_out is None else batch_size

    def portions(
        self,
        depth: int,
        fan_out: Sequence[int | None] | None,
        batch_size: int | None,
        sampled: bool,
    ) -> tuple[Sequence[int | None] | None, int]:
        """Neighbors to draw (``None``: no sampling) and items at a time (0: all) of a prediction.

        Args:
            depth: Layers of the encoder.
            fan_out: What the user gave.
            batch_size: Likewise.
            sampled: Whether training sampled neighborhoods.
        """
        return None, batch_size or _GRAPHS

    @abstractmethod
    def checksum(self) -> str:
        """SHA-256 over the graphs, hexadecimal."""


@dataclass(frozen=True, eq=False)
class GraphItems(Items):
    """Graphs, packed."""

    graphs: PackedGraphs

    level = "graph"
    one_graph = False
    has_readout = True

    def __len__(self) -> int:
        return len(self.graphs)

    @property
    def schema(self) -> Schema:
        """What the graphs look like."""
        return self.graphs.schema

    def batch(
        self,
        index: Tensor,
        device: torch.device | str = "cpu",
        fan_out: Sequence[int | None] | None = None,
        rng: torch.Generator | None = None,
    ) -> Graph:
        """One disjoint Graph; see :class:`Items`."""
        return self.graphs.batch_on(index, device)

    @staticmethod
    def features(graph: Graph, nodes: Tensor, pool: Any) -> Tensor:
        """What the readout makes of the nodes of each graph."""
        _require_no_pairs(graph)
        return pool(graph, nodes)

    def packed(self) -> PackedGraphs | None:
        """The graphs."""
        return self.graphs

    def checksum(self) -> str:
        """See :class:`Items`."""
        return self.graphs.checksum()


@dataclass(frozen=True, eq=False)
class ItemsOfOneGraph(Items):
    """Items that lie in one graph."""

    graph: Graph

    one_graph = True

    @property
    def schema(self) -> Schema:
        """What the graph looks like."""
        return schema_of(self.graph)

    def validate(self) -> None:
        """See :class:`Items`."""
        self.graph.validate()

    def checksum(self) -> str:
        """See :class:`Items`."""
        return PackedGraphs.pack([self.graph.unlabeled()]).checksum()


@dataclass(frozen=True, eq=False)
class NodeItems(ItemsOfOneGraph):
    """Nodes of one graph; a batch names them in ``seeds``."""

    level = "node"
    can_sample = True

    def __len__(self) -> int:
        return self.graph.num_nodes

    def batch(
        self,
        index: Tensor,
        device: torch.device | str = "cpu",
        fan_out: Sequence[int | None] | None = None,
        rng: torch.Generator | None = None,
    ) -> Graph:
        """The whole graph, moved to the device once, or sampled neighborhoods of the items."""
        if fan_out is None:
            whole = moved_once(self.graph, device)
            return whole.replace(seeds=index.to(device), pairs=None, pair_type=None)
        home = self.graph.device
        part = sample_neighbors(self.graph, index.to(home), fan_out, rng)
        return part.to(torch.device(device))

    @staticmethod
    def features(graph: Graph, nodes: Tensor, pool: Any) -> Tensor:
        """Vectors of the seeds, or of all nodes where there are none."""
        _require_no_pairs(graph)
        return nodes if graph.seeds is None else nodes[graph.seeds]

    def node_features(self) -> Tensor | None:
        """See :class:`Items`."""
        return self.graph.x

    def step_size(self, batch_size: int, fan_out: Sequence[int | None] | None) -> int:
        """All nodes at once, unless their neighborhoods are sampled."""
        return 0 if fan_out is None else batch_size

    def portions(
        self,
        depth: int,
        fan_out: Sequence[int | None] | None,
        batch_size: int | None,
        sampled: bool,
    ) -> tuple[Sequence[int | None] | None, int]:
        """The whole graph, or exact neighborhoods where it is large or a batch size is given."""
        large = sampled and self.graph.num_edges > _LARGE
        if fan_out is None and batch_size is None and not large:
            return None, 0
        return fan_out or [None] * depth, batch_size or _NODES


@dataclass(frozen=True, eq=False)
class PairItems(ItemsOfOneGraph):
    """Pairs of nodes of one graph, which has the links that training may know."""

    pairs: Tensor

    level = "edge"

    def __post_init__(self) -> None:
        pairs, n = self.pairs, self.graph.num_nodes
        if pairs.dtype != torch.int64 or pairs.dim() != 2 or pairs.shape[1] != 2:
            raise DataError(
                f"`pairs` are {pairs.dtype} {tuple(pairs.shape)}, expected int64 (items, 2), two "
                "nodes an item"
            )
        if len(pairs) and (int(pairs.min()) < 0 or int(pairs.max()) >= n):
            raise DataError(f"`pairs` name nodes outside 0..{n - 1}")

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(
        self,
        index: Tensor,
        device: torch.device | str = "cpu",
        fan_out: Sequence[int | None] | None = None,
        rng: torch.Generator | None = None,
    ) -> Graph:
        """The whole graph with the items as its ``pairs``."""
        whole = moved_once(self.graph, device)
        return whole.replace(seeds=None, pairs=self.pairs[index].to(device), pair_type=None)

    @staticmethod
    def features(graph: Graph, nodes: Tensor, pool: Any) -> Tensor:
        """One vector of the two nodes' vectors."""
        if graph.pairs is None:
            raise DataError(
                "the model predicts for pairs of nodes, and the graph has none; set `pairs`"
            )
        return pair_features(nodes, graph.pairs, pool)

    def queries(self, index: Tensor) -> Any:
        """The first node of each pair."""
        return self.pairs[index, 0].numpy()

    def columns(self, index: Tensor) -> dict[str, Any]:
        """Both nodes."""
        src, dst = self.pairs[index].t().numpy()
        return {"src": src, "dst": dst}

    def portions(
        self,
        depth: int,
        fan_out: Sequence[int | None] | None,
        batch_size: int | None,
        sampled: bool,
    ) -> tuple[Sequence[int | None] | None, int]:
        """The whole graph, many pairs at a time."""
        return None, batch_size or _PAIRS


def moved_once(graph: Graph, device: torch.device | str) -> Graph:
    """The graph on a device; the copy is remembered with the graph."""
    device = torch.device(device)
    if graph.device == device:
        return graph
    return graph.remember(("on", device), lambda: graph.to(device), CONTENT)


def schema_of(graph: Graph) -> Schema:
    """Schema of one graph, and whether its one column is the number of the node itself."""
    fields = ("x", "e", "node_type", "edge_type")
    return graph.remember("schema", lambda: _schema_with_identity(graph), fields)


def _schema_with_identity(graph: Graph) -> Schema:
    schema, x, n = Schema.of(graph), graph.x, graph.num_nodes
    if x is None or x.is_floating_point() or x.shape[1] != 1 or n < 2:
        return schema
    if not torch.equal(x[:, 0], torch.arange(n, dtype=x.dtype, device=x.device)):
        return schema
    assert schema.node is not None
    return replace(schema, node=replace(schema.node, identity=True))


def _require_no_pairs(graph: Graph) -> None:
    if graph.pairs is not None:
        raise DataError(
            "the graph has `pairs`, and the model was not trained on such; use `graph.unlabeled()`"
        )
