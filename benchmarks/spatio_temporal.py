"""Can a frozen encoder of single graphs learn to forecast, and what does each part of AIM add?

A static encoder is trained on single snapshots of the training part; every method but the last four
starts from it. Each has the same windows, epochs and learning rates to choose from, and validation
data choose rate and epoch; the test part is looked at once. Errors are in the unit of the series.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from _measure import RESULTS, write_results

import gtl
from gtl import checkpoint
from gtl.report.compare import mean_ranks, paired, spread

OUT = Path("runs") / "spatio_temporal"
OURS = "spatial + temporal + joint"
ENCODER = {"name": "sage", "width": 96, "depth": 2, "norm": "layer"}
RATES = (3e-3, 2e-2)


@dataclass(frozen=True)
class Data:
    """A series and how it is cut.

    Attributes:
        spec: What to load.
        history: Steps of a window.
        horizons: Steps ahead.
        training: Epochs, windows a step, and whether changes are learned.
        reach: How many steps back a block sees, ``None`` for all; of 1 and ``None`` what validation
            data of one seed preferred (not tried on ``england_covid``).
        stride: Windows of each part; one in so many.
    """

    spec: str
    history: int
    horizons: tuple[int, ...]
    training: Mapping[str, Any]
    reach: int | None = 1
    stride: Mapping[str, int] = field(default_factory=dict)


SETS = {
    "chickenpox": Data(
        "series:chickenpox", 8, (1, 2, 4), {"epochs": 12, "batch_size": 16, "difference": False}
    ),
    "england_covid": Data(
        "series:england_covid", 7, (1, 3, 5), {"epochs": 30, "batch_size": 4, "difference": True}
    ),
    "los_loop": Data(
        "series:los_loop",
        12,
        (3, 6, 12),
        {"epochs": 8, "batch_size": 4, "difference": True},
        None,
        {"train": 24, "valid": 36, "test": 12},
    ),
}


def aim(*parts: str) -> dict[str, Any]:
    return {"name": "spatio_temporal", "hidden": 4, "parts": list(parts)}


ALL = aim("spatial", "temporal", "joint")
# What starts from the static encoder, and what does without.
STARTED: dict[str, dict[str, Any]] = {
    "spatial": {"adapter": aim("spatial"), "history": 1},
    "spatial + temporal": {"adapter": aim("spatial", "temporal")},
    OURS: {"adapter": ALL},
    "full fine-tuning": {"adapter": ALL, "frozen": False},
    "GRU on frozen outputs": {"memory": "gru"},
}
STATIC = "static encoder"
SCRATCH = "from scratch"
BASELINES = {"last value": "last_value", "seasonal naive": "seasonal_naive", "linear": "linear"}
METHODS = (STATIC, *STARTED, SCRATCH, *BASELINES)


# -- one seed of one set ---------------------------------------------------------------------------


def work(name: str, seed: int, methods: Sequence[str], root: str, out: Path) -> None:
    """Train what is missing; each method leaves a file when it is done."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    missing = [method for method in methods if not place(out, name, method, seed).exists()]
    if not missing:
        return
    data = SETS[name]
    series = gtl.load(data.spec, root=root)
    static = None
    for method in missing:
        started = time.process_time()
        if method in (STATIC, *STARTED) and static is None:
            static = best(ENCODER, series, data, seed, {"history": 1})
        if method in BASELINES:
            results = gtl.forecast(BASELINES[method], series, **window(data)).results
        elif method == STATIC:
            results = static.results
        elif method == SCRATCH:
            results = best(ENCODER, series, data, seed, {"adapter": ALL, "frozen": False}).results
        else:
            results = best(static, series, data, seed, STARTED[method]).results
        seconds = round(time.process_time() - started, 2)
        path = place(out, name, method, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.write_text(path, json.dumps({**results, "cpu_seconds": seconds}))


def best(encoder: Any, series: Any, data: Data, seed: int, how: Mapping[str, Any]) -> Any:
    """The forecaster of the rate that validation data prefer."""
    found = []
    for rate in RATES:
        options = {**window(data), **data.training, **how}
        if "adapter" in how:
            options["adapter"] = {**how["adapter"], "reach": data.reach}
        model = gtl.forecast(encoder, series, lr=rate, seed=seed, **options)
        model.results["lr"] = rate
        found.append(model)
    return min(found, key=lambda model: model.results["valid"])


def window(data: Data) -> dict[str, Any]:
    return {"history": data.history, "horizons": data.horizons, "stride": data.stride}


def place(out: Path, name: str, method: str, seed: int) -> Path:
    return out / name / method.replace(" ", "_").replace("+", "and") / f"{seed}.json"


# -- tables ----------------------------------------------------------------------------------------


def collect(out: Path, names: Sequence[str], methods: Sequence[str]) -> dict[str, Any]:
    """Results by set, method and seed; a baseline's, which has no seed, counts for all."""
    found: dict[str, Any] = {}
    for name in names:
        runs: dict[str, dict[int, Any]] = {}
        for method in methods:
            files = sorted(place(out, name, method, 0).parent.glob("*.json"))
            if files:
                runs[method] = {int(file.stem): json.loads(file.read_text()) for file in files}
        if runs:
            found[name] = runs
    return found


def summarize(found: Mapping[str, Any]) -> dict[str, Any]:
    """Errors at each horizon, trained share, and by how much each method is off more than ours."""
    sets = {
        name: {method: describe(by, runs.get(OURS, {})) for method, by in runs.items()}
        for name, runs in found.items()
    }
    tables = {name: {m: by[m]["mae"] for m in by} for name, by in sets.items()}
    ranks = mean_ranks(tables, dict.fromkeys(tables, "lower")) if tables else {}
    return {"sets": sets, "mean_rank": ranks}


def describe(runs: Mapping[int, Any], ours: Mapping[int, Any]) -> dict[str, Any]:
    sizes = next(iter(runs.values()))["footprint"]
    middle = spread(r["test"] for r in runs.values())
    entry = {
        "mae": round(middle.mean, 4),
        "std": None if middle.std is None else round(middle.std, 4),
        "seeds": middle.n,
        "trained_share": round(sizes["parameters_trained"] / max(sizes["parameters_total"], 1), 4),
        "trained": sizes["parameters_trained"],
        "horizons": {
            h: {
                error: round(spread(r["horizons"][h][error] for r in runs.values()).mean, 4)
                for error in ("mae", "rmse", "mape")
            }
            for h in next(iter(runs.values()))["horizons"]
        },
        "cpu_seconds": round(spread(r["cpu_seconds"] for r in runs.values()).mean, 1),
        "values": {str(seed): round(r["test"], 5) for seed, r in sorted(runs.items())},
    }
    if runs.keys() & ours.keys():
        gap = paired(*({s: r["test"] for s, r in side.items()} for side in (runs, ours)))
        ends = None if gap.low is None else [round(gap.low, 4), round(gap.high or 0, 4)]
        entry |= {"difference": round(gap.mean, 4), "interval": ends}
        entry["verdict"] = gap.verdict("lower")
    return entry


def markdown(summary: Mapping[str, Any]) -> str:
    """A table for each set."""
    parts = []
    for name, by in summary["sets"].items():
        ahead = list(next(iter(by.values()))["horizons"])
        heads = [f"{error.upper()} at {', '.join(ahead)}" for error in ("mae", "rmse", "mape")]
        rows = [f"{name}:", ""]
        rows.append("| method | " + " | ".join([*heads, "trained", f"off more than {OURS}"]) + " |")
        rows.append("|---" * (len(heads) + 3) + "|")
        for method, entry in by.items():
            cells = [
                " / ".join(f"{entry['horizons'][h][error]:.3g}" for h in ahead)
                for error in ("mae", "rmse", "mape")
            ]
            ends = entry.get("interval")
            gap = "" if method == OURS else f"{entry.get('difference', float('nan')):+.3f}"
            if gap and ends:
                mark = {"better": " **better**", "worse": " **worse**"}.get(entry["verdict"], "")
                gap += f" [{ends[0]:+.3f}, {ends[1]:+.3f}]{mark}"
            share = f"{100 * entry['trained_share']:.1f} %" if entry["trained"] else ""
            rows.append(f"| {method} | " + " | ".join([*cells, share, gap]) + " |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


# -- command line ----------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", default=os.environ.get("GTL_DATA", ""), help="folder of data")
    parser.add_argument("--set", action="append", choices=SETS, help="only these sets")
    parser.add_argument("--method", action="append", choices=METHODS, help="only these methods")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--out", type=Path, default=OUT, help="where finished runs are kept")
    parser.add_argument("--no-write", action="store_true", help="print, write no results")
    parser.add_argument("--only-collect", action="store_true", help="train nothing")
    options = parser.parse_args()
    if not options.root and not options.only_collect:
        print("spatio_temporal: give the folder of data sets as --root or GTL_DATA; left out")
        return
    names, methods = options.set or list(SETS), options.method or list(METHODS)
    if not options.only_collect:
        run_all(names, methods, options)
    summary = summarize(collect(options.out, names, methods))
    print(markdown(summary))
    if not options.no_write:
        settings = {
            name: {
                "spec": data.spec,
                **window(data),
                **data.training,
                "encoder": ENCODER,
                "adapter": {**ALL, "reach": data.reach},
                "rates": RATES,
            }
            for name, data in SETS.items()
        }
        write_results("spatio_temporal", {"settings": settings, **summary}, RESULTS)


def run_all(names: Sequence[str], methods: Sequence[str], options: argparse.Namespace) -> None:
    """Seed by seed, so that what is there at any time compares all methods."""
    jobs = [(name, seed) for seed in range(options.seeds) for name in names]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        started = time.monotonic()
        futures = {job: pool.submit(work, *job, methods, options.root, options.out) for job in jobs}
        for count, (job, future) in enumerate(futures.items(), 1):
            future.result()
            minutes = (time.monotonic() - started) / 60
            print(f"{count}/{len(jobs)} {job} {minutes:.1f} min", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
