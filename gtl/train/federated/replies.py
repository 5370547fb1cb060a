"""Replies of clients: names of their records, and what is wrong with one that cannot be used."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gtl.train.federated.flower import flower

ARRAYS, CONFIG, METRICS, HEAD_STATISTICS = "arrays", "config", "metrics", "statistics"
EXAMPLES, CLIENT, VALUE, LOSS, ERROR = "num-examples", "client", "value", "loss", "error"


def fault_of_arrays(record: Any, expected: dict[str, np.ndarray]) -> str | None:
    """What is wrong with arrays; ``None`` if nothing."""
    if set(record) != set(expected):
        return f"sent arrays named {sorted(record)}, expected {sorted(expected)}"
    for name, like in expected.items():
        try:
            array = record[name].numpy()
        except Exception as error:  # whatever a damaged buffer raises
            return f"sent an array {name!r} that cannot be read ({error})"
        if array.shape != like.shape or array.dtype != like.dtype:
            return (
                f"sent {name!r} as {array.dtype} {array.shape}, expected {like.dtype} {like.shape}"
            )
        if not np.isfinite(array).all():
            return f"sent {name!r} with numbers that are not finite"
    return None


def fault_of_metrics(reply: Any) -> str | None:
    """What is wrong with the metrics that every reply has; ``None`` if nothing."""
    if list(reply.content.metric_records) != [METRICS]:
        return f"sent the metrics {list(reply.content.metric_records)}, expected {[METRICS]}"
    metrics = reply.content[METRICS]
    for name in (EXAMPLES, CLIENT):
        problem = fault_of_number(metrics, name)
        if problem is not None:
            return problem
        if metrics[name] < 0:
            return f"sent {name!r} as {metrics[name]!r}, expected 0 or more"
    return None


def fault_of_evaluation(reply: Any) -> str | None:
    """What is wrong with a validation value; ``None`` if nothing."""
    return fault_of_metrics(reply) or fault_of_number(reply.content[METRICS], VALUE)


def fault_of_number(metrics: Any, name: str) -> str | None:
    """What is wrong with a metric that must be a finite number; ``None`` if nothing."""
    value = metrics.get(name)
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return f"sent {name!r} as {value!r}, expected a finite number"
    return None


def drop_unknown(reply: Any) -> None:
    """Leave known metrics: Flower's strategies refuse a round whose replies name different ones."""
    metrics = reply.content[METRICS]
    kept = {name: metrics[name] for name in (EXAMPLES, CLIENT, VALUE, LOSS) if name in metrics}
    kept[ERROR] = float(metrics[ERROR]) if fault_of_number(metrics, ERROR) is None else 0.0
    reply.content[METRICS] = flower().MetricRecord(kept)


def examples_of(reply: Any) -> float:
    """Items that a reply counts for."""
    return float(reply.content[METRICS][EXAMPLES])
