"""Does AUX-TS find a useless task among useful ones, with its defaults, on every set and seed?

Beside three useful tasks stands one of random numbers, drawn anew in every step, which nothing can
learn. Encoders of two layers are trained for about 40 look-aheads without the guard; the weights of
the last epoch are kept. The useless task is found where its weight is below half of the mean of the
other auxiliary tasks' weights. The same trainings without the permutation test of AUX-TS are the
comparison.

    OMP_NUM_THREADS=1 python benchmarks/noise.py --root path/to/data

Finished runs are kept in ``--out``; the same command goes on where it stopped.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from _measure import write_results
from _seeds import add_seeds, finished, keep, parsed, parser_of, place, run_all, table
from auxiliary_weighting import COMPONENTS, reduced
from torch import Tensor, nn

import gtl
from gtl.catalog import TASKS
from gtl.data import Dataset
from gtl.graph import Schema
from gtl.roles import Batch, Task, View

OUT = Path("runs") / "noise"
METHODS: Mapping[str, Mapping[str, Any]] = {
    "aux_ts": {},
    "without the test": {"permutation_test": False},
}
NOISE = "random_numbers"
AUXILIARY = ("attribute_masking", "edge_prediction", "infomax")
FOUND = 0.5  # of the mean weight of the others


class RandomNumbers(Task):
    """Predicts random numbers of the nodes, other ones in every step."""

    def build(self, schema: Schema, width: int) -> None:
        self.head = nn.Linear(width, 1)

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        graph = batch.source
        return View(graph, {"values": torch.randn(graph.num_nodes, generator=rng)})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        return (self.head(nodes).squeeze(1) - view.targets["values"]).square()


@dataclass(frozen=True)
class Target:
    """A data set and how it is learned; what is not given has the defaults of gtl.

    Attributes:
        spec: What to load.
        encoder: Name and options.
        training: Arguments of :func:`gtl.finetune`: about 40 look-aheads, one in four steps.
        components: Whether features are replaced by their leading components, to save time.
    """

    spec: str
    encoder: Mapping[str, Any]
    training: Mapping[str, Any]
    components: bool = False


GCN = {"name": "gcn", "width": 64, "depth": 2, "last_linear": True}
GIN = {"name": "gin", "width": 64, "depth": 2}
ONE_GRAPH = {"epochs": 150, "patience": 0}
SETS = {
    "Cora": Target("planetoid:cora", {**GCN, "normalize_features": "l1"}, ONE_GRAPH),
    "Photo": Target("npz:amazon_electronics_photo", GCN, ONE_GRAPH, components=True),
    "molbace": Target("ogb:ogbg-molbace", GIN, {"epochs": 4}),
    "ACM": Target("typed:acm", GCN, ONE_GRAPH, components=True),
}


def main() -> None:
    parser = parser_of(__doc__ or "", OUT, SETS)
    add_seeds(parser, 10)
    options = parsed(parser)
    sets = options.set or list(SETS)
    if not options.only_collect:
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        jobs = [(name, method, seed) for seed in seeds for name in sets for method in METHODS]
        run_all(work, jobs, options.workers, options.root, options.out)
    found = collect(options.out)
    print(markdown(found))
    if not options.no_write:
        write_results("noise", {"found_below": FOUND, "sets": found})


def work(name: str, method: str, seed: int, root: str, out: Path) -> None:
    """Leave the results of one training."""
    if place(out, name, method, seed).exists():
        return
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    if NOISE not in TASKS.names():
        gtl.register_task(NOISE)(RandomNumbers)
    target = SETS[name]
    data = loaded(target, root, seed)
    started = time.process_time()
    model = gtl.finetune(
        target.encoder,
        data,
        auxiliary=[*AUXILIARY, NOISE],
        weighting={"name": "aux_ts", "auxiliary_weight": 0.3, **METHODS[method]},
        guard=False,
        seed=seed,
        **target.training,
    )
    results = {
        **{key: model.results[key] for key in ("metric", "valid", "test")},
        "weights": {task: model.history[-1]["weights"][task] for task in (*AUXILIARY, NOISE)},
        "cpu_seconds": round(time.process_time() - started, 1),
    }
    keep(results, out, name, method, seed)


def loaded(target: Target, root: str, seed: int) -> Dataset:
    """The data in the split of the seed."""
    data = gtl.load(target.spec, root=root, seed=seed)
    if not target.components or data.graph is None or data.graph.x is None:
        return data
    return replace(data, graph=data.graph.replace(x=reduced(data.graph.x, seed)))


def collect(out: Path) -> dict[str, Any]:
    """Of each set and method: weight of the useless task over the mean of the others, and tests."""
    found: dict[str, Any] = {}
    for name in SETS:
        methods = {method: finished(out, name, method) for method in METHODS}
        if all(methods.values()):
            found[name] = {
                "components": COMPONENTS if SETS[name].components else None,
                "methods": {method: summary(runs) for method, runs in methods.items()},
            }
    return found


def summary(runs: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Of the finished trainings of one method on one set."""
    ratios = {str(seed): round(ratio(run["weights"]), 3) for seed, run in runs.items()}
    return {
        "seeds": len(runs),
        "found": sum(value < FOUND for value in ratios.values()),
        "ratios": ratios,
        "weights": {
            task: mean(run["weights"][task] for run in runs.values())
            for task in (*AUXILIARY, NOISE)
        },
        "test": {str(seed): round(run["test"], 4) for seed, run in runs.items()},
        "cpu_seconds": mean(run["cpu_seconds"] for run in runs.values()),
    }


def ratio(weights: Mapping[str, float]) -> float:
    """Weight of the useless task over the mean weight of the others."""
    return weights[NOISE] / (sum(weights[task] for task in AUXILIARY) / len(AUXILIARY))


def mean(values: Any) -> float:
    values = list(values)
    return round(sum(values) / len(values), 4)


def markdown(found: Mapping[str, Any]) -> str:
    """A row a set and method."""
    rows = []
    for name, entry in found.items():
        for method, values in entry["methods"].items():
            ratios = list(values["ratios"].values())
            weights = " / ".join(f"{value:.2f}" for value in values["weights"].values())
            rows.append(
                [
                    name,
                    method,
                    f"{values['found']} of {values['seeds']}",
                    f"{median(ratios):.2f} ({max(ratios):.2f})",
                    weights,
                    f"{100 * mean(values['test'].values()):.1f}",
                ]
            )
    heads = ["set", "weighting", "found", "weight over that of the others, median (highest)"]
    tasks = " / ".join((*AUXILIARY, NOISE))
    return table([*heads, f"mean weight of {tasks}", "test, mean"], rows)


if __name__ == "__main__":
    main()
