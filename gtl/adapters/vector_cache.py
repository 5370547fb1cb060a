"""Frozen vectors, computed once: under a frozen encoder a graph says the same in each step.

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
LIMIT = 1 << 30  # bytes of vectors of a set
_AT_ONCE = 256  # graphs
_FIELDS = (*CONTENT, "origin", "undrawn")

Vectors = tuple[list[Tensor], Tensor]  # of embedding and blocks, and the output
_Mark = tuple[torch.dtype | None, list[tuple[Tensor, int, int]]]


class Kept:
    """Vectors of the last graph that was computed, and of graphs that were encoded ahead.

    Changes of weights and of vectors are noticed unless they are made through ``.data``.
    """

    def __init__(self) -> None:
        self._last: tuple[object, _Mark, Vectors, list[int]] | None = None
        self._ahead: tuple[_Ahead, _Mark] | None = None

    def get(self, graph: Graph, encoder: nn.Module, compute: Callable[[Graph], Vectors]) -> Vectors:
        """What ``compute(graph)`` gives for this encoder.

        Args:
            graph: What is encoded; a copy with other labels, seeds or pairs counts as the same.
            encoder: Its weights and buffers are compared by what they are and how often they were
                changed. The same tensors have to be there: a replay at others is computed.
            compute: Called unless it is known what comes out.
        """
        mark = _mark(encoder, graph.device)
        if mark is None or any(v is not None and v.requires_grad for v in (graph.x, graph.e)):
            return compute(graph)
        if self._ahead is not None and _same(self._ahead[1], mark):
            known = self._ahead[0].vectors(graph)
            if known is not None:
                return known
        identity = graph.remember("encoded", object, _FIELDS)
        last = self._last
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

    def ahead(
        self,
        graphs: PackedGraphs,
        items: Tensor,
        encoder: nn.Module,
        compute: Callable[[Graph], Vectors],
    ) -> None:
        """Encode graphs of a set, unless their vectors take more than :data:`LIMIT` bytes.

        Graphs are encoded in portions that depend on ``items`` alone, so that a run that is gone
        on with has the same vectors to the last bit.

        Args:
            graphs: The set.
            items: Numbers of graphs of the set, int64 ``(k,)``.
            encoder: As in :meth:`get`.
            compute: Likewise.
        """
        mark = _mark(encoder, _device(encoder))
        if mark is None:
            return
        self._ahead = None
        nodes = int((graphs.node_offsets[items + 1] - graphs.node_offsets[items]).sum())
        rows: list[Tensor] = []
        widths: list[int] = []
        for portion in items.split(_AT_ONCE):
            layers, out = compute(graphs.batch(portion).to(_device(encoder)))
            widths = [part.shape[1] for part in (*layers, out)]
            rows.append(torch.cat([*layers, out], 1).cpu())
            if nodes * rows[0].shape[1] * rows[0].element_size() > LIMIT:
                log.info("vectors of %d nodes are too many to be kept", nodes)
                return
        if rows:
            self._ahead = _Ahead.of(graphs, items, torch.cat(rows), widths), mark

    def forget(self) -> None:
        """Let go of everything."""
        self._last = self._ahead = None

    def __deepcopy__(self, memo: dict) -> Kept:
        """A copy starts anew: its encoder is another."""
        return Kept()


@dataclass(frozen=True)
class _Ahead:
    """Vectors of some graphs of a set: features of the same graphs without edges.

    Attributes:
        graphs: The set.
        number: Where each graph of the set is among those encoded, -1 if it is not.
        rows: The graphs encoded, with embedding, blocks and output side by side as features.
        widths: Columns of each of those.
    """

    graphs: PackedGraphs
    number: Tensor
    rows: PackedGraphs
    widths: list[int]

    @staticmethod
    def of(graphs: PackedGraphs, items: Tensor, rows: Tensor, widths: list[int]) -> _Ahead:
        number = torch.full((len(graphs),), -1)
        number[items] = torch.arange(len(items))
        sizes = graphs.node_offsets[items + 1] - graphs.node_offsets[items]
        offsets = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        none = torch.empty(0, dtype=torch.int64)
        packed = PackedGraphs(offsets, torch.zeros_like(offsets), none, none, Schema(), x=rows)
        return _Ahead(graphs, number, packed, widths)

    def vectors(self, graph: Graph) -> Vectors | None:
        """Those of a batch, if it is one of the set and all of its graphs are here."""
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
    """What vectors depend on beside the graph; ``None`` if changes could not be seen."""
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
