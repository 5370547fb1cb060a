"""The door to Flower: its import without telemetry, and the two places where it has no public way.

These are the identity that every message needs, which Flower's own processes set when they start,
and the bytes of a message as its runtime sends them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np

from gtl.errors import MissingDependencyError
from gtl.optional import needs

TESTED = "flwr>=1.42,<1.43"
_SETTINGS = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}


def flower() -> SimpleNamespace:
    """Flower's classes, by name; nothing is reported to its authors unless the user allows it.

    Raises:
        MissingDependencyError: If the package ``flwr`` is not installed.
    """
    for name, value in _SETTINGS.items():  # Flower reads them when it is imported
        os.environ.setdefault(name, value)
    with needs("federated", "federated training"):
        from flwr.app import (
            Array,
            ArrayRecord,
            ConfigRecord,
            Context,
            Error,
            Message,
            MetricRecord,
            RecordDict,
        )
        from flwr.clientapp import ClientApp
        from flwr.serverapp import ServerApp, strategy
    return SimpleNamespace(
        Array=Array,
        ArrayRecord=ArrayRecord,
        ClientApp=ClientApp,
        ConfigRecord=ConfigRecord,
        Context=Context,
        Error=Error,
        Message=Message,
        MetricRecord=MetricRecord,
        RecordDict=RecordDict,
        ServerApp=ServerApp,
        strategy=strategy,
    )


@contextmanager
def identity(run: int = 1, node: int = 1) -> Iterator[None]:
    """Let messages be made in this process, which is none that Flower has started.

    A message takes its run and sender from a class that only Flower's own processes fill in.

    Raises:
        MissingDependencyError: If Flower has no such class any more: it is not public.
    """
    flower()
    task = _internal("flwr.supercore.task_identity", "TaskIdentity")
    fields = {"task_id": 1, "run_id": run, "node_id": node}
    before = {name: vars(task).get(f"_{name}") for name in fields}
    for name, value in fields.items():
        setattr(task, name, value)
    try:
        yield
    finally:
        for name, former in before.items():
            setattr(task, name, former)


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out what Flower logs of every round; its warnings are shown."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def serialized(message: Any) -> dict[str, bytes]:
    """The objects that a message consists of, as Flower's runtime sends them, by their hash."""
    nested = _internal("flwr.supercore.inflatable.inflatable_object", "get_all_nested_objects")
    return {name: part.deflate() for name, part in nested(message).items()}


def bytes_of(message: Any) -> int:
    """Bytes of a message on the wire."""
    return sum(map(len, serialized(message).values()))


def transmitted(message: Any) -> Any:
    """What the other side gets: the message, written to bytes and read again."""
    read = _internal("flwr.supercore.inflatable.inflatable_utils", "inflate_object_from_contents")
    return read(message.object_id, serialized(message))


def record_of(arrays: Mapping[str, np.ndarray]) -> Any:
    """Arrays as a record of a message."""
    kit = flower()
    return kit.ArrayRecord({n: kit.Array(np.ascontiguousarray(a)) for n, a in arrays.items()})


def arrays_of(record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays of a record, by name; they may be written to."""
    return {name: np.array(array.numpy()) for name, array in record.items()}


def _internal(module: str, name: str) -> Any:
    """Something in Flower that is not public."""
    import importlib

    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise MissingDependencyError(
            f"this version of Flower has no {module}.{name}, which is not public and which "
            f"training in one process needs; install the tested one: pip install '{TESTED}'"
        ) from error
