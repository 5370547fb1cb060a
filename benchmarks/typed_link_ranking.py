"""Does ranking the edges of a typed graph help to classify its nodes?

An HGT of two layers on ACM and DBLP with 20 labels a class, on 64 leading components of the
features, as in ``auxiliary_weighting.py``. One auxiliary task stands beside the labels:
``link_ranking``, with one vector for each type of edge (DistMult), or ``edge_prediction``, which
knows no types; under equal weights or ``aux_ts``, without a guard. *Pre-trained* begins with the
encoder that learned the task alone on the same graph. Validation data select the epoch. Points are
paired by seed with the labels alone.

    OMP_NUM_THREADS=1 python benchmarks/typed_link_ranking.py --root path/to/data

Finished runs are kept in ``--out``; the same command goes on where it stopped.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from _measure import write_results
from _seeds import (
    add_seeds,
    all_finished,
    described,
    keep,
    parsed,
    parser_of,
    place,
    points,
    run_all,
    table,
    tests_of,
)
from auxiliary_weighting import COMPONENTS, reduced

import gtl

OUT = Path("runs") / "typed_link_ranking"
SETS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "ACM": ("typed:acm", {"labels_per_class": 20}),
    "DBLP": ("typed:dblp", {"labels_per_class": 20, "features": ["a", "t"]}),
}
ENCODER = {"name": "hgt", "width": 32, "depth": 2, "dropout": 0.5}
TRAINING = {"epochs": 40, "lr": 0.01, "weight_decay": 5e-3}
TASKS: Mapping[str, Any] = {
    "link ranking": {"name": "link_ranking", "score": "distmult", "negatives": 32},
    "edge prediction": "edge_prediction",
}
REFERENCE = "labels alone"
METHODS = (
    REFERENCE,
    *(f"{task}, {how}" for task in TASKS for how in ("equal", "aux_ts", "pre-trained")),
)


def main() -> None:
    parser = parser_of(__doc__ or "", OUT, SETS, METHODS)
    add_seeds(parser, 5)
    options = parsed(parser)
    if not options.only_collect:
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        jobs = [
            (name, method, seed)
            for seed in seeds
            for name in options.set or SETS
            for method in options.method or METHODS
        ]
        run_all(work, jobs, options.workers, options.root, options.out)
    found = collect(options.out)
    print(markdown(found))
    if not options.no_write:
        how = {"encoder": ENCODER, "training": TRAINING, "tasks": TASKS}
        write_results("typed_link_ranking", {"reference": REFERENCE, **how, "sets": found})


def work(name: str, method: str, seed: int, root: str, out: Path) -> None:
    """Leave the results of one training."""
    if place(out, name, method, seed).exists():
        return
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    spec, options = SETS[name]
    data = gtl.load(spec, root=root, seed=seed, **options)
    if data.graph.x.shape[1] > COMPONENTS:
        data = replace(data, graph=data.graph.replace(x=reduced(data.graph.x, seed)))
    task, _, how = method.partition(", ")
    encoder: Any = ENCODER
    more: dict[str, Any] = {}
    started = time.process_time()
    if how == "pre-trained":
        encoder = gtl.pretrain(
            encoder, data, [TASKS[task]], epochs=TRAINING["epochs"], lr=TRAINING["lr"], seed=seed
        )
    elif how:
        more = {"auxiliary": [TASKS[task]], "weighting": how}
    model = gtl.finetune(encoder, data, **TRAINING, **more, guard=False, seed=seed)
    seconds = round(time.process_time() - started, 1)
    keep({"valid": model.results["valid"], "test": model.results["test"], "seconds": seconds},
         out, name, method, seed)  # fmt: skip


def collect(out: Path) -> dict[str, Any]:
    """Each method of each set against the labels alone."""
    return {
        name: {m: described(tests_of(r), tests_of(runs.get(REFERENCE, {})), "higher")
               for m, r in runs.items()}
        for name, runs in all_finished(out, SETS, METHODS).items()
    }  # fmt: skip


def markdown(found: Mapping[str, Any]) -> str:
    """A row for each method, a column for each set."""
    rows = [
        [method, *(cell(entries.get(method), method) for entries in found.values())]
        for method in METHODS
    ]
    return table(["method", *found], rows)


def cell(entry: Mapping[str, Any] | None, method: str) -> str:
    """Percent or points, with their interval."""
    if entry is None:
        return ""
    if method == REFERENCE or entry.get("interval") is None:
        return points(entry, method == REFERENCE)
    low, high = entry["interval"]
    return f"{points(entry, False)} ({100 * low:.1f} to {100 * high:.1f})"


if __name__ == "__main__":
    main()
