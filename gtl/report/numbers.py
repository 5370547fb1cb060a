"""Raw numbers of a report as JSON and CSV, for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from gtl.report.comparison import Comparison, DataSet, Method
from gtl.report.runs import RunRecord

_COSTS = (
    *("parameters_total", "parameters_trained", "stored_bytes", "seconds", "peak_memory_bytes"),
    *("checkpoint_bytes", "optimizer_bytes", "communicated_bytes", "flops", "latency_p50_ms"),
    *("latency_p95_ms", "seconds_to_quality", "samples_to_quality"),
)
_COLUMNS = ("data", "method", "seed", "data_seed", "fold", "metric", "valid", "test", "epoch")


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Everything in a comparison, as objects, lists and numbers."""
    return {
        "reference": comparison.reference,
        "data_sets": [_data_set(data) for data in comparison.data_sets],
        "overall": {title: asdict(tally) for title, tally in comparison.overall.items()},
        "unfinished": dict(comparison.unfinished),
        "notes": list(comparison.notes),
    }


def as_csv(comparison: Comparison) -> str:
    """A row for each run that counts: data, method, seeds, values, costs and folder."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*_COLUMNS, *_COSTS, "folder"))
    writer.writerows(
        _row(data, method, run)
        for data in comparison.data_sets
        for method in data.methods
        for run in method.runs
    )
    return text.getvalue()


def _data_set(data: DataSet) -> dict[str, Any]:
    return {
        "title": data.title,
        "data": data.spec,
        "data_options": dict(data.options),
        "metric": data.metric,
        "better": data.better,
        "part": data.part,
        "reference": data.reference,
        "methods": [_method(data, method) for method in data.methods],
    }


def _method(data: DataSet, method: Method) -> dict[str, Any]:
    found = method.difference
    difference = {**asdict(found), "verdict": found.verdict(data.better)} if found else None
    return {
        "title": method.title,
        "settings": dict(method.settings),
        "valid": asdict(method.valid) if method.valid else None,
        "test": asdict(method.test) if method.test else None,
        "difference": difference,
        "runs": [_run(run) for run in method.runs],
    }


def _run(run: RunRecord) -> dict[str, Any]:
    seed, data_seed, fold = run.repetition
    results = run.results or {}
    return {
        "folder": run.name,
        "seed": seed,
        "data_seed": data_seed,
        "fold": fold,
        **{name: results.get(name) for name in ("valid", "test", "epoch", "footprint")},
    }


def _row(data: DataSet, method: Method, run: RunRecord) -> Iterable[Any]:
    found = _run(run)
    footprint = found["footprint"] or {}
    values = {"data": data.title, "method": method.title, "metric": data.metric, **found}
    yield from (values[name] for name in _COLUMNS)
    yield from (footprint.get(name) for name in _COSTS)
    yield run.name
