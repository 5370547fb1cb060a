"""Do auxiliary tasks help a small target, and which weighting gets the most out of them?

Every method trains the same encoder on the same few labels, seed by seed; validation data choose
epoch and setting, and the test split is looked at once. Every weighting with a setting of its own
has two values of it to choose from, as ``aux_ts`` has two auxiliary weights. The guard's twin is
the method "target only", so results with the guard follow from the same runs. Methods
"pre-trained + ..." start from the encoder that the same auxiliary tasks were pre-trained on and
are compared with training it on the target alone.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from torch import Tensor, nn

import gtl
from gtl.catalog import ENCODERS, TASKS
from gtl.data import Dataset
from gtl.graph import Schema
from gtl.metrics import METRICS
from gtl.report.compare import mean_ranks, spread
from gtl.roles import Batch, Task, View

OUT = Path("runs") / "auxiliary_weighting"
REFERENCE = "target only"
MOLECULE = ("attribute_masking", "edge_prediction", "infomax", "motif")
NODE = ("attribute_masking", "edge_prediction", "pair_distance")
COMPONENTS = 64

GIN = {
    "encoder": {"name": "gin", "width": 64, "depth": 2, "dropout": 0.2},
    "auxiliary": MOLECULE,
    "training": {"epochs": 20, "batch_size": 100, "lr": 3e-3},
    "pretraining": {"epochs": 20, "batch_size": 256, "lr": 3e-3},
}
GCN = {
    "encoder": {
        "name": "gcn",
        "width": 64,
        "depth": 2,
        "dropout": 0.5,
        "norm": None,
        "last_linear": True,
    },
    "auxiliary": NODE,
    "training": {"epochs": 60, "lr": 0.01, "weight_decay": 5e-3},
    "pretraining": {"epochs": 60, "lr": 0.01},
}
NOISY = {**GCN, "auxiliary": (*NODE, "noise")}
LARGE = {**GCN, "training": {**GCN["training"], "epochs": 40}}
HGT = {**LARGE, "encoder": {"name": "hgt", "width": 32, "depth": 2, "dropout": 0.5}}


class Noise(Task):
    """Tells the nodes' random classes, the same in every step: there is nothing to learn."""

    classes = 7

    def build(self, schema: Schema, width: int) -> None:
        self.head = nn.Linear(width, self.classes)

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        graph = batch.source
        fixed = torch.Generator().manual_seed(0)
        y = torch.randint(self.classes, (graph.num_nodes,), generator=fixed)
        return View(graph, {"classes": y})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        return nn.functional.cross_entropy(
            self.head(nodes), view.targets["classes"], reduction="none"
        )


@dataclass(frozen=True)
class Target:
    """A data set and how it is learned.

    Attributes:
        spec: What to load.
        how: Encoder, auxiliary tasks and training, the same for all methods.
        options: Of the data.
        labels: Training items, drawn by the seed; ``None`` for the whole training split.
        seeds: How many seeds by default.
        methods: The only ones that are trained on it; by default all.
    """

    spec: str
    how: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    labels: int | None = None
    seeds: int = 10
    methods: Sequence[str] = ()


# What a set gets on which one seed of all methods takes half an hour.
FEW = ("target only", "pre-trained", "equal", "metabalance", "aux_ts", "pre-trained + aux_ts")
# Where one of the tasks is useless: methods that decide how a total is shared.
SHARERS = (
    "target only",
    "equal",
    "gcs",
    "metabalance",
    "auto_lambda",
    "selar",
    "torchjd:upgrad",
    "aux_ts",
    "aux_ts, no network",
    "aux_ts, no consistency",
)
TARGETS = {
    "molbace": Target("ogb:ogbg-molbace", GIN, labels=300),
    "molbbbp": Target("ogb:ogbg-molbbbp", GIN, labels=300),
    "molclintox": Target("ogb:ogbg-molclintox", GIN, labels=300),
    "moltox21": Target("ogb:ogbg-moltox21", GIN, labels=300),
    "MUTAG": Target("tu:MUTAG", GIN),
    "PROTEINS": Target("tu:PROTEINS", GIN, labels=200),
    "Cora, 5 a class": Target("planetoid:cora", GCN, {"labels_per_class": 5}),
    "Cora, 20 a class": Target("planetoid:cora", GCN, {"labels_per_class": 20}),
    "Photo, 5 a class": Target(
        "npz:amazon_electronics_photo", LARGE, {"labels_per_class": 5}, seeds=3
    ),
    "CS, 5 a class": Target("npz:ms_academic_cs", LARGE, {"labels_per_class": 5}, seeds=3),
    "ACM": Target("typed:acm", HGT, {"labels_per_class": 20}, seeds=3),
    "Cora, 5 a class, noise": Target(
        "planetoid:cora", NOISY, {"labels_per_class": 5}, methods=SHARERS
    ),
    "Cora, 20 a class, noise": Target(
        "planetoid:cora", NOISY, {"labels_per_class": 20}, methods=SHARERS
    ),
    "DBLP": Target(
        "typed:dblp", HGT, {"labels_per_class": 20, "features": ["a", "t"]}, seeds=3, methods=FEW
    ),
}


def fixed(weight: float) -> Callable[[Sequence[str]], dict[str, Any]]:
    return lambda tasks: {"name": "fixed", "weights": dict.fromkeys(tasks, weight)}


# As often a look ahead as aux_ts; the published rate, for trainings a hundred times as long, would
# not move the weights here.
AUTO_LAMBDA = {"name": "auto_lambda", "lr": 1e-2, "refresh": 4}

# Weightings by method, each a list of settings that validation data choose from.
JOINT: dict[str, list[Any]] = {
    "equal": [fixed(0.3), "equal"],
    "random_fixed": ["random_fixed"],
    "gcs": ["gcs", {"name": "gcs", "gate": "sign"}],
    "metabalance": ["metabalance", {"name": "metabalance", "strength": 0.3}],
    "auto_lambda": [{**AUTO_LAMBDA, "start": 0.3}, {**AUTO_LAMBDA, "start": 1.0}],
    "selar": [{"name": "selar", "refresh": 4}, {"name": "selar", "refresh": 4, "lr": 5e-4}],
    "slgrad": ["slgrad"],
    "torchjd:upgrad": ["torchjd:upgrad"],
    "aux_ts": ["aux_ts"],
    "aux_ts, no network": [{"name": "aux_ts", "network": False}],
    "aux_ts, no consistency": [{"name": "aux_ts", "consistency": None}],
    "aux_ts, parameters": [{"name": "aux_ts", "consistency": "parameters"}],
}
ABLATIONS = tuple(name for name in JOINT if name.startswith("aux_ts, "))
ABLATED = ("molbbbp", "MUTAG", "PROTEINS", *(name for name in TARGETS if name[:4] == "Cora"))
START = "pre-trained"
STARTED = tuple(f"{START} + {name}" for name in ("equal", "metabalance", "aux_ts"))
OTHERS = ("untrained encoder", REFERENCE, START)
METHODS = (*OTHERS, *JOINT, *STARTED)
# A method, the method that is the guard's twin, and the two together.
GUARDED = {
    "aux_ts": (REFERENCE, "aux_ts + guard"),
    f"{START} + aux_ts": (START, f"{START} + aux_ts + guard"),
}
LINES = (*METHODS, *(both for _, both in GUARDED.values()))


# -- one seed of one data set ----------------------------------------------------------------------


def work(target: str, seed: int, methods: Sequence[str], root: str, out: Path) -> None:
    """Train what is missing; each method leaves a file when it is done."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    if "noise" not in TASKS.names():
        gtl.register_task("noise")(Noise)
    known = TARGETS[target].methods or METHODS
    wanted = [m for m in methods if m in known and (m not in ABLATIONS or target in ABLATED)]
    missing = [method for method in wanted if not place(out, target, method, seed).exists()]
    if not missing:
        return
    data, corpus = prepared(TARGETS[target], root, seed)
    pretrained = None
    for method in missing:
        if method.startswith(START) and pretrained is None:
            how = TARGETS[target].how
            pretrained = gtl.pretrain(
                how["encoder"], corpus, how["auxiliary"], seed=seed, **how["pretraining"]
            )
        started = time.process_time()
        model = train(TARGETS[target], data, method, seed, pretrained)
        results = {**model.results, "cpu_seconds": round(time.process_time() - started, 2)}
        results["weights"] = model.history[-1]["weights"]
        keep(results, out, target, method, seed)


def train(target: Target, data: Dataset, method: str, seed: int, pretrained: Any) -> gtl.Model:
    how = target.how
    encoder = pretrained if method.startswith(START) else how["encoder"]
    auxiliary, weighting = (), "equal"
    if method == "untrained encoder":
        torch.manual_seed(seed)
        encoder = ENCODERS.build(how["encoder"], data.schema).requires_grad_(False)
    elif method not in OTHERS:
        auxiliary = how["auxiliary"]
        settings = JOINT[method.removeprefix(f"{START} + ")]
        weighting = [choice(auxiliary) if callable(choice) else choice for choice in settings]
    return gtl.finetune(
        encoder,
        data,
        auxiliary=auxiliary,
        weighting=weighting,
        guard=False,
        seed=seed,
        **how["training"],
    )


def prepared(target: Target, root: str, seed: int) -> tuple[Dataset, Any]:
    """The data with few labels, and what to pre-train on: all training graphs, or the graph."""
    data = gtl.load(target.spec, root=root, seed=seed, **target.options)
    if data.graphs is not None:
        train = data.split["train"]
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
        chosen = train[order[: target.labels or len(train)]].sort().values
        return replace(data, split={**data.split, "train": chosen}), data.graphs.subset(train)
    graph = data.graph
    assert graph is not None and graph.x is not None
    if graph.x.shape[1] > COMPONENTS:
        graph = graph.replace(x=reduced(graph.x, seed))
    return replace(data, graph=graph), graph


def reduced(x: torch.Tensor, seed: int, components: int = COMPONENTS) -> torch.Tensor:
    """Leading left singular vectors times singular values, centered, of mean square 1."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        u, s, _ = torch.svd_lowrank(x, components, niter=4)
    values = u * s
    values = values - values.mean(0)
    return values / values.square().mean().sqrt()


# -- tables ----------------------------------------------------------------------------------------


def collect(out: Path, targets: Sequence[str], methods: Sequence[str]) -> dict[str, Any]:
    """Results by data set, method and seed; the guard's follow from those of two methods."""
    found = all_finished(out, targets, methods)
    for runs in found.values():
        for method, (twin, both) in GUARDED.items():
            if method in runs and twin in runs:
                runs[both] = guarded(runs[method], runs[twin])
    return found


def guarded(helped: Mapping[int, Any], alone: Mapping[int, Any]) -> dict[int, Any]:
    chosen = {}
    for seed in helped.keys() & alone.keys():
        sign = 1 if METRICS[helped[seed]["metric"]] == "higher" else -1
        loses = sign * alone[seed]["valid"] > sign * helped[seed]["valid"]
        chosen[seed] = {
            **(alone if loses else helped)[seed],
            "cpu_seconds": helped[seed]["cpu_seconds"] + alone[seed]["cpu_seconds"],
        }
    return chosen


def summarize(found: Mapping[str, Any]) -> dict[str, Any]:
    """Spread, difference to the target alone and mean rank of every method.

    Ranks are over the sets that have every method, of means over the seeds that all of them have.
    """
    sets = {}
    for target, runs in found.items():
        tests = {method: tests_of(by) for method, by in runs.items()}
        better = METRICS[next(iter(runs[REFERENCE].values()))["metric"]]
        sets[target] = {
            method: describe(values, tests[reference_of(method)], better, runs[method])
            for method, values in tests.items()
            if reference_of(method) in tests
        }
        for method, entry in sets[target].items():
            if reference_of(method) != REFERENCE:
                told = described(tests[method], tests[REFERENCE], better)
                entry["over_target_only"] = [told["difference"], told["interval"], told["verdict"]]
    ranked = [m for m in LINES if m not in ABLATIONS and m != "untrained encoder"]
    means = {
        target: means_over_shared_seeds({method: tests_of(runs[method]) for method in ranked})
        for target, runs in found.items()
        if all(method in runs for method in ranked)
    }
    return {"sets": sets, "mean_rank": mean_ranks(means, dict.fromkeys(means, "higher"))}


def means_over_shared_seeds(tests: Mapping[str, Mapping[int, float]]) -> dict[str, float]:
    shared = set.intersection(*(set(by) for by in tests.values()))
    return {method: sum(by[s] for s in shared) / len(shared) for method, by in tests.items()}


def reference_of(method: str) -> str:
    """What a method is compared with: training on the target alone from the same start."""
    return START if method.startswith(f"{START} + ") else REFERENCE


def describe(
    values: Mapping[int, float], reference: Mapping[int, float], better: str, runs: Mapping
) -> dict[str, Any]:
    return {
        **described(values, reference, better),
        "chosen": dict(
            Counter(r["selection"]["selected"] for r in runs.values() if "selection" in r)
        ),
        "cpu_seconds": round(spread(r["cpu_seconds"] for r in runs.values()).mean, 1),
    }


def markdown(summary: Mapping[str, Any]) -> str:
    """The table of ``benchmarks/README.md``: mean difference to the reference in points.

    Below it, what starts from the pre-trained encoder against target only from scratch.
    """
    sets = summary["sets"]
    methods = [m for m in LINES if any(m in by for by in sets.values())]
    rows = []
    for method in methods:
        entries = [by.get(method) for by in sets.values()]
        verdicts = [entry.get("verdict") for entry in entries if entry]
        rank = summary["mean_rank"].get(method)
        rows.append(
            [
                method,
                *("" if entry is None else points(entry, method == REFERENCE) for entry in entries),
                "" if rank is None else f"{rank:.2f}",
                f"{verdicts.count('better')} / {verdicts.count('worse')}",
            ]
        )
    more = [
        [method, *(_over_target_only(by.get(method)) for by in sets.values())]
        for method in methods
        if reference_of(method) != REFERENCE
    ]
    first = table(["method", *sets, "mean rank", "better / worse"], rows)
    return first + "\n\n" + table(["over target only from scratch", *sets], more)


def _over_target_only(entry: Mapping[str, Any] | None) -> str:
    if entry is None or "over_target_only" not in entry:
        return ""
    difference, _, verdict = entry["over_target_only"]
    return points({"difference": difference, "verdict": verdict}, False)


def plot(summary: Mapping[str, Any], file: Path) -> None:
    """Differences to the reference with their intervals, a panel for each data set."""
    from matplotlib.figure import Figure

    sets = summary["sets"]
    columns = min(4, len(sets))
    rows = -(-len(sets) // columns)
    figure = Figure(figsize=(3.4 * columns, 3.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    names = [m for m in LINES if m not in (REFERENCE, "untrained encoder")]
    for ax, (target, by) in zip(axes, sets.items()):
        ax.axvline(0, color="0.7", linewidth=0.8)
        for row, name in enumerate(names):
            if "difference" in by.get(name, {}):
                color = {"better": "C0", "worse": "C1"}.get(by[name]["verdict"], "0.45")
                ends = [100 * value for value in by[name]["interval"] or []]
                ax.plot(ends, [row] * len(ends), color=color)
                ax.plot([100 * by[name]["difference"]], [row], "o", color=color, markersize=4)
        ax.set_yticks(range(len(names)), names, fontsize="small")
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set_title(f"{target} ({by[REFERENCE]['seeds']} seeds)", fontsize="medium")
        ax.set_xlabel("points over target only from the same start", fontsize="small")
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[len(sets) :]:
        ax.set_visible(False)
    figure.savefig(file, dpi=110)


# -- command line ----------------------------------------------------------------------------------


def main() -> None:
    parser = parser_of(__doc__, OUT, TARGETS, METHODS)
    add_seeds(parser, None)
    options = parsed(parser)
    targets, methods = options.set or list(TARGETS), options.method or list(METHODS)
    if not options.only_collect:
        run_all(
            work, jobs_of(targets, options), options.workers, methods, options.root, options.out
        )
    summary = summarize(collect(options.out, targets, methods))
    print(markdown(summary))
    if not options.no_write:
        plot(summary, RESULTS / "auxiliary_weighting.png")
        settings = {
            name: {"spec": t.spec, "options": dict(t.options), "labels": t.labels, **t.how}
            for name, t in TARGETS.items()
        }
        write_results("auxiliary_weighting", {"settings": settings, **summary})


def jobs_of(targets: Sequence[str], options: argparse.Namespace) -> list[tuple[str, int]]:
    """Seed by seed, so that what is there at any time compares all methods."""
    most = {target: options.seeds or TARGETS[target].seeds for target in targets}
    every = [(target, seed) for seed in range(max(most.values())) for target in targets]
    return [(t, options.first_seed + seed) for t, seed in every if seed < most[t]]


if __name__ == "__main__":
    main()
