"""The Graph: the immutable record that every part of gtl reads.

A batch of graphs is one disjoint graph with ``sizes``; a typed graph is a homogeneous one with
types. Derived values (in-degrees, kernel handles, edge codes) are cached on the record itself and
survive :meth:`Graph.replace` as long as the fields they depend on are unchanged.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from gtl.errors import ShapeError
from gtl.graph.batching import fields_of_each, joined_fields
from gtl.graph.fields import NODE_FIELDS, check_forms, edges_of, form
from gtl.graph.validation import check_values

T = TypeVar("T")
STRUCTURE = ("src", "dst", "num_nodes")
CONTENT = (*STRUCTURE, "x", "e", "node_type", "edge_type", "time", "sizes")  # what encoders read
_dependencies: set[tuple[str, ...]] = {STRUCTURE}  # every `depends_on` that was ever used


@dataclass(frozen=True, eq=False, repr=False)
class Graph:
    """A directed graph, or a batch of disjoint ones; messages flow from ``src`` to ``dst``.

    An undirected edge is stored in both directions. The constructor checks shapes and dtypes
    only; :meth:`validate` also reads the values and is called once, where data enters gtl.

    Attributes:
        src: Sending node of each edge, int64 ``(m,)``.
        dst: Receiving node of each edge, int64 ``(m,)``.
        num_nodes: Number of nodes ``n``.
        x: Node features ``(n, d)``: floating, or integer for categorical columns, or ``None``.
        e: Edge features ``(m, d_e)``, likewise.
        node_type: int64 ``(n,)`` or ``None``.
        edge_type: int64 ``(m,)`` or ``None``.
        time: Time of each edge ``(m,)`` or ``None``.
        sizes: Nodes per graph, int64 ``(g,)``, when this is a batch; ``None`` means one graph.
        y: Labels, ``None`` or one row per seed where ``seeds`` are given, per pair where ``pairs``
            are, else per graph. Float ``(b, t)`` with NaN for missing, or int64 classes ``(b,)``.
        seeds: Nodes that ``y`` (and node-level tasks) refer to, int64 ``(b,)``.
        pairs: Pairs of nodes that ``y`` (and link-level tasks) refer to, int64 ``(b, 2)``; joined
            or not. A graph has seeds or pairs, not both.
        pair_type: Relation of each pair, int64 ``(b,)``, where pairs are heads and tails of
            triples; ``None`` elsewhere.
        origin: Number of each node in the graph that this one was sampled from, int64 ``(n,)``;
            see :func:`gtl.graph.sample_neighbors`. ``None`` if it was not sampled.
        undrawn: Incoming edges of each node that sampling left out, int64 ``(n,)``, likewise.
        properties: Further columns per graph by name, each ``(g, d)``, such as the descriptors of a
            molecule; NaN for missing. They describe the graphs as they were loaded.

    Raises:
        ShapeError: If a field has the wrong shape or dtype.

    Example:
        >>> path = Graph(torch.tensor([0, 1]), torch.tensor([1, 2]), 3)
        >>> path.in_degrees().tolist()
        [0, 1, 1]
    """

    src: Tensor
    dst: Tensor
    num_nodes: int
    x: Tensor | None = None
    e: Tensor | None = None
    node_type: Tensor | None = None
    edge_type: Tensor | None = None
    time: Tensor | None = None
    sizes: Tensor | None = None
    y: Tensor | None = None
    seeds: Tensor | None = None
    pairs: Tensor | None = None
    pair_type: Tensor | None = None
    origin: Tensor | None = None
    undrawn: Tensor | None = None
    properties: Mapping[str, Tensor] | None = None
    _memory: dict[tuple[str, ...], dict[Any, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_nodes", operator.index(self.num_nodes))
        if self.num_nodes < 0:
            raise ShapeError(f"`num_nodes` is {self.num_nodes}, expected 0 or more")
        check_forms(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return Graph, tuple(self._fields().values())  # cached kernel handles cannot be pickled

    # -- sizes ---------------------------------------------------------------------------------

    @property
    def num_edges(self) -> int:
        """Number of directed edges ``m``."""
        return len(self.src)

    @property
    def num_graphs(self) -> int:
        """Number of graphs ``g`` in the batch; 1 for a single graph."""
        return 1 if self.sizes is None else len(self.sizes)

    @property
    def num_items(self) -> int:
        """Number of items that have labels: seeds or pairs if there are any, else graphs."""
        items = self.pairs if self.seeds is None else self.seeds
        return self.num_graphs if items is None else len(items)

    @property
    def device(self) -> torch.device:
        """Device of all tensors."""
        return self.src.device

    def graph_sizes(self) -> Tensor:
        """Nodes per graph, int64 ``(g,)``, also for a single graph."""
        if self.sizes is not None:
            return self.sizes
        return torch.tensor([self.num_nodes], device=self.device)

    def graph_ids(self) -> Tensor:
        """Graph of each node, int64 ``(n,)``."""
        return self.remember("graph_ids", self._graph_ids, ("num_nodes", "sizes"))

    def _graph_ids(self) -> Tensor:
        sizes = self.graph_sizes()
        owners = torch.arange(len(sizes), device=self.device)
        return owners.repeat_interleave(sizes, output_size=self.num_nodes)

    def in_degrees(self) -> Tensor:
        """Incoming edges of each node, int64 ``(n,)``."""
        return self.remember(
            "in_degrees", lambda: torch.bincount(self.dst, minlength=self.num_nodes)
        )

    def full_in_degrees(self) -> Tensor:
        """Incoming edges of each node, int64 ``(n,)``, including those that sampling left out."""
        degrees = self.in_degrees()
        return degrees if self.undrawn is None else degrees + self.undrawn

    # -- derived values ------------------------------------------------------------------------

    def remember(
        self, key: Any, compute: Callable[[], T], depends_on: tuple[str, ...] = STRUCTURE
    ) -> T:
        """The cached value of ``compute()`` for this graph.

        Args:
            key: Hashable name of the value.
            compute: Computes the value; called the first time.
            depends_on: Fields it is computed from. :meth:`replace` keeps the value if none of them
                changes.
        """
        _dependencies.add(depends_on)
        known = self._memory.setdefault(depends_on, {})
        if key not in known:
            with torch.inference_mode(
                False
            ):  # a value computed while predicting may be needed in training
                known[key] = compute()
        value: T = known[key]
        return value

    def replace(self, **changes: Any) -> Graph:
        """A graph with some fields changed; cached values that do not depend on them stay.

        Both graphs share that cache: a value that one of them computes later is there for both.
        """
        kept = {
            names: self._memory.setdefault(names, {})
            for names in _dependencies
            if not any(name in changes for name in names)
        }
        return dataclasses.replace(self, _memory=kept, **changes)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Graph:
        """Move every tensor to ``device`` and floating ones to ``dtype``."""

        def move(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {name: move(part) for name, part in value.items()}
            if not isinstance(value, Tensor):
                return value
            return value.to(device, dtype if value.is_floating_point() else None)

        fields = self._fields()
        changed = {name: move(value) for name, value in fields.items()}
        changed = {name: value for name, value in changed.items() if value is not fields[name]}
        if "src" in changed:  # cached values are on the device of the old graph
            return Graph(**{**fields, **changed})
        return self.replace(**changed) if changed else self

    def unlabeled(self) -> Graph:
        """The graph without labels, seeds and pairs."""
        return self.replace(y=None, seeds=None, pairs=None, pair_type=None)

    # -- structure -----------------------------------------------------------------------------

    def reverse(self) -> Graph:
        """The graph with every edge turned around."""
        return self.replace(src=self.dst, dst=self.src, undrawn=None)

    def with_self_loops(self) -> Graph:
        """Add an edge from each node to itself (after those it already has).

        Raises:
            ShapeError: If there are edge features, types or times, which a loop would need too.
        """
        for name in ("e", "edge_type", "time"):
            if getattr(self, name) is not None:
                raise ShapeError(
                    f"`{name}` has no value for self-loops; remove `{name}` from the graph first"
                )
        loops = torch.arange(self.num_nodes, device=self.device)
        return self.replace(src=torch.cat([self.src, loops]), dst=torch.cat([self.dst, loops]))

    def drop_edges(self, drop: Tensor) -> Graph:
        """Remove edges.

        Args:
            drop: Boolean ``(m,)``, true for the edges to remove.
        """
        if drop.dtype != torch.bool or drop.shape != self.src.shape:
            raise ShapeError(
                f"`drop` is {form(drop)}, expected a boolean tensor ({self.num_edges},)"
            )
        return self.replace(**edges_of(self, (~drop).nonzero().flatten()))

    def pick_edges(self, index: Tensor) -> Graph:
        """The same nodes with the edges ``index`` int64 ``(k,)``, in that order."""
        return self.replace(**edges_of(self, index))

    def subgraph(self, nodes: Tensor) -> Graph:
        """The graph induced by ``nodes``, renumbered in their order.

        Labels, seeds, pairs, properties, ``origin`` and ``undrawn`` are dropped: they refer to the
        whole graph.

        Args:
            nodes: Distinct node numbers int64 ``(k,)``, or a boolean mask ``(n,)``. In a batch they
                must be ordered by graph, and graphs left without nodes stay, empty.

        Raises:
            ShapeError: If nodes repeat, lie out of range or, in a batch, are not ordered by graph.
        """
        nodes = self._node_numbers(nodes)
        new = torch.full((self.num_nodes,), -1, device=self.device)
        new[nodes] = torch.arange(len(nodes), device=self.device)
        inside = (new[self.src] >= 0) & (new[self.dst] >= 0)
        parts = edges_of(self, inside)
        parts.update(src=new[parts["src"]], dst=new[parts["dst"]])
        for name in NODE_FIELDS:
            value = getattr(self, name)
            parts[name] = None if value is None else value[nodes]
        if self.sizes is not None:
            owners = self.graph_ids()[nodes]
            if (owners[1:] < owners[:-1]).any():
                raise ShapeError("`nodes` of a batch must be ordered by graph; sort them first")
            parts["sizes"] = torch.bincount(owners, minlength=self.num_graphs)
        return Graph(num_nodes=len(nodes), **parts)

    def _node_numbers(self, nodes: Tensor) -> Tensor:
        if nodes.dtype == torch.bool and nodes.shape == (self.num_nodes,):
            return nodes.nonzero().flatten()
        if nodes.dtype != torch.int64 or nodes.dim() != 1:
            raise ShapeError(
                f"`nodes` is {form(nodes)}, expected node numbers int64 (k,) or a boolean mask "
                f"({self.num_nodes},)"
            )
        if len(nodes) and (int(nodes.min()) < 0 or int(nodes.max()) >= self.num_nodes):
            raise ShapeError(f"`nodes` must lie in 0..{self.num_nodes - 1}")
        if len(nodes) and int(torch.bincount(nodes).max()) > 1:
            raise ShapeError("`nodes` has repeats; each node may be named once")
        return nodes

    # -- batches -------------------------------------------------------------------------------

    @staticmethod
    def batch(graphs: Sequence[Graph]) -> Graph:
        """One disjoint graph of several, in order; batches among them are flattened.

        Raises:
            ShapeError: If the list is empty, or a field is present in some graphs only or of
                another dtype or width.
        """
        return Graph(**joined_fields(graphs))

    def unbatch(self) -> list[Graph]:
        """The graphs of a batch, one by one; undoes :meth:`batch`.

        Raises:
            ShapeError: If there are ``seeds`` or ``pairs``: their labels do not belong to graphs.
        """
        return [Graph(**fields) for fields in fields_of_each(self)]

    # -- checks --------------------------------------------------------------------------------

    def validate(self) -> Graph:
        """Check all values once, so that a wrong edge or a NaN is found where the graph is made.

        Returns:
            The graph itself.

        Raises:
            DataError: Naming the first bad edge, the NaN feature or the wrong length.
        """
        self.remember("validated", lambda: check_values(self), tuple(self._fields()))
        return self

    def __repr__(self) -> str:
        parts = [f"num_nodes={self.num_nodes}", f"num_edges={self.num_edges}"]
        for name, value in self._fields().items():
            if isinstance(value, Tensor) and name not in ("src", "dst"):
                parts.append(f"{name}={form(value)}")
        if self.properties:
            parts.append(f"properties=[{', '.join(self.properties)}]")
        return f"Graph({', '.join(parts)})"

    def _fields(self) -> dict[str, Any]:
        return {
            f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "_memory"
        }


def rows_of(values: Tensor) -> Tensor:
    """All axes but the first as one: ``(n, ...)`` to ``(n, k)``, also for ``n = 0``."""
    return values.flatten(1) if values.dim() > 1 else values.unsqueeze(1)
