"""Alignment of two domains without any label of the target: does it help, and is it known to?

Sets are ordered pairs of domains. Of citation graphs (ACM, Citation, DBLP; the same words and five
research areas, one or two a node) all six pairs; of twitch countries pairs with others unseen;
of molecules the training scaffolds against the test scaffolds, from the encoder ``molecules``.

Protocol of the citation pairs, as in ACDNE (Shen et al. 2020) and its code: all labels of the
source, the whole target graph without labels, all nodes of the target are tested, and each node is
given as many labels as it has (``micro`` and ``macro`` F1; ``at 0.5`` is micro F1 without knowing
that number). Here a fifth of the source's nodes validates, and is not trained on. Features are 128
leading components of the bags of words, found on all three graphs together, which costs source only
nothing and saves most of the time; the encoder is a graph convolution of two layers. All methods,
and ``source only, context``, read beside them the mean features of each node's context (walks of
three steps, PPMI), as ACDNE and UDAGCN do.

Each method has two learning rates and two strengths. The criterion, source validation with the
mutual information of the target's predictions (``infomax``), selects among them and the epoch, and
never a label of the target; what the other criteria would select is kept. Settings are selected on
the first seed of a pair, and the other seeds train those. ``best by criterion`` is what the
criterion selects among all methods and source only, seed by seed: it is what a user gets.

    OMP_NUM_THREADS=1 python benchmarks/domain_adaptation.py --root path/to/data

Finished runs are kept in ``--out``; the same command goes on where it stopped.
"""

from __future__ import annotations

import itertools
import json
import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _measure import write_results
from _seeds import (
    add_seeds,
    described,
    finished,
    interval,
    keep,
    parsed,
    parser_of,
    place,
    run_all,
    table,
)

import gtl
from gtl.data import Dataset
from gtl.graph import Columns, Schema
from gtl.graph.pack import PackedGraphs
from gtl.report.compare import paired
from gtl.train.context_features import context_means
from gtl.train.domain_alignment import ALIGNMENTS

OUT = Path("runs") / "domain_adaptation"
REFERENCE, PRETRAINED, BEST = "source only", "pre-trained, source only", "best by criterion"
CONTEXT = "source only, context"  # the same with the features that all methods below have
PLAIN = (REFERENCE, PRETRAINED, CONTEXT)
CITATION, TWITCH = ("acmv9", "citationv1", "dblpv7"), ("DE", "ENGB", "ES", "PTBR")
HOLDOUT = ("PTBR",)  # a country that selects and is selected by nothing
RATES = (1e-2, 3e-3)
STRENGTHS: Mapping[str, tuple[float, float]] = {
    "mk_mmd": (0.3, 1.0),
    "coral": (0.1, 1.0),
    "dann": (0.1, 0.3),
    "cdan+e": (0.03, 0.1),
    "adda": (0.03, 0.1),
    "mcd": (0.1, 1.0),
    "mdd": (0.03, 0.1),
    "wdgrl": (0.01, 0.1),
    "dsn": (0.03, 0.1),
    "afn": (0.01, 0.1),
    "mcc": (0.1, 0.5),
    "target_entropy": (0.1, 0.3),
}
METHODS = (*PLAIN, *STRENGTHS)
COMPONENTS, STEPS = 128, 3
CRITERION = "infomax"
PARTS = ("Node", "Edge")
GCN = {"name": "gcn", "width": 64, "depth": 2}
GIN = {"name": "gin", "width": 64, "depth": 3}
TRAINING = {"epochs": 100, "patience": 0, "weight_decay": 1e-4}
MOLECULES = {"epochs": 15, "head_start": "random", "properties": []}
# Micro F1 of all six pairs in per cent, as published: see docs/domains.md for what is comparable.


def citation(
    root: str, out: Path, context: bool, source: str, target: str
) -> tuple[Dataset, Dataset]:
    """One ordered pair of citation graphs."""
    sides = []
    for name in (source, target):
        with np.load(out / "components.npz") as values:
            x = np.concatenate([values[name], values[f"{name} context"]][: 1 + context], 1)
            src, dst, labels = (
                torch.from_numpy(values[f"{name} {part}"]) for part in ("src", "dst", "labels")
            )
        graph = gtl.Graph(src, dst, len(x), torch.from_numpy(x))
        how = {"level": "node", "kind": "binary", "metric": "f1"}
        sides.append(Dataset(f"mat:{name}", graph=graph, labels=labels, **how))
    return with_fifth(sides[0]), replace(sides[1], split={"test": torch.arange(len(sides[1]))})


def components(root: str, out: Path) -> None:
    """Leading components of the words of all three graphs, and the graphs, kept with the runs."""
    if (out / "components.npz").exists():
        return
    sets = [gtl.load(f"mat:{name}", root=root, normalize=False) for name in CITATION]
    graphs = [data.graph for data in sets]
    x = torch.nn.functional.normalize(torch.cat([graph.x for graph in graphs]), dim=1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        u, s, _ = torch.svd_lowrank(x, COMPONENTS, niter=2)
    values = (u * s) / (u * s).square().mean().sqrt()
    parts = values.split([graph.num_nodes for graph in graphs])
    means = [context_means(graph, part, STEPS) for graph, part in zip(graphs, parts)]
    scale = torch.cat(means).square().mean().rsqrt()
    out.mkdir(parents=True, exist_ok=True)
    named = {name: part.numpy() for name, part in zip(CITATION, parts)}
    named |= {f"{name} context": (scale * part).numpy() for name, part in zip(CITATION, means)}
    for name, data in zip(CITATION, sets):
        parts = {"src": data.graph.src, "dst": data.graph.dst, "labels": data.labels}
        named |= {f"{name} {part}": values.numpy() for part, values in parts.items()}
    np.savez(out / "components.npz", **named)


def twitch(
    root: str, out: Path, context: bool, source: str, target: str
) -> tuple[Dataset, Dataset]:
    """One ordered pair of countries: does a user stream for adults?"""
    one, other = (country(root, name) for name in (source, target))
    return with_fifth(one), replace(other, split={"test": torch.arange(len(other))})


def country(root: str, name: str) -> Dataset:
    """Users of a country with their games as 3,170 columns of 0 and 1."""
    import pandas as pd

    folder = Path(root) / "twitch"
    pairs = torch.from_numpy(pd.read_csv(folder / "edges" / f"{name}_edges.csv").to_numpy()).long()
    listed = json.loads((folder / "features" / f"{name}.json").read_text())
    x = torch.zeros(len(listed), 3170)
    for node, columns in listed.items():
        x[int(node), columns] = 1
    frame = pd.read_csv(folder / "target" / f"{name}_target.csv").sort_values("new_id")
    labels = torch.from_numpy(frame["mature"].to_numpy().astype(np.float32)).unsqueeze(1)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]].t()
    graph = gtl.Graph(torch.cat([*pairs]), torch.cat([*pairs.flip(0)]), len(x), x)
    return Dataset(f"twitch {name}", graph=graph, labels=labels, level="node", metric="rocauc")


def scaffolds(root: str, out: Path, context: bool, name: str) -> tuple[Dataset, Dataset]:
    """Molecules of the training scaffolds, and those of the test scaffolds."""
    data = gtl.load(f"ogb:{name}", root=str(Path(root) / "ogb"))
    sides = []
    for part in ("train", "test"):
        rows = data.split[part]
        names = [data.names[i] for i in rows.tolist()] if data.names else []
        side = Dataset(
            f"ogb:{name}",  # whose own evaluator is used
            graphs=data.graphs.subset(rows),
            labels=data.labels[rows],
            metric=data.metric,
            names=names,
        )
        sides.append(side)
    return with_fifth(sides[0]), replace(sides[1], split={"test": torch.arange(len(sides[1]))})


def compounds(root: str, out: Path, context: bool) -> tuple[Dataset, Dataset]:
    """MUTAG and PTC_MR with one numbering of atoms and bonds, by the names in their readmes.

    Atoms that MUTAG has not are one category of their own.
    """
    data = [gtl.load(f"tu:{name}", root=root) for name in ("MUTAG", "PTC_MR")]
    atoms, bonds = ([meanings(root, name, what) for name in ("MUTAG", "PTC_MR")] for what in PARTS)
    schema = Schema(Columns((len(atoms[0]) + 1,)), Columns((len(bonds[0]),)))
    sides = []
    for side, own, joins in zip(data, atoms, bonds):
        whole = side.graphs.batch(torch.arange(len(side)))
        place = [atoms[0].index(a) if a in atoms[0] else len(atoms[0]) for a in own]
        x = torch.tensor(place)[whole.x]
        e = torch.tensor([bonds[0].index(b) for b in joins])[whole.e]
        graphs = PackedGraphs.pack([whole.replace(x=x, e=e, y=None)], schema)
        sides.append(Dataset(side.spec, graphs=graphs, labels=side.labels, metric=side.metric))
    return with_fifth(sides[0]), replace(sides[1], split={"test": torch.arange(len(sides[1]))})


def meanings(root: str, name: str, what: str) -> list[str]:
    """Names of the categories of nodes or edges, from the readme of a TU set."""
    text = (Path(root) / "tu" / name / "raw" / "README.txt").read_text()
    lines = text.split(f"{what} labels:")[1].strip().splitlines()
    rows = list(
        itertools.takewhile(lambda row: bool(row) and row[0].isdigit(), map(str.split, lines))
    )
    return [row[1] for row in rows]


def with_fifth(data: Dataset) -> Dataset:
    """The data with a fifth of its items for validation; the same in every run."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    count = len(data) // 5
    return replace(data, split={"train": order[count:], "valid": order[:count]})


SETS: Mapping[str, Any] = {
    **{
        f"{a} to {b}": partial(citation, source=a, target=b)
        for a in CITATION
        for b in CITATION
        if a != b
    },
    **{
        f"{a} to {b}": partial(twitch, source=a, target=b)
        for a in TWITCH[:3]
        for b in TWITCH
        if a != b
    },
    "MUTAG to PTC_MR": compounds,
    "molbace scaffolds": partial(scaffolds, name="ogbg-molbace"),
    "molbbbp scaffolds": partial(scaffolds, name="ogbg-molbbbp"),
}


def main() -> None:
    parser = parser_of(__doc__ or "", OUT, SETS, METHODS)
    add_seeds(parser, 5)
    parser.add_argument("--one", action="store_true", help="one setting each, for a first look")
    options = parsed(parser)
    sets, methods = options.set or list(SETS), options.method or list(METHODS)
    if not options.only_collect:
        if any(name.split(" to ")[0] in CITATION for name in sets):
            components(options.root, options.out)
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        jobs = [(name, method, seed) for seed in seeds for method in methods for name in sets]
        run_all(work, jobs, options.workers, options.root, options.out, options.one)
    found = collect(options.out)
    print(markdown(found))
    if not options.no_write:
        how = {"encoder": GCN, "training": TRAINING, "rates": RATES, "strengths": STRENGTHS}
        chosen = {"over the citation pairs": over_pairs(found), "criteria": by_criterion(found)}
        payload = {**how, **chosen, "sets": found}
        write_results("domain_adaptation", payload)


def work(name: str, method: str, seed: int, root: str, out: Path, one: bool) -> None:
    """Leave the results of one method on one pair."""
    if place(out, name, method, seed).exists():
        return
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    source, target = SETS[name](root, out, method not in (REFERENCE, PRETRAINED))
    started = time.process_time()
    found = trained(source, target, method, seed, settings(out, name, method, one))
    keep({**found, "cpu_seconds": round(time.process_time() - started, 1)}, out, name, method, seed)


def settings(out: Path, name: str, method: str, one: bool) -> list[dict[str, Any]]:
    """All settings of a method; after the first seed the one that the criterion selected."""
    strengths = (0.0,) if method in PLAIN else STRENGTHS[method]
    grid = [{"lr": lr, "strength": strength} for lr in RATES for strength in strengths]
    known = finished(out, name, method)
    if known:
        first = next(iter(known.values()))
        return [first["setting"]]
    return grid[-1:] if one else grid


def trained(
    source: Dataset, target: Dataset, method: str, seed: int, grid: list[dict[str, Any]]
) -> dict[str, Any]:
    """What the setting that the criterion selects gives, and what each criterion would select."""
    graphs = source.spec.startswith("ogb:")
    encoder = "molecules" if graphs else GIN if source.level == "graph" else GCN
    how = {"unlabeled": target, "seed": seed, "guard": False}
    steps = MOLECULES if graphs else TRAINING
    runs = []
    for setting in grid:
        rate = {"lr": setting["lr"] / 10 if graphs else setting["lr"], **steps}
        if method in PLAIN:
            stages = ["pretrain", "source"] if method == PRETRAINED else ["source"]
            options = {"method": "dann", "settings": {"source": rate, "pretrain": {"epochs": 60}}}
            options |= {"task": "bootstrap"}
        else:
            stages = ["source", "align"] if method == "adda" else ["align"]
            known = {"strength": setting["strength"], **rate}
            options = {"method": method, "candidates": [known], "settings": {"source": rate}}
        found = gtl.adapt_domain(encoder, source, target, stages=stages, **options, **how)
        runs.append((setting, found.stages[stages[-1]]))
    best = max(runs, key=lambda run: value_of(run[1]))
    setting, model = best
    lines = [
        line["criteria"] | {"setting": i} for i, (_, m) in enumerate(runs) for line in m.history
    ]
    names = [name for name in lines[0] if name != "setting"]
    best_lines = {name: max(lines, key=lambda line: line[name]) for name in names}
    selected = {name: [line[name], line["oracle"]] for name, line in best_lines.items()}
    return {
        **scores_of(model, target),
        "setting": setting,
        "value": value_of(model),
        "criteria": model.results["criteria"],
        "by_criterion": selected,
        "epoch": model.results["epoch"],
        "measures": model.history[-1].get("measures", {}),
    }


def value_of(model: gtl.Model) -> float:
    """Value by the criterion at the epoch of the model."""
    return float(model.results["criteria"][CRITERION])


def scores_of(model: gtl.Model, target: Dataset) -> dict[str, float]:
    """Test values; ``test`` is the one that is compared."""
    from sklearn.metrics import f1_score

    if not target.spec.startswith("mat:"):
        return {"test": gtl.evaluate(model, target)[target.metric]}
    raw = gtl.predict(model, target, "all", raw=True).numpy()
    labels = target.labels.numpy()
    ranks = np.argsort(np.argsort(-raw, 1), 1)
    guess = ranks < labels.sum(1, keepdims=True)  # as many labels as each node has
    return {
        "test": float(f1_score(labels, guess, average="micro")),
        "macro": float(f1_score(labels, guess, average="macro")),
        "at 0.5": float(f1_score(labels, raw > 0, average="micro", zero_division=0)),
    }


def collect(out: Path) -> dict[str, Any]:
    """Of each pair and method: test values, and differences to source only, paired by seed."""
    found: dict[str, Any] = {}
    for name in SETS:
        runs = {method: finished(out, name, method) for method in METHODS}
        runs = {method: by_seed for method, by_seed in runs.items() if by_seed}
        if REFERENCE not in runs:
            continue
        runs[BEST] = best_of(runs)
        entry: dict[str, Any] = {}
        base = {seed: run["test"] for seed, run in runs[REFERENCE].items()}
        for method, by_seed in runs.items():
            tests = {seed: run["test"] for seed, run in by_seed.items()}
            entry[method] = described(tests, base, "higher")
            for part in ("macro", "at 0.5", "value"):
                values = [run[part] for run in by_seed.values() if part in run]
                entry[method][part] = round(float(np.mean(values)), 4) if values else None
            criteria = [run["by_criterion"] for run in by_seed.values()]
            entry[method]["selected by"] = {
                key: round(float(np.mean([each[key][1] for each in criteria])), 4)
                for key in criteria[0]
            }
            entry[method]["settings"] = {str(s): run["setting"] for s, run in by_seed.items()}
        entry["among methods"] = among_methods(runs)
        found[name] = entry
    return found


def among_methods(runs: Mapping[str, Mapping[int, Any]]) -> dict[str, dict[str, float]]:
    """Mean gain over source only of the method that each criterion selects.

    Among ``all`` methods, and among those that do not train what it measures (``fair``); each at
    the epoch that the default criterion selected.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for seed, base in runs[REFERENCE].items():
        each = {m: by_seed[seed] for m, by_seed in runs.items() if seed in by_seed and m != BEST}
        for name in base["criteria"]:
            for kind, known in (("all", each), ("fair", fair(each, name))):
                best = max(known.values(), key=lambda run: run["criteria"][name])
                gains = found.setdefault(name, {}).setdefault(kind, [])
                gains.append(best["test"] - base["test"])
    return {
        name: {kind: round(float(np.mean(gains)), 4) for kind, gains in by_kind.items()}
        for name, by_kind in found.items()
    }


def fair(runs: Mapping[str, Any], criterion: str) -> dict[str, Any]:
    """Runs of methods that do not train what a criterion measures, by method."""
    return {m: r for m, r in runs.items() if not trains(m, criterion)}


def over_pairs(found: Mapping[str, Any]) -> dict[str, Any]:
    """Of methods with all citation pairs: mean values, and the gain over source only by pair."""
    pairs = [name for name in SETS if name.split(" to ")[0] in CITATION]
    rows = {}
    for method in (*METHODS, BEST):
        entries = [found.get(name, {}).get(method) for name in pairs]
        if any(entry is None for entry in entries):
            continue
        tests, base = (
            {i: each["test"] for i, each in enumerate(side)}
            for side in (entries, [found[name][REFERENCE] for name in pairs])
        )
        means = {part: np.mean([e[part] for e in entries]) for part in ("test", "macro", "at 0.5")}
        gain = paired(tests, base)
        rows[method] = {part: round(float(value), 4) for part, value in means.items()}
        rows[method] |= {"gain": round(gain.mean, 4), "interval": interval(gain.low, gain.high)}
        rows[method]["seeds"] = min(entry["seeds"] for entry in entries)
    return rows


def by_criterion(found: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Mean over the citation pairs of what selection by each criterion gains, and the worst."""
    pairs = [each["among methods"] for n, each in found.items() if n.split(" to ")[0] in CITATION]
    gains = {
        (name, kind): [pair[name][kind] for pair in pairs]
        for name in (pairs[0] if pairs else ())
        for kind in ("all", "fair")
    }
    rows: dict[str, dict[str, float]] = {}
    for (name, kind), values in gains.items():
        mean, worst = round(float(np.mean(values)), 4), round(min(values), 4)
        rows.setdefault(name, {}).update({kind: mean, f"{kind}, worst pair": worst})
    return rows


def best_of(runs: Mapping[str, Mapping[int, Any]]) -> dict[int, Any]:
    """Seed by seed the run that the criterion prefers among all methods and source only."""
    found = {}
    for seed in runs[REFERENCE]:
        each = [
            by_seed[seed]
            for method, by_seed in runs.items()
            if seed in by_seed and not trains(method, CRITERION)
        ]
        found[seed] = max(each, key=lambda run: run["value"])
    return found


def trains(method: str, criterion: str) -> bool:
    """Whether a method improves what a criterion measures."""
    return method in ALIGNMENTS and criterion in ALIGNMENTS[method].trains


def markdown(found: Mapping[str, Any]) -> str:
    """A row a method, a column a pair, and the mean of the citation pairs."""
    names = list(found)
    methods = [method for method in (*METHODS, BEST) if any(method in found[n] for n in names)]
    pairs = [n for n in names if n.split(" to ")[0] in CITATION]
    rows = []
    for method in methods:
        cells = [cell(found[name].get(method)) for name in names]
        whole = [found[n][method] for n in pairs if method in found[n]]
        complete = len(whole) == len(pairs) and pairs
        mean = np.mean([[e["test"], e["macro"]] for e in whole], 0) if complete else None
        both = "" if mean is None else f"{100 * mean[0]:.1f} / {100 * mean[1]:.1f}"
        rows.append([method, both, *cells])
    return table(["method", "citation micro / macro", *names], rows)


def cell(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return ""
    spread = "" if entry["std"] is None else f" ± {100 * entry['std']:.1f}"
    mark = {"better": " **+**", "worse": " **-**"}.get(entry.get("verdict", ""), "")
    return f"{100 * entry['test']:.1f}{spread}{mark}"


if __name__ == "__main__":
    main()
