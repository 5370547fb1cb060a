"""Federated training: adapters on a frozen encoder against FedAvg of the whole model, by bytes.

The nodes of one graph are divided among ten clients, by Louvain communities or by a Dirichlet
distribution of each class; a client has the graph that its nodes induce, and edges between clients
are dropped. Every method starts from the same GCN, which ``bootstrap`` pre-trained on the whole
graph without labels; a fifth of the nodes has labels to train on and two fifths each validate and
test, so that every client has some of each. Options are gtl's defaults and were not tuned on these
sets; 30 rounds of three local epochs. Features are replaced by their leading 64 components, to save
time. Values are accuracies of all test nodes, each predicted by its client; differences are
paired by seed with FedAvg of the whole model.

    OMP_NUM_THREADS=1 python benchmarks/federated.py --root path/to/data

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
from auxiliary_weighting import reduced

import gtl
from gtl.data import Dataset

OUT = Path("runs") / "federated"
REFERENCE = "whole model, FedAvg"
CLIENTS, ROUNDS, LOCAL_EPOCHS = 10, 30, 3
SPLIT = (0.2, 0.4, 0.4)
GCN = {"name": "gcn", "width": 256, "depth": 2, "norm": None, "dropout": 0.5, "input_dropout": 0.5}
DATA = {"Cora": "planetoid:cora", "CS": "npz:ms_academic_cs"}
PARTITIONS: Mapping[str, Any] = {
    "communities": "communities",
    "Dirichlet 0.1": {"name": "dirichlet", "alpha": 0.1},
    "Dirichlet 0.5": {"name": "dirichlet", "alpha": 0.5},
    "Dirichlet 5": {"name": "dirichlet", "alpha": 5.0},
    "IID": "iid",
}
SETS = {f"{name}, {how}": (name, how) for name in DATA for how in PARTITIONS}
METHODS: Mapping[str, Mapping[str, Any]] = {
    REFERENCE: {"adapter": None},
    "whole model, FedProx": {"adapter": None, "strategy": "fedprox"},
    "whole model, FedAdam": {"adapter": None, "strategy": "fedadam"},
    "film": {"adapter": "film"},
    "film, with its bounds": {"adapter": "film", "bounds": True},
    "film, FedProx": {"adapter": "film", "strategy": "fedprox"},
    "film, FedAdam": {"adapter": "film", "strategy": "fedadam"},
    "film, int8": {"adapter": "film", "compress": "int8"},
    "bottleneck": {"adapter": "bottleneck"},
    "lora, one factor": {"adapter": "lora"},
    "lora, products": {"adapter": "lora", "low_rank": "product"},
    "head alone": {"adapter": []},
    "statistics, one round": {"adapter": [], "head": "gaussian", "rounds": 1},
    "film, prototypes": {"adapter": "film", "head": "prototype"},
}


def main() -> None:
    parser = parser_of(__doc__ or "", OUT, SETS, METHODS)
    add_seeds(parser, 5)
    options = parsed(parser)
    sets, methods = options.set or list(SETS), options.method or list(METHODS)
    if not options.only_collect:
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        jobs = [(name, method, seed) for seed in seeds for name in sets for method in methods]
        run_all(work, jobs, options.workers, options.root, options.out)
    found = collect(options.out)
    print(markdown(found))
    if not options.no_write:
        write_results("federated", {"reference": REFERENCE, "sets": found})


def work(name: str, method: str, seed: int, root: str, out: Path) -> None:
    """Leave the results of one federated training."""
    if place(out, name, method, seed).exists():
        return
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    kind, partition = SETS[name]
    data = loaded(kind, root, seed)
    encoder = start(kind, data, seed, out)
    started = time.process_time()
    how = {"rounds": ROUNDS, "local_epochs": LOCAL_EPOCHS, **METHODS[method]}
    model = gtl.federate(
        encoder, data, clients=CLIENTS, partition=PARTITIONS[partition], seed=seed, **how
    )
    kept = ("metric", "valid", "test", "epoch", "whole", "clients", "bytes", "travels", "edges")
    results = {
        **{key: model.results[key] for key in kept},
        "bounds": model.results.get("bounds"),
        "compression": model.history[-1].get("compression"),
        "low_rank_lost": model.history[-1].get("low_rank_lost"),
        "curve": [line["valid"] for line in model.history],
        "cpu_seconds": round(time.process_time() - started, 1),
    }
    keep(results, out, name, method, seed)


def loaded(name: str, root: str, seed: int) -> Dataset:
    """The data in the split of the seed."""
    data = gtl.load(DATA[name], root=root, seed=seed)
    assert data.graph is not None and data.graph.x is not None
    x = reduced(data.graph.x, seed)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    ends = [round(sum(SPLIT[:count]) * len(data)) for count in (1, 2)]
    train, valid, test = (part.sort().values for part in order.tensor_split(ends))
    split = {"train": train, "valid": valid, "test": test}
    return replace(data, graph=data.graph.replace(x=x), split=split)


def start(name: str, data: Dataset, seed: int, out: Path) -> gtl.Run:
    """The pre-trained encoder of a set and seed, from a folder or trained now."""
    folder = place(out, "encoders", name, seed).with_suffix("")
    if (folder / "results.json").exists():
        return gtl.Run.load(folder)
    bare = replace(data, labels=None, split={})
    encoder = {**GCN, "embedding": None}
    return gtl.pretrain(encoder, bare, ["bootstrap"], epochs=50, seed=seed, out=folder)


def collect(out: Path) -> dict[str, Any]:
    """Each method of each set against FedAvg of the whole model."""
    found: dict[str, Any] = {}
    for name, runs in all_finished(out, SETS, METHODS).items():
        if REFERENCE not in runs:
            continue
        reference = tests_of(runs[REFERENCE])
        sent = mean(run["bytes"]["training"] for run in runs[REFERENCE].values())
        found[name] = {
            method: {
                **described(tests_of(by_seed), reference, "higher"),
                "bytes": round(mean(run["bytes"]["training"] for run in by_seed.values())),
                "times_fewer_bytes": round(
                    sent / mean(run["bytes"]["training"] for run in by_seed.values()), 1
                ),
                "numbers": round(mean(run["travels"]["numbers"] for run in by_seed.values())),
                "whole_graph": mean(run["whole"] for run in by_seed.values()),
                "worst_client": mean(run["clients"]["worst"] for run in by_seed.values()),
                "std_over_clients": mean(run["clients"]["std"] for run in by_seed.values()),
                "cut_edges": mean(
                    run["edges"]["cut"] / run["edges"]["all"] for run in by_seed.values()
                ),
                "bounds": bounds(by_seed),
                "compression": next(iter(by_seed.values()))["compression"],
                "cpu_seconds": mean(run["cpu_seconds"] for run in by_seed.values()),
            }
            for method, by_seed in runs.items()
        }
    return found


def bounds(runs: Mapping[int, Mapping[str, Any]]) -> dict[str, float] | None:
    """Means of what the same training gives to each client alone, and to one with all data."""
    known = [run["bounds"] for run in runs.values() if run["bounds"]]
    if not known:
        return None
    return {name: mean(each[name] for each in known) for name in ("local", "centralized")}


def mean(values: Any) -> float:
    values = list(values)
    return round(sum(values) / len(values), 4)


def markdown(found: Mapping[str, Any]) -> str:
    """A row a method, a column a set, and how many times fewer bytes were sent."""
    rows = []
    for method in METHODS:
        cells = [
            f"{points(entry[method], method == REFERENCE)} ({entry[method]['times_fewer_bytes']}x)"
            if method in entry
            else ""
            for entry in found.values()
        ]
        if any(cells):
            rows.append([method, *cells])
    return table(["method", *found], rows)


if __name__ == "__main__":
    main()
