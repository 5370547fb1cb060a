"""From what agreement on does a graph of classes pay, and who gets most out of it?

Controlled: class means are drawn along the class tree of Cora, their spread following the tree by a
chosen share from 0 to 1, and samples scatter about them. Real: nodes of the same citation graph,
with structural features (propagated random projections) and with those of a GCN that was trained
on base classes alone. Half of the classes are novel; all methods see the same splits; differences
are paired over 20 splits. KGTN stands beside the closed form it begins at, and beside itself with
graphs that know nothing.

    OMP_NUM_THREADS=1 python benchmarks/category_graph_pays.py --root DIR
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from _measure import RESULTS, write_results
from torch import Tensor

import gtl
from gtl.data import CategoryGraph, Dataset
from gtl.report.compare import paired
from gtl.report.drawing import panels

FITTED: dict[str, Any] = {
    "KGTN": "kgtn",
    "shrinkage": "shrinkage",
    "shrinkage, plain": {"name": "shrinkage", "metric": "plain"},
    "prototype": {"name": "prototype", "similarity": "cosine"},
    "KGTN, identity": {"name": "kgtn", "graph": "identity"},
    "KGTN, random": {"name": "kgtn", "graph": "random"},
    "KGTN, uniform": {"name": "kgtn", "graph": "uniform"},
}
TRAINED: dict[str, Any] = {
    "linear": "linear",
    "cosine": "cosine",
    "KGTN, jointly trained": {"name": "kgtn", "training": "joint"},
}
MEASURES = ("novel_in_novel_top1", "novel_in_all_top1", "all_top1")
AGREEMENTS = (0.0, 0.25, 0.5, 1.0)
DRAWS, SPLITS = 5, 4  # of the data, and of classes and shots for each
NOISE, WIDTH, EACH = 3.0, 64, 40

Values = dict[str, dict[int, dict[str, list[float]]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=os.environ.get("GTL_DATA", ""))
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--agreements", type=float, nargs="+", default=AGREEMENTS)
    options = parser.parse_args()
    folder = options.root / "cora-hierarchy"
    if not folder.is_dir():
        print(f"skipped: there is no folder {folder}; give --root, or set GTL_DATA")
        return
    tree = CategoryGraph.from_path_file(folder / "class_hierarchy.tsv")
    shots = {"controlled": (1, 2, 5, 10), "real": (1, 2)}
    found: dict[str, Any] = {
        "splits": SPLITS * options.draws,
        "minus": "KGTN minus each method in percentage points: mean, lower and upper end of the "
        "paired 95 % interval",
        "real": {},
        "controlled": {},
    }
    for title, sets in (("structural", structural), ("encoder", encoded)):
        runs = [
            gtl.few_shot(
                data,
                {**FITTED, **TRAINED},
                protocol="base_novel",
                shots=shots["real"],
                splits=SPLITS,
                graph=tree,
                novel=novel,
                seed=100 * seed,
            )
            for seed, (data, novel) in enumerate(sets(folder, options.draws))
        ]
        found["real"][title] = told(title, runs, shots["real"])
    for share in options.agreements:
        runs = [
            gtl.few_shot(
                drawn(tree, share, seed),
                FITTED,
                protocol="base_novel",
                shots=shots["controlled"],
                splits=SPLITS,
                graph=tree,
                seed=100 * seed,
            )
            for seed in range(options.draws)
        ]
        found["controlled"][share] = told(f"agreement {share}", runs, shots["controlled"])
        write_results("category_graph_pays", found)  # a run that is cut off leaves what it has
    plot(found["controlled"], shots["controlled"], RESULTS / "category_graph_pays.png")


def drawn(tree: CategoryGraph, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Samples of classes whose means follow the tree by ``share``."""
    rng = torch.Generator().manual_seed(seed)
    paths = [name.strip("/").split("/") for name in tree.names]
    along = torch.zeros(len(paths), WIDTH)
    places: dict[str, Tensor] = {}
    for i, steps in enumerate(paths):
        above = ["/".join(steps[: depth + 1]) for depth in range(len(steps) - 1)]
        for place in above:
            if place not in places:
                places[place] = torch.randn(WIDTH, generator=rng)
            along[i] += places[place] / max(len(above), 1) ** 0.5
        if not above:  # a class below the root alone has none to share with
            along[i] = torch.randn(WIDTH, generator=rng)
    own = torch.randn(len(paths), WIDTH, generator=rng)
    means = share**0.5 * along + (1 - share) ** 0.5 * own
    labels = torch.arange(len(paths)).repeat_interleave(EACH)
    return means[labels] + NOISE * torch.randn(len(labels), WIDTH, generator=rng), labels


def structural(folder: Path, draws: int) -> list[tuple[Dataset, Any]]:
    """Structural features; each split draws its novel classes."""
    x, y, _ = nodes(folder)
    return [(dataset(x, y, seed), 0.5) for seed in range(draws)]


def encoded(folder: Path, draws: int) -> list[tuple[Dataset, Any]]:
    """Features of a GCN trained on the base classes' training nodes, for given novel classes."""
    x, y, graph = nodes(folder)
    found = []
    for seed in range(draws):
        rng = torch.Generator().manual_seed(1000 + seed)
        novel = torch.randperm(int(y.max()) + 1, generator=rng)[: (int(y.max()) + 1) // 2]
        known = dataset(x, y, seed)
        train = known.split["train"]
        data = Dataset(
            "cora-hierarchy",
            graph=graph,
            labels=y,
            split={"train": train[~torch.isin(y[train], novel)]},
            level="node",
        )
        model = gtl.finetune(
            {"name": "gcn", "width": WIDTH, "depth": 2, "dropout": 0.5, "last_linear": True},
            data,
            epochs=40,
            lr=0.01,
            seed=seed,
        )
        found.append((dataset(gtl.embed(model, data), y, seed), novel.tolist()))
    return found


def nodes(folder: Path) -> tuple[Tensor, Tensor, gtl.Graph]:
    """Structural features of the citation graph's nodes, their classes, and the graph with them."""
    edges = np.loadtxt(folder / "cora.edges", dtype=np.int64) - 1
    clusters = np.loadtxt(folder / "cora.clusters", dtype=np.int64)
    labels = np.empty(len(clusters), dtype=np.int64)
    labels[clusters[:, 0] - 1] = clusters[:, 1]
    n = len(labels)
    both = np.concatenate([edges, edges[:, ::-1]])
    ends = both.T
    matrix = sp.coo_matrix((np.ones(len(both)), (ends[0], ends[1])), (n, n)).tocsr() + sp.eye(n)
    walk = sp.diags(1 / np.asarray(matrix.sum(1)).ravel()) @ matrix
    rng = np.random.default_rng(0)
    h, total = rng.standard_normal((n, 4 * WIDTH)), 0
    for hop in range(1, 7):
        h = walk @ h
        apart = h - h.mean(0)
        if hop > 1:
            total = total + apart / np.linalg.norm(apart, axis=1, keepdims=True).clip(1e-9)
    total = total - total.mean(0)
    _, _, axes = np.linalg.svd(total[rng.permutation(n)[:5000]], full_matrices=False)
    x = total @ axes[:WIDTH].T
    x = torch.from_numpy(x / x.std(0)).float()
    src, dst = torch.from_numpy(np.unique(both, axis=0)).T
    graph = gtl.Graph(src.contiguous(), dst.contiguous(), n, x)
    return x, torch.from_numpy(labels), graph


def dataset(x: Tensor, y: Tensor, seed: int, asked: int = 30, most: int = 40) -> Dataset:
    """Rows with a split: up to ``most`` of half of each class train, ``asked`` others are asked."""
    rng = torch.Generator().manual_seed(seed)
    train, test = [], []
    for number in range(int(y.max()) + 1):
        own = (y == number).nonzero().flatten()
        own = own[torch.randperm(len(own), generator=rng)]
        half = max(len(own) // 2, len(own) - asked)
        train.append(own[: min(half, most)])
        test.append(own[half:])
    none = torch.empty(0, dtype=torch.int64)
    split = {"train": torch.cat(train), "test": torch.cat(test)}
    rows = gtl.Graph(none, none, len(x), x)
    return Dataset("cora-hierarchy", graph=rows, labels=y, split=split, level="node")


def told(title: str, runs: Sequence[Any], shots: Sequence[int]) -> dict[str, Any]:
    """Means and differences over all splits of all draws, printed and returned."""
    methods = list(runs[0].values)
    summary: dict[str, Any] = {
        "correlation": [round(run.agreement.correlation, 3) for run in runs],
        "p_value": [round(run.agreement.p_value, 3) for run in runs],
    }
    print(f"{title}: correlation {summary['correlation']}, p {summary['p_value']}")
    for k in shots:
        summary[str(k)] = {}
        for measure in MEASURES:
            values = {m: [v for run in runs for v in run.values[m][k][measure]] for m in methods}
            table = {}
            for method in methods:
                gain = difference(values["KGTN"], values[method])
                mean = round(100 * float(np.mean(values[method])), 2)
                table[method] = {"mean": mean, "minus": gain}
            summary[str(k)][measure] = table
            line = ", ".join(
                f"{m} {table[m]['mean']:.1f}"
                + ("" if m == "KGTN" else " [{:+.2f} {:+.2f}]".format(*table[m]["minus"][1:]))
                for m in methods
            )
            print(f"  {k} shots, {measure}: {line}", flush=True)
    return summary


def difference(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """Mean, lower and upper end of the paired interval, in percentage points."""
    gain = paired(dict(enumerate(first)), dict(enumerate(second)))
    ends = (gain.mean, gain.low, gain.high)
    return [round(100 * value, 3) for value in ends if value is not None]


def plot(controlled: Mapping[float, Any], shots: Sequence[int], file: Path) -> Path:
    """What the tree gains over no graph, by agreement: a panel for each measure."""

    def draw(*axes: Any) -> None:
        for ax, measure in zip(axes, MEASURES):
            for place, k in enumerate(shots):
                rows = [
                    each[str(k)][measure]["KGTN, identity"]["minus"] for each in controlled.values()
                ]
                mean, low, high = np.array(rows).T
                x = np.array(list(controlled)) + 0.008 * (place - 1.5)
                ax.errorbar(
                    x,
                    mean,
                    [mean - low, high - mean],
                    color=f"C{place}",
                    marker="o",
                    markersize=4,
                    linewidth=1.4,
                    elinewidth=0.9,
                    label=f"{k} shots",
                )
            ax.axhline(0, color="0.6", linewidth=0.8, zorder=0)
            ax.set_title(measure.removesuffix("_top1").replace("_", " "), fontsize="medium")
            ax.set_xlabel("share of the class means' spread that follows the tree")
        axes[0].set_ylabel("gain by the tree (points of accuracy)")
        axes[0].legend(frameon=False, fontsize="small")

    return panels(draw, len(MEASURES), file, height=3.8)


if __name__ == "__main__":
    main()
