"""Few labels: consistency tasks against plain fine-tuning, under fixed weights and under AUX-TS.

Each set has few labeled items; the rest of its items is unlabeled, and its labels are never read.
Node-level encoders are pre-trained on the same graph with ``masked_autoencoder``, and their heads
are imprinted; molecules start from the encoder ``molecules`` with a fitted head. What the frozen
encoder is worth is a row (``head alone``), as is training from scratch. Each task has a weight of
1 (``fixed``). Their factors, which are gtl's defaults, and the options of :data:`TASKS` were chosen
on validation data of Cora with 5 labels a class, on seeds from 100 on, which are not reported; they
are the same for all sets. Under ``aux_ts``, with its permutation test, validation data choose the
total weight and, as guard, whether tasks are used at all. Differences are paired by seed with
fine-tuning on the target alone.

    OMP_NUM_THREADS=1 python benchmarks/consistency.py --root path/to/data

Finished runs are kept in ``--out``; the same command goes on where it stopped.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
    points,
    run_all,
    table,
    tests_of,
)
from auxiliary_weighting import reduced

import gtl
from gtl.data import Dataset
from gtl.data.splits import few_labels_split
from gtl.report.plots import panels

OUT = Path("runs") / "consistency"
REFERENCE = "fine-tuning"
PAIR = ("knowledge_consistency", "representation_consistency")
PSEUDO = {"name": "pseudo_label", "threshold": 0.8}
FIXMATCH = {**PSEUDO, "strong": [0.2, 0.2]}
TASKS: Mapping[str, tuple[Any, ...]] = {
    "pseudo labels": (PSEUDO,),
    "mean teacher": ("mean_teacher",),
    "ICT": ("interpolation_consistency",),
    "FixMatch": (FIXMATCH,),
    "L2-SP": ("l2_sp",),
    "DELTA": ("delta",),
    "AKC": PAIR[:1],
    "ARC": PAIR[1:],
    "AKC+ARC": PAIR,
    "AKC+ARC, FixMatch": (*PAIR, FIXMATCH),
    "AKC+ARC, mean teacher": (*PAIR, "mean_teacher"),
    "AKC+ARC, ICT": (*PAIR, "interpolation_consistency"),
    "all": (*PAIR, FIXMATCH, "mean_teacher", "interpolation_consistency"),
}
# Settings that were compared on validation data of Cora, seeds 100 to 103.
TRIED: Mapping[str, tuple[Any, ...]] = {
    **{
        f"{name}, strength {strength}": ({"name": task, "strength": strength},)
        for name, task, strengths in (
            ("mean teacher", "mean_teacher", (1, 10)),
            ("ICT", "interpolation_consistency", (1, 10)),
            ("ARC", PAIR[1], (1, 10)),
        )
        for strength in strengths
    },
    "AKC without gate": ({"name": PAIR[0], "threshold": None},),
    "pseudo labels, threshold 0.95": ("pseudo_label",),
    **{
        f"FixMatch, threshold {least}, strong {rate}": (
            {"name": "pseudo_label", "threshold": least, "strong": [rate, rate]},
        )
        for least, rate in ((0.95, 0.4), (0.8, 0.4))
    },
}
WEIGHTINGS = {"fixed": "equal", "aux_ts": "aux_ts"}
FROZEN, SCRATCH = "head alone", "from scratch"
SHOWN = (
    REFERENCE,
    FROZEN,
    "AKC+ARC, fixed",
    "FixMatch, fixed",
    "mean teacher, fixed",
    "AKC+ARC, FixMatch, fixed",
    "all, aux_ts",
)
METHODS: Mapping[str, tuple[tuple[Any, ...], str]] = {
    REFERENCE: ((), "equal"),
    FROZEN: ((), "equal"),
    SCRATCH: ((), "equal"),
    **{
        f"{name}, {title}": (tasks, weighting)
        for title, weighting in WEIGHTINGS.items()
        for name, tasks in TASKS.items()
    },
    **{name: (tasks, "equal") for name, tasks in TRIED.items()},
}
GCN = {
    "name": "gcn",
    "width": 64,
    "depth": 2,
    "norm": None,
    "dropout": 0.5,
    "input_dropout": 0.5,
    "last_linear": True,
}
NODE = {"epochs": 150, "patience": 50, "head_start": "imprinted"}


@dataclass(frozen=True)
class Target:
    """A data set, and how many labels are left.

    Attributes:
        spec: What to load.
        per_class: Labels of each class of a node-level set.
        labels: Labels of a molecular set.
    """

    spec: str
    per_class: int = 0
    labels: int = 0


NODES = {
    "Cora": "planetoid:cora",
    "CS": "npz:ms_academic_cs",
    "Photo": "npz:amazon_electronics_photo",
}
SETS = {
    **{f"{name}, {k} a class": Target(NODES[name], per_class=k) for k in (5, 20) for name in NODES},
    **{
        f"{name}, {count}": Target(f"ogb:ogbg-{name}", labels=count)
        for count in (50, 100, 300)
        for name in ("molbace", "molbbbp", "molclintox")
    },
}


def main() -> None:
    parser = parser_of(__doc__ or "", OUT, SETS, METHODS)
    add_seeds(parser, 10)
    options = parsed(parser)
    reported = [method for method in METHODS if method not in TRIED]
    sets, methods = options.set or list(SETS), options.method or reported
    if not options.only_collect:
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        jobs = [(name, method, seed) for name in sets for seed in seeds for method in methods]
        run_all(work, jobs, options.workers, options.root, options.out)
    found = collect(options.out)
    print(markdown(found))
    if not options.no_write:
        write_results("consistency", {"reference": REFERENCE, "sets": found})
        plot(found, RESULTS / "consistency.png")


def work(name: str, method: str, seed: int, root: str, out: Path) -> None:
    """Leave the results of one fine-tuning."""
    if place(out, name, method, seed).exists():
        return
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    target = SETS[name]
    data = loaded(target, root, seed)
    how: dict[str, Any] = {} if target.labels else dict(NODE)
    encoder: Any = "molecules" if target.labels else start(name, data, seed, out)
    if method == FROZEN:
        how["adapter"] = []
    if method == SCRATCH:
        encoder, how = from_scratch(encoder), {**how, "head_start": "random"}
    tasks, weighting = METHODS[method]
    started = time.process_time()
    model = gtl.finetune(
        encoder,
        data,
        auxiliary=list(tasks),
        weighting=weighting,
        guard=weighting == "aux_ts",
        seed=seed,
        **how,
    )
    results = {
        **{key: model.results[key] for key in ("metric", "valid", "test")},
        "selected": model.results.get("selection", {}).get("selected"),
        "gates": model.history[-1].get("gates", {}),
        "unlabeled": model.results.get("unlabeled"),
        "cpu_seconds": round(time.process_time() - started, 1),
    }
    keep(results, out, name, method, seed)


def from_scratch(encoder: Any) -> Any:
    """The same architecture without its training."""
    return {**GCN, "embedding": None} if encoder != "molecules" else {"name": "gin"}


def loaded(target: Target, root: str, seed: int) -> Dataset:
    """The data in the split of the seed; items in no part are unlabeled."""
    data = gtl.load(target.spec, root=root, seed=seed)
    if target.labels:
        return with_labels(data, target.labels, seed)
    assert data.graph is not None and data.graph.x is not None and data.labels is not None
    data = replace(data, graph=data.graph.replace(x=reduced(data.graph.x, seed)))
    return replace(data, split=few_labels_split(data.labels, target.per_class, seed=seed))


def with_labels(data: Dataset, count: int, seed: int) -> Dataset:
    """The data with ``count`` of its training items; the others are in no part."""
    train = data.split["train"]
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    return replace(data, split={**data.split, "train": train[order[:count]].sort().values})


def start(name: str, data: Dataset, seed: int, out: Path) -> gtl.Run:
    """The pre-trained encoder of a set and seed, from a folder or trained now."""
    folder = place(out, "encoders", name, seed).with_suffix("")
    if (folder / "results.json").exists():
        return gtl.Run.load(folder)
    bare = replace(data, labels=None, split={})
    encoder = {**GCN, "embedding": None}
    return gtl.pretrain(encoder, bare, ["masked_autoencoder"], epochs=100, seed=seed, out=folder)


def collect(out: Path) -> dict[str, Any]:
    """Each method of each set against fine-tuning alone."""
    found: dict[str, Any] = {}
    for name, runs in all_finished(out, SETS, METHODS).items():
        if REFERENCE not in runs:
            continue
        reference = tests_of(runs[REFERENCE])
        found[name] = {
            method: {
                **described(tests_of(by_seed), reference, "higher"),
                "shares": shares(by_seed),
                "cpu_seconds": mean(run["cpu_seconds"] for run in by_seed.values()),
            }
            for method, by_seed in runs.items()
        }
    return found


def shares(runs: Mapping[int, Mapping[str, Any]]) -> dict[str, float]:
    """Mean share of samples that each gate let through in the last epoch."""
    names = sorted({name for run in runs.values() for name in run["gates"]})
    return {
        name: mean(run["gates"][name]["share"] for run in runs.values() if name in run["gates"])
        for name in names
    }


def plot(found: Mapping[str, Any], file: Path) -> None:
    """Test value of some methods over the number of labels, a panel for each data set."""
    names = list(dict.fromkeys(name.split(",")[0] for name in found))

    def draw(*axes: Any) -> None:
        for ax, name in zip(axes, names):
            sets = [each for each in found if each.startswith(name + ",")]
            sets.sort(key=labels_of)
            for color, method in enumerate(SHOWN):
                known = [each for each in sets if method in found[each]]
                values = [100 * found[each][method]["test"] for each in known]
                places = [labels_of(each) for each in known]
                if known or any(method in rows for rows in found.values()):
                    ax.plot(places, values, "o-", color=f"C{color}", label=method, markersize=3)
            ax.set_xscale("log")
            ax.set_xticks([labels_of(each) for each in sets])
            ax.set_xticklabels([str(labels_of(each)) for each in sets])
            ax.minorticks_off()
            ax.set_xlabel("labels" if SETS[sets[0]].labels else "labels a class", fontsize="small")
            ax.set_title(name, fontsize="medium")
        axes[0].set_ylabel("test accuracy or ROC-AUC, %", fontsize="small")
        lines, labels = axes[0].get_legend_handles_labels()
        axes[0].figure.legend(
            lines, labels, loc="outside right upper", fontsize="small", frameon=False
        )

    if names:
        panels(draw, len(names), file, 3.0)


def labels_of(name: str) -> int:
    """Labels, or labels of each class, of a set."""
    return SETS[name].labels or SETS[name].per_class


def mean(values: Any) -> float:
    values = list(values)
    return round(sum(values) / len(values), 4)


def markdown(found: Mapping[str, Any]) -> str:
    """A row a method, a column a set."""
    rows = []
    for method in METHODS:
        cells = [
            points(entry[method], method == REFERENCE) if method in entry else ""
            for entry in found.values()
        ]
        if any(cells):
            rows.append([method, *cells])
    return table(["method", *found], rows)


if __name__ == "__main__":
    main()
