"""Results of a federation: its test value, the spread over clients, bytes, and two bounds."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from gtl.data.dataset import Dataset
from gtl.errors import DataError
from gtl.metrics import score
from gtl.report.compare import spread
from gtl.run_folder import RunFolder
from gtl.train.evaluate import raw_outputs, value_on
from gtl.train.federated.client_app import client_app
from gtl.train.federated.division import Parts, parts_of
from gtl.train.federated.federation import Client, Federation
from gtl.train.federated.flower import flower, identity, quiet
from gtl.train.federated.grid import InProcessGrid
from gtl.train.federated.server_app import Record, server_app
from gtl.train.model import TARGET

log = logging.getLogger(__name__)


def in_process(federation: Federation, folder: RunFolder | None = None) -> Record:
    """Run a federation in this process, by Flower's apps and loop."""
    found: list[Record] = []
    with identity(), quiet():
        clients = client_app(lambda context: Client.of(federation, _number(context)))
        grid = InProcessGrid(clients, federation)
        server = server_app(lambda context: federation, found.append, folder, grid.contexts)
        kit = flower()
        server(grid, kit.Context(1, 1, {}, kit.RecordDict(), {}))
    return found[0]


def results_of(federation: Federation, record: Record, data: Dataset) -> dict[str, Any]:
    """What ``results.json`` holds of the chosen round.

    Args:
        federation: The federation.
        record: Its rounds.
        data: The whole data.

    Returns:
        ``valid``, the mean of the clients' metrics weighted by their items; ``test``, the metric of
        all test items, each predicted by its client from the graph that it has; ``whole``, the
        same of the global model on the graph with all edges, where no client keeps anything; the
        ``clients`` one by one, and ``bytes``.
    """
    each = [_value(federation, record, number) for number in range(federation.plan.clients)]
    known = [value for value in each if value is not None]
    middle = spread(known) if known else None
    _warn(federation, record, len(known))
    totals = {
        way: sum(line["bytes"][way] for line in record.lines)
        for way in ("up", "down", "evaluation")
    }
    return {
        "valid": record.valid,
        "test": pooled(federation, record, data),
        "epoch": record.epoch,
        "whole": _whole(federation, record, data),
        "clients": {
            "training_items": [_count(part, "train") for part in federation.parts.datasets],
            "test_items": [_count(part, "test") for part in federation.parts.datasets],
            "test": each,
            "mean": None if middle is None else middle.mean,
            "std": None if middle is None else middle.std,
            "worst": min(known, default=None),
        },
        "bytes": {**totals, "training": totals["up"] + totals["down"]},
        "travels": {"numbers": len(record.vector), "kept": sum(federation.kept.sizes)},
        "edges": {"all": federation.parts.edges, "cut": federation.parts.cut_edges},
        "failures": sum(len(line["clients"]["failures"]) for line in record.lines),
    }


def _warn(federation: Federation, record: Record, with_test: int) -> None:
    """Log what clients have no value of, and what was not trained or not chosen."""
    metric, parts = federation.labels.metric, federation.parts.datasets
    remedy = "use another metric, or fewer clients"
    without = sum(_count(part, "test") > 0 for part in parts) - with_test
    if without:
        log.warning(
            "%s is undefined on the test items of %d of %d clients, which have no value of their "
            "own; %s",
            *(metric, without, len(parts), remedy),
        )
    if record.valid is None and any(_count(part, "valid") for part in parts):
        log.warning(
            "%s is undefined on the validation items of every client, so the last round is kept; "
            "%s",
            *(metric, remedy),
        )
    elif record.valid is None:
        log.warning("there are no validation items, so the last round is kept")
    if all(line["losses"][TARGET] is None for line in record.lines):
        failures = [found for line in record.lines for found in line["clients"]["failures"].items()]
        client, reason = next(iter(failures), ("", ""))
        log.warning(
            "nothing was trained: no round had enough usable replies (%d)%s",
            federation.plan.minimum,
            f"; first failure: client {client} {reason}" if failures else "",
        )


def pooled(federation: Federation, record: Record, data: Dataset) -> float | None:
    """The metric of the test items of all clients together; ``None`` where it is undefined."""
    outputs, labels = [], []
    for number, part in enumerate(federation.parts.datasets):
        items = part.split.get("test", ())
        if not len(items) or part.labels is None:
            continue
        with federation.at(record.best, _kept(record, number), record.statistics) as model:
            outputs.append(raw_outputs(model, part, part.items("test")).double().numpy())
        labels.append(part.labels[part.items("test")].numpy())
    if not outputs:
        return None
    try:
        return float(score(data.metric, np.concatenate(labels), np.concatenate(outputs)))
    except DataError as error:
        log.warning("no test result: %s", error)
        return None


def bounds_of(federation: Federation, data: Dataset) -> dict[str, Any]:
    """What the same training gives without a federation, as long in all.

    Returns:
        Test values: ``centralized``, of one client with all data and the graph with all edges;
        ``local``, of each client alone with its own data, test items of all together, and
        ``clients``, one by one. ``None`` where it cannot be trained.
    """
    alone: dict[str, Any] = {
        "clients": 1,
        "fraction": 1.0,
        "drop_out": 0.0,
        "minimum": 1,
        "compress": None,
    }
    alone["strategy"] = {"name": "fedavg"}
    whole = federation.of_parts(
        parts_of(data, torch.zeros(len(data), dtype=torch.int64), 1), **alone
    )
    record = in_process(whole)
    outputs: list[Any] = []
    for part in federation.parts.datasets:
        outputs.append(_alone(federation.of_parts(Parts([part], torch.zeros(0)), **alone), part))
    known = [found for found in outputs if found is not None]
    labels = [labels for labels, _ in known]
    together = None
    if known:
        scores = np.concatenate([found for _, found in known])
        together = _score(data.metric, np.concatenate(labels), scores)
    return {
        "centralized": pooled(whole, record, data),
        "local": together,
        "clients": [None if f is None else _score(data.metric, *f) for f in outputs],
    }


def _alone(federation: Federation, part: Dataset) -> tuple[np.ndarray, np.ndarray] | None:
    """Labels and outputs of the test items of a client that trains alone."""
    if not _count(part, "test") or part.labels is None:
        return None
    try:
        record = in_process(federation) if _count(part, "train") else None
    except DataError as error:  # a head with statistics needs each class
        log.warning("a client cannot be trained alone: %s", error)
        return None
    best = federation.start if record is None else record.best
    statistics = None if record is None else record.statistics
    own = None if record is None else _kept(record, 0)
    with federation.at(best, own, statistics) as model:
        outputs = raw_outputs(model, part, part.items("test")).double().numpy()
    return part.labels[part.items("test")].numpy(), outputs


def _score(metric: str, labels: np.ndarray, outputs: np.ndarray) -> float | None:
    try:
        return float(score(metric, labels, outputs))
    except DataError:
        return None


def _value(federation: Federation, record: Record, number: int) -> float | None:
    client = Client.of(federation, number)
    return client.value(record.best, "test", _kept(record, number), record.statistics)[0]


def _whole(federation: Federation, record: Record, data: Dataset) -> float | None:
    if data.graph is None or federation.kept.shapes:
        return None
    with federation.at(record.best, None, record.statistics) as model:
        return value_on(model, replace(data), "test")


def _kept(record: Record, number: int) -> np.ndarray | None:
    return record.kept.get(number)


def _count(data: Dataset, part: str) -> int:
    return len(data.split.get(part, ()))


def _number(context: Any) -> int:
    return int(context.node_config["partition-id"])
