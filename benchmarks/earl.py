"""EARL against RotatE tables of equal and of full size, its parts one by one, and its leak.

All sides have one score (RotatE), one loss (self-adversarial, filtered negatives) and one rule of
stopping: the weights with the best validation MRR, after some validations without a better one.
Learning rates and margins were chosen by a grid of short trainings of both kinds on UMLS and
CoDEx-S, on other seeds, by validation MRR. *Equal size* is a table whose width gives it about as
many parameters as EARL has; *full size* is a much wider one. *NodePiece* is pykeen's encoder, its
vectors of entities in the same loop, at most as large as EARL; it is run where pykeen is installed.
*With the leak* leaves the triples of a step in the graph that is encoded, as the published code
does. Differences are paired by seed with the table of equal size.

    OMP_NUM_THREADS=1 python benchmarks/earl.py --root path/to/data

Finished runs are kept in ``--out``; the same command goes on where it stopped.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from _measure import RESULTS, write_results
from _node_piece import NodePiece
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
    table_width,
    train,
)

import gtl
from gtl.data import Dataset

gtl.register_encoder("node_piece")(NodePiece)
OUT = Path("runs") / "earl"
REFERENCE = "RotatE, equal size"
PARTS: Mapping[str, dict[str, Any]] = {
    "EARL without relations": {"connected": False},
    "EARL without nearest": {"nearest": 0},
    "EARL without multi-hop": {"depth": 0},
}
LEAK = "EARL with the leak"
NODE_PIECE = "NodePiece"
BASE = ("EARL", REFERENCE, "RotatE, full size", *PARTS, LEAK)


@dataclass(frozen=True)
class Setup:
    """How a set is trained on.

    Attributes:
        earl: Options of the encoder.
        how: Training of EARL.
        tables: Training of tables.
        full: Width of the table of full size.
        widths: Further widths of EARL for the plot over parameters.
        methods: What is trained.
        tokens: Relations of an entity that NodePiece reads; 0 leaves it out.
        pieces: What its training has other than that of tables.
    """

    earl: dict[str, Any]
    how: Training
    tables: Training
    full: int
    widths: tuple[int, ...] = ()
    methods: tuple[str, ...] = BASE
    tokens: int = 0
    pieces: Mapping[str, Any] = field(default_factory=dict)


SMALL = Training(
    batch=512, negatives=32, lr=0.02, steps=300, every=50, patience=3, validated=300, margin=3.0
)
SETS: Mapping[str, Setup] = {
    "nations": Setup({"width": 8, "reserved": 7}, SMALL, replace(SMALL, lr=0.1), 64, (16,)),
    "umls": Setup(
        {"width": 16, "reserved": 60},
        replace(SMALL, steps=600, margin=5.0),
        replace(SMALL, steps=600, margin=5.0, lr=0.03),
        64,
        (8, 32),
        tokens=10,
        pieces={"lr": 0.01, "margin": 8.0},
    ),
    "codex-s": Setup(
        {"width": 16, "reserved": 900},
        replace(SMALL, batch=1024, steps=2000, every=100, validated=400, lr=0.01),
        replace(SMALL, batch=1024, steps=2000, every=100, validated=400, lr=0.05, margin=5.0),
        64,
        (8, 32),
        tokens=5,
        pieces={"lr": 0.003, "margin": 5.0},
    ),
    "WN18RR": Setup(
        {"width": 32, "reserved": 4000},
        replace(SMALL, batch=2048, steps=1500, every=300, validated=400, lr=0.01, margin=6.0),
        replace(SMALL, batch=2048, steps=1500, every=300, validated=400, lr=0.1, margin=1.0),
        32,
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
        how = {
            name: {"EARL": asdict(s.how), "tables": asdict(s.tables)} for name, s in SETS.items()
        }
        write_results("earl", {"reference": REFERENCE, "training": how, "sets": found})
        plot(found, RESULTS / "earl.png")


def methods_of(name: str) -> tuple[str, ...]:
    """Methods of a set, in order; further sizes come last."""
    titles = ("EARL, width {}", "RotatE, equal to EARL of width {}")
    more = [title.format(width) for width in SETS[name].widths for title in titles]
    has_pieces = SETS[name].tokens > 0 and find_spec("pykeen") is not None
    return (*SETS[name].methods, *((NODE_PIECE,) if has_pieces else ()), *more)


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
        return earl, replace(setup.how, remove="none" if method == LEAK else "triples")
    how = replace(setup.tables, remove="none")  # a table reads no edges
    if method == "RotatE, full size":
        return {"name": "embedding", "width": setup.full}, how
    assert data.graph is not None
    size = parameters_of(model_of(earl, data, how, 0))
    if method == NODE_PIECE:
        how = replace(how, **setup.pieces)
        piece = {"name": "node_piece", "tokens": setup.tokens}
        for width in itertools.count(4, 2):
            if parameters_of(model_of({**piece, "width": width}, data, how, 0)) > size:
                return {**piece, "width": width - 2}, how
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
        1,
        max(len(found), 1),
        figsize=(4 * max(len(found), 1), 3.8),
        squeeze=False,
        layout="constrained",
    )
    for axis, (name, entries) in zip(axes[0], found.items()):
        for kind, mark in (("EARL", "o"), ("RotatE", "s"), (NODE_PIECE, "^")):
            chosen = [
                entry
                for method, entry in entries.items()
                if method.startswith(kind) and method not in (*PARTS, LEAK)
            ]
            chosen.sort(key=lambda entry: entry["parameters"])
            sizes, values = ([e[key] for e in chosen] for key in ("parameters", "test"))
            if chosen:
                spreads = [entry["std"] or 0 for entry in chosen]
                axis.errorbar(sizes, values, spreads, marker=mark, label=kind)
        axis.set(title=name, xlabel="parameters")
        axis.set_ylim(0)
        most = max((entry["parameters"] for entry in entries.values()), default=1)
        axis.set_xlim(0, 1.2 * most)
        axis.locator_params(axis="x", nbins=4)
    axes[0][0].set_ylabel("test MRR")
    entries = {
        name: line for axis in axes[0] for line, name in zip(*axis.get_legend_handles_labels())
    }
    figure.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=len(entries))
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
