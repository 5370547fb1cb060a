"""A data set of graphs as a handful of tensors; a batch is index arithmetic, never a loop."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from gtl.errors import DataError, ShapeError
from gtl.graph.graph import Graph
from gtl.graph.schema import Schema

_PER_NODE = ("x", "node_type")
_PER_EDGE = ("src", "dst", "e", "edge_type", "time")
_FIELDS = ("node_offsets", "edge_offsets", *_PER_NODE, *_PER_EDGE)


@dataclass(frozen=True, eq=False, repr=False)
class PackedGraphs:
    """Many graphs in one tensor per field.

    Features may be stored in any integer or floating dtype; :meth:`batch` widens integers to
    int64. ``src`` and ``dst`` count from the first node of their own graph.

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

    @staticmethod
    def pack(graphs: Sequence[Graph], schema: Schema | None = None) -> PackedGraphs:
        """Pack a list of graphs.

        Args:
            graphs: At least one graph; batches among them count as their graphs.
            schema: What the graphs look like; read off the values if not given.
        """
        whole = Graph.batch(graphs).validate()
        sizes = whole.graph_sizes()
        owners = whole.graph_ids()[whole.src]
        if (owners[1:] < owners[:-1]).any():
            whole = Graph.batch(whole.replace(y=None, seeds=None).unbatch())
            owners = whole.graph_ids()[whole.src]
        node_offsets, edge_offsets = (
            _offsets(sizes),
            _offsets(torch.bincount(owners, minlength=len(sizes))),
        )
        shift = node_offsets[owners]
        values = {name: getattr(whole, name) for name in (*_PER_NODE, *_PER_EDGE)}
        values.update(src=whole.src - shift, dst=whole.dst - shift)
        return PackedGraphs(node_offsets, edge_offsets, schema=schema or Schema.of(whole), **values)

    def __len__(self) -> int:
        return len(self.node_offsets) - 1

    def __getitem__(self, index: int) -> Graph:
        return self.batch(torch.tensor([index])).replace(sizes=None)

    def batch(self, index: Tensor) -> Graph:
        """One disjoint Graph of the graphs ``index``, in that order.

        Args:
            index: Numbers of graphs, int64 ``(b,)``; repeats are allowed.
        """
        nodes, sizes = _rows(self.node_offsets, index)
        edges, edge_counts = _rows(self.edge_offsets, index)
        shift = (sizes.cumsum(0) - sizes).repeat_interleave(edge_counts, output_size=len(edges))
        return Graph(
            src=_wide(self.src[edges]) + shift,
            dst=_wide(self.dst[edges]) + shift,
            num_nodes=len(nodes),
            x=_take(self.x, nodes),
            e=_take(self.e, edges),
            node_type=_take(self.node_type, nodes),
            edge_type=_take(self.edge_type, edges),
            time=_take(self.time, edges),
            sizes=sizes,
        )

    def _tensors(self, names: Sequence[str] = _FIELDS) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def subset(self, index: Tensor) -> PackedGraphs:
        """A smaller packed set of the graphs ``index``."""
        return PackedGraphs.pack([self.batch(index)], self.schema)

    def compact(self) -> PackedGraphs:
        """The same graphs in the smallest integer dtypes that hold them."""
        small = {
            name: _narrow(value) for name, value in self._tensors((*_PER_NODE, *_PER_EDGE)).items()
        }
        return replace(self, **small)

    def checksum(self) -> str:
        """SHA-256 of all tensors, hexadecimal: the same graphs give the same string."""
        digest = hashlib.sha256()
        for name, value in sorted(self._tensors().items()):
            wide = _wide(value)
            digest.update(f"{name} {wide.dtype} {tuple(wide.shape)}".encode())
            digest.update(wide.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write the tensors to a safetensors file."""
        from safetensors.torch import save_file

        tensors = {name: value.contiguous() for name, value in self._tensors().items()}
        save_file(
            tensors, path, {"gtl": "packed graphs", "schema": json.dumps(self.schema.to_json())}
        )

    @staticmethod
    def load(path: Path) -> PackedGraphs:
        """Open a file of :meth:`save`; tensors are memory-mapped, pages are read when used.

        Raises:
            DataError: If the file is not one of :meth:`save` or is truncated.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                schema = Schema.from_json(json.loads(file.metadata()["schema"]))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path} is not a readable file of packed graphs ({error}); make it again"
            ) from error
        return PackedGraphs(schema=schema, **tensors)


def _offsets(counts: Tensor) -> Tensor:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _rows(offsets: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Row numbers of the groups ``index``, one group after the other, and the size of each."""
    if len(index) and (int(index.min()) < 0 or int(index.max()) >= len(offsets) - 1):
        raise ShapeError(f"`index` names graphs outside 0..{len(offsets) - 2}")
    starts = offsets[index]
    counts = offsets[index + 1] - starts
    ends = counts.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    rows = torch.arange(total) + (starts - ends + counts).repeat_interleave(
        counts, output_size=total
    )
    return rows, counts


def _take(values: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if values is None else _wide(values[rows])


def _wide(values: Tensor) -> Tensor:
    return values if values.is_floating_point() else values.to(torch.int64)


def _narrow(values: Tensor) -> Tensor:
    if values.is_floating_point() or not values.numel():
        return values
    low, high = int(values.min()), int(values.max())
    for dtype in (torch.uint8, torch.int16, torch.int32):
        info = torch.iinfo(dtype)
        if info.min <= low and high <= info.max:
            return values.to(dtype)
    return values
