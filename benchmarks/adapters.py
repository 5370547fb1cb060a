"""Is a small adapter as good as fine-tuning all of a pre-trained encoder, and what does it cost?

One encoder, pre-trained once without labels, is adapted to small molecular targets in every way,
seed by seed, on the same few labels (``--labels``). Each way has a few learning rates to choose
from: on each target it takes the one with the best validation values on two seeds that serve for
nothing else. Validation data choose the epoch, and the test split is looked at once. Beside
auxiliary tasks the rate is that of the adapter alone.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from _measure import RESULTS, write_results
from _seeds import (
    add_seeds,
    all_finished,
    described,
    finished,
    keep,
    parsed,
    parser_of,
    points,
    run_all,
    table,
    tests_of,
)

import gtl
from gtl.catalog import ENCODERS
from gtl.data import Dataset
from gtl.encoders import load_pretrained
from gtl.roles import Batch, Encoder
from gtl.train.run import Run
from gtl.train.shipped import load_shipped

OUT = Path("runs") / "adapters"
TARGETS = ("molbace", "molbbbp", "molclintox", "moltox21")
LABELS = 300  # unless others are asked for
ENCODER = {"name": "gin", "width": 64, "depth": 5}
PRETRAINING = {"tasks": ["attribute_masking", "context_prediction"], "epochs": 10, "lr": 3e-3}
TRAINING = {"epochs": 20, "batch_size": 50}
RATES = (1e-3, 5e-3, 2e-2)
FASTER = {"head alone": (5e-3, 2e-2, 1e-1), "prompt": (5e-3, 2e-2, 1e-1)}
SHIPPED = "molecules"  # with the defaults of its fine-tuning, whose rate is 3e-4
SHIPPED_RATES = (1e-3, 3e-3)
SHIPPED_SLOWER = (3e-4, 1e-3)  # of full fine-tuning
RATE_SEEDS = (100, 101)
RATE_FOLDER = "rates/{:g}"
AUXILIARY = ("attribute_masking", "edge_prediction", "infomax")
REFERENCE = "full"
HELPED = " + aux_ts"
Rates = Mapping[str, float]  # by method
BOTH = "bottleneck + layerwise"
SLOWER = ", slower bottleneck"  # at a fifth of the rate: Otake et al. 2023 have a tenth and less

# Adapters by method; ``None`` trains the encoder, an empty list the head alone.
METHODS: dict[str, Any] = {
    "from scratch": None,
    REFERENCE: None,
    "head alone": [],
    "bottleneck": ["bottleneck"],
    "layerwise": ["layerwise"],
    BOTH: ["bottleneck", "layerwise"],
    BOTH + SLOWER: ["bottleneck", "layerwise"],
    BOTH + ", published form": ["bottleneck", "layerwise, published"],
    "parallel": ["parallel"],
    "lora": ["lora"],
    "film": ["film"],
    "prompt": ["prompt"],
    "bottleneck" + HELPED: ["bottleneck"],
}
# Columns of bottleneck and layerwise by start: together they are a tenth of the parameters.
STARTS = {"muv": 8, "published": 12, SHIPPED: 32}


def adapter_of(method: str, start: str) -> list[dict[str, Any]] | None:
    """The adapters of a method, as :func:`gtl.finetune` takes them."""
    options = {
        "bottleneck": {"name": "bottleneck", "hidden": STARTS[start]},
        "layerwise": {"name": "layerwise", "hidden": STARTS[start]},
        "layerwise, published": {
            "name": "layerwise",
            "hidden": STARTS[start],
            "residual": False,
        },
    }
    names = METHODS[method]
    return None if names is None else [options.get(name, {"name": name}) for name in names]


# -- one seed of one data set ----------------------------------------------------------------------


def work(
    target: str,
    seed: int,
    rates: Mapping[str, Rates],
    start: str,
    root: str,
    out: Path,
    labels: int = LABELS,
    below: str = ".",
) -> None:
    """Train what is missing, each method at its rate; each leaves a file in a folder below."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    mine, results = rates[target], out / below
    known = {m: finished(results, target, m).get(seed, {}).get("rate") for m in mine}
    missing = [method for method in mine if known[method] != mine[method]]
    if not missing:
        return
    encoder, data = begin(start, root, out), few_labels(target, root, seed, labels)
    gtl.finetune(copy.deepcopy(encoder), data, epochs=1)  # a first training in a process is slow
    for method in missing:
        run = trained(method, start, encoder, data, seed, mine[method])
        keep(run, results, target, method, seed)


def trained(
    method: str, start: str, encoder: Encoder | str, data: Dataset, seed: int, rate: float
) -> dict[str, Any]:
    """Results of one training, with what it cost."""
    scratch = method == "from scratch"
    started = time.process_time()
    model = gtl.finetune(
        untrained(encoder) if scratch else copy.deepcopy(encoder),
        data,
        adapter=adapter_of(method, start),
        auxiliary=AUXILIARY if method.endswith(HELPED) else (),
        weighting={"name": "aux_ts", "auxiliary_weight": 0.3},
        guard=False,
        lr=rate,
        rates={"bottleneck": rate / 5} if method.endswith(SLOWER) else None,
        seed=seed,
        **({} if start == SHIPPED else TRAINING),
    )
    seconds = round(time.process_time() - started, 2)
    bytes_of = step_bytes(model, data)
    return {**model.results, "rate": rate, "cpu_seconds": seconds, "bytes": bytes_of}


# -- the rate of a method --------------------------------------------------------------------------


def try_rate(
    target: str,
    seed: int,
    rate: float,
    methods: Sequence[str],
    start: str,
    root: str,
    out: Path,
    labels: int = LABELS,
) -> None:
    """Train at one rate, on a seed that serves for nothing else."""
    mine = [method for method in methods if rate in rates_of(method, start)]
    rates = {target: dict.fromkeys(mine, rate)}
    work(target, seed, rates, start, root, out, labels, RATE_FOLDER.format(rate))


def chosen_rates(target: str, methods: Sequence[str], out: Path, start: str = "muv") -> Rates:
    """The rate of each method with the best validation values on a target."""

    def valid(method: str, rate: float) -> float:
        runs = finished(out / RATE_FOLDER.format(rate), target, method).values()
        return sum(run["valid"] for run in runs) / len(runs)

    return {
        method: max(rates_of(method, start), key=lambda rate: valid(alone(method), rate))
        for method in methods
    }


def rates_of(method: str, start: str = "muv") -> tuple[float, ...]:
    """The rates that a method has to choose from: a handful of numbers moves in larger steps."""
    if start == SHIPPED:
        return SHIPPED_SLOWER if method == REFERENCE else SHIPPED_RATES
    return FASTER.get(method, RATES)


def alone(method: str) -> str:
    """The same method without auxiliary tasks."""
    return method.removesuffix(HELPED)


def step_bytes(model: gtl.Model, data: Dataset) -> dict[str, int]:
    """Bytes that a step on the target holds: for the backward pass, in gradients, in Adam."""
    model = copy.deepcopy(model).train()
    moving = [p for p in model.parameters() if p.requires_grad]
    kept: dict[int, int] = {}
    weights = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    graph = data.batch(data.split["train"][: TRAINING["batch_size"]], torch.device("cpu"))
    view = model.target.view(Batch(graph), torch.Generator().manual_seed(0))
    model.encoder(view.graph)  # what a graph remembers is no part of a step
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model.target.losses(model.encoder(view.graph), view).mean()
    loss.backward()
    optimizer = torch.optim.Adam(moving)
    optimizer.step()
    states = [value for state in optimizer.state.values() for value in state.values()]
    return {
        "backward": sum(kept.values()),
        "gradients": sum(p.numel() * p.element_size() for p in moving),
        "optimizer": sum(value.numel() * value.element_size() for value in states),
    }


def untrained(encoder: Encoder | str) -> dict[str, Any]:
    """Name and options of an encoder."""
    known = load_shipped(encoder).encoder if isinstance(encoder, str) else encoder
    return ENCODERS.spec(known)


def few_labels(target: str, root: str, seed: int, labels: int = LABELS) -> Dataset:
    """A target with some of its training labels, of both classes of the first column."""
    data = gtl.load(f"ogb:ogbg-{target}", root=root, properties=["descriptors"])
    train = data.split["train"]
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    for start in range(0, len(train), labels):
        chosen = train[order.roll(-start)[:labels]].sort().values
        if len(data.labels[chosen, 0].unique()) > 1:
            break
    return replace(data, split={**data.split, "train": chosen})


# -- where all begin -------------------------------------------------------------------------------


def begin(start: str, root: str, out: Path) -> Encoder | str:
    """The pre-trained encoder, made once, or the name of one that comes with gtl."""
    if start == SHIPPED:
        return start
    if start == "published":
        file = Path(root) / "pretrain-gnns" / "chem" / "gcn_contextpred.pth"
        return load_pretrained(file, features="ogb")
    return Run.load(out / "pretraining").encoder


def pretrain(root: str, out: Path) -> None:
    """Pre-train on the molecules of MUV, unless that is done."""
    if (out / "pretraining" / "results.json").exists():
        return
    import pandas as pd

    out.mkdir(parents=True, exist_ok=True)
    smiles = pd.read_csv(Path(root) / "moleculenet" / "muv.csv.gz", usecols=["smiles"])["smiles"]
    (out / "muv.smi").write_text("\n".join(sorted(set(smiles))) + "\n", encoding="utf-8")
    corpus = gtl.load(f"smiles:{out / 'muv.smi'}", on_invalid="skip")
    gtl.pretrain(ENCODER, corpus, out=out / "pretraining", resume=True, **PRETRAINING)


# -- tables ----------------------------------------------------------------------------------------


def summarize(found: Mapping[str, Any]) -> dict[str, Any]:
    """Spread and difference to full fine-tuning by set and on their mean, and costs."""
    sets = {
        target: {
            method: described(tests_of(by), tests_of(runs.get(REFERENCE, {})), "higher")
            for method, by in runs.items()
        }
        for target, runs in found.items()
    }
    methods = [m for m in METHODS if found and all(m in runs for runs in found.values())]
    means = {method: mean_over_sets(found, method) for method in methods}
    overall = {m: described(means[m], means.get(REFERENCE, {}), "higher") for m in methods}
    costs = {method: cost([found[t][method] for t in found]) for method in methods}
    return {"sets": sets, "mean": overall, "costs": costs}


def mean_over_sets(found: Mapping[str, Any], method: str) -> dict[int, float]:
    """Mean test value over the sets, for each seed that all of them have."""
    each = [tests_of(runs[method]) for runs in found.values()]
    seeds = set.intersection(*(set(values) for values in each))
    return {seed: sum(values[seed] for values in each) / len(each) for seed in sorted(seeds)}


def cost(runs: Sequence[Mapping[int, Any]]) -> dict[str, Any]:
    """Means over sets and seeds."""
    every = [result for by in runs for result in by.values()]

    def mean(read: Callable[[Any], float]) -> float:
        return float(f"{sum(map(read, every)) / len(every):.4g}")

    depths = [r["adapter"]["layerwise"]["depth"] for r in every if "adapter" in r]
    return {
        "parameters_trained": mean(lambda r: r["footprint"]["parameters_trained"]),
        "share": mean(
            lambda r: r["footprint"]["parameters_trained"] / r["footprint"]["parameters_total"]
        ),
        "stored_bytes": mean(lambda r: r["footprint"]["stored_bytes"]),
        "optimizer_bytes": mean(lambda r: r["bytes"]["optimizer"]),
        "step_bytes": mean(lambda r: sum(r["bytes"].values())),
        "cpu_seconds": mean(lambda r: r["cpu_seconds"]),
        "rate": sorted({r["rate"] for r in every}),
        "epoch": mean(lambda r: r["epoch"]),
        "depth": [round(sum(w) / len(w), 3) for w in zip(*depths)] or None,
    }


def markdown(summary: Mapping[str, Any]) -> str:
    """The table of ``benchmarks/README.md``: points of ROC-AUC over full fine-tuning, and costs."""
    titles = [*summary["sets"], "mean"]
    heads = ["trained", "stored kB", "optimizer kB", "step MB", "CPU s"]
    rows = []
    for method, costs in summary["costs"].items():
        entries = [*(by[method] for by in summary["sets"].values()), summary["mean"][method]]
        cells = [points(entry, method == REFERENCE) for entry in entries]
        cells.append(f"{costs['share']:.1%}")
        cells += [f"{costs[name] / 1e3:.1f}" for name in ("stored_bytes", "optimizer_bytes")]
        cells += [f"{costs['step_bytes'] / 1e6:.2f}", f"{costs['cpu_seconds']:.1f}"]
        rows.append([method, *cells])
    return table(["method", *titles, *heads], rows)


# -- command line ----------------------------------------------------------------------------------


def main() -> None:
    parser = parser_of(__doc__, OUT, TARGETS, METHODS)
    add_seeds(parser, 10)
    parser.add_argument("--start", choices=STARTS, default="muv", help="pre-trained encoder")
    parser.add_argument("--labels", type=int, default=LABELS, help="of each target")
    options = parsed(parser)
    targets, methods = options.set or list(TARGETS), options.method or list(METHODS)
    usual = options.labels == LABELS
    out = options.out / (options.start if usual else f"{options.start}-{options.labels}")
    if not options.only_collect:
        if options.start == "muv":
            pretrain(options.root, out)
        how = options.start, options.root, out, options.labels
        tried = list(dict.fromkeys(map(alone, methods)))
        rates = sorted({rate for method in tried for rate in rates_of(method, options.start)})
        tries = [(t, seed, rate) for seed in RATE_SEEDS for t in targets for rate in rates]
        run_all(try_rate, tries, options.workers, tried, *how)
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        jobs = [(target, seed) for seed in seeds for target in targets]
        chosen = {t: chosen_rates(t, methods, out, options.start) for t in targets}
        run_all(work, jobs, options.workers, chosen, *how)
    summary = summarize(all_finished(out, targets, methods))
    print(markdown(summary))
    if not options.no_write:
        settings = {
            "labels": options.labels,
            "training": {} if options.start == SHIPPED else TRAINING,
            "rates": SHIPPED_RATES if options.start == SHIPPED else RATES,
            "faster": {REFERENCE: SHIPPED_SLOWER} if options.start == SHIPPED else FASTER,
            "hidden": STARTS[options.start],
            "methods": METHODS,
        }
        if options.start == "muv":
            settings |= {"encoder": ENCODER, "pretraining": PRETRAINING}
        name = "adapters" if options.start == "muv" else f"adapters_{options.start}"
        name = name if usual else f"{name}_{options.labels}"
        write_results(name, {"settings": settings, **summary}, RESULTS)


if __name__ == "__main__":
    main()
