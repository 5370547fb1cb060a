"""Cost of a prediction: operations and latency of one small batch, and how it is drawn."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.adapters import Adapted
from gtl.data.dataset import Dataset
from gtl.data.properties import with_properties
from gtl.graph.operations import counted_operations
from gtl.roles import Encoder
from gtl.train.device import module_device
from gtl.train.model import Model
from gtl.train.predicting import Predicting

ITEMS = 16  # of the batch that a run measures
REPEATS, SECONDS = 10, 0.1  # of a run: a measurement must cost little beside the training
_WHOLE = 1_000_000  # edges up to which all neighbors of an item are fetched
_DRAWN = 10  # neighbors at each hop beyond that, where training drew none either


def inference_cost(
    call: Callable[[], Any],
    repeats: int = REPEATS,
    warmup: int = 1,
    seconds: float | None = SECONDS,
) -> dict[str, float]:
    """Operations and latency of a call.

    Args:
        call: Predicts once; changes nothing.
        repeats: Timed calls, at most.
        warmup: Calls before them that are not timed.
        seconds: After so many no further call is timed, but one always is; ``None`` for no end.

    Returns:
        ``flops`` of one call, additions and multiplications, elementwise functions left out;
        ``latency_p50_ms`` and ``latency_p95_ms``, the median and the 95th percentile.
    """
    with torch.no_grad():
        with counted_operations() as counter:
            call()
        for _ in range(warmup):
            call()
        taken: list[float] = []
        while len(taken) < repeats and (not taken or seconds is None or sum(taken) < seconds):
            taken.append(_timed(call))
    p50, p95 = (1000 * np.percentile(taken, [50, 95])).tolist()
    return {
        "flops": counter.total,
        "latency_p50_ms": float(f"{p50:.4g}"),
        "latency_p95_ms": float(f"{p95:.4g}"),
    }


def prediction_of(
    model: Model | Predicting | Encoder, data: Dataset, items: int = ITEMS
) -> tuple[Callable[[], Tensor], int]:
    """A call that predicts a small batch of items, from fetching them on, and their number.

    Nodes are read with all neighbors that their vectors depend on: with none if the encoder does
    not read edges, and with a sample where the graph is large. Pairs are read with the whole graph.

    Args:
        model: What predicts, or an encoder, in eval mode.
        data: Where the items are from.
        items: How many, at most; they are evenly spaced.
    """
    count = min(items, len(data))
    index = torch.arange(count) * (len(data) // max(count, 1))
    if isinstance(model, Predicting):
        return (lambda: model.outputs(data, index)), count
    encoder = model.encoder if isinstance(model, Model) else model
    if isinstance(model, Model):
        data = with_properties(data, model.properties)
    fan_out = _fan_out(model, encoder, data)

    def predict() -> Tensor:
        rng = torch.Generator().manual_seed(0)
        graph = data.batch(index, module_device(model), fan_out, rng)
        # An adapted encoder would take the vectors of a frozen base from its cache.
        nodes = encoder._encode(graph) if isinstance(encoder, Adapted) else encoder(graph)
        return model.outputs(graph, nodes) if isinstance(model, Model) else nodes

    return predict, count


def hops_of(encoder: Encoder) -> int:
    """How far the vector of a node depends on others."""
    base = encoder.base if isinstance(encoder, Adapted) else encoder
    return len(encoder.blocks) if getattr(base, "reads_edges", True) else 0


def _fan_out(
    model: Model | Encoder, encoder: Encoder, data: Dataset
) -> tuple[int | None, ...] | None:
    if not data.contents.can_sample:
        return None
    hops = hops_of(encoder)
    assert data.graph is not None
    if data.graph.num_edges <= _WHOLE:
        return (None,) * hops
    drawn = getattr(model, "fan_out", None) or (_DRAWN,) * hops
    return tuple(drawn)[:hops]


def _timed(call: Callable[[], Any]) -> float:
    _wait()
    started = time.perf_counter()
    call()
    _wait()
    return time.perf_counter() - started


def _wait() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
