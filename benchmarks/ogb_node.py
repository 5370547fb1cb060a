"""OGB's sets of nodes: target alone, auxiliary tasks under a weighting, pre-training, or both.

    python benchmarks/ogb_node.py --data ogbn-arxiv --root path/to/data \\
        --method target_only aux_ts pretrain pretrain+aux_ts

prints for each method what OGB's leaderboard asks for, and what it gains over the first one. The
model is by default that of OGB's own example on ogbn-arxiv: GCN, 3 layers of 256, dropout 0.5, 500
epochs with a rate of 0.01. Each step sees the whole graph, or with --fan_out a batch of nodes and
what it draws of their neighborhoods; predictions always see all neighbors.
"""

from __future__ import annotations

import argparse
from typing import Any

from _ogb import Runner

from gtl.data import Dataset


def whole_graph(data: Dataset) -> Dataset:
    """The graph without labels: its nodes are known before those of the test split are asked."""
    return Dataset(f"{data.spec}/graph", graph=data.graph, level="node")


def draws(text: str) -> int | None:
    """A number of neighbors, ``None`` for all of them."""
    return None if text == "all" else int(text)


def sampling(options: argparse.Namespace) -> dict[str, Any]:
    """How training sees the graph, before and after."""
    return {"fan_out": options.fan_out}


RUNNER = Runner(
    prefix="ogbn",
    defaults={
        "encoder": "gcn",
        "width": 256,
        "depth": 3,
        "dropout": 0.5,
        "epochs": 500,
        "batch_size": 1024,
        "lr": 0.01,
        "auxiliary": ["attribute_masking", "edge_prediction", "infomax"],
        "tasks": ["attribute_masking", "infomax"],
        "pretrain_epochs": 100,
        "pretrain_batch_size": 1024,
    },
    unlabeled=whole_graph,
    extra={
        "fan_out": {
            "nargs": "+",
            "type": draws,
            "metavar": "N",
            "help": "neighbors drawn at each hop, one number a layer or `all`; by default the "
            "whole graph is one step",
        },
        "directed": {
            "action": "store_true",
            "help": "edges as OGB has them (ogbn-arxiv); by default they go both ways",
        },
    },
    reading=lambda options: {"undirected": not options.directed},
    training=sampling,
    pretraining=sampling,
)

if __name__ == "__main__":
    raise SystemExit(RUNNER.main(__doc__))
