"""Cache of a frozen encoder's outputs: a graph's vectors are computed once and used in each step.

Where no adapter acts inside the encoder, training a head or a layerwise adapter would otherwise
encode the one graph, or the same molecules, anew in every step and every validation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gtl.graph import Graph, PackedGraphs, Schema
from gtl.graph.graph import CONTENT
from gtl.graph.pack import source_of

log = logging.getLogger(__name__)
LIMIT = 1 << 30  # bytes of vectors of a set: 1 GiB, small beside what training itself needs
# Graphs encoded at once. Part of a run's numbers: vectors differ in their last bits by portion.
_PORTION = 256
_FIELDS = (*CONTENT, "origin", "undrawn")

Vectors = tuple[list[Tensor], Tensor]  # of embedding and blocks, and the output
_Mark = tuple[torch.dtype | None, list[tuple[Tensor, int, int]]]


class VectorCache:
    """Vectors of the last graph that was computed, and of a set of graphs that was encoded.

    Changes of weights and of cached vectors are noticed unless they are made through ``.data``.
    """

    def __init__(self) -> None:
        self._last: tuple[object, _Mark, Vectors, list[int]] | None = None
        self._set: tuple[_EncodedSet, _Mark] | None = None

    def get(self, graph: Graph, encoder: nn.Module, compute: Callable[[Graph], Vectors]) -> Vectors:
        """The value of ``compute(graph)`` for this encoder.

        Args:
            graph: What is encoded; a copy with other labels, seeds or pairs counts as the same.
            encoder: Its weights and buffers are compared by identity and by how often they were
                changed. At other tensors, such as those of a replay, vectors are computed.
            compute: Called unless the vectors are cached.
        """
        mark = _mark(encoder, graph.device)
        if mark is None or any(v is not None and v.requires_grad for v in (graph.x, graph.e)):
            return compute(graph)
        # Read once: another thread may replace or clear them.
        encoded, last = self._set, self._last
        if encoded is not None and _same(encoded[1], mark):
            known = encoded[0].vectors(graph)
            if known is not None:
                return known
        identity = graph.remember("encoded", object, _FIELDS)
        if (
            last is None
            or last[0] is not identity
            or not _same(last[1], mark)
            or last[3] != _versions(last[2])
        ):
            vectors = compute(graph)
            last = self._last = identity, mark, vectors, _versions(vectors)
        layers, out = last[2]
        return list(layers), out

    def fill(
        self,
        graphs: PackedGraphs,
        items: Tensor,
        encoder: nn.Module,
        compute: Callable[[Graph], Vectors],
    ) -> None:
        """Encode graphs of a set, unless their vectors take more than :data:`LIMIT` bytes.

        Graphs are encoded in portions that depend on ``items`` alone, so that a run that is resumed
        has the same vectors to the last bit.

        Args:
            graphs: The set.
            items: Numbers of graphs of the set, int64 ``(k,)``.
            encoder: As in :meth:`get`.
            compute: Likewise.
        """
        mark = _mark(encoder, _device(encoder))
        if mark is None:
            return
        self._set = None
        nodes = int((graphs.node_offsets[items + 1] - graphs.node_offsets[items]).sum())
        rows: list[Tensor] = []
        widths: list[int] = []
        for portion in items.split(_PORTION):
            layers, out = compute(graphs.batch(portion).to(_device(encoder)))
            widths = [part.shape[1] for part in (*layers, out)]
            rows.append(torch.cat([*layers, out], 1).cpu())
            if nodes * rows[0].shape[1] * rows[0].element_size() > LIMIT:
                log.info("vectors of %d nodes are too many to be cached", nodes)
                return
        if rows:
            self._set = _EncodedSet.of(graphs, items, torch.cat(rows), widths), mark

    def clear(self) -> None:
        """Free the memory of all vectors."""
        self._last = self._set = None

    def __deepcopy__(self, memo: dict) -> VectorCache:
        """An empty cache: the copy's encoder has other weights."""
        return VectorCache()


@dataclass(frozen=True)
class _EncodedSet:
    """Vectors of some graphs of a set: features of the same graphs without edges.

    Attributes:
        graphs: The set.
        number: Position of each graph of the set among those encoded, -1 if it is not.
        rows: The graphs encoded, with embedding, blocks and output side by side as features.
        widths: Columns of each of those.
    """

    graphs: PackedGraphs
    number: Tensor
    rows: PackedGraphs
    widths: list[int]

    @staticmethod
    def of(graphs: PackedGraphs, items: Tensor, rows: Tensor, widths: list[int]) -> _EncodedSet:
        number = torch.full((len(graphs),), -1)
        number[items] = torch.arange(len(items))
        sizes = graphs.node_offsets[items + 1] - graphs.node_offsets[items]
        offsets = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        none = torch.empty(0, dtype=torch.int64)
        packed = PackedGraphs(offsets, torch.zeros_like(offsets), none, none, Schema(), x=rows)
        return _EncodedSet(graphs, number, packed, widths)

    def vectors(self, graph: Graph) -> Vectors | None:
        """Vectors of a batch of the set; ``None`` if some of its graphs were not encoded."""
        source = source_of(graph)
        if source is None or source[0] is not self.graphs:
            return None
        numbers = self.number[source[1]]
        if bool((numbers < 0).any()):
            return None
        rows = self.rows.batch(numbers).x
        assert rows is not None
        columns = rows.to(graph.device).split(self.widths, 1)
        *layers, out = (part.contiguous() for part in columns)  # as what is computed is
        return layers, out


def _mark(encoder: nn.Module, device: torch.device) -> _Mark | None:
    """What vectors depend on beside the graph; ``None`` if changes cannot be detected."""
    tensors = list(_tensors(encoder))
    if any(tensor.is_inference() for tensor in tensors):
        return None
    precision = torch.get_autocast_dtype(device.type)
    autocast = precision if torch.is_autocast_enabled(device.type) else None
    return autocast, [(tensor, tensor._version, tensor.data_ptr()) for tensor in tensors]


def _versions(vectors: Vectors) -> list[int]:
    layers, out = vectors
    return [tensor._version for tensor in (*layers, out)]


def _tensors(encoder: nn.Module) -> Iterator[Tensor]:
    yield from encoder.parameters()
    yield from encoder.buffers()


def _same(one: _Mark, two: _Mark) -> bool:
    before, now = one[1], two[1]
    return (
        one[0] == two[0]
        and len(before) == len(now)
        and all(a[0] is b[0] and a[1:] == b[1:] for a, b in zip(before, now))
    )


def _device(encoder: nn.Module) -> torch.device:
    return next((tensor.device for tensor in _tensors(encoder)), torch.device("cpu"))
