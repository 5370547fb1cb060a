"""Measuring that all benchmarks share: sides take turns in one run, and the environment is kept."""

from __future__ import annotations

import gc
import json
import os
import platform
import random
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).resolve().parent / "results"
_PACKAGES = ("torch", "dgl", "torch_geometric", "numpy", "scipy", "scikit-learn", "ogb")


def compare(
    sides: Mapping[str, Callable[[], Any]],
    repeats: int = 7,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Time several ways of doing the same thing, turn by turn, so that a busy spell hits all.

    In each turn the sides come in another order, the same in each run.

    Args:
        sides: What to call, by name; the first is what the others are compared with.
        repeats: Timed turns, at least 5.
        warmup: Turns before those that are not timed.
        clock: What measures; ``time.process_time`` on machines that do other work as well.

    Returns:
        ``seconds``: median, lowest, highest of each side; ``ratio``: by how much each other side
        takes longer than the first, the median over the turns.

    Raises:
        ValueError: If ``repeats`` is below 5.
    """
    if repeats < 5:
        raise ValueError(f"`repeats` is {repeats}, expected at least 5")
    taken: dict[str, list[float]] = {name: [] for name in sides}
    order, draws = list(sides), random.Random(0)
    for turn in range(warmup + repeats):
        draws.shuffle(order)
        for name in order:
            seconds = _time(sides[name], clock)
            if turn >= warmup:
                taken[name].append(seconds)
    first, *others = taken
    ratios = {
        name: statistics.median(b / a for a, b in zip(taken[first], taken[name])) for name in others
    }
    return {
        "repeats": repeats,
        "clock": clock.__name__,
        "seconds": {name: _spread(values) for name, values in taken.items()},
        "ratio": {name: round(value, 3) for name, value in ratios.items()},
    }


def peak_memory(call: Callable[[], Any]) -> int:
    """Bytes by which the resident memory rises above its start at most while ``call()`` runs.

    On Linux the kernel's high-water mark is reset first; elsewhere only a rise above everything
    the process did before is seen.
    """
    gc.collect()
    before = _resident("VmRSS") if _reset_high_water() else _resident("VmHWM")
    call()
    return max(0, _resident("VmHWM") - before)


def environment() -> dict[str, Any]:
    """Where a measurement was made: versions, processor and threads, but no names of machines."""
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def write_results(name: str, payload: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    """Write ``payload`` and the environment to ``<folder>/<name>.json``; returns the path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    text = json.dumps({"name": name, "environment": environment(), **payload}, indent=2)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def read_results(name: str, folder: Path = RESULTS) -> dict[str, Any]:
    """What :func:`write_results` wrote; empty if it did not yet."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _time(call: Callable[[], Any], clock: Callable[[], float]) -> float:
    gc.collect()
    _synchronize()
    start = clock()
    call()
    _synchronize()
    return clock() - start


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _spread(values: list[float]) -> dict[str, float]:
    parts = {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}
    return {name: float(f"{value:.4g}") for name, value in parts.items()}


def _reset_high_water() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _resident(field: str) -> int:
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
