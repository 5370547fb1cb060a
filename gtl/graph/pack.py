"""Packed graphs: a data set as one tensor per field, whose batches are index arithmetic."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.errors import DataError, ShapeError
from gtl.graph.constant import refuse_autograd
from gtl.graph.graph import CONTENT, Graph
from gtl.graph.schema import Schema
from gtl.graph.tensor_file import map_tensors, raw_bytes, save_tensors

_PER_NODE = ("x", "node_type")
_PER_EDGE = ("src", "dst", "e", "edge_type", "time")
_KIND = "packed graphs"
_CHUNK = 1 << 17  # rows
_SOURCE = "graphs of a set"
_FIELDS = ("node_offsets", "edge_offsets", *_PER_NODE, *_PER_EDGE)
PROPERTY = "property."  # beginning of the names of properties in a file


@dataclass(frozen=True, eq=False, repr=False)
class PackedGraphs:
    """Many graphs in one tensor per field.

    Features may be stored in any integer or floating dtype; :meth:`batch` widens integers to
    int64. ``src`` and ``dst`` count from the first node of their own graph.

    Indexing and iteration give single graphs.

    Attributes:
        node_offsets: First node of each graph and the total, int64 ``(g + 1,)``.
        edge_offsets: First edge of each graph and the total, int64 ``(g + 1,)``.
        src: Sending node of each edge, local, ``(m,)``.
        dst: Receiving node of each edge, local, ``(m,)``.
        schema: Columns and categories of the features.
        x: Node features ``(n, d)`` or ``None``.
        e: Edge features ``(m, d_e)`` or ``None``.
        node_type: ``(n,)`` or ``None``.
        edge_type: ``(m,)`` or ``None``.
        time: ``(m,)`` or ``None``.
        properties: Further columns per graph by name, each ``(g, d)``; :meth:`checksum` leaves them
            out.

    Raises:
        ShapeError: If the number of rows of a field is not what the offsets say.
    """

    node_offsets: Tensor
    edge_offsets: Tensor
    src: Tensor
    dst: Tensor
    schema: Schema
    x: Tensor | None = None
    e: Tensor | None = None
    node_type: Tensor | None = None
    edge_type: Tensor | None = None
    time: Tensor | None = None
    properties: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("node_offsets", "edge_offsets"):
            offsets = getattr(self, name)
            if offsets.dtype != torch.int64 or offsets.shape != self.node_offsets.shape:
                raise ShapeError(f"`{name}` must be int64 (g + 1,), is {tuple(offsets.shape)}")
        for names, offsets in ((_PER_NODE, self.node_offsets), (_PER_EDGE, self.edge_offsets)):
            rows = int(offsets[-1])
            for name, values in self.tensors(names).items():
                if len(values) != rows:
                    raise ShapeError(
                        f"`{name}` has {len(values)} rows, expected {rows} as the offsets say"
                    )
        for name, values in self.properties.items():
            if values.dim() != 2 or len(values) != len(self):
                raise ShapeError(
                    f"property {name!r} is {tuple(values.shape)}, expected ({len(self)}, d), a row "
                    "per graph"
                )

    @staticmethod
    def pack(graphs: Sequence[Graph], schema: Schema | None = None) -> PackedGraphs:
        """Pack a list of graphs on the CPU; labels and seeds are left out.

        Args:
            graphs: At least one graph; batches among them count as their graphs.
            schema: What the graphs look like; read off the values if not given.

        Raises:
            ShapeError: If the list is empty or fields differ between graphs.
            DataError: If values are out of range, see :meth:`Graph.validate`, or carry autograd.
        """
        bare = [graph.unlabeled() for graph in graphs]
        for graph in bare:
            refuse_autograd(graph)
        whole = Graph.batch(bare).to("cpu").validate()
        owners = whole.graph_ids()[whole.src]
        if (owners[1:] < owners[:-1]).any():
            owners, order = torch.sort(owners, stable=True)
            whole = whole.pick_edges(order)
        sizes = whole.graph_sizes()
        shift = (sizes.cumsum(0) - sizes)[owners]
        values = {name: getattr(whole, name) for name in (*_PER_NODE, *_PER_EDGE)}
        values.update(src=whole.src - shift, dst=whole.dst - shift)
        return PackedGraphs(
            _offsets(sizes),
            _offsets(torch.bincount(owners, minlength=len(sizes))),
            schema=schema or Schema.of(whole),
            properties=whole.properties or {},
            **values,
        )

    def __len__(self) -> int:
        return len(self.node_offsets) - 1

    def __getitem__(self, index: int) -> Graph:
        """Graph number ``index``; negative numbers count from the end.

        Raises:
            IndexError: If there is no such graph.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"graph {index} of {len(self)} packed graphs does not exist")
        return self.batch(torch.tensor([index % len(self)])).replace(sizes=None)

    def __iter__(self) -> Iterator[Graph]:
        return (self[index] for index in range(len(self)))

    def batch(self, index: Tensor) -> Graph:
        """One disjoint Graph of the graphs ``index``, in that order.

        Args:
            index: Numbers of graphs, int64 ``(b,)``; repeats are allowed.

        Raises:
            ShapeError: If ``index`` is no such tensor or names a graph that does not exist.
        """
        nodes, sizes = self._rows(self.node_offsets, index)
        edges, counts = self._rows(self.edge_offsets, index)
        shift = torch.from_numpy(np.repeat(sizes.cumsum() - sizes, counts))
        taken: dict[str, Any] = {
            name: _wide(values) for name, values in self._take(nodes, edges).items()
        }
        return Graph(
            src=taken.pop("src") + shift,
            dst=taken.pop("dst") + shift,
            num_nodes=len(nodes),
            sizes=torch.from_numpy(sizes),
            properties=self._properties_of(index) or None,
            **taken,
        )

    def batch_on(self, index: Tensor, device: torch.device | str) -> Graph:
        """A :meth:`batch` on a device, whose origin :func:`source_of` returns."""
        graph = self.batch(index).to(device)
        graph.remember(_SOURCE, lambda: (self, index), CONTENT)
        return graph

    def subset(self, index: Tensor) -> PackedGraphs:
        """A smaller packed set of the graphs ``index``, stored in the same dtypes.

        Raises:
            ShapeError: As :meth:`batch`.
        """
        nodes, sizes = self._rows(self.node_offsets, index)
        edges, counts = self._rows(self.edge_offsets, index)
        return PackedGraphs(
            _offsets(torch.from_numpy(sizes)),
            _offsets(torch.from_numpy(counts)),
            schema=self.schema,
            properties=self._properties_of(index),
            **self._take(nodes, edges),
        )

    def compact(self) -> PackedGraphs:
        """The same graphs in the smallest integer dtypes that hold them."""
        values = self.tensors((*_PER_NODE, *_PER_EDGE))
        small: dict[str, Any] = {name: _narrow(value) for name, value in values.items()}
        return replace(self, **small)

    def file_tensors(self) -> dict[str, Tensor]:
        """All tensors by the names that they have in a file."""
        more = {PROPERTY + name: value for name, value in self.properties.items()}
        return {**self.tensors(), **more}

    def tensors(self, names: Sequence[str] = _FIELDS) -> dict[str, Tensor]:
        """The fields that are not ``None``, by name."""
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def _properties_of(self, index: Tensor) -> dict[str, Tensor]:
        rows = index.numpy()
        return {name: _gather(value, rows) for name, value in self.properties.items()}

    def _take(self, nodes: np.ndarray, edges: np.ndarray) -> dict[str, Any]:
        taken = {name: _gather(value, nodes) for name, value in self.tensors(_PER_NODE).items()}
        for name, value in self.tensors(_PER_EDGE).items():
            taken[name] = _gather(value, edges)
        return taken

    def _rows(self, offsets: Tensor, index: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers of the groups ``index``, one group after the other, and each one's size."""
        if index.dtype != torch.int64 or index.dim() != 1:
            raise ShapeError(
                f"`index` is {index.dtype} {tuple(index.shape)}, expected graph numbers int64 (b,)"
            )
        chosen, starts = index.numpy(), offsets.numpy()
        if len(chosen) and (chosen.min() < 0 or chosen.max() >= len(self)):
            raise ShapeError(f"`index` names graphs outside 0..{len(self) - 1}")
        counts = starts[chosen + 1] - starts[chosen]
        first = np.repeat(starts[chosen] - counts.cumsum() + counts, counts)
        return np.arange(len(first)) + first, counts

    def checksum(self) -> str:
        """SHA-256 of all tensors, hexadecimal: the same graphs give the same string."""
        digest = hashlib.sha256()
        for name, value in sorted(self.tensors().items()):
            dtype = _wide(value[:0]).dtype
            digest.update(f"{name} {dtype} {tuple(value.shape)}".encode())
            for part in value.split(_CHUNK):  # in pieces, since a corpus may exceed memory
                digest.update(raw_bytes(_wide(part).contiguous()))
        return digest.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the tensors to a safetensors file, which appears only when it is complete."""
        save_tensors(path, self.file_tensors(), file_facts(self.schema))

    @staticmethod
    def load(path: str | Path) -> PackedGraphs:
        """Open a file of :meth:`save`; tensors are memory-mapped, pages are read when used.

        The file may be larger than memory. Tensors in it that are not fields are not read.

        Raises:
            DataError: If the file is not one of :meth:`save` or is truncated.
        """
        from safetensors import SafetensorError

        try:
            tensors, metadata = map_tensors(path)
            if metadata.get("gtl") != _KIND:
                raise DataError("it holds something else")
            fields = {name: value for name, value in tensors.items() if name in _FIELDS}
            more = {
                name.removeprefix(PROPERTY): value
                for name, value in tensors.items()
                if name.startswith(PROPERTY)
            }
            schema = Schema.from_json(json.loads(metadata["schema"]))
            return PackedGraphs(schema=schema, properties=more, **fields)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path} is not a readable file of packed graphs ({error}); write it again"
            ) from error


def source_of(graph: Graph) -> tuple[PackedGraphs, Tensor] | None:
    """The set that a batch is from and the numbers of its graphs there.

    ``None`` if there is none, or a field that encoders read was changed.
    """
    return graph.remember(_SOURCE, lambda: None, CONTENT)


def file_facts(schema: Schema) -> dict[str, str]:
    """Metadata by which :meth:`PackedGraphs.load` knows a file of packed graphs."""
    return {"gtl": _KIND, "schema": json.dumps(schema.to_json())}


def _offsets(counts: Tensor) -> Tensor:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _gather(values: Tensor, rows: np.ndarray) -> Tensor:
    # NumPy runs on the calling thread. Torch would start all its threads for each of these small
    # pieces, and on a busy machine waiting for them takes a hundred times as long as the work.
    if values.dtype == torch.bfloat16:  # unknown to NumPy
        return values[torch.from_numpy(rows)]
    return torch.from_numpy(values.numpy().take(rows, axis=0))


def _wide(values: Tensor) -> Tensor:
    if values.is_floating_point():
        return values
    return torch.from_numpy(values.numpy().astype(np.int64, copy=False))


def _narrow(values: Tensor) -> Tensor:
    if values.is_floating_point() or not values.numel():
        return values
    low, high = int(values.min()), int(values.max())
    for dtype in (torch.uint8, torch.int16, torch.int32):
        info = torch.iinfo(dtype)
        if info.min <= low and high <= info.max:
            return values.to(dtype)
    return values
