"""Federated training: what small messages reach of FedAvg of the whole model.

Nodes: those of one graph are divided among ten clients, by Louvain communities, by a Dirichlet
distribution of each class, or at random; a client has the graph that its nodes induce, and edges
between clients are dropped. A fifth of the nodes has labels to train on and two fifths each
validate and test, so that every client has some of each. Features are replaced by their leading 256
components. Molecules: those of a set of OGB in its scaffold split, by a Dirichlet distribution of
their label or at random; of 100 clients a fifth takes part in a round.

Every method of a set starts from the same encoder, which was pre-trained without labels: a GCN by
``edge_prediction`` on the whole graph, or the shipped encoder of molecules. What was chosen (the
pre-training, learning rates, the head) was chosen on Cora and molbbbp by validation values of seeds
that are not used here, see ``federated_choice.py``; CS has the rates of Cora, and a head chosen by
validation values. Values are accuracies (ROC-AUC of molecules) of all test items,
each predicted by its client; differences are paired by seed with FedAvg of the whole model.

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
from gtl.catalog import ENCODERS
from gtl.data import Dataset

OUT = Path("runs") / "federated"
REFERENCE = "whole model, FedAvg"
CLIENTS, SPLIT = 10, (0.2, 0.4, 0.4)
ROUNDS = {"rounds": 30, "local_epochs": 3}
COMPONENTS, DROPOUT = 256, 0.5
# The pre-training has its noise from the task; dropout is for what is trained on labels.
GCN = {
    "name": "gcn",
    "width": 256,
    "depth": 2,
    "norm": None,
    "dropout": 0.0,
    "input_dropout": 0.0,
    "jk": "concat",
    "embedding": None,
}
PRETRAINING: Mapping[str, Any] = {"tasks": ["edge_prediction"], "epochs": 200, "lr": 1e-3}
EPOCHS = {"Cora": 200, "CS": 50}  # of the pre-training
DATA = {"Cora": "planetoid:cora", "CS": "npz:ms_academic_cs"}
PARTITIONS: Mapping[str, Any] = {
    "communities": "communities",
    "Dirichlet 0.1": {"name": "dirichlet", "alpha": 0.1},
    "Dirichlet 0.5": {"name": "dirichlet", "alpha": 0.5},
    "Dirichlet 5": {"name": "dirichlet", "alpha": 5.0},
    "IID": "iid",
}
WAYS = ("times_fewer_bytes", "times_fewer_with_validation")
MOLECULES = {"molbbbp": "ogb:ogbg-molbbbp", "moltox21": "ogb:ogbg-moltox21"}
MANY = {"clients": 100, "fraction": 0.2, "rounds": 20}  # 16 items a client
MOLECULE_SETS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "molbbbp, 10 clients": ("molbbbp", {"partition": PARTITIONS["Dirichlet 0.5"]}),
    "molbbbp, 10 clients, IID": ("molbbbp", {"partition": "iid"}),
    "molbbbp, 100 clients": ("molbbbp", {"partition": PARTITIONS["Dirichlet 0.5"], **MANY}),
    "moltox21, 10 clients": ("moltox21", {"partition": "iid"}),
    "moltox21, 100 clients": ("moltox21", {"partition": "iid", **MANY}),
}
NODE_SETS = {f"{name}, {how}": (name, how) for name in DATA for how in PARTITIONS}
SETS = [*NODE_SETS, *MOLECULE_SETS]
# Of the shipped encoder; rounds are few, since its five layers take minutes.
MOLECULE_ROUNDS = {"rounds": 5, "local_epochs": 1, "batch_norm": "frozen"}
READOUT = ["mean", "sum", "max"]
METHODS: Mapping[str, Mapping[str, Any]] = {
    REFERENCE: {"adapter": None},
    "whole model, FedProx": {"adapter": None, "strategy": "fedprox"},
    "whole model, FedAdam": {"adapter": None, "strategy": "fedadam"},
    "statistics, one round": {"adapter": [], "head": "gaussian", "rounds": 1, "bounds": True},
    "film": {"adapter": "film"},
    "film, with its bounds": {"adapter": "film", "bounds": True},
    "film, int8": {"adapter": "film", "compress": "int8"},
    "film, FedProx": {"adapter": "film", "strategy": "fedprox"},
    "film, FedAdam": {"adapter": "film", "strategy": "fedadam"},
    "bottleneck": {"adapter": "bottleneck"},
    "lora, one factor": {"adapter": "lora"},
    "lora, products": {"adapter": "lora", "low_rank": "product"},
    "head alone": {"adapter": []},
    "film, statistics": {"adapter": "film", "head": "gaussian", "rounds": 3},
    "film, prototypes": {"adapter": "film", "head": "prototype"},
    "film, own heads": {"adapter": "film", "share_head": "local"},
    "whole model, own heads": {"adapter": None, "share_head": "local"},
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
    encoder, data, how = prepared(name, seed, root, out)
    started = time.process_time()
    chosen = {"lr": rate_of(name, METHODS[method]["adapter"]), **METHODS[method]}
    chosen["head"] = head_of(name, chosen.get("head", "linear"))
    model = gtl.federate(encoder, data, seed=seed, **{**how, **chosen})
    keep(found_in(model, started), out, name, method, seed)


def head_of(name: str, given: Any) -> Any:
    """The head that was chosen: with many labels the shrinkage that falls with their number."""
    if given == "gaussian" and name.startswith("CS"):
        return {"name": "gaussian", "task": "within", "shrinkage": "oas", "prior": "empirical"}
    return given


def rate_of(name: str, adapter: Any) -> float:
    """The learning rate that was chosen."""
    if name in MOLECULE_SETS:
        return 3e-4 if adapter is None else 1e-2
    if adapter is None:
        return 1e-2 if name.endswith("Dirichlet 0.1") else 3e-3
    return 3e-2 if adapter in ([], "film") else 1e-2


def prepared(name: str, seed: int, root: str, out: Path) -> tuple[Any, Dataset, dict[str, Any]]:
    """The encoder that all start from, the data, and the arguments that all methods share."""
    if name in MOLECULE_SETS:
        kind, given = MOLECULE_SETS[name]
        data = gtl.load(MOLECULES[kind], root=root, seed=seed)
        how = {"clients": CLIENTS, **MOLECULE_ROUNDS, "readout": READOUT, **given}
        return "molecules", data, how
    kind, partition = NODE_SETS[name]
    data = loaded(kind, root, seed)
    pretraining = {**PRETRAINING, "epochs": EPOCHS[kind]}
    encoder = with_dropout(start(kind, data, seed, out, GCN, pretraining).encoder)
    return encoder, data, {"clients": CLIENTS, **ROUNDS, "partition": PARTITIONS[partition]}


def found_in(model: gtl.Model, started: float) -> dict[str, Any]:
    """What is kept of a training."""
    kept = ("metric", "valid", "test", "epoch", "whole", "clients", "bytes", "travels", "edges")
    return {
        **{key: model.results[key] for key in kept},
        "bounds": model.results.get("bounds"),
        "compression": model.history[-1].get("compression"),
        "low_rank_lost": model.history[-1].get("low_rank_lost"),
        "curve": [line["valid"] for line in model.history],
        "cpu_seconds": round(time.process_time() - started, 1),
    }


def loaded(name: str, root: str, seed: int, components: int = COMPONENTS) -> Dataset:
    """The data in the split of the seed."""
    data = gtl.load(DATA[name], root=root, seed=seed)
    assert data.graph is not None and data.graph.x is not None
    x = reduced(data.graph.x, seed, components)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    ends = [round(sum(SPLIT[:count]) * len(data)) for count in (1, 2)]
    train, valid, test = (part.sort().values for part in order.tensor_split(ends))
    split = {"train": train, "valid": valid, "test": test}
    return replace(data, graph=data.graph.replace(x=x), split=split)


def start(
    name: str,
    data: Dataset,
    seed: int,
    out: Path,
    encoder: Mapping[str, Any],
    pretraining: Mapping[str, Any],
) -> gtl.Run:
    """The pre-trained encoder of a set and seed, from a folder or trained now."""
    folder = place(out, "encoders", name, seed).with_suffix("")
    if (folder / "results.json").exists():
        return gtl.Run.load(folder)
    bare = replace(data, labels=None, split={})
    return gtl.pretrain(encoder, bare, **pretraining, seed=seed, out=folder)


def with_dropout(encoder: Any) -> Any:
    """The encoder with the dropout of what is trained on labels."""
    options = {"dropout": DROPOUT, "input_dropout": DROPOUT}
    made = ENCODERS.build({**ENCODERS.spec(encoder), **options}, encoder.schema)
    made.load_state_dict(encoder.state_dict())
    return made


def collect(out: Path) -> dict[str, Any]:
    """Each method of each set against FedAvg of the whole model."""
    return {
        name: {method: entry(by_seed, runs[REFERENCE]) for method, by_seed in runs.items()}
        for name, runs in all_finished(out, SETS, METHODS).items()
        if REFERENCE in runs
    }


def entry(runs: Mapping[int, Any], reference: Mapping[int, Any]) -> dict[str, Any]:
    """What the runs of a method came to; without seeds that the reference lacks."""
    runs = {seed: run for seed, run in runs.items() if seed in reference} or runs
    on_graphs = not any(run["edges"]["all"] for run in runs.values())
    return {
        **described(tests_of(runs), tests_of(reference), "higher"),
        "bytes": round(sent_by(runs, WAYS[0])),
        **{way: round(sent_by(reference, way) / sent_by(runs, way), 1) for way in WAYS},
        "numbers": round(mean(run["travels"]["numbers"] for run in runs.values())),
        "whole_graph": mean(run["whole"] for run in runs.values()),
        "worst_client": mean(run["clients"]["worst"] for run in runs.values()),
        "std_over_clients": mean(run["clients"]["std"] for run in runs.values()),
        "cut_edges": None
        if on_graphs
        else mean(run["edges"]["cut"] / run["edges"]["all"] for run in runs.values()),
        "bounds": bounds(runs),
        "compression": next(iter(runs.values()))["compression"],
        "cpu_seconds": mean(run["cpu_seconds"] for run in runs.values()),
    }


def sent_by(runs: Mapping[int, Mapping[str, Any]], way: str) -> float:
    """Mean bytes of the messages of training, or of all, which bring the last model too."""
    with_validation = way == WAYS[1]
    return mean(
        run["bytes"]["training"] + with_validation * run["bytes"]["evaluation"]
        for run in runs.values()
    )


def bounds(runs: Mapping[int, Mapping[str, Any]]) -> dict[str, float | None] | None:
    """Means of what the same training gives to each client alone, and to one with all data.

    A head with a closed form needs each class, so most clients cannot be trained alone with it:
    then there is no mean of those that can.
    """
    known = [run["bounds"] for run in runs.values() if run["bounds"]]
    if not known:
        return None
    all_alone = all(None not in each["clients"] for each in known)
    return {
        "local": mean(each["local"] for each in known) if all_alone else None,
        "centralized": mean(each["centralized"] for each in known),
    }


def mean(values: Any) -> Any:
    """The mean in four decimals; ``None`` if one of them is not known."""
    values = list(values)
    return None if None in values else round(sum(values) / len(values), 4)


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
