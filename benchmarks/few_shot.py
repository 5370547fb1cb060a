"""Which way to tell classes apart that have one to ten samples, and does a graph of them help?

Every method gets the same frozen features and the same splits. On sets with a hierarchy of classes,
half of them are novel, and KGTN with graphs that know something (the hierarchy, nearness of class
means) stands beside KGTN with graphs that know nothing (identity, uniform, random), and beside its
joint training as published; on the others every class has k samples. Differences are paired, split
by split.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from _drugs import Drugs, drugs, encoded, fingerprints, groups, tree
from _drugs import table as drug_table
from _measure import RESULTS, read_results, write_results
from _seeds import parsed, parser_of
from safetensors.torch import load_file, save_file
from torch import Tensor

import gtl
from gtl.data import CategoryGraph
from gtl.data.agreement import Agreement
from gtl.fewshot.features import as_samples
from gtl.report.drawing import panels
from gtl.report.few_shot import FewShotResult

OUT = Path("runs") / "few_shot"
REFERENCE = "prototype, cosine"
SHOTS = (1, 2, 5, 10)
MOST = 60  # samples of a class that are used: the largest has a thousand
COMPONENTS = 64

PLAIN: dict[str, Any] = {
    "linear": "linear",
    "cosine": "cosine",
    "prototype": "prototype",
    REFERENCE: {"name": "prototype", "similarity": "cosine"},
    "LDA": {"name": "gaussian", "kind": "lda"},
    "LDA, within": {"name": "gaussian", "kind": "lda", "task": "within"},
    "QDA": {"name": "gaussian", "kind": "qda"},
}
WITH_GRAPH: dict[str, Any] = {
    "shrinkage, hierarchy": "shrinkage",
    "shrinkage, identity": {"name": "shrinkage", "graph": "identity"},
    "plain shrinkage, hierarchy": {"name": "shrinkage", "metric": "plain"},
    "plain shrinkage, identity": {"name": "shrinkage", "metric": "plain", "graph": "identity"},
    "plain shrinkage, random": {"name": "shrinkage", "metric": "plain", "graph": "random"},
    "KGTN, hierarchy": "kgtn",
    "KGTN, class means": {"name": "kgtn", "graph": "prototypes"},
    "KGTN, identity": {"name": "kgtn", "graph": "identity"},
    "KGTN, uniform": {"name": "kgtn", "graph": "uniform"},
    "KGTN, random": {"name": "kgtn", "graph": "random"},
    "KGTN as published, hierarchy": {"name": "kgtn", "training": "joint"},
    "KGTN as published, identity": {"name": "kgtn", "training": "joint", "graph": "identity"},
    "judged, hierarchy": "selected",  # the title of its results, from before the name
}
METHODS = {"base_novel": {**PLAIN, **WITH_GRAPH}, "k_shot": PLAIN}

GIN = {"name": "gin", "width": 64, "depth": 3}
GCN = {"name": "gcn", "width": 64, "depth": 2}
MOLECULE = ("attribute_masking", "motif")
NODE = ("attribute_masking", "edge_prediction", "pair_distance")


@dataclass(frozen=True)
class Set:
    """Features with classes, and how they are compared.

    Attributes:
        prepare: Makes ``features`` ``(b, h)``, ``labels`` ``(b, tasks)`` with -1 for missing and,
            if the set has a split of its own, boolean ``train`` and ``test``, from the root.
        queries: As for :func:`gtl.few_shot`.
        relation: Makes the graph of the classes and the group of each, within which half of the
            classes are novel; ``None`` for the k-shot protocol.
        shots: Training samples of a novel class, or of every class.
    """

    prepare: Callable[[Path], Mapping[str, Tensor]]
    queries: float | None
    relation: Callable[[Path], tuple[CategoryGraph, Tensor]] | None = None
    shots: Sequence[int] = SHOTS

    @property
    def protocol(self) -> str:
        return "k_shot" if self.relation is None else "base_novel"


# -- sets ------------------------------------------------------------------------------------------


def cora_features(root: Path) -> Mapping[str, Tensor]:
    """Where a node lies: random columns averaged over 2 to 6 steps of a walk, 64 components."""
    folder = root / "cora-hierarchy"
    edges = np.loadtxt(folder / "cora.edges", dtype=np.int64)[:, :2] - 1
    clusters = np.loadtxt(folder / "cora.clusters", dtype=np.int64)
    labels = np.full(clusters[:, 0].max(), -1)
    labels[clusters[:, 0] - 1] = clusters[:, 1]
    n = len(labels)
    one_way = sp.coo_matrix((np.ones(len(edges)), edges.T), (n, n))
    both = ((one_way + one_way.T) > 0).astype(np.float32) + sp.identity(n, dtype=np.float32)
    walk = (sp.diags(1 / np.asarray(both.sum(1)).ravel()) @ both).astype(np.float32)
    columns = np.random.default_rng(0).normal(size=(n, 512)).astype(np.float32)
    parts = []
    for step in range(1, 7):
        columns = walk @ columns
        if step >= 2:
            parts.append(columns / np.linalg.norm(columns, axis=1, keepdims=True))
    features = reduced(torch.from_numpy(np.concatenate(parts, 1)))
    return {"features": features, "labels": torch.from_numpy(labels).unsqueeze(1)}


def cora_relation(root: Path) -> tuple[CategoryGraph, Tensor]:
    tree = CategoryGraph.from_path_file(root / "cora-hierarchy" / "class_hierarchy.tsv")
    return tree, numbered([name.split("/")[1] for name in tree.names])


def leaves(view: str) -> Callable[[Path], Mapping[str, Tensor]]:
    """One view of the leaves, square roots of its histograms, a column at one scale."""

    def prepare(root: Path) -> Mapping[str, Tensor]:
        lines = (root / "plant-leaves" / f"data_{view}_64.txt").read_text().splitlines()
        rows = [line.split(",") for line in lines if line]
        names = [row[0] for row in taxonomy(root)]
        labels = torch.tensor([names.index(row[0]) for row in rows])
        x = torch.tensor([[float(v) for v in row[1:]] for row in rows]).sqrt()
        return {"features": (x - x.mean(0)) / x.std(0), "labels": labels.unsqueeze(1)}

    return prepare


def leaves_relation(root: Path) -> tuple[CategoryGraph, Tensor]:
    rows = taxonomy(root)
    links = {(f"/{c}", genus) for c, genus, _ in rows}
    links |= {(genus, f"{family}.") for _, genus, family in rows}
    links |= {(f"{family}.", "plants") for _, _, family in rows}
    names = [f"/{name}" for name, _, _ in rows]
    tree = CategoryGraph.from_pairs(names, sorted(links), max_distance=4)
    return tree, numbered([family for _, _, family in rows])


def taxonomy(root: Path) -> list[list[str]]:
    """Class, genus and family of each species."""
    lines = (root / "plant-leaves" / "class_hierarchy.tsv").read_text().splitlines()
    return [line.split("\t") for line in lines[1:] if line]


def nodes(spec: str) -> Callable[[Path], Mapping[str, Tensor]]:
    """Vectors of a GCN that was pre-trained on the graph without labels."""

    def prepare(root: Path) -> Mapping[str, Tensor]:
        data = gtl.load(spec, root=root)
        assert data.graph is not None and data.graph.x is not None
        data = replace(data, graph=data.graph.replace(x=reduced(data.graph.x)))
        run = gtl.pretrain(GCN, data, NODE, epochs=40, lr=0.01)
        found = as_samples(data, run)
        return {"features": found.features, "labels": found.labels.unsqueeze(1)}

    return prepare


def molecules(spec: str) -> Callable[[Path], Mapping[str, Tensor]]:
    """Vectors of a GIN that was pre-trained on the training molecules; OGB's scaffold split."""

    def prepare(root: Path) -> Mapping[str, Tensor]:
        data = gtl.load(spec, root=root)
        assert data.graphs is not None and data.labels is not None
        run = gtl.pretrain(GIN, data.graphs.subset(data.split["train"]), MOLECULE, epochs=10)
        every = replace(data, labels=torch.zeros(len(data), 1), split={})
        found = as_samples(every, run)
        parts = {part: torch.zeros(len(data), dtype=torch.bool) for part in ("train", "test")}
        for part, mask in parts.items():
            mask[data.split[part]] = True
        labels = data.labels.nan_to_num(-1).long()
        return {"features": found.features, "labels": labels, **parts}

    return prepare


def approved_drugs(level: int, least: int, features: Callable[[Drugs], Tensor]) -> Callable:
    """Leading components of drugs' features; classes are ATC groups that have ``least`` drugs."""

    def prepare(root: Path) -> Mapping[str, Tensor]:
        found = drugs(drug_table(), level, least)
        return {"features": reduced(features(found)), "labels": found.labels.unsqueeze(1)}

    return prepare


def drugs_relation(level: int, least: int, above: int) -> Callable:
    """The ATC tree of the classes; half of each group of the level above are novel."""

    def relation(root: Path) -> tuple[CategoryGraph, Tensor]:
        codes = drugs(drug_table(), level, least).codes
        return tree(codes), groups(codes, above)

    return relation


SETS = {
    "cora-hierarchy": Set(cora_features, 0.45, cora_relation),
    "plant leaves, margin": Set(leaves("Mar"), 6, leaves_relation),
    "plant leaves, shape": Set(leaves("Sha"), 6, leaves_relation),
    "drugs, ATC level 3": Set(approved_drugs(3, 15, encoded), 5, drugs_relation(3, 15, 1)),
    "drugs, ATC level 4": Set(approved_drugs(4, 6, encoded), 3, drugs_relation(4, 6, 3), (1, 2)),
    "drugs, ATC level 4, fingerprints": Set(
        approved_drugs(4, 6, fingerprints), 3, drugs_relation(4, 6, 3), (1, 2)
    ),
    "Coauthor CS": Set(nodes("npz:ms_academic_cs"), 50),
    "Amazon Photo": Set(nodes("npz:amazon_electronics_photo"), 50),
    "molbace": Set(molecules("ogb:ogbg-molbace"), None),
    "Tox21, 12 tasks": Set(molecules("ogb:ogbg-moltox21"), None),
}


def reduced(x: Tensor) -> Tensor:
    """Leading left singular vectors times singular values, centered, of mean square 1."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        u, s, _ = torch.svd_lowrank(x - x.mean(0), COMPONENTS, niter=4)
    values = u * s
    return values / values.square().mean().sqrt()


def numbered(groups: Sequence[str]) -> Tensor:
    return torch.from_numpy(np.unique(groups, return_inverse=True)[1])


# -- one split of one set --------------------------------------------------------------------------


def work(name: str, split: int, methods: Mapping[str, Any], root: Path, out: Path) -> None:
    """Add the methods that a split of a set has no values of yet to its file."""
    file = place(out, name) / f"{split}.json"
    done = json.loads(file.read_text()) if file.exists() else {"values": {}, "agreement": None}
    missing = {title: how for title, how in methods.items() if title not in done["values"]}
    if not missing:
        return
    started = time.process_time()
    results = [compared(name, *task, split, missing, root) for task in tasks(name, split, out)]
    for title in missing:
        done["values"][title] = mean_values([result.values[title] for result in results])
    if results[0].agreement is not None:
        done["agreement"] = list(results[0].agreement)
    done["cpu_seconds"] = done.get("cpu_seconds", 0.0) + time.process_time() - started
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".part")
    partial.write_text(json.dumps(done))
    partial.replace(file)


def compared(
    name: str, features: Tensor, labels: Tensor, own: Mapping[str, Tensor], split: int, *rest: Any
) -> FewShotResult:
    methods, root = rest
    one = SETS[name]
    data = as_data(name, features, labels, own)
    options: dict[str, Any] = {
        "queries": one.queries,
        "shots": one.shots,
        "splits": 1,
        "seed": split,
    }
    if one.relation is not None:
        graph, groups = one.relation(root)
        options.update(graph=graph, novel=lambda rng: half_of_each(groups, rng))
    return gtl.few_shot(data, methods, protocol=one.protocol, **options)


def as_data(name: str, x: Tensor, labels: Tensor, own: Mapping[str, Tensor]) -> gtl.Dataset:
    none = torch.empty(0, dtype=torch.int64)
    split = {part: mask.nonzero().flatten() for part, mask in own.items()}
    graph = gtl.Graph(none, none, len(x), x)
    return gtl.Dataset(name, graph=graph, labels=labels, split=split, level="node")


def tasks(name: str, split: int, out: Path) -> list[tuple[Tensor, Tensor, dict[str, Tensor]]]:
    """Features, labels and own split of each column of labels, at most 60 samples of a class.

    Where the set has a split of its own, all are kept.
    """
    stored = load_file(place(out, name) / "features.safetensors")
    own = {part: stored[part] for part in ("train", "test") if part in stored}
    found = []
    for labels in stored["labels"].t():
        keep = torch.arange(len(labels)) if own else few_of_each(labels, split)
        parts = {part: mask[keep] for part, mask in own.items()}
        found.append((stored["features"][keep], labels[keep].contiguous(), parts))
    return found


def few_of_each(labels: Tensor, seed: int) -> Tensor:
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    kept = [order[labels[order] == c][:MOST] for c in range(int(labels.max()) + 1)]
    return torch.cat(kept).sort().values


def half_of_each(groups: Tensor, rng: torch.Generator) -> Tensor:
    """Half of the classes of each group, the smaller half of odd ones."""
    order = torch.randperm(len(groups), generator=rng)
    members = [order[groups[order] == group] for group in groups.unique()]
    return torch.cat([some[: len(some) // 2] for some in members])


def mean_values(of_tasks: Sequence[Mapping[int, Mapping[str, Sequence[float]]]]) -> dict[str, Any]:
    """The mean over tasks of the values of one split, by shots and measure."""
    return {
        str(k): {
            measure: statistics.fmean(values[k][measure][0] for values in of_tasks)
            for measure in of_tasks[0][k]
        }
        for k in of_tasks[0]
    }


def prepare(name: str, root: Path, out: Path) -> None:
    """Make the features of a set, once."""
    file = place(out, name) / "features.safetensors"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        found = {key: part.contiguous() for key, part in SETS[name].prepare(root).items()}
        save_file(found, file.with_suffix(".part"))
        file.with_suffix(".part").replace(file)


def place(out: Path, name: str) -> Path:
    return out / name.replace(" ", "_").replace(",", "")


# -- tables ----------------------------------------------------------------------------------------


def collect(out: Path, names: Sequence[str], methods: Sequence[str]) -> dict[str, FewShotResult]:
    """Results by set, of the splits that have all methods."""
    found = {}
    for name in names:
        files = sorted(place(out, name).glob("[0-9]*.json"), key=lambda file: int(file.stem))
        splits = [json.loads(file.read_text()) for file in files]
        wanted = [m for m in METHODS[SETS[name].protocol] if m in methods]
        splits = [split for split in splits if all(m in split["values"] for m in wanted)]
        if splits:
            values = {
                m: {
                    k: {
                        measure: [split["values"][m][str(k)][measure] for split in splits]
                        for measure in splits[0]["values"][m][str(k)]
                    }
                    for k in SETS[name].shots
                }
                for m in wanted
            }
            reference = REFERENCE if REFERENCE in wanted else wanted[0]
            found[name] = FewShotResult(
                name, SETS[name].protocol, values, reference, agreement_of(splits)
            )
    return found


def agreement_of(splits: Sequence[Mapping[str, Any]]) -> Agreement | None:
    """The median over splits, each with other base classes."""
    told = [split["agreement"] for split in splits]
    if told[0] is None:
        return None
    return Agreement(*(statistics.median(column) for column in zip(*told)))


def markdown(found: Mapping[str, FewShotResult], measure: int = 0) -> str:
    """A table for each set: the first measure in percent, with the difference to the reference."""
    lines = []
    for name, result in found.items():
        key = result.measures[measure]
        splits = len(result.values[result.reference][result.shots[0]][key])
        lines.append(f"\n{name}, {key.replace('_', ' ')}, {splits} splits")
        if result.agreement is not None:
            correlation, p = result.agreement
            lines.append(f"(agreement of graph and features {correlation:+.2f}, p = {p:.3f})")
        lines.append("\n| method | " + " | ".join(f"k = {k}" for k in result.shots) + " |")
        lines.append("|---" * (len(result.shots) + 1) + "|")
        for method in result.methods:
            cells = [cell(result, method, k, key) for k in result.shots]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(result: FewShotResult, method: str, k: int, measure: str) -> str:
    mean, gap = result.mean(method, k, measure), result.difference(method, k, measure)
    half = "" if mean.high is None else f" ± {100 * (mean.high - mean.mean):.1f}"
    if method == result.reference:
        return f"{100 * mean.mean:.1f}{half}"
    mark = {"better": " **+**", "worse": " **-**"}.get(gap.verdict("higher"), "")
    width = "" if gap.high is None else f" ± {100 * (gap.high - gap.mean):.1f}"
    return f"{100 * mean.mean:.1f} ({100 * gap.mean:+.1f}{width}){mark}"


def described(result: FewShotResult) -> dict[str, Any]:
    """By measure, method and shots: mean and half its interval, then those of the difference.

    And the splits' own values of the first measure.
    """
    found = result.to_json()
    del found["summary"]
    first = result.measures[0]
    found["measures"] = {
        measure: {
            method: {k: numbers(result, method, k, measure) for k in result.shots}
            for method in result.methods
        }
        for measure in result.measures
    }
    found["values"] = {
        method: {k: by_measure[first] for k, by_measure in by_shots.items()}
        for method, by_shots in result.values.items()
    }
    return rounded(found)


def numbers(result: FewShotResult, method: str, k: int, measure: str) -> list[float | None]:
    found: list[float | None] = []
    for one in (result.mean(method, k, measure), result.difference(method, k, measure)):
        found += [one.mean, None if one.high is None else one.high - one.mean]
    return found


def rounded(value: Any) -> Any:
    """Nested values with four decimals."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(one) for one in value]
    return round(value, 4) if isinstance(value, float) else value


def plot(found: Mapping[str, FewShotResult], file: Path) -> None:
    """Differences to the reference over shots with their intervals, a panel for each set."""
    every = [name for name in METHODS["base_novel"] if name != REFERENCE]
    looks = {name: (f"C{i % 8}", ("-", "--")[i // 8]) for i, name in enumerate(every)}

    def draw(*axes: Any) -> None:
        for ax, (name, result) in zip(axes, found.items()):
            others = [m for m in result.methods if m != result.reference]
            ax.axhline(0, color="0.7", linewidth=0.8)
            for i, method in enumerate(others):
                gaps = [result.difference(method, k) for k in result.shots]
                ax.errorbar(
                    [j + 0.5 * (i + 0.5) / len(others) - 0.25 for j in range(len(gaps))],
                    [100 * gap.mean for gap in gaps],
                    yerr=[100 * ((gap.high or gap.mean) - gap.mean) for gap in gaps],
                    label=method,
                    color=looks[method][0],
                    linestyle=looks[method][1],
                    marker="o",
                    markersize=3,
                    linewidth=1.2,
                    elinewidth=0.8,
                )
            ax.set_xticks(range(len(SHOTS)), [str(k) for k in SHOTS])
            ax.set_xlabel("shots", fontsize="small")
            what = result.measures[0].replace("_", " ")
            ax.set_ylabel(f"{what}, points over {result.reference}", fontsize="small")
            ax.set_title(name, fontsize="medium")
        lines, labels = axes[0].get_legend_handles_labels()
        axes[0].figure.legend(
            lines, labels, loc="outside right upper", fontsize="small", frameon=False
        )

    panels(draw, len(found), file, 3.6)


# -- command line ----------------------------------------------------------------------------------


def main() -> None:
    every = list(METHODS["base_novel"])
    parser = parser_of(__doc__, OUT, SETS, every)
    parser.add_argument("--splits", type=int, default=20, help="splits of each set")
    options = parsed(parser)
    names, methods = options.set or list(SETS), options.method or every
    started = time.monotonic()
    for name in () if options.only_collect else names:
        root = Path(options.root)
        prepare(name, root, options.out)
        mine = {m: how for m, how in METHODS[SETS[name].protocol].items() if m in methods}
        for split in range(options.splits):
            work(name, split, mine, root, options.out)
            minutes = (time.monotonic() - started) / 60
            print(f"{name} {split + 1}/{options.splits} {minutes:.1f} min", file=sys.stderr)
    found = collect(options.out, names, methods)
    print(markdown(found))
    if found and not options.no_write:
        if found.keys() == SETS.keys():
            plot(found, RESULTS / "few_shot.png")
        settings = {"methods": METHODS, "shots": SHOTS, "reference": REFERENCE, "most": MOST}
        kept = read_results("few_shot").get("sets", {})  # of sets that were left out this time
        sets = {**kept, **{name: described(result) for name, result in found.items()}}
        write_results("few_shot", {"settings": settings, "sets": sets})


if __name__ == "__main__":
    main()
