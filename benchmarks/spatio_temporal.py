"""Can a frozen encoder of single graphs learn to forecast, and what does each part of AIM add?

A static encoder is trained on single snapshots of the training part; every method but the last four
starts from it. Each has the same windows to validate and to test, as many epochs and the same
learning rates to choose from, and validation data choose rate and epoch; the test part is looked at
once. Training windows of what sees a single step (the static encoder and ``spatial``) begin where
the series does, those of all others a history later: where one in so many is taken, on
``los_loop``, they are other ones, as many. Errors are in the unit of the series.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from _measure import RESULTS, write_results
from _seeds import (
    add_seeds,
    all_finished,
    described,
    keep,
    parsed,
    parser_of,
    place,
    run_all,
    table,
    tests_of,
)

import gtl
from gtl.report.compare import mean_ranks, spread

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
        if method in (STATIC, *STARTED) and static is None:
            static = timed(best, ENCODER, series, data, seed, {"history": 1})
        if method in BASELINES:
            model = timed(gtl.forecast, BASELINES[method], series, **window(data))
        elif method == STATIC:
            model = static
        elif method == SCRATCH:
            model = timed(best, ENCODER, series, data, seed, {"adapter": ALL, "frozen": False})
        else:
            model = timed(best, static, series, data, seed, STARTED[method])
        keep(model.results, out, name, method, seed)


def timed(train: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
    """What ``train`` returns, with the seconds of the processor in its results."""
    started = time.process_time()
    model = train(*inputs, **options)
    model.results["cpu_seconds"] = round(time.process_time() - started, 2)
    return model


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


# -- tables ----------------------------------------------------------------------------------------


def summarize(found: Mapping[str, Any]) -> dict[str, Any]:
    """Errors at each horizon, trained share, and by how much each method is off more than ours."""
    sets = {
        name: {method: describe(by, runs.get(OURS, {})) for method, by in runs.items()}
        for name, runs in found.items()
    }
    tables = {name: {m: by[m]["test"] for m in by} for name, by in sets.items()}
    ranks = mean_ranks(tables, dict.fromkeys(tables, "lower")) if tables else {}
    return {"sets": sets, "mean_rank": ranks}


def describe(runs: Mapping[int, Any], ours: Mapping[int, Any]) -> dict[str, Any]:
    sizes = next(iter(runs.values()))["footprint"]
    return {
        **described(tests_of(runs), tests_of(ours), "lower"),
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
    }


def markdown(summary: Mapping[str, Any]) -> str:
    """A table for each set."""
    parts = []
    for name, by in summary["sets"].items():
        ahead = list(next(iter(by.values()))["horizons"])
        heads = [f"{error.upper()} at {', '.join(ahead)}" for error in ("mae", "rmse", "mape")]
        rows = []
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
            rows.append([method, *cells, share, gap])
        lines = table(["method", *heads, "trained", f"off more than {OURS}"], rows)
        parts.append(f"{name}:\n\n{lines}")
    return "\n\n".join(parts)


# -- command line ----------------------------------------------------------------------------------


def main() -> None:
    parser = parser_of(__doc__, OUT, SETS, METHODS)
    add_seeds(parser, 5, first=5)  # seeds 0 to 4 served to choose the settings above
    options = parsed(parser)
    names, methods = options.set or list(SETS), options.method or list(METHODS)
    if not options.only_collect:
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        jobs = [(name, seed) for seed in seeds for name in names]
        run_all(work, jobs, options.workers, methods, options.root, options.out)
    summary = summarize(all_finished(options.out, names, methods))
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


if __name__ == "__main__":
    main()
