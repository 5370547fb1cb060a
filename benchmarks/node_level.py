"""Node level without options: `gtl.finetune("gcn", data)` against a plain two-layer PyG GCN.

Cora in its public split, Photo and CS with 20 labels a class, 500 validation nodes and the rest
for testing, drawn by the seed. Both sides have the same graph, split and features of length 1,
and choose the epoch by validation accuracy. PyG's side has the settings that gtl has by default at
node level.

    OMP_NUM_THREADS=1 python benchmarks/node_level.py --root DATA --workers 1
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
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
from torch import Tensor, nn
from torch.nn import functional as F

import gtl
from gtl.train.defaults import encoder_defaults, training_defaults

OUT = Path("runs") / "node_level"
SETS = {
    "Cora": "planetoid:cora",
    "Photo": "npz:amazon_electronics_photo",
    "CS": "npz:ms_academic_cs",
}
REFERENCE = "PyG GCN"
METHODS: dict[str, Any] = {
    REFERENCE: None,
    "gcn": "gcn",
    "sage": "sage",
    "gat": "gat",
    "gin": "gin",
    "gcn, features that sum to 1": {"name": "gcn", "normalize_features": "l1"},
    "gcn, last matrix": {"name": "gcn", "last_linear": True},
    "gcn, both, the default before": {
        "name": "gcn",
        "normalize_features": "l1",
        "last_linear": True,
    },
    "gcn, learned embedding": {"name": "gcn", "embedding": "learned"},
    "gcn as for graphs": {
        "name": "gcn",
        "width": 300,
        "depth": 5,
        "norm": "batch",
        "embedding": "learned",
        "input_dropout": 0.0,
        "dropout": 0.0,
    },
}
BY_DEFAULT = (REFERENCE, "gcn")
TRAINING = training_defaults("node", "gcn")
_SPARSE = 0.1  # share of nonzero features up to which PyG's side multiplies them alone


class PlainGCN(nn.Module):
    """Two convolutions of PyG with dropout before each (Kipf and Welling 2017)."""

    def __init__(self, features: int, width: int, classes: int, dropout: float):
        from torch_geometric.nn import GCNConv

        super().__init__()
        self.first = GCNConv(features, width, cached=True)
        self.second = GCNConv(width, classes, cached=True)
        self.dropout = dropout

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        h = self.first(self._dropped(x), edges).relu()
        return self.second(F.dropout(h, self.dropout, self.training), edges)

    def _dropped(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        if x.layout is torch.strided:
            return F.dropout(x, self.dropout)
        values = F.dropout(x.values(), self.dropout)
        return torch.sparse_csr_tensor(x.crow_indices(), x.col_indices(), values, x.shape)


def main() -> None:
    parser = parser_of(__doc__, OUT, SETS, METHODS)
    add_seeds(parser, 10)
    options = parsed(parser)
    names, methods = options.set or list(SETS), options.method or list(BY_DEFAULT)
    if not options.only_collect:
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        jobs = [(name, seed, method) for name in names for seed in seeds for method in methods]
        run_all(work, jobs, options.workers, options.root, options.out)
    found = collect(options.out)
    print(markdown(found))
    if not options.no_write:
        settings = {"training": TRAINING, "encoder": encoder_defaults("node", "gcn")}
        write_results("node_level", {**settings, "methods": METHODS, "sets": found})


def work(name: str, seed: int, method: str, root: str, out: Path) -> None:
    """Leave the results of one training of one side."""
    if place(out, name, method, seed).exists():
        return
    torch.set_num_threads(1)
    data = loaded(name, 0 if name == "Cora" else seed, root)
    started = time.process_time()
    results = pyg(data, seed) if method == REFERENCE else ours(METHODS[method], data, seed)
    keep(
        {**results, "cpu_seconds": round(time.process_time() - started, 1)}, out, name, method, seed
    )


@cache
def loaded(name: str, seed: int, root: str) -> gtl.Dataset:
    """The data with the split of a seed."""
    return gtl.load(SETS[name], root=root, seed=seed)


def ours(encoder: Any, data: gtl.Dataset, seed: int) -> dict[str, Any]:
    """A training with the defaults of gtl."""
    results = gtl.finetune(encoder, data, seed=seed).results
    return {name: results[name] for name in ("valid", "test", "epoch")}


def pyg(data: gtl.Dataset, seed: int) -> dict[str, Any]:
    """A training of :class:`PlainGCN` with the same settings."""
    settings = encoder_defaults("node", "gcn")
    assert data.graph is not None and data.graph.x is not None and data.labels is not None
    torch.manual_seed(seed)
    x = F.normalize(data.graph.x, dim=1)
    model = PlainGCN(x.shape[1], settings["width"], data.num_outputs, settings["dropout"])
    if float((x != 0).float().mean()) <= _SPARSE:
        x = x.to_sparse_csr()
    edges = torch.stack([data.graph.src, data.graph.dst])
    decay = TRAINING["weight_decay"]["first"]
    groups = [
        {"params": model.first.parameters(), "weight_decay": decay},
        {"params": model.second.parameters(), "weight_decay": 0.0},
    ]
    optimizer = torch.optim.Adam(groups, lr=TRAINING["lr"])
    best = {"valid": -1.0, "test": -1.0, "epoch": 0}
    for epoch in range(TRAINING["epochs"]):
        if epoch > best["epoch"] + TRAINING["patience"]:
            break
        train = data.split["train"]
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(model(x, edges)[train], data.labels[train]).backward()
        optimizer.step()
        scores = accuracies(model, x, edges, data)
        if scores["valid"] > best["valid"]:
            best = {**scores, "epoch": epoch}
    return best


@torch.no_grad()
def accuracies(model: nn.Module, x: Tensor, edges: Tensor, data: gtl.Dataset) -> dict[str, float]:
    """Accuracy on the validation and the test split."""
    assert data.labels is not None
    right = model.eval()(x, edges).argmax(1) == data.labels
    return {part: float(right[data.split[part]].float().mean()) for part in ("valid", "test")}


def collect(out: Path) -> dict[str, Any]:
    """By set and method: mean, spread, and the difference to PyG's side, paired by seed."""
    found = {}
    for name, by_method in all_finished(out, SETS, METHODS).items():
        reference = tests_of(by_method.get(REFERENCE, {}))
        found[name] = {
            method: {
                **described(tests_of(runs), reference, "higher"),
                "valid": mean(run["valid"] for run in runs.values()),
                "epoch": mean(run["epoch"] for run in runs.values()),
                "cpu_seconds": mean(run["cpu_seconds"] for run in runs.values()),
            }
            for method, runs in by_method.items()
        }
    return found


def cell(entry: Mapping[str, Any], is_reference: bool) -> str:
    """Test accuracy in percent and, beside the reference, the points over it."""
    accuracy = f"{100 * entry['test']:.1f}"
    return accuracy if is_reference else f"{accuracy} ({points(entry, False)})"


def mean(values: Any) -> float:
    values = list(values)
    return round(sum(values) / len(values), 4)


def markdown(found: Mapping[str, Any]) -> str:
    """A row a method: test accuracy and points over PyG's side."""
    methods: Sequence[str] = [m for m in METHODS if any(m in by for by in found.values())]
    rows = [
        [
            method,
            *(
                cell(by[method], method == REFERENCE) if method in by else ""
                for by in found.values()
            ),
        ]
        for method in methods
    ]
    heads = [f"{name} ({len(by[next(iter(by))]['values'])} seeds)" for name, by in found.items()]
    return table(["test accuracy (points over PyG)", *heads], rows)


if __name__ == "__main__":
    main()
