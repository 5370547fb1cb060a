"""Metrics of a run as events for TensorBoard, beside ``metrics.jsonl``, which is always written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gtl.optional import needs

SWITCH = "GTL_TENSORBOARD"  # a variable of the environment, so that every loop has it
FOLDER = "tensorboard"
_BY_TASK = ("losses", "weights", "consistency")


class EventLog:
    """Events in the folder ``tensorboard`` of a run.

    Args:
        folder: The run folder.
        epochs: Epochs that are done; events of later ones, which a resumed run repeats, are
            dropped by TensorBoard.

    Raises:
        MissingDependencyError: If TensorBoard is not installed.
    """

    def __init__(self, folder: Path, epochs: int):
        with needs("tensorboard", f"{SWITCH}=1"):
            from torch.utils.tensorboard import SummaryWriter
        self._open = lambda: SummaryWriter(str(folder / FOLDER), purge_step=epochs)
        self._writer: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> EventLog:
        """Itself: an open file has no copy."""
        return self

    def add(self, line: Mapping[str, Any]) -> None:
        """Write one epoch, as in ``metrics.jsonl``; values that are unknown are left out."""
        if self._writer is None:
            self._writer = self._open()
        for name, value in _scalars(line):
            if isinstance(value, (int, float)):
                self._writer.add_scalar(name, value, line["epoch"])
        self._writer.flush()


def event_log(folder: Path, epochs: int) -> EventLog | None:
    """An event log where :data:`SWITCH` is set to anything but ``0``; else ``None``."""
    return EventLog(folder, epochs) if os.environ.get(SWITCH, "0") not in ("", "0") else None


def _scalars(line: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key in _BY_TASK:
        for task, value in line.get(key, {}).items():
            yield f"{key}/{task}", value
    for task, gate in line.get("gates", {}).items():
        yield f"gates/{task}", gate["share"]
    for name in ("valid", "seconds"):
        yield name, line.get(name)
