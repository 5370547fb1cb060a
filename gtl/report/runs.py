"""Records of run folders: config, results and state, with damaged files named."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gtl.checkpoint import read_json
from gtl.errors import CheckpointError, GtlWarning
from gtl.metrics import direction
from gtl.run_folder import read_metrics
from gtl.run_kinds import RUN_KINDS, RunKind

Repetition = tuple[int, int, int]
_NOT_DATA = ("seed", "fold", "download")
_TYPES = {"data": str, "data_options": dict, "seed": int, "tasks": dict}
_FOREIGN: Mapping[str, Any] = {}  # what another program's config.json counts as
_SERIES = ("losses", "weights", "consistency")


@dataclass(frozen=True)
class RunRecord:
    """One run folder, as its files describe it.

    Attributes:
        path: The folder.
        name: Its path below the folder that was searched.
        config: ``config.json``.
        results: ``results.json``; ``None`` if the run has not ended.
        epochs: How many epochs ``metrics.jsonl`` has; ``None`` if that file is damaged.
    """

    path: Path
    name: str
    config: Mapping[str, Any]
    results: Mapping[str, Any] | None
    epochs: int | None

    @property
    def kind(self) -> RunKind:
        """What kind of run it is."""
        return RUN_KINDS[self.config["command"]]

    @property
    def title(self) -> str:
        """Its name, or that of its folder where that is the one that was searched."""
        return self.path.resolve().name if self.name == "." else self.name

    @property
    def repetition(self) -> Repetition:
        """Seed of the run, and seed and fold of its data: what runs share that are compared."""
        seed = self.config.get("seed", 0)
        options = self.config.get("data_options", {})
        drawn = options.get("seed")
        return seed, seed if drawn is None else drawn, options.get("fold") or 0

    def value(self, part: str) -> float | None:
        """Value of the metric on ``valid`` or ``test``; ``None`` if it has none, or not yet."""
        value = None if self.results is None else self.results[part]
        return None if value is None else float(value)

    @property
    def has_value(self) -> bool:
        """Whether the run has ended and has a value."""
        return any(self.value(part) is not None for part in ("valid", "test"))

    @property
    def selected(self) -> str | None:
        """The candidate that validation data selected; ``None`` if there was only one."""
        results = self.results or {}
        if "race" in results:  # run folders of gtl 0.1
            return str(results["race"]["winner"])
        return str(results["selection"]["selected"]) if "selection" in results else None

    @property
    def options(self) -> dict[str, Any]:
        """What the data was loaded with, except for what decides only which split was drawn."""
        options = self.config.get("data_options", {})
        return {name: value for name, value in options.items() if name not in _NOT_DATA}


def find_runs(folders: Path | Sequence[Path]) -> list[RunRecord]:
    """Read every run folder below some folders, at any depth, themselves included.

    A run whose ``config.json`` cannot be read is left out, one with other damage comes as if that
    file were missing; one warning names all such files.

    Args:
        folders: One or several; runs are in order of path, each once, and named by their path
            below the folder, or below that which all folders have in common.

    Raises:
        CheckpointError: If a folder is missing, or none holds a run.
    """
    tops = [folders] if isinstance(folders, Path) else list(folders)
    for folder in tops:
        if not folder.is_dir():
            raise CheckpointError(f"there is no folder {folder}; check the path")
    common = tops[0] if len(tops) == 1 else Path(os.path.commonpath([p.resolve() for p in tops]))
    damaged: list[str] = []
    places: set[Path] = set()
    runs = []
    for place in _places(tops):
        if places.isdisjoint(place.parents):  # the candidates that a run compared are part of it
            config = _config(place, damaged)
            if config != _FOREIGN:
                places.add(place)
            if config:
                runs.append(_record(place, common, config, damaged))
    if damaged:
        warnings.warn(
            f"damaged files were left out: {'; '.join(damaged)}", GtlWarning, stacklevel=3
        )
    if not runs:
        raise CheckpointError(
            f"there is no run folder in {', '.join(map(str, tops))}; gtl finetune --out "
            f"{tops[0] / 'NAME'} writes one"
        )
    return runs


def _places(tops: Sequence[Path]) -> list[Path]:
    """Folders with a ``config.json``, in order of path; of several tops each once."""
    found = (path.parent for top in tops for path in top.rglob("config.json"))
    return sorted({place.resolve(): place for place in found}.values())


def _config(path: Path, damaged: list[str]) -> Mapping[str, Any] | None:
    """Contents of ``config.json``; ``None`` if it is damaged, empty if it is of another program."""
    file = path / "config.json"
    try:
        config = read_json(file)
    except CheckpointError:
        damaged.append(f"{file} (no JSON)")
        return None
    if not isinstance(config, dict) or "command" not in config:
        return _FOREIGN
    if config["command"] not in RUN_KINDS:
        damaged.append(f"{file} (no kind of run is called {config['command']!r})")
        return None
    wrong = [
        name for name, type_ in _TYPES.items() if not isinstance(config.get(name, type_()), type_)
    ]
    if wrong:
        damaged.append(f"{file} ({wrong[0]} is {config[wrong[0]]!r})")
        return None
    return config


def _record(path: Path, top: Path, config: Mapping[str, Any], damaged: list[str]) -> RunRecord:
    below = path if path.is_relative_to(top) else path.resolve()
    name = "." if below == top else below.relative_to(top).as_posix()
    return RunRecord(path, name, config, _results(path, damaged), _epochs(path, damaged))


def _results(path: Path, damaged: list[str]) -> Mapping[str, Any] | None:
    file = path / "results.json"
    if not file.exists():
        return None
    try:
        results = read_json(file)
    except CheckpointError:
        damaged.append(f"{file} (no JSON)")
        return None
    fault = _fault(results)
    if fault:
        damaged.append(f"{file} ({fault})")
        return None
    return results


def _fault(results: Any) -> str:
    """What is wrong with the contents of ``results.json``, in words; empty if nothing."""
    if not isinstance(results, dict) or not {"metric", "valid", "test"} <= results.keys():
        return "no metric, valid and test"
    if results["metric"] is not None and direction(str(results["metric"])) is None:
        return f"unknown metric {results['metric']!r}"
    for part in ("valid", "test"):
        value = results[part]
        if value is not None and results["metric"] is None:
            return f"{part} without a metric"
        if value is not None and not (isinstance(value, (int, float)) and math.isfinite(value)):
            return f"{part} is {value!r}"
    for name in ("footprint", "bytes"):
        if not _is_costs(results.get(name) or {}):
            return f"{name} is no object of numbers"
    return ""


def _is_costs(costs: Any) -> bool:
    return isinstance(costs, dict) and all(
        _is_known_number(cost) or isinstance(cost, dict) for cost in costs.values()
    )


def _is_known_number(value: Any) -> bool:
    return value is None or isinstance(value, (int, float))


def _epochs(path: Path, damaged: list[str]) -> int | None:
    file = path / "metrics.jsonl"
    try:
        history = read_metrics(path)
        ended = file.read_bytes().count(b"\n") if file.exists() else 0  # a kill cuts off the last
    except OSError:
        history, ended = [], 1
    if len(history) < ended or not all(_is_epoch(line) for line in history):
        damaged.append(f"{file} (lines that are no epochs)")
        return None
    return len(history)


def _is_epoch(line: Any) -> bool:
    return (
        isinstance(line, dict)
        and _is_known_number(line.get("valid", ""))
        and all(isinstance(line.get(key), dict) for key in _SERIES)
        and all(_is_known_number(value) for key in _SERIES for value in line[key].values())
    )
