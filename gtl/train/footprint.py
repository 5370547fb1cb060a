"""Footprint of a run: parameters, bytes, memory, time, and operations and latency of a prediction.

What a training and a prediction cost, both sides of what Menghani 2023 ("Efficient deep learning",
Sections 1 and 2) compares with quality. Counts follow ``requires_grad`` and what is really stored.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gtl.adapters.adapted import frozen_names
from gtl.adapters.sites import in_eval_mode
from gtl.adapters.trainable import count_parameters
from gtl.metrics import direction
from gtl.train.inference_cost import inference_cost

SHARE = 0.01  # a run has its quality when it is within this share of its best validation value


def footprint(
    model: nn.Module,
    seconds: float,
    *,
    parts: Mapping[str, nn.Module] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    epochs: Sequence[Mapping[str, Any]] = (),
    metric: str | None = None,
    samples: int = 0,
    predict: tuple[Callable[[], Any], int] | None = None,
    communicated_bytes: int = 0,
) -> dict[str, Any]:
    """What a run cost.

    Args:
        model: What was trained.
        seconds: Training time.
        parts: Encoder and tasks by name; by default those that the model has.
        optimizer: What moved it.
        epochs: The run's history, as in ``metrics.jsonl``.
        metric: Of the validation values in it.
        samples: Training samples of an epoch.
        predict: A call that predicts a small batch once, and its number of items; see
            :func:`gtl.train.inference_cost.prediction_of`.
        communicated_bytes: What processes sent to one another.

    Returns:
        ``parameters_total``, ``parameters_trained``; ``stored_bytes`` of the weights that are not
        frozen; the three of each part under ``parts``; ``optimizer_bytes``; ``seconds``;
        ``peak_memory_bytes`` of the process so far, and ``peak_device_memory_bytes`` on a GPU;
        ``quality``, ``seconds_to_quality`` and ``samples_to_quality`` (:func:`time_to_quality`);
        ``flops``, ``latency_p50_ms`` and ``latency_p95_ms`` of ``batch_items`` items (see
        :func:`gtl.train.inference_cost.inference_cost`); ``communicated_bytes``. What is not known
        is ``None``.
    """
    parts = parts_of(model) if parts is None else parts
    cost: dict[str, Any] = dict.fromkeys(("flops", "latency_p50_ms", "latency_p95_ms"))
    items = None
    if predict is not None:
        call, items = predict
        with in_eval_mode(model):
            cost = inference_cost(call)
    return {
        **_sizes(model),
        "parts": {name: _sizes(part) for name, part in parts.items()},
        "optimizer_bytes": None if optimizer is None else optimizer_bytes(optimizer),
        "communicated_bytes": communicated_bytes,
        "seconds": round(seconds, 3),
        **time_to_quality(epochs, metric, samples),
        **_peaks(),
        **cost,
        "batch_items": items,
    }


def time_to_quality(
    epochs: Iterable[Mapping[str, Any]],
    metric: str | None,
    samples: int = 0,
    quality: float | None = None,
) -> dict[str, float | int | None]:
    """Seconds and samples until validation data first showed a quality.

    Args:
        epochs: A history, as in ``metrics.jsonl``; epochs without a value are counted and passed.
        metric: Of its validation values.
        samples: Training samples of an epoch.
        quality: The value to reach; by default within one percent of the best one.

    Returns:
        ``quality``, ``seconds_to_quality`` and ``samples_to_quality``; ``None`` where there is no
        validation value or the quality was not reached.

    Example:
        >>> history = [{"valid": v, "seconds": 2.0} for v in (0.5, 0.799, 0.8, 0.7)]
        >>> list(time_to_quality(history, "acc", 10).values())
        [0.792, 4.0, 20]
    """
    epochs = list(epochs)
    better = None if metric is None else direction(metric)
    sign = -1.0 if better == "lower" else 1.0
    known = [sign * line["valid"] for line in epochs if line.get("valid") is not None]
    names = ("quality", "seconds_to_quality", "samples_to_quality")
    unknown: dict[str, float | int | None] = dict.fromkeys(names)
    if not known or better is None:
        return unknown
    best = max(known)
    wanted = best - SHARE * abs(best) if quality is None else sign * quality
    seconds = 0.0
    for count, line in enumerate(epochs, 1):
        seconds += line.get("seconds") or 0.0
        if line.get("valid") is not None and sign * line["valid"] >= wanted:
            return {
                "quality": round(sign * wanted, 6),
                "seconds_to_quality": round(seconds, 3),
                "samples_to_quality": count * samples,
            }
    return {**unknown, "quality": round(sign * wanted, 6)}


def parts_of(model: nn.Module) -> dict[str, nn.Module]:
    """Encoder and tasks of a model by name; none of what is no such model."""
    found = {}
    encoder, tasks = getattr(model, "encoder", None), getattr(model, "tasks", None)
    target = getattr(model, "target", None)
    if isinstance(encoder, nn.Module):
        found["encoder"] = encoder
    if isinstance(tasks, nn.ModuleDict):
        found.update(tasks.items())
    elif isinstance(target, nn.Module):
        found["supervised"] = target
    return found


def optimizer_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of an optimizer's state, such as the two averages of Adam."""
    values = [v for state in optimizer.state.values() for v in state.values()]
    return sum(_bytes(value) for value in values if isinstance(value, Tensor))


def checkpoint_bytes(folder: Path) -> int:
    """Bytes of the weights in a run folder, all of its checkpoints together."""
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))


def state_bytes(model: nn.Module) -> int:
    """Bytes of the weights and buffers of a model that are not frozen."""
    frozen = frozen_names(model)
    return sum(_bytes(value) for name, value in model.state_dict().items() if name not in frozen)


def _sizes(model: nn.Module) -> dict[str, int]:
    total, trained = count_parameters(model)
    return {
        "parameters_total": total,
        "parameters_trained": trained,
        "stored_bytes": state_bytes(model),
    }


def _peaks() -> dict[str, int | None]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    on_device = torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else None
    return {
        "peak_memory_bytes": peak if sys.platform == "darwin" else peak * 1024,
        "peak_device_memory_bytes": on_device,
    }


def _bytes(value: Tensor) -> int:
    return value.numel() * value.element_size()
