"""Flower's ClientApp of a federation: messages in, what a client does, messages out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gtl.heads.class_statistics import ClassStatistics
from gtl.train.federated.division import labeled_items
from gtl.train.federated.federation import Client, Federation, statistics_from, statistics_to
from gtl.train.federated.flower import arrays_of, flower, record_of
from gtl.train.federated.replies import (
    ARRAYS,
    CLIENT,
    CONFIG,
    ERROR,
    EXAMPLES,
    HEAD_STATISTICS,
    LOSS,
    METRICS,
    VALUE,
)

KEPT = "kept"  # record in a client's context: what it keeps from round to round


def client_app(client_of: Callable[[Any], Client]) -> Any:
    """The ClientApp of a federation.

    It trains, evaluates on its validation items, and measures statistics of its classes.

    Args:
        client_of: The client that a Flower ``Context`` is for.
    """
    app = flower().ClientApp()

    @app.train()  # type: ignore[untyped-decorator]
    def train(message: Any, context: Any) -> Any:
        return _train(client_of(context), message, context)

    @app.evaluate()  # type: ignore[untyped-decorator]
    def evaluate(message: Any, context: Any) -> Any:
        return _evaluate(client_of(context), message, context)

    @app.query()  # type: ignore[untyped-decorator]
    def measure(message: Any, context: Any) -> Any:
        client = client_of(context)
        found = client.measure(_vector(client.federation, message))
        metrics = {EXAMPLES: len(labeled_items(client.data)), CLIENT: client.number}
        return _reply(message, {HEAD_STATISTICS: record_of(statistics_to(found))}, metrics)

    return app


def kept_by(context: Any) -> np.ndarray | None:
    """What a client keeps from round to round; ``None`` before its first."""
    return arrays_of(context.state[KEPT])[KEPT] if KEPT in context.state else None


def _train(client: Client, message: Any, context: Any) -> Any:
    shared, vector = client.federation, _vector(client.federation, message)
    config = message.content[CONFIG]
    mu, turn = float(config.get("proximal-mu", 0.0)), int(config["server-round"])
    trained, own, loss = client.train(vector, turn, mu, kept_by(context), _statistics(message))
    if len(own):
        context.state[KEPT] = record_of({KEPT: own})
    metrics: dict[str, Any] = {
        EXAMPLES: len(labeled_items(client.data)),
        CLIENT: client.number,
        LOSS: 0.0 if loss is None else loss,
    }
    codec = shared.codec
    if shared.plan.compress is not None:
        trained = trained - vector
        metrics[ERROR] = codec.error(trained)
    return _reply(message, {ARRAYS: record_of(codec.encode(trained))}, metrics)


def _evaluate(client: Client, message: Any, context: Any) -> Any:
    vector, own = _vector(client.federation, message), kept_by(context)
    value, items = client.value(vector, "valid", own, _statistics(message))
    metrics = {EXAMPLES: items, CLIENT: client.number, VALUE: 0.0 if value is None else value}
    return _reply(message, {}, metrics)


def _vector(federation: Federation, message: Any) -> np.ndarray:
    return federation.codec.decode(arrays_of(message.content[ARRAYS]))


def _statistics(message: Any) -> ClassStatistics | None:
    found = message.content.get(HEAD_STATISTICS)
    return None if found is None else statistics_from(arrays_of(found))


def _reply(message: Any, records: dict[str, Any], metrics: dict[str, Any]) -> Any:
    kit = flower()
    content = kit.RecordDict({**records, METRICS: kit.MetricRecord(metrics)})
    return kit.Message(content, reply_to=message)
