"""Flower's ServerApp of a federation: rounds, their records, checkpoints, and the best of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from gtl.adapters.adapted import frozen_names
from gtl.heads.class_statistics import ClassStatistics
from gtl.metrics import is_better
from gtl.progress import Progress
from gtl.report.compare import spread
from gtl.run_folder import RunFolder
from gtl.train.federated.client_app import KEPT, kept_by
from gtl.train.federated.federation import Federation
from gtl.train.federated.flower import flower, record_of
from gtl.train.federated.guard import Guard
from gtl.train.federated.rounds import Round
from gtl.train.model import TARGET

log = logging.getLogger(__name__)


@dataclass
class Record:
    """What the rounds left.

    Attributes:
        vector: The global parameters after the last round, ``(p,)``.
        best: Those of the round that validation data chose, the last one without any.
        epoch: Its number, from 0 on; -1 for the start.
        valid: Its validation value.
        lines: One dictionary for each round, as in ``metrics.jsonl``.
        kept: What each client kept at the chosen round, by number.
        statistics: Of the classes at the chosen round, ``None`` without any.
        strategy: What Flower's strategy remembers.
        seconds: Time of all rounds.
    """

    vector: np.ndarray
    best: np.ndarray
    epoch: int = -1
    valid: float | None = None
    lines: list[dict[str, Any]] = field(default_factory=list)
    kept: dict[int, np.ndarray] = field(default_factory=dict)
    statistics: Any = None
    strategy: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def server_app(
    federation: Callable[[Any], Federation],
    done: Callable[[Record], None],
    folder: RunFolder | None = None,
    contexts: Mapping[int, Any] | None = None,
) -> Any:
    """The ServerApp of a federation.

    Args:
        federation: The federation that a Flower ``Context`` is for.
        done: Called with the record in the end.
        folder: Where to log and save each round, and to continue from.
        contexts: Those of the clients by node, where they are in this process.
    """
    app = flower().ServerApp()

    @app.main()  # type: ignore[untyped-decorator]
    def main(grid: Any, context: Any) -> None:
        done(run_rounds(federation(context), grid, folder, contexts or {}))

    return app


def run_rounds(
    federation: Federation, grid: Any, folder: RunFolder | None, contexts: Mapping[int, Any]
) -> Record:
    """Run the rounds that are left; arguments as for :func:`server_app`."""
    start = federation.start
    record = Record(start, start)
    if folder is not None:
        state, frozen = federation.model.state_dict(), frozen_names(federation.model)
        folder.save_frozen({name: value for name, value in state.items() if name in frozen})
        record = _resumed(folder, federation, contexts)
    nodes = {node: _number(context) for node, context in contexts.items()}
    guard = Guard(federation, len(record.lines), nodes)
    guard.restore(record.strategy)
    total = federation.plan.rounds
    title = f"federate {federation.plan.strategy['name']}"
    with Progress(title, total, len(record.lines)) as progress:
        clock = time.monotonic()

        def after(vector: np.ndarray) -> None:
            nonlocal clock
            seconds, clock = time.monotonic() - clock, time.monotonic()
            _take(record, guard, vector, seconds, contexts, federation.labels.metric)
            if folder is not None:
                folder.log(record.lines[-1])
                folder.save(_state(record, federation, contexts))
            progress.update()
            progress.show(round=f"{len(record.lines)}/{total}")

        if len(record.lines) < total:
            guard.start(grid, record.vector, after)
    return record


def _take(
    record: Record,
    guard: Guard,
    vector: np.ndarray,
    seconds: float,
    contexts: Mapping[int, Any],
    metric: str,
) -> None:
    """Add a round to the record."""
    found = guard.round
    record.vector, record.strategy = vector, guard.state()
    record.seconds += seconds
    line = line_of(found, seconds)
    record.lines.append(line)
    unknown = found.valid is None and record.valid is not None  # nobody could be asked
    if not unknown and is_better(found.valid, record.valid, metric):
        record.best, record.valid, record.epoch = vector, found.valid, line["epoch"]
        record.statistics = guard.statistics
        record.kept = _kept(contexts)


def line_of(found: Round, seconds: float) -> dict[str, Any]:
    """A round as a line of ``metrics.jsonl``."""
    values = [value for value, _ in found.values.values()]
    middle = spread(values) if values else None
    return {
        "epoch": found.number - 1,
        "losses": {TARGET: found.loss},
        "weights": {},
        "consistency": {},
        "valid": found.valid,
        "seconds": round(seconds, 4),
        "clients": {
            "used": found.used,
            "failures": found.failures,
            "valid": None
            if middle is None
            else {"std": middle.std, "min": min(values), "max": max(values)},
        },
        "bytes": {"up": found.up, "down": found.down, "evaluation": found.evaluation},
        **({"compression": found.compression} if found.compression else {}),
        **({} if found.low_rank is None else {"low_rank_lost": found.low_rank}),
    }


def _kept(contexts: Mapping[int, Any]) -> dict[int, np.ndarray]:
    found = {_number(context): kept_by(context) for context in contexts.values()}
    return {number: own for number, own in found.items() if own is not None}


def _state(record: Record, federation: Federation, contexts: Mapping[int, Any]) -> dict[str, Any]:
    """A checkpoint; ``best.model`` is what any run folder has there."""
    frozen = frozen_names(federation.model)
    with federation.at(record.best, None, record.statistics):
        state = federation.model.state_dict()
        model = {name: value.clone() for name, value in state.items() if name not in frozen}
    statistics = record.statistics
    return {
        "epoch": len(record.lines),
        "seconds": record.seconds,
        "vector": torch.tensor(record.vector),
        "best": {
            "epoch": record.epoch,
            "valid": record.valid,
            "model": model,
            "vector": torch.tensor(record.best),
            "kept": {str(k): federation.kept.unpack(own) for k, own in record.kept.items()},
            "statistics": None if statistics is None else list(vars(statistics).values()),
        },
        "strategy": record.strategy,
        "kept": {str(k): torch.tensor(own) for k, own in _kept(contexts).items()},
    }


def _resumed(folder: RunFolder, federation: Federation, contexts: Mapping[int, Any]) -> Record:
    """The record of the rounds in a folder; the contexts of clients are as they were."""
    state = folder.load()
    if state is None:
        folder.keep_epochs(0)
        return Record(federation.start, federation.start)
    folder.keep_epochs(state["epoch"])
    for context in contexts.values():
        own = state["kept"].get(str(_number(context)))
        if own is not None:
            context.state[KEPT] = record_of({KEPT: own.numpy()})
    best = state["best"]
    statistics = best["statistics"]
    log.info("continuing %s after round %d", folder.path, state["epoch"])
    return Record(
        state["vector"].numpy(),
        best["vector"].numpy(),
        best["epoch"],
        best["valid"],
        folder.read_metrics(),
        {int(k): federation.kept.pack(own) for k, own in best["kept"].items()},
        None if statistics is None else ClassStatistics(*statistics),
        state["strategy"],
        state["seconds"],
    )


def _number(context: Any) -> int:
    return int(context.node_config["partition-id"])
