"""Is the random quantizer worth its seconds as pre-training, beside other self-supervised tasks?

Every task pre-trains the same encoder on the graphs of a set without labels for the same processor
time: a short training measures what an epoch costs, and the epochs follow from the budget. The
encoder is then judged on few labels by a linear probe of frozen vectors and by fine-tuning, seed by
seed, and compared with the random quantizer. Controls are the quantizer with its codes shuffled
among the masked nodes, so that labels say nothing (``random labels``), and no pre-training.

    OMP_NUM_THREADS=1 python benchmarks/random_quantizer.py --root path/to/data

Finished runs are kept in ``--out``; the same command goes on where it stopped.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
)
from auxiliary_weighting import reduced
from consistency import GCN as FROM_SCRATCH

import gtl
from gtl.catalog import ENCODERS
from gtl.data import Dataset
from gtl.data.splits import few_labels_split
from gtl.roles import Batch, View
from gtl.tasks import RandomQuantizer

OUT = Path("runs") / "random_quantizer"
REFERENCE = "random quantizer"
MEASURES = ("linear probe", "fine-tuning")
TRIAL = 10  # epochs of the training that measures what an epoch costs


class RandomLabels(RandomQuantizer):
    """The random quantizer with the codes of the masked nodes in random order."""

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        view = super().view(batch, rng)
        codes = view.targets["codes"]
        order = torch.randperm(len(codes), generator=rng)
        return View(view.graph, {**view.targets, "codes": codes[order]})


@dataclass(frozen=True)
class Target:
    """A data set, its encoder and its labels.

    Attributes:
        spec: What to load.
        encoder: What is trained; pre-training and fine-tuning of nodes have gtl's defaults.
        per_class: Labels of each class of a node-level set.
        labels: Labels of a molecular set.
        training: Of the fine-tuning.
        pretraining: Of the pre-training.
    """

    spec: str
    encoder: Mapping[str, Any]
    per_class: int = 0
    labels: int = 0
    training: Mapping[str, Any] | None = None
    pretraining: Mapping[str, Any] | None = None


GCN = {**FROM_SCRATCH, "embedding": None}
GIN = {"name": "gin", "width": 64, "depth": 3, "dropout": 0.2}
MOLECULES = {"labels": 100, "training": {"epochs": 20, "batch_size": 50, "lr": 1e-3}}
MOLECULES["pretraining"] = {"batch_size": 256, "lr": 3e-3}
SETS = {
    "Cora": Target("planetoid:cora", GCN, per_class=5),
    "Photo": Target("npz:amazon_electronics_photo", GCN, per_class=5),
    "CS": Target("npz:ms_academic_cs", GCN, per_class=5),
    "molbace": Target("ogb:ogbg-molbace", GIN, **MOLECULES),
    "molbbbp": Target("ogb:ogbg-molbbbp", GIN, **MOLECULES),
}
TASKS: Mapping[str, Any] = {
    REFERENCE: lambda: RandomQuantizer(codes=256),
    "attribute masking": lambda: "attribute_masking",
    "masked autoencoder": lambda: "masked_autoencoder",
    "infomax": lambda: "infomax",
    "contrast": lambda: "contrast",
    "descriptors": lambda: "descriptors",
    "random labels": lambda: RandomLabels(codes=256),
    "no pre-training": None,
}


def main() -> None:
    parser = parser_of(__doc__ or "", OUT, SETS, TASKS)
    add_seeds(parser, 3)
    parser.add_argument("--seconds", type=float, default=60.0, help="processor time of a task")
    options = parsed(parser)
    sets, tasks = options.set or list(SETS), options.method or list(TASKS)
    if not options.only_collect:
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        jobs = [(n, t, s, options.seconds) for n in sets for s in seeds for t in tasks]
        jobs = [job for job in jobs if SETS[job[0]].labels or job[1] != "descriptors"]
        run_all(work, jobs, options.workers, options.root, options.out)
    found = collect(options.out)
    for measure in MEASURES:
        print(f"{measure}\n\n{markdown(found, measure)}\n")
    if not options.no_write:
        how = {"reference": REFERENCE, "encoders": {n: dict(t.encoder) for n, t in SETS.items()}}
        write_results("random_quantizer", {**how, "sets": found})


def work(name: str, task: str, seed: int, seconds: float, root: str, out: Path) -> None:
    """Leave the results of one pre-training."""
    if place(out, name, task, seed).exists():
        return
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    target, data = SETS[name], loaded(SETS[name], root, seed)
    found: dict[str, Any] = {"epochs": 0, "seconds": 0.0}
    start: Any = dict(target.encoder)
    if TASKS[task] is not None:
        start, found = pretrained(target, data, TASKS[task], seconds, seed)
    else:
        torch.manual_seed(seed)
        start = ENCODERS.build(start, data.schema)
    probed = gtl.probe(start, data, model="linear", seed=seed).results
    tuned = gtl.finetune(start, data, seed=seed, **(target.training or {})).results
    values = {"linear probe": probed["test"], "fine-tuning": tuned["test"]}
    keep({**found, **values, "seconds_budget": seconds}, out, name, task, seed)


def pretrained(
    target: Target, data: Dataset, task: Any, seconds: float, seed: int
) -> tuple[gtl.Run, dict[str, Any]]:
    """The encoder after as many epochs as fit into the seconds, and what that took."""
    how = {"seed": seed, **(target.pretraining or {})}

    def trained(epochs: int) -> tuple[gtl.Run, float]:
        started = time.process_time()
        run = gtl.pretrain(dict(target.encoder), bare(data), [task()], epochs=epochs, **how)
        return run, time.process_time() - started

    trained(1)  # what only the first training of a process costs
    _, one = trained(1)
    _, several = trained(1 + TRIAL)
    epoch = (several - one) / TRIAL if several > one else several / (1 + TRIAL)
    epochs = max(1, round(seconds / epoch))
    run, taken = trained(epochs)
    measures = run.history[-1].get("measures", {})
    return run, {"epochs": epochs, "seconds": round(taken, 1), "measures": measures}


def bare(data: Dataset) -> Dataset:
    """The same graphs without labels and splits."""
    return replace(data, labels=None, split={})


def loaded(target: Target, root: str, seed: int) -> Dataset:
    """The data with few labels; words and goods as their leading components, to save time."""
    data = gtl.load(target.spec, root=root, seed=seed)
    if target.labels:
        train = data.split["train"]
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
        chosen = train[order[: target.labels]].sort().values
        return replace(data, split={**data.split, "train": chosen})
    assert data.graph is not None and data.graph.x is not None and data.labels is not None
    data = replace(data, graph=data.graph.replace(x=reduced(data.graph.x, seed)))
    return replace(data, split=few_labels_split(data.labels, target.per_class, seed=seed))


def collect(out: Path) -> dict[str, Any]:
    """Each task of each set against the random quantizer, by measure."""
    found: dict[str, Any] = {}
    for name, runs in all_finished(out, SETS, TASKS).items():
        if REFERENCE not in runs:
            continue
        found[name] = {}
        for task, by_seed in runs.items():
            entry: dict[str, Any] = {
                "epochs": mean([run["epochs"] for run in by_seed.values()]),
                "seconds": mean([run["seconds"] for run in by_seed.values()]),
            }
            for measure in MEASURES:
                values = {seed: run[measure] for seed, run in by_seed.items()}
                reference = {seed: run[measure] for seed, run in runs[REFERENCE].items()}
                entry[measure] = described(values, reference, "higher")
            measures = next(iter(by_seed.values())).get("measures")
            found[name][task] = {**entry, **({"measures": measures} if measures else {})}
    return found


def mean(values: list[float]) -> float:
    return round(math.fsum(values) / len(values), 1)


def markdown(found: Mapping[str, Any], measure: str) -> str:
    """A row a task, a column a set."""
    rows = []
    for task in TASKS:
        cells = [
            points(entry[task][measure], task == REFERENCE) if task in entry else ""
            for entry in found.values()
        ]
        if any(cells):
            rows.append([task, *cells])
    return table(["pre-training", *found], rows)


if __name__ == "__main__":
    main()
