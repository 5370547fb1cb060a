"""Few labels and a pre-trained encoder: what does consistency regularization add to fine-tuning?

Nodes of citation and co-purchase graphs with 5 or 20 labels a class, from an encoder that was
pre-trained on the same graph without labels. Every method starts from it with the same labels, seed
by seed; validation data choose the epoch, the test split is looked at once. Methods have the
settings of the papers or the defaults; none was chosen here. Unlabeled are all other nodes.

    OMP_NUM_THREADS=1 python benchmarks/consistency.py --root path/to/data

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
    described,
    finished,
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
from gtl.data.splits import few_labels_split

OUT = Path("runs") / "consistency"
REFERENCE = "supervised"
LABELS = (5, 20)
SETS = {
    "Cora": "planetoid:cora",
    "Photo": "npz:amazon_electronics_photo",
    "CS": "npz:ms_academic_cs",
}
PRETRAINING = ("attribute_masking", "edge_prediction", "infomax")
ENCODER = {"name": "gcn", "width": 64, "depth": 2, "dropout": 0.5, "norm": None}
TRAINING = {"epochs": 100, "patience": 0}
AKC, ARC = "knowledge_consistency", "representation_consistency"
ICT = {"name": "interpolation_consistency"}
METHODS: dict[str, list[Any]] = {
    "from scratch": [],
    REFERENCE: [],
    "L2-SP": ["l2_sp"],
    "pseudo-label": [{"name": "pseudo_label", "strong": 0.0}],
    "FixMatch": ["pseudo_label"],
    "mean teacher": ["mean_teacher"],
    "ICT": [ICT],
    "AKC": [AKC],
    "ARC": [ARC],
    "AKC + ARC": [AKC, ARC],
    "AKC + ARC + FixMatch": [AKC, ARC, "pseudo_label"],
    "AKC + ARC + ICT": [AKC, ARC, ICT],
    "AKC + ARC + FixMatch, aux_ts": [AKC, ARC, "pseudo_label"],
}
FAINT = {"name": "fixed", "weights": {"l2_sp": 0.01}}


def weighting_of(method: str) -> Any:
    """Weight 1 for every task, but for the anchor and under ``aux_ts``."""
    if method.endswith("aux_ts"):
        return "aux_ts"
    return FAINT if method == "L2-SP" else "equal"


def work(name: str, labels: int, method: str, seed: int, root: str, out: Path) -> None:
    """Leave the results of one training."""
    if place(out, name, labels, method, seed).exists():
        return
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    data = loaded(name, labels, seed, root)
    started = time.process_time()
    start = ENCODER if method == "from scratch" else pretrained(name, root, out)
    model = gtl.finetune(
        start,
        data,
        auxiliary=METHODS[method],
        weighting=weighting_of(method),
        guard=method.endswith("aux_ts"),
        seed=seed,
        **TRAINING,
    )
    results = {key: model.results[key] for key in ("metric", "valid", "test")}
    results["measures"] = model.history[-1].get("measures", {})
    results["cpu_seconds"] = round(time.process_time() - started, 1)
    keep(results, out, name, labels, method, seed)


def loaded(name: str, labels: int, seed: int, root: str) -> gtl.Dataset:
    """A graph, features reduced to leading components, with a few labels a class."""
    data = gtl.load(SETS[name], root=root)
    assert data.graph is not None and data.graph.x is not None and data.labels is not None
    split = few_labels_split(data.labels, labels, seed=seed)
    graph = data.graph.replace(x=reduced(data.graph.x, 0))
    return replace(data, graph=graph, split=split)


def pretrained(name: str, root: str, out: Path) -> Path:
    """The encoder of a set, pre-trained once on the graph without labels."""
    folder = out / "pretraining" / name
    if not (folder / "results.json").exists():
        data = loaded(name, LABELS[0], 0, root)
        gtl.pretrain(ENCODER, data, PRETRAINING, epochs=100, lr=0.01, out=folder, resume=True)
    return folder


def collect(out: Path) -> dict[str, Any]:
    """By set and number of labels: mean, spread and difference of each method."""
    found = {}
    for name in SETS:
        for labels in LABELS:
            runs = {m: finished(out, name, str(labels), m) for m in METHODS}
            runs = {m: by for m, by in runs.items() if by}
            if REFERENCE in runs:
                base = tests_of(runs[REFERENCE])
                found[f"{name}, {labels}"] = {
                    m: described(tests_of(by), base, "higher") for m, by in runs.items()
                }
    return found


def markdown(found: Mapping[str, Any]) -> str:
    """A row a method, points of accuracy over supervised fine-tuning."""
    rows = [
        [
            method,
            *(
                points(by[method], method == REFERENCE) if method in by else ""
                for by in found.values()
            ),
        ]
        for method in METHODS
    ]
    return table(["method", *found], rows)


def main() -> None:
    parser = parser_of(__doc__ or "", OUT, SETS, METHODS)
    parser.add_argument("--labels", action="append", type=int, choices=LABELS, help="only these")
    add_seeds(parser, 10)
    options = parsed(parser)
    labels = options.labels or LABELS
    sets, methods = options.set or list(SETS), options.method or list(METHODS)
    if not options.only_collect:
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        jobs = [(s, k, m, seed) for seed in seeds for s in sets for k in labels for m in methods]
        run_all(work, jobs, options.workers, options.root, options.out)
    found = collect(options.out)
    print(markdown(found))
    if not options.no_write:
        settings = {"encoder": ENCODER, "pretraining": PRETRAINING, "training": TRAINING}
        settings |= {"methods": METHODS, "components": COMPONENTS}
        write_results("consistency", {"settings": settings, "sets": found})


if __name__ == "__main__":
    main()
