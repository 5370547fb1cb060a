"""EARL against RotatE tables of equal and of full size, its parts one by one, and its leak.

All sides have one score (RotatE), one loss (self-adversarial, filtered negatives) and one rule of
stopping: the weights with the best validation MRR, after some validations without a better one.
Learning rates of both kinds were chosen on validation data from the same three (``--tune`` prints
them). *Equal size* is a table whose width gives it as many parameters as EARL has, *full size* one
of the width that EARL's vectors have. *With the leak* leaves the triples of a step in the graph
that is encoded, as the published code does. Differences are paired by seed with the table of equal
size.

    OMP_NUM_THREADS=1 python benchmarks/earl.py --root path/to/data

Finished runs are kept in ``--out``; the same command goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    run_all,
    table,
    tests_of,
)
from _triples import (
    Training,
    bytes_of,
    loaded,
    measured,
    model_of,
    parameters_of,
    ranks,
    settings,
    table_width,
    train,
)

from gtl.data import Dataset

OUT = Path("runs") / "earl"
REFERENCE = "RotatE, equal size"
PARTS: Mapping[str, dict[str, Any]] = {
    "EARL without relations": {"connected": False},
    "EARL without nearest": {"nearest": 0},
    "EARL without multi-hop": {"depth": 0},
}
LEAK = "EARL with the leak"
BASE = ("EARL", REFERENCE, "RotatE, full size", *PARTS, LEAK)


@dataclass(frozen=True)
class Setup:
    """How a set is trained on.

    Attributes:
        earl: Options of the encoder.
        how: Training.
        rates: Learning rate of EARL, and of tables.
        widths: Further widths of EARL for the plot over parameters.
        full_steps: Steps of the table of full size, where a step of it costs much.
    """

    earl: dict[str, Any]
    how: Training
    rates: tuple[float, float]
    widths: tuple[int, ...] = ()
    full_steps: int | None = None
    methods: tuple[str, ...] = field(default=BASE)


SMALL = Training(batch=512, negatives=32, steps=1500, every=50, patience=6)
SETS: Mapping[str, Setup] = {
    "nations": Setup({"width": 16, "reserved": 7}, SMALL, (0.005, 0.01), (8, 32)),
    "umls": Setup({"width": 32, "reserved": 14}, SMALL, (0.005, 0.01), (16, 64)),
    "codex-s": Setup(
        {"width": 32, "reserved": 100},
        Training(batch=1024, negatives=32, steps=2000, every=100, patience=4, validated=600),
        (0.005, 0.01),
        (16, 64),
    ),
    "WN18RR": Setup(
        {"width": 64, "reserved": 1000},
        Training(batch=2048, negatives=32, steps=600, every=100, patience=3, validated=500),
        (0.005, 0.01),
        full_steps=600,
    ),
}


def main() -> None:
    methods = sorted({method for name in SETS for method in methods_of(name)})
    parser = parser_of(__doc__ or "", OUT, SETS, methods)
    add_seeds(parser, 3)
    parser.set_defaults(workers=1)
    options = parsed(parser)
    sets = options.set or list(SETS)
    if not options.only_collect:
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        jobs = [
            (name, method, seed)
            for name in sets
            for seed in seeds
            for method in methods_of(name)
            if not options.method or method in options.method
        ]
        run_all(work, jobs, options.workers, options.root, options.out)
    found = collect(options.out)
    print(markdown(found))
    if not options.no_write:
        how = {name: {**settings(setup.how), "rates": setup.rates} for name, setup in SETS.items()}
        write_results("earl", {"reference": REFERENCE, "training": how, "sets": found})
        plot(found, RESULTS / "earl.png")


def methods_of(name: str) -> tuple[str, ...]:
    """Methods of a set, in order; further sizes come last."""
    setup = SETS[name]
    more = [
        f"{kind}, width {width}" for width in setup.widths for kind in ("EARL", "RotatE equal to")
    ]
    return (
        *setup.methods,
        *(title.replace("RotatE equal to,", "RotatE equal to") for title in more),
    )


def work(name: str, method: str, seed: int, root: str, out: Path) -> None:
    """Leave the results of one training."""
    if place(out, name, method, seed).exists():
        return
    torch.set_num_threads(1)
    data = loaded(name, root)
    encoder, how = side(SETS[name], method, data)
    model = model_of(encoder, data, how, seed)
    run = train(model, data, how, seed)
    results = measured(ranks(model, data, data.items("test")))
    size = {"parameters": parameters_of(model), "bytes": bytes_of(model)}
    keep(
        {"test": results["mrr"], **results, **size, **run, "encoder": encoder},
        out,
        name,
        method,
        seed,
    )


def side(setup: Setup, method: str, data: Dataset) -> tuple[dict[str, Any], Training]:
    """Encoder and training of a method."""
    width = int(method.rpartition("width ")[2]) if "width " in method else setup.earl["width"]
    earl = {"name": "earl", **setup.earl, "width": width, **PARTS.get(method, {})}
    if method.startswith("EARL"):
        remove = "none" if method == LEAK else "triples"
        return earl, replace(setup.how, lr=setup.rates[0], remove=remove)
    how = replace(setup.how, lr=setup.rates[1], remove="none")  # a table reads no edges
    if method == "RotatE, full size":
        return {"name": "embedding", "width": width}, replace(
            how, steps=setup.full_steps or how.steps
        )
    assert data.graph is not None
    size = parameters_of(model_of(earl, data, how, 0))
    columns = table_width(size, data.graph.num_nodes, data.schema.edge_types)
    return {"name": "embedding", "width": columns}, how


def collect(out: Path) -> dict[str, Any]:
    """Each method of each set against the table of equal size."""
    found: dict[str, Any] = {}
    for name, runs in all_finished(out, SETS, [m for s in SETS for m in methods_of(s)]).items():
        reference = tests_of(runs.get(REFERENCE, {}))
        found[name] = {
            method: {**described(tests_of(by_seed), reference, "higher"), **means_of(by_seed)}
            for method, by_seed in runs.items()
        }
    return found


def means_of(runs: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Means over seeds of what else was measured, and the encoder."""
    names = ("hits@1", "hits@3", "hits@10", "valid", "steps", "seconds", "parameters", "bytes")
    first = next(iter(runs.values()))
    mean = {name: sum(run[name] for run in runs.values()) / len(runs) for name in names}
    return {name: round(value, 4) for name, value in mean.items()} | {"encoder": first["encoder"]}


def markdown(found: Mapping[str, Any]) -> str:
    """A table for each set."""
    heads = [
        "method",
        "parameters",
        "bytes",
        "MRR",
        "Hits@1",
        "Hits@10",
        "difference",
        "steps",
        "CPU s",
    ]
    parts = []
    for name, entries in found.items():
        rows = [
            [
                method,
                f"{entry['parameters']:,.0f}",
                f"{entry['bytes']:,.0f}",
                f"{entry['test']:.3f} ± {entry['std'] or 0:.3f} ({entry['seeds']})",
                f"{entry['hits@1']:.3f}",
                f"{entry['hits@10']:.3f}",
                difference(entry, method),
                f"{entry['steps']:.0f}",
                f"{entry['seconds']:.0f}",
            ]
            for method, entry in entries.items()
        ]
        parts.append(f"{name}\n\n{table(heads, rows)}\n")
    return "\n".join(parts)


def difference(entry: Mapping[str, Any], method: str) -> str:
    """The paired difference and its interval."""
    if method == REFERENCE or entry.get("interval") is None:
        return ""
    low, high = entry["interval"]
    return f"{entry['difference']:+.3f} [{low:+.3f}, {high:+.3f}]"


def plot(found: Mapping[str, Any], path: Path) -> None:
    """MRR over parameters, a panel for each set."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, max(len(found), 1), figsize=(4 * max(len(found), 1), 3.5), squeeze=False
    )
    for axis, (name, entries) in zip(axes[0], found.items()):
        for kind, mark in (("EARL", "o"), ("RotatE", "s")):
            chosen = [
                entry
                for method, entry in entries.items()
                if method.startswith(kind) and method not in (*PARTS, LEAK)
            ]
            chosen.sort(key=lambda entry: entry["parameters"])
            sizes, values = ([e[key] for e in chosen] for key in ("parameters", "test"))
            axis.errorbar(sizes, values, [e["std"] or 0 for e in chosen], marker=mark, label=kind)
        axis.set(title=name, xscale="log", xlabel="parameters")
    axes[0][0].set_ylabel("test MRR")
    axes[0][0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
