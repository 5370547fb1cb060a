"""Few labels and a pre-trained encoder: FiLM and episodes, all of the encoder, or a head alone?

k samples of every class of a target, drawn anew in each split, and an encoder that was pre-trained
without labels: on the graph itself, or on the training molecules of the set; with
``--start molecules`` that of the molecules is the one that comes with gtl. FiT trains FiLM and
the few numbers of a head with a closed form on episodes; `full` trains encoder and a linear head;
the others see frozen vectors. No validation data: settings are those of the papers or defaults.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from _measure import write_results
from _seeds import described, finished, keep, parsed, parser_of, place, points, table
from few_shot import GCN, GIN, MOLECULE, NODE, reduced

import gtl
from gtl.adapters import attach
from gtl.adapters.trainable import count_parameters
from gtl.fewshot.few_shot import few_shot
from gtl.train.shipped import load_shipped

OUT = Path("runs") / "film_transfer"
SHOTS = (1, 2, 5, 10)
STARTS = ("own", "molecules")
REFERENCE = "full"
QDA = {"name": "gaussian", "kind": "qda"}
LDA = {"name": "gaussian", "kind": "lda", "task": "within"}
METHODS: dict[str, Any] = {
    REFERENCE: "finetune",
    "linear": "linear",
    "prototype": "prototype",
    "LDA": LDA,
    "QDA": QDA,
    "FiT, prototype": {"name": "fit", "head": "prototype"},
    "FiT, LDA": {"name": "fit", "head": LDA},
    "FiT, QDA": {"name": "fit", "head": QDA},
}


@dataclass(frozen=True)
class Target:
    """A data set with one class an item, and how its encoder is pre-trained.

    Attributes:
        spec: What to load.
        column: Of the labels, if there are several.
        queries: As for :func:`gtl.few_shot`.
    """

    spec: str
    column: int | None = None
    queries: float | None = None

    @property
    def molecules(self) -> bool:
        return self.spec.startswith("ogb:")


TARGETS = {
    "Cora": Target("planetoid:cora", queries=50),
    "Photo": Target("npz:amazon_electronics_photo", queries=50),
    "molbace": Target("ogb:ogbg-molbace", 0),
    "molbbbp": Target("ogb:ogbg-molbbbp", 0),
    "tox21 NR-AhR": Target("ogb:ogbg-moltox21", 2),
    "tox21 SR-MMP": Target("ogb:ogbg-moltox21", 10),
}


def prepared(target: Target, start: str, root: str) -> tuple[gtl.Dataset, Any]:
    """The data with one class an item, and the pre-trained encoder."""
    data = gtl.load(target.spec, root=root)
    assert data.labels is not None
    if target.molecules:
        assert data.graphs is not None
        corpus = data.graphs.subset(data.split["train"])
        labels = data.labels[:, target.column].nan_to_num(-1).long()
        known = labels >= 0
        split = {part: index[known[index]] for part, index in data.split.items()}
        data = replace(data, labels=labels, split=split, kind="multiclass", metric="acc")
        if start == "molecules":
            return data, load_shipped("molecules")
        return data, gtl.pretrain(GIN, corpus, MOLECULE, epochs=10)
    assert data.graph is not None and data.graph.x is not None
    data = replace(data, graph=data.graph.replace(x=reduced(data.graph.x)), split={})
    return data, gtl.pretrain(GCN, data, NODE, epochs=40, lr=0.01)


def work(name: str, splits: Sequence[int], start: str, root: str, out: Path) -> None:
    """Leave a file for each split of a set."""
    files = {split: place(out, name, split) for split in splits}
    missing = [split for split in splits if not files[split].exists()]
    if not missing:
        return
    data, run = prepared(TARGETS[name], start, root)
    share = trained_share(run)
    for split in missing:
        started = time.process_time()
        result = few_shot(
            data,
            METHODS,
            encoder=run,
            shots=SHOTS,
            splits=1,
            queries=TARGETS[name].queries,
            reference=REFERENCE,
            seed=split,
        )
        measure = result.measures[0]
        values = {m: {k: by[k][measure][0] for k in SHOTS} for m, by in result.values.items()}
        seconds = round(time.process_time() - started, 1)
        told = {"measure": measure, "values": values, "share": share, "cpu_seconds": seconds}
        keep(told, out, name, split)
        print(f"{name}, split {split}: {seconds} s", flush=True)


def trained_share(run: Any) -> float:
    """What FiLM trains, of all that full fine-tuning would: the encoder."""
    total, _ = count_parameters(run.encoder)
    _, trained = count_parameters(attach(copy.deepcopy(run.encoder), "film"))
    return round(trained / total, 4)


def collect(out: Path, names: Sequence[str]) -> dict[str, Any]:
    """By set, shots and method: mean, spread, and the difference to full fine-tuning."""
    found = {}
    for name in names:
        runs = finished(out, name)
        if runs:
            first = next(iter(runs.values()))
            found[name] = {
                "measure": first["measure"],
                "share": first["share"],
                "splits": len(runs),
                "shots": {str(k): compared(runs, str(k)) for k in SHOTS},
            }
    return found


def compared(runs: Mapping[int, Any], k: str) -> dict[str, Any]:
    tests = {m: {s: run["values"][m][k] for s, run in runs.items()} for m in METHODS}
    return {method: described(by, tests[REFERENCE], "higher") for method, by in tests.items()}


def markdown(found: Mapping[str, Any]) -> str:
    """A table: test value of full fine-tuning, and the others' points over it."""
    rows = [
        [
            f"{name} ({told['splits']} splits)",
            k,
            *(points(e, m == REFERENCE) for m, e in by.items()),
        ]
        for name, told in found.items()
        for k, by in told["shots"].items()
    ]
    return table(["set, splits", "k", *METHODS], rows)


def main() -> None:
    parser = parser_of(__doc__, OUT, TARGETS)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--start", choices=STARTS, default=STARTS[0], help="pre-trained encoder")
    options = parsed(parser)
    shipped = options.start != STARTS[0]
    names = [name for name, target in TARGETS.items() if target.molecules or not shipped]
    names = [name for name in options.set or names if name in names]
    out = options.out / options.start
    if not options.only_collect:
        torch.set_num_threads(1)
        for name in names:
            work(name, range(options.splits), options.start, options.root, out)
    found = collect(out, names)
    print(markdown(found))
    if not options.no_write:
        settings = {name: vars(target) for name, target in TARGETS.items()}
        title = f"film_transfer_{options.start}" if shipped else "film_transfer"
        write_results(title, {"methods": METHODS, "settings": settings, "sets": found})


if __name__ == "__main__":
    main()
