"""The Graph: the one immutable value that every part reads.

A batch of graphs is one disjoint graph with ``sizes``; a typed graph is a homogeneous one with
types. Derived things (in-degrees, kernel handles, edge codes) are remembered on the value itself
and survive :meth:`Graph.replace` as long as what they depend on is unchanged.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from gtl.errors import DataError, ShapeError

T = TypeVar("T")
STRUCTURE = ("src", "dst", "num_nodes")
CONTENT = (*STRUCTURE, "x", "e", "node_type", "edge_type", "time", "sizes")  # what encoders read
_NODE_FIELDS = ("x", "node_type")
_SAMPLE_FIELDS = ("origin", "undrawn")  # of nodes too, but they speak of the graph left behind
_EDGE_FIELDS = ("src", "dst", "e", "edge_type", "time")
_INDEX_FIELDS = ("src", "dst", "node_type", "edge_type", "sizes", "seeds", "pairs", *_SAMPLE_FIELDS)
_FORMS = {  # rows and dimensions of each field but `y`
    "src": ("edge", 1),
    "dst": ("edge", 1),
    "x": ("node", 2),
    "e": ("edge", 2),
    "node_type": ("node", 1),
    "edge_type": ("edge", 1),
    "time": ("edge", 1),
    "sizes": ("", 1),
    "seeds": ("", 1),
    "pairs": ("", 2),
    "origin": ("node", 1),
    "undrawn": ("node", 1),
}
_dependencies: set[tuple[str, ...]] = {STRUCTURE}  # every `depends_on` that was ever used


@dataclass(frozen=True, eq=False, repr=False)
class Graph:
    """A directed graph, or a batch of disjoint ones; messages flow from ``src`` to ``dst``.

    An undirected edge is stored in both directions. The constructor checks shapes and dtypes
    only; :meth:`validate` also reads the values and is called once, at the door.

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
        seeds: Nodes that ``y`` (and node-level tasks) speak of, int64 ``(b,)``.
        pairs: Pairs of nodes that ``y`` (and link-level tasks) speak of, int64 ``(b, 2)``; joined
            or not. A graph has seeds or pairs, not both.
        origin: Number of each node in the graph that this one was sampled from, int64 ``(n,)``;
            see :func:`gtl.graph.sample_neighbors`. ``None`` if it was not sampled.
        undrawn: Incoming edges of each node that sampling left behind, int64 ``(n,)``, likewise.

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
    origin: Tensor | None = None
    undrawn: Tensor | None = None
    _memory: dict[tuple[str, ...], dict[Any, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_nodes", operator.index(self.num_nodes))
        if self.num_nodes < 0:
            raise ShapeError(f"`num_nodes` is {self.num_nodes}, expected 0 or more")
        for name, (rows, dim) in _FORMS.items():
            value = getattr(self, name)
            if value is None and name not in ("src", "dst"):
                continue
            self._check_tensor(name, value, dim)
            expected = {"edge": len(self.src), "node": self.num_nodes}.get(rows)
            if expected is not None and len(value) != expected:
                what = "edge of `src`" if rows == "edge" else "node (`num_nodes`)"
                raise ShapeError(
                    f"`{name}` is {_form(value)}, expected {expected} rows, one per {what}"
                )
        if self.pairs is not None and self.pairs.shape[1] != 2:
            raise ShapeError(f"`pairs` is {_form(self.pairs)}, expected (b, 2), two nodes a row")
        if self.pairs is not None and self.seeds is not None:
            raise ShapeError("a graph with `seeds` and `pairs` has two sets of items; give one")
        if self.y is not None and not isinstance(self.y, Tensor):
            raise ShapeError(f"`y` is of type {type(self.y).__name__}, expected a tensor")
        if self.y is not None and self.y.shape[:1] != (self.num_items,):
            what = "seed" if self.seeds is not None else "graph" if self.pairs is None else "pair"
            raise ShapeError(
                f"`y` is {_form(self.y)}, expected {self.num_items} rows, one per {what}"
            )

    def _check_tensor(self, name: str, value: Any, dim: int) -> None:
        if not isinstance(value, Tensor):
            raise ShapeError(f"`{name}` is of type {type(value).__name__}, expected a tensor")
        if name in _INDEX_FIELDS and (value.dtype != torch.int64 or value.dim() != dim):
            words = "one-dimensional" if dim == 1 else "two-dimensional"
            raise ShapeError(f"`{name}` is {_form(value)}, expected a {words} int64 tensor")
        if value.dim() != dim:
            advice = "two dimensions; add a column axis" if dim == 2 else "one dimension"
            raise ShapeError(f"`{name}` is {_form(value)}, expected {advice}")
        if value.dtype == torch.bool or value.is_complex():
            raise ShapeError(
                f"`{name}` is {_form(value)}, expected floats or integers; convert with .float()"
            )
        if value.device != self.src.device:
            raise ShapeError(
                f"`{name}` is on {value.device}, `src` on {self.src.device}; use one device"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return Graph, tuple(self._fields().values())  # remembered kernel handles stay behind

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
        """Number of items that labels speak of: seeds or pairs if there are any, else graphs."""
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
        """Incoming edges of each node, int64 ``(n,)``, with those that sampling left behind."""
        degrees = self.in_degrees()
        return degrees if self.undrawn is None else degrees + self.undrawn

    # -- derived values ------------------------------------------------------------------------

    def remember(
        self, key: Any, compute: Callable[[], T], depends_on: tuple[str, ...] = STRUCTURE
    ) -> T:
        """Compute once and keep: the value of ``compute()`` for this graph.

        Args:
            key: Names the value; hashable.
            compute: Called the first time.
            depends_on: Fields it is computed from. :meth:`replace` hands the value on if none of
                them changes.
        """
        _dependencies.add(depends_on)
        known = self._memory.setdefault(depends_on, {})
        if key not in known:
            with torch.inference_mode(False):  # training may need later what predicting computed
                known[key] = compute()
        return known[key]

    def replace(self, **changes: Any) -> Graph:
        """A graph with some fields changed; what does not depend on them stays remembered.

        Both graphs share that memory: what one of them computes later the other need not.
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
            if not isinstance(value, Tensor):
                return value
            return value.to(device, dtype if value.is_floating_point() else None)

        fields = self._fields()
        changed = {name: move(value) for name, value in fields.items()}
        changed = {name: value for name, value in changed.items() if value is not fields[name]}
        if "src" in changed:  # another device: nothing remembered here is of use there
            return Graph(**{**fields, **changed})
        return self.replace(**changed) if changed else self

    def unlabeled(self) -> Graph:
        """The graph without labels and without what they speak of."""
        return self.replace(y=None, seeds=None, pairs=None)

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
                raise ShapeError(f"self-loops would need a value of `{name}`; drop or set it first")
        loops = torch.arange(self.num_nodes, device=self.device)
        return self.replace(src=torch.cat([self.src, loops]), dst=torch.cat([self.dst, loops]))

    def drop_edges(self, drop: Tensor) -> Graph:
        """Remove edges.

        Args:
            drop: Boolean ``(m,)``, true for the edges to remove.
        """
        if drop.dtype != torch.bool or drop.shape != self.src.shape:
            raise ShapeError(
                f"`drop` is {_form(drop)}, expected a boolean tensor ({self.num_edges},)"
            )
        return self.replace(**self._edges((~drop).nonzero().flatten()))

    def pick_edges(self, index: Tensor) -> Graph:
        """The same nodes with the edges ``index`` int64 ``(k,)``, in that order."""
        return self.replace(**self._edges(index))

    def subgraph(self, nodes: Tensor) -> Graph:
        """The graph induced by ``nodes``, renumbered in their order.

        Labels, seeds, pairs and what sampling left behind do not travel: they speak of the whole
        graph.

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
        parts = self._edges(inside)
        parts.update(src=new[parts["src"]], dst=new[parts["dst"]])
        for name in _NODE_FIELDS:
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
                f"`nodes` is {_form(nodes)}, expected node numbers int64 (k,) or a boolean mask "
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
        if not graphs:
            raise ShapeError("`graphs` is empty; give at least one graph")
        starts = [0]
        for graph in graphs:
            starts.append(starts[-1] + graph.num_nodes)
        parts: dict[str, Any] = {"num_nodes": starts[-1]}
        for name in ("src", "dst", "seeds", "pairs"):
            shifted = [
                None if value is None else value + start
                for value, start in zip((getattr(graph, name) for graph in graphs), starts)
            ]
            parts[name] = _join(name, shifted)
        for name in ("x", "e", "node_type", "edge_type", "time", "y", *_SAMPLE_FIELDS):
            parts[name] = _join(name, [getattr(graph, name) for graph in graphs])
        parts["sizes"] = torch.cat([graph.graph_sizes() for graph in graphs])
        return Graph(**parts)

    def unbatch(self) -> list[Graph]:
        """The graphs of a batch, one by one; undoes :meth:`batch`.

        Raises:
            ShapeError: If there are ``seeds`` or ``pairs``: their labels do not belong to graphs.
        """
        if self.seeds is not None or self.pairs is not None:
            what = "seeds" if self.pairs is None else "pairs"
            raise ShapeError(f"a batch with `{what}` cannot be taken apart; use `unlabeled()`")
        owner = self.graph_ids()[self.src]
        order = torch.argsort(owner, stable=True)
        edge_counts = torch.bincount(owner, minlength=self.num_graphs).tolist()
        node_counts = self.graph_sizes().tolist()
        graphs, node, edge = [], 0, 0
        for i, (nodes, edges) in enumerate(zip(node_counts, edge_counts)):
            parts = self._edges(order[edge : edge + edges])
            parts.update(src=parts["src"] - node, dst=parts["dst"] - node)
            for name in (*_NODE_FIELDS, *_SAMPLE_FIELDS):
                value = getattr(self, name)
                parts[name] = None if value is None else value[node : node + nodes]
            y = None if self.y is None else self.y[i : i + 1]
            graphs.append(Graph(num_nodes=nodes, y=y, **parts))
            node, edge = node + nodes, edge + edges
        return graphs

    # -- the door ------------------------------------------------------------------------------

    def validate(self) -> Graph:
        """Check the values, once: a wrong edge or a NaN would otherwise surface far away.

        Returns:
            The graph itself.

        Raises:
            DataError: Naming the first bad edge, the NaN feature or the wrong length.
        """
        self.remember("validated", self._validate, tuple(self._fields()))
        return self

    def _validate(self) -> bool:
        self._check_ends()
        for name, what in (("x", "node"), ("e", "edge")):
            self._check_values(name, what)
        if self.time is not None and not bool(self.time.isfinite().all()):
            edge = int((~self.time.isfinite()).nonzero()[0])
            raise DataError(f"`time` of edge {edge} is {self.time[edge].item()}; expected a number")
        for name in ("node_type", "edge_type", *_SAMPLE_FIELDS):
            what, value = _FORMS[name][0], getattr(self, name)
            if value is not None and bool((value < 0).any()):
                row = int((value < 0).nonzero()[0])
                raise DataError(f"`{name}` of {what} {row} is {int(value[row])}; count from 0")
        if self.sizes is not None:
            self._check_sizes(self.sizes)
        for name in ("seeds", "pairs"):
            self._check_items(name, getattr(self, name))
        return True

    def _check_items(self, name: str, nodes: Tensor | None) -> None:
        if nodes is None or not len(nodes):
            return
        low, high = int(nodes.min()), int(nodes.max())
        if low < 0 or high >= self.num_nodes:
            raise DataError(
                f"`{name}` must lie in 0..{self.num_nodes - 1}, they lie in {low}..{high}"
            )

    def _check_ends(self) -> None:
        bad = {
            name: ((value < 0) | (value >= self.num_nodes)).nonzero().flatten()
            for name, value in (("src", self.src), ("dst", self.dst))
        }
        first = [(int(edges[0]), name) for name, edges in bad.items() if len(edges)]
        if first:
            edge, name = min(first, key=lambda pair: pair[0])
            raise DataError(
                f"{self._edge(edge)} is out of range: `{name}` must lie in "
                f"0..{self.num_nodes - 1} (`num_nodes` is {self.num_nodes})"
            )

    def _check_values(self, name: str, what: str) -> None:
        value = getattr(self, name)
        if value is None:
            return
        bad = (~value.isfinite() if value.is_floating_point() else value < 0).nonzero()
        if len(bad):
            row, column = bad[0].tolist()
            raise DataError(
                f"`{name}` of {what} {row}, column {column}, is {value[row, column].item()}; "
                "replace missing or negative values before making the graph"
            )

    def _check_sizes(self, sizes: Tensor) -> None:
        if bool((sizes < 0).any()) or int(sizes.sum()) != self.num_nodes:
            raise DataError(
                f"`sizes` must be non-negative and sum to `num_nodes` ({self.num_nodes}), "
                f"they sum to {int(sizes.sum())}"
            )
        owners = self.graph_ids()
        across = (owners[self.src] != owners[self.dst]).nonzero()
        if len(across):
            raise DataError(f"{self._edge(int(across[0]))} joins two graphs of the batch")

    def _edge(self, edge: int) -> str:
        return f"edge {edge} ({int(self.src[edge])} -> {int(self.dst[edge])})"

    def __repr__(self) -> str:
        parts = [f"num_nodes={self.num_nodes}", f"num_edges={self.num_edges}"]
        for name, value in self._fields().items():
            if isinstance(value, Tensor) and name not in ("src", "dst"):
                parts.append(f"{name}={_form(value)}")
        return f"Graph({', '.join(parts)})"

    def _fields(self) -> dict[str, Any]:
        return {
            f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "_memory"
        }

    def _edges(self, index: Tensor) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in _EDGE_FIELDS}
        return {name: None if value is None else value[index] for name, value in values.items()}


def rows_of(values: Tensor) -> Tensor:
    """All axes but the first as one: ``(n, ...)`` to ``(n, k)``, also for ``n = 0``."""
    return values.flatten(1) if values.dim() > 1 else values.unsqueeze(1)


def _form(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"


def _join(name: str, values: list[Tensor | None]) -> Tensor | None:
    present = [value for value in values if value is not None]
    if present and len(present) != len(values):
        raise ShapeError(
            f"`{name}` is present in {len(present)} of {len(values)} graphs; set it in all or none"
        )
    for value in present:
        if value.dtype != present[0].dtype or value.shape[1:] != present[0].shape[1:]:
            raise ShapeError(
                f"`{name}` is {_form(present[0])} in one graph and {_form(value)} in another; "
                "give all graphs the same columns"
            )
    return torch.cat(present) if present else None
