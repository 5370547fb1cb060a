"""Runs that tests make in one process, and in two as ``python two_processes.py RANK FOLDER``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist
from torch import nn

import gtl
from gtl.catalog import ENCODERS
from gtl.data.dataset import Dataset
from gtl.errors import GtlError
from gtl.graph import Graph
from gtl.graph.pack import PackedGraphs
from gtl.roles import Task, View

# Without dropout, and with tasks that draw nothing: what one process and two must agree on.
GIN = {"name": "gin", "width": 6, "depth": 2, "dropout": 0.0}
DRAWN = {"name": "gin", "width": 6, "depth": 2, "dropout": 0.3}
TASKS = ["motif", "structure"]


def graphs(count: int = 28) -> Dataset:
    """Paths and cycles of three to seven nodes, labeled; eleven to train on, four in no split."""
    rng = torch.Generator().manual_seed(0)
    made = []
    for i in range(count):
        n = int(torch.randint(3, 8, (), generator=rng))
        src = torch.arange(n if i % 2 else n - 1)
        dst = (src + 1) % n
        x = torch.randn(n, 3, generator=rng)
        made.append(Graph(torch.cat([src, dst]), torch.cat([dst, src]), n, x))
    labels = torch.arange(count).remainder(2).float().unsqueeze(1)
    order = torch.randperm(count, generator=rng)
    split = {"train": order[:11], "valid": order[11:18], "test": order[18:24]}
    return Dataset("test:two", PackedGraphs.pack(made), labels=labels, split=split)


def one_graph() -> Dataset:
    """Thirty nodes of three classes on a ring."""
    n, rng = 30, torch.Generator().manual_seed(0)
    src = torch.arange(n)
    dst = (src + 1) % n
    graph = Graph(torch.cat([src, dst]), torch.cat([dst, src]), n, torch.randn(n, 5, generator=rng))
    split = {"train": src[:13], "valid": src[13:20], "test": src[20:]}
    return Dataset("test:ring", graph=graph, labels=src % 3, split=split, level="node")


def pretrained(**options: Any) -> dict[str, Any]:
    """Pre-training; batches of 27 leave one graph for the second, so one process has none."""
    settings = {"epochs": 2, "batch_size": 27, "seed": 0, **options}
    run = gtl.pretrain(GIN, graphs(), TASKS, **settings)
    return found(nn.ModuleList([run.encoder, *run.tasks.values()]), run.history)


def tuned(weighting: Any = "aux_ts", **options: Any) -> dict[str, Any]:
    """Fine-tuning, two steps an epoch, of 5 and 6 items."""
    settings = {"epochs": 3, "batch_size": 5, "seed": 0, "guard": False, **options}
    settings = {"auxiliary": TASKS, **settings}
    model = gtl.finetune(GIN, graphs(), weighting=weighting, **settings)
    return found(model, model.history, model.results)


def whole_graph() -> dict[str, Any]:
    """One graph that every process has, with tasks and dropout that draw."""
    model = gtl.finetune(
        DRAWN,
        one_graph(),
        auxiliary=["attribute_masking", "contrast", "clustering"],
        epochs=5,
        seed=0,
    )
    return found(model, model.history, model.results)


def sampled() -> dict[str, Any]:
    """All neighbors of the nodes of a batch; the last of 13 is alone, and one process has none."""
    model = gtl.finetune(
        {"name": "gcn", "width": 6, "norm": None, "dropout": 0.0, "input_dropout": 0.0},
        one_graph(),
        auxiliary=(),
        fan_out=[None, None],
        batch_size=4,
        epochs=3,
        seed=0,
    )
    return found(model, model.history, model.results)


def drawn() -> dict[str, Any]:
    """Tasks, queues and dropout that every process draws for itself."""
    run = gtl.pretrain(
        DRAWN, graphs(), ["attribute_masking", "contrast", "edge_generation"], epochs=2, seed=0
    )
    return found(nn.ModuleList([run.encoder, *run.tasks.values()]), run.history)


RUNS: dict[str, Callable[..., dict[str, Any]]] = {
    "pretrain": pretrained,
    "finetune": lambda: tuned(weighting="equal", patience=1, average=2, meta_share=0.2),
    "aux_ts": lambda: tuned(guard=True, weighting={"name": "aux_ts", "refresh": 2}),
    "aux_ts of parameters": lambda: tuned(
        {"name": "aux_ts", "consistency": "parameters", "auxiliary_weight": 0.3}
    ),
    "aux_ts by the target": lambda: tuned(
        {"name": "aux_ts", "normalize": "target", "refresh": 1}, meta_share=0.2
    ),
    "consistency": lambda: tuned(
        "equal", auxiliary=["l2_sp", "knowledge_consistency"], optimizer="sgd", lr=0.01
    ),
    "whole graph": whole_graph,
    "sampled": sampled,
}


def found(model: nn.Module, history: list[dict[str, Any]], results: Any = None) -> dict[str, Any]:
    """What two runs are compared by."""
    lines = [{k: v for k, v in line.items() if k != "seconds"} for line in history]
    kept = {k: (results or {}).get(k) for k in ("valid", "test", "epoch", "selection")}
    weights = {name: value.flatten().tolist() for name, value in model.state_dict().items()}
    return {"history": lines, "results": kept, "weights": weights}


class Ends(Task):
    """Ends the process of rank 1 in the third epoch of two steps, without a word."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def build(self, schema: Any, width: int) -> None:
        self.map = nn.Linear(width, 1)

    def view(self, batch: Any, rng: torch.Generator) -> View:
        self.seen += 1
        if dist.get_rank() == 1 and self.seen == 5:
            os._exit(9)
        return View(batch.source, {})

    def losses(self, nodes: torch.Tensor, view: View) -> torch.Tensor:
        return self.map(nodes).squeeze(1).square()


def refused(run: Callable[[], Any]) -> str:
    """Message of the error that a run ends with."""
    try:
        run()
    except GtlError as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def main(rank: int, folder: Path) -> None:
    """All runs of one of two processes; what they give goes to ``<rank>.json``."""
    torch.set_default_dtype(torch.float64)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    out = {name: run() for name, run in RUNS.items()}
    out["drawn"] = drawn()
    out["begun by two"] = pretrained(epochs=1, out=folder / "two")
    out["continued by two"] = pretrained(out=folder / "one", resume=True)
    torch.manual_seed(rank)  # an encoder that every process has made for itself
    own = ENCODERS.build(GIN, graphs().schema)
    run = gtl.pretrain(own, graphs(), TASKS, epochs=1)
    out["own encoder"] = found(run.encoder, run.history)
    out["refused"] = {
        "clustering": refused(lambda: gtl.pretrain(GIN, graphs(), ["clustering"], epochs=1)),
        "unrolled": refused(lambda: tuned({"name": "aux_ts", "look_ahead": "unrolled"})),
        "probe": refused(lambda: gtl.probe(GIN, graphs())),
        "folder": refused(lambda: pretrained(out=folder / "two")),
        "settings": refused(lambda: pretrained(epochs=1 + rank, out=folder / f"{rank}")),
        "not finite": refused(lambda: tuned("equal", lr=1e30, optimizer="sgd", batch_size=2)),
    }
    (folder / f"{rank}.json").write_text(json.dumps(out))
    settings = {"epochs": 9, "batch_size": 14, "out": folder / "ends"}
    message = refused(lambda: gtl.pretrain(GIN, graphs(), [Ends()], **settings))
    (folder / "ends.txt").write_text(message)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
