"""Choices of the federated benchmark: start, learning rates and heads, by validation values alone.

The seeds serve for nothing else. A start is judged by the Gaussian head of added statistics, which
takes one round; a learning rate by the training that it is for.

    OMP_NUM_THREADS=1 python benchmarks/federated_choice.py --root path/to/data

Finished runs are kept in ``--out``; the same command goes on where it stopped.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import federated
import torch
from _measure import write_results
from _seeds import add_seeds, all_finished, keep, parsed, parser_of, place, run_all, table

import gtl

OUT = Path("runs") / "federated_choice"
FIRST_SEED = 100
SETS = [name for name in federated.NODE_SETS if name.startswith("Cora")]
STATISTICS = federated.METHODS["statistics, one round"]
_LAST, _NOISE = {"jk": "last"}, {"dropout": 0.5, "input_dropout": 0.5}


def _of(*tasks: str, epochs: int = 200, **options: Any) -> dict[str, Any]:
    return {"tasks": list(tasks), "epochs": epochs, "lr": 1e-3, **options}


# Components of the features, options of the encoder, and the pre-training.
STARTS: Mapping[str, tuple[int, Mapping[str, Any], Mapping[str, Any]]] = {
    "bootstrap, 50 epochs, dropout, last layer": (
        64,
        {**_LAST, **_NOISE},
        {"tasks": ["bootstrap"], "epochs": 50},
    ),
    "bootstrap, last layer": (64, _LAST, _of("bootstrap")),
    "infomax": (64, {}, _of("infomax")),
    "whitening": (64, {}, _of("whitening", epochs=100)),
    "masked_autoencoder": (64, {}, _of("masked_autoencoder")),
    "random_quantizer": (64, {}, _of("random_quantizer")),
    "edge_prediction": (64, {}, _of("edge_prediction")),
    "edge_prediction, random_quantizer": (64, {}, _of("edge_prediction", "random_quantizer")),
    "edge_prediction, 256 components": (256, {}, federated.PRETRAINING),
    "edge_prediction, 256 components, last layer": (256, _LAST, federated.PRETRAINING),
    "edge_prediction, 512 components": (512, {}, federated.PRETRAINING),
}
# From the start that was chosen.
CHOSEN = "edge_prediction, 256 components"
_WHOLE: Mapping[str, Any] = {"adapter": None}
TRAININGS: Mapping[str, Mapping[str, Any]] = {
    **{f"whole model, lr {lr}": {**_WHOLE, "lr": lr} for lr in (3e-3, 1e-2, 3e-2)},
    "whole model, lr 0.01, 100 rounds": {**_WHOLE, "lr": 1e-2, "rounds": 100},
    **{f"film, lr {lr}": {"adapter": "film", "lr": lr} for lr in (1e-2, 3e-2, 1e-1)},
    "film, lr 0.01, statistics": {**federated.METHODS["film, statistics"], "lr": 1e-2},
    "film, lr 0.01, own heads": {**federated.METHODS["film, own heads"], "lr": 1e-2},
    **{
        f"statistics, shrinkage {e}": {**STATISTICS, "head": {"name": "gaussian", **how}}
        for e, how in {
            "0.1": {"shrinkage": [1.0, 0.1]},
            "10": {"shrinkage": [1.0, 10.0]},
            "1, within classes": {"task": "within"},
            "OAS": {"shrinkage": "oas"},
            "OAS, within classes": {"shrinkage": "oas", "task": "within"},
        }.items()
    },
}
METHODS = [*STARTS, *TRAININGS]


def main() -> None:
    parser = parser_of(__doc__ or "", OUT, SETS, METHODS)
    add_seeds(parser, 2, FIRST_SEED)
    options = parsed(parser)
    if not options.only_collect:
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        sets, methods = options.set or SETS, options.method or METHODS
        jobs = [(name, method, seed) for seed in seeds for method in methods for name in sets]
        run_all(work, jobs, options.workers, options.root, options.out)
    found = collect(options.out)
    print(markdown(found))
    if not options.no_write:
        write_results("federated_choice", {"chosen": CHOSEN, "valid": found})


def work(name: str, method: str, seed: int, root: str, out: Path) -> None:
    """Leave the validation value of one federated training."""
    if place(out, name, method, seed).exists():
        return
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    label = method if method in STARTS else CHOSEN
    components, options, pretraining = STARTS[label]
    kind, partition = federated.NODE_SETS[name]
    data = federated.loaded(kind, root, seed, components)
    encoder = {**federated.GCN, **options}
    run = federated.start(label, data, seed, out, encoder, pretraining)
    how = {**federated.ROUNDS, **TRAININGS.get(method, STATISTICS), "bounds": False}
    model = gtl.federate(
        federated.with_dropout(run.encoder),
        data,
        clients=federated.CLIENTS,
        partition=federated.PARTITIONS[partition],
        seed=seed,
        **how,
    )
    results = {"valid": model.results["valid"], "bytes": model.results["bytes"]["training"]}
    keep(results, out, name, method, seed)


def collect(out: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Validation values of each set and method by seed."""
    return {
        name: {
            method: {str(seed): round(run["valid"], 4) for seed, run in by_seed.items()}
            for method, by_seed in runs.items()
        }
        for name, runs in all_finished(out, SETS, METHODS).items()
    }


def markdown(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """A row a choice, a column a set: mean validation accuracy in percent."""
    rows = []
    for method in METHODS:
        values = [runs.get(method, {}) for runs in found.values()]
        cells = [f"{100 * sum(v.values()) / len(v):.1f}" if v else "" for v in values]
        if any(cells):
            rows.append([method, *cells])
    return table(["", *found], rows)


if __name__ == "__main__":
    main()
