"""Compression: quality against bytes, latency and memory, and what is on the Pareto front.

Three targets: 300 labeled molecules from the encoder that comes with gtl, nodes of Cora, and graphs
of a TU set; two more, Photo and CS, show how fast a student without edges is where nodes have many
neighbors, and whether features suffice. Every method starts from the fine-tuned model of its seed
(``full``), except for ``adapter``, which trains an adapter of the pre-trained encoder, and
``searched``, the smallest of eight trials of ``gtl.search`` over width, depth, dropout and rates
that is within a point of the best of them on validation data. Options were fixed before, the same
for all seeds. Differences of test values are paired by seed with ``full``.
Latency is that of the models of the first seed, in processor time of one thread, which take turns:
of 16 items, their neighbors fetched, and of a whole test split. Memory is the largest sum of all
tensors that the prediction of a test split makes.

    OMP_NUM_THREADS=1 python benchmarks/compression.py --root path/to/data

Finished runs are kept in ``--out``; the same command goes on where it stopped.
"""

from __future__ import annotations

import itertools
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
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
from consistency import with_labels
from torch.profiler import ProfilerActivity, profile

import gtl
from gtl.data import Dataset
from gtl.data.splits import few_labels_split
from gtl.train.inference_cost import prediction_of

OUT = Path("runs") / "compression"
REFERENCE = "full"


@dataclass(frozen=True)
class Target:
    """A data set, its encoder, and how strongly it is compressed.

    Attributes:
        spec: What to load.
        seeds: How many seeds.
        encoder: Of the full model.
        pretrain: Tasks and epochs before an adapter is trained; none for an encoder that is
            trained already.
        adapter: The adapter.
        keep: Share of the channels that pruning keeps.
        student: Encoder of the distilled model.
        labels: Labels that are left; 0 for all of the split's.
        per_class: Labels of each class, of a node-level set without a split.
        epochs: Of trainings from scratch; ``None`` for the default.
        student_epochs: Of the student's training, likewise.
        methods: Methods that are tried; all by default.
        search: Whether ``searched`` is among them; of a trained start the size is fixed.
    """

    spec: str
    seeds: int
    encoder: Any
    adapter: Any
    keep: float
    student: Any
    pretrain: tuple[str, int] | None = None
    labels: int = 0
    per_class: int = 0
    epochs: int | None = None
    student_epochs: int | None = None
    methods: tuple[str, ...] = field(default=())
    search: bool = True


GRAPHS = {"name": "gin", "width": 128, "depth": 2}
MLP = {"name": "mlp", "width": 128}
STUDENT = {"name": "gin", "width": 128, "depth": 3}
SETS = {
    "Cora": Target("planetoid:cora", 5, "gcn", "bottleneck", 0.25, MLP, pretrain=("bootstrap", 50)),
    "IMDB-BINARY": Target(
        "tu:IMDB-BINARY",
        5,
        GRAPHS,
        "bottleneck",
        0.5,
        {"name": "gin", "width": 48, "depth": 2},
        pretrain=("infomax", 3),
        epochs=15,
        student_epochs=15,
    ),
    "molbbbp, 300": Target(
        "ogb:ogbg-molbbbp",
        2,
        "molecules",
        "layerwise",
        0.6,
        STUDENT,
        labels=300,
        student_epochs=20,
        search=False,
    ),
    "Photo, 20 a class": Target(
        "npz:amazon_electronics_photo",
        5,
        "gcn",
        "bottleneck",
        0.25,
        MLP,
        per_class=20,
        methods=(REFERENCE, "int8", "distilled"),
    ),
    "CS, 20 a class": Target(
        "npz:ms_academic_cs",
        5,
        "gcn",
        "bottleneck",
        0.25,
        MLP,
        per_class=20,
        epochs=60,
        student_epochs=60,
        methods=(REFERENCE, "int8", "distilled"),
    ),
}
# Steps of each method after the full model.
STEPS: Mapping[str, Callable[[Target], list[Any]]] = {
    "int8": lambda t: ["int8"],
    "pruned": lambda t: [{"name": "prune", "keep": t.keep}, "finetune"],
    "pruned, no training": lambda t: [{"name": "prune", "keep": t.keep}],
    "low rank": lambda t: [{"name": "low_rank", "energy": 0.9}],
    "distilled": lambda t: [{"name": "distill", "student": t.student, "epochs": t.student_epochs}],
    "distilled, no calibration": lambda t: [{**STEPS["distilled"](t)[0], "calibrate": False}],
}
# Methods that quantize the result of another.
AFTER = {"pruned + int8": "pruned", "distilled + int8": "distilled"}
SEARCHED = "searched"
METHODS = (REFERENCE, "adapter", *STEPS, *AFTER, SEARCHED)
TRIALS, LOST = 8, 0.01


def main() -> None:
    parser = parser_of(__doc__ or "", OUT, SETS, METHODS)
    add_seeds(parser, None)
    options = parsed(parser)
    sets = options.set or list(SETS)
    if not options.only_collect:
        jobs = [(name, method, seed) for name in sets for seed in seeds_of(name, options)
                for method in options.method or methods_of(SETS[name])]  # fmt: skip
        run_all(work, jobs, options.workers, options.root, options.out)
    found = collect(options.out, options.root)
    print(markdown(found))
    if not options.no_write:
        sizes = variants(options.root) if options.root else {}
        write_results("compression", {"reference": REFERENCE, "sets": found, "variants": sizes})


def methods_of(target: Target) -> tuple[str, ...]:
    """Methods of a set."""
    every = METHODS if target.search else METHODS[:-1]
    return target.methods or every


def seeds_of(name: str, options: Any) -> range:
    """Seeds of a set."""
    count = SETS[name].seeds if options.seeds is None else options.seeds
    return range(options.first_seed, options.first_seed + count)


def work(name: str, method: str, seed: int, root: str, out: Path) -> None:
    """Leave the results of one method, and its model in a folder."""
    if place(out, name, method, seed).exists():
        return
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    target = SETS[name]
    data = loaded(target, root, seed)
    folder = model_folder(out, name, method, seed)
    started = time.process_time()
    if method == SEARCHED:
        model = searched(target, data, seed, place(out, "searches", name, seed), folder)
    elif method in (REFERENCE, "adapter"):
        model = trained(target, data, method, seed, out / "encoders" / name, folder)
    else:
        base = work_folder(out, name, AFTER.get(method, REFERENCE), seed, root)
        steps = ["int8"] if method in AFTER else STEPS[method](target)
        model = gtl.compress(base, data, method=steps, seed=seed, out=folder, resume=True)
    seconds = time.process_time() - started
    shrunk = model.results.get("compression")
    results = {
        **{key: model.results[key] for key in ("metric", "valid", "test")},
        "parameters": sum(p.numel() for p in model.parameters()),
        "bytes": stored(model) if shrunk is None else shrunk["after"]["bytes"],
        "flops": model.results["footprint"]["flops"],
        "cpu_seconds": round(seconds, 1),
    }
    keep(results, out, name, method, seed)


def work_folder(out: Path, name: str, method: str, seed: int, root: str) -> Path:
    """The folder of a method's model, which is trained now if it is not there."""
    work(name, method, seed, root, out)
    return model_folder(out, name, method, seed)


def trained(
    target: Target, data: Dataset, method: str, seed: int, encoders: Path, folder: Path
) -> gtl.Model:
    """The full model, or that with an adapter."""
    encoder, adapter = target.encoder, None
    if method == "adapter":
        adapter = target.adapter
        if target.pretrain is not None:
            task, epochs = target.pretrain
            if isinstance(encoder, str):
                encoder = {"name": encoder, "embedding": None}
            bare = replace(data, labels=None, split={})
            encoder = gtl.pretrain(encoder, bare, [task], epochs=epochs, seed=seed)
    more = {} if target.epochs is None else {"epochs": target.epochs}
    how = {"adapter": adapter, "seed": seed, "out": folder, "resume": True, **more}
    return gtl.finetune(encoder, data, **how)


def searched(target: Target, data: Dataset, seed: int, search: Path, folder: Path) -> gtl.Model:
    """The smallest model of a search whose validation value is within a point of the best."""
    search = search.with_suffix("")
    how = {"epochs": target.epochs, "seed": seed, "out": search, "resume": True}
    found = gtl.search(target.encoder, data, trials=TRIALS, **how)
    best = max(found.trials[number]["valid"] for number in found.front)
    chosen = next(n for n in found.front if found.trials[n]["valid"] >= best - LOST)
    shutil.copytree(search / "trials" / f"{chosen:03d}", folder, dirs_exist_ok=True)
    return gtl.Model.load(folder)


def loaded(target: Target, root: str, seed: int) -> Dataset:
    """The data in the split of the seed."""
    data = gtl.load(target.spec, root=root, seed=seed)
    if target.labels:
        return with_labels(data, target.labels, seed)
    if target.per_class:
        assert data.labels is not None
        data = replace(data, split=few_labels_split(data.labels, target.per_class, seed=seed))
    return data


def model_folder(out: Path, name: str, method: str, seed: int) -> Path:
    """Where the model of a run is."""
    return place(out, "models", name, method, seed).with_suffix("")


def stored(model: gtl.Model) -> int:
    """Bytes of all weights and buffers, frozen ones included."""
    return sum(value.nbytes for value in model.state_dict().values())


def collect(out: Path, root: str) -> dict[str, Any]:
    """Each method of each set against the full model."""
    found: dict[str, Any] = {}
    for name, runs in all_finished(out, SETS, METHODS).items():
        if REFERENCE not in runs:
            continue
        reference = tests_of(runs[REFERENCE])
        times = latencies(out, root, name, list(runs)) if root else {}
        entries = {}
        for method, by_seed in runs.items():
            entries[method] = {
                **described(tests_of(by_seed), reference, "higher"),
                **{
                    key: mean([run[key] for run in by_seed.values()])
                    for key in ("parameters", "bytes", "flops", "cpu_seconds")
                },
                **{key: taken[method] for key, taken in times.items() if method in taken},
            }
        found[name] = with_fronts(entries)
    return found


def latencies(out: Path, root: str, name: str, methods: list[str]) -> dict[str, dict[str, float]]:
    """Milliseconds of a prediction, how many times faster than ``full``, and bytes, by method."""
    torch.set_num_threads(1)
    data = loaded(SETS[name], root, 0)
    folders = {m: model_folder(out, name, m, 0) for m in methods}
    models = {m: gtl.Model.load(f) for m, f in folders.items() if (f / "results.json").exists()}
    few = {m: no_grad(prediction_of(model, data)[0]) for m, model in models.items()}
    whole = {m: whole_of(model, data) for m, model in models.items()}
    found = {"memory": {m: peak_of_tensors(call) for m, call in whole.items()}}
    for key, sides in (("batch", few), ("whole", whole)):
        taken = processor_seconds(sides)
        first = taken[REFERENCE]
        found[f"{key}_ms"] = {m: round(1000 * median(s), 3) for m, s in taken.items()}
        found[f"{key}_faster"] = {
            m: round(median(a / b for a, b in zip(first, s)), 3) for m, s in taken.items()
        }
    return found


def variants(root: str) -> dict[str, dict[str, float]]:
    """How many times faster networks of other sizes are on Cora than the first; hardly trained."""
    torch.set_num_threads(1)
    data = gtl.load("planetoid:cora", root=root)
    sizes = [("gcn", width, 2) for width in (64, 16, 8, 4)]
    sizes += [("mlp", width, depth) for width, depth in ((128, 2), (64, 2), (32, 2), (64, 1))]
    models = {
        f"{name} {depth} x {width}": gtl.finetune(
            {"name": name, "width": width, "depth": depth}, data, epochs=1
        )
        for name, width, depth in sizes
    }
    few = {m: no_grad(prediction_of(model, data)[0]) for m, model in models.items()}
    whole = {m: whole_of(model, data) for m, model in models.items()}
    found = {}
    for key, sides in (("batch_faster", few), ("whole_faster", whole)):
        taken = processor_seconds(sides)
        first = next(iter(taken.values()))
        found[key] = {
            m: round(median(a / b for a, b in zip(first, s)), 2) for m, s in taken.items()
        }
    return found


def processor_seconds(
    sides: Mapping[str, Callable[[], Any]], repeats: int = 15, warmup: int = 2
) -> dict[str, list[float]]:
    """Processor time of each call, turn by turn: other work on the machine does not count."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(warmup + repeats):
        for name, call in sides.items():
            started = time.process_time()
            call()
            if turn >= warmup:
                taken[name].append(time.process_time() - started)
    return taken


def peak_of_tensors(call: Callable[[], Any]) -> int:
    """Largest sum of the bytes of all tensors that a call makes, at one time."""
    call()  # what is remembered with the data
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        call()
    events = found.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return max(itertools.accumulate((change for _, change in changes), initial=0))


def no_grad(call: Callable[[], Any]) -> Callable[[], Any]:
    """The call without gradients."""
    return torch.no_grad()(call)


def whole_of(model: gtl.Model, data: Dataset) -> Callable[[], Any]:
    """A call that predicts the test split."""
    return lambda: gtl.predict(model, data, "test")


def with_fronts(entries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Entries with ``front``: measures by which no other method is both cheaper and better."""
    for method, mine in entries.items():
        others = [entry for name, entry in entries.items() if name != method]
        mine["front"] = [
            cost
            for cost in ("bytes", "batch_ms", "whole_ms", "memory")
            if cost in mine and not any(dominates(other, mine, cost) for other in others)
        ]
    return entries


def dominates(one: Mapping[str, Any], other: Mapping[str, Any], cost: str) -> bool:
    """Whether one method is as good in both and better in one of them."""
    if cost not in one:
        return False
    as_good = one["test"] >= other["test"] and one[cost] <= other[cost]
    return as_good and (one["test"] > other["test"] or one[cost] < other[cost])


def mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 1)


def markdown(found: Mapping[str, Any]) -> str:
    """A table of each set."""
    heads = (
        "method", "seeds", "test", "kB", "smaller", "16 items, ms", "faster",
        "test split, ms", "faster", "memory, MB", "on the front by",
    )  # fmt: skip
    parts = []
    for name, entries in found.items():
        rows = []
        for method, entry in entries.items():
            smaller = entries[REFERENCE]["bytes"] / entry["bytes"]
            cells = [method, str(entry["seeds"]), points(entry, method == REFERENCE)]
            cells.append(f"{entry['bytes'] / 1e3:.0f}")
            cells.append(f"{smaller:.1f}x")
            for key in ("batch", "whole"):
                cells.append(f"{entry[key + '_ms']:.1f}" if f"{key}_ms" in entry else "")
                faster = entry.get(f"{key}_faster")
                cells.append("" if faster is None else f"{faster:.1f}x")
            cells.append(f"{entry['memory'] / 1e6:.1f}" if "memory" in entry else "")
            rows.append([*cells, ", ".join(entry["front"])])
        parts.append(f"{name}\n\n{table(heads, rows)}")
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
