"""OGB's sets of links: target alone, auxiliary tasks under a weighting, pre-training, or both.

    python benchmarks/ogb_link.py --data ogbl-ddi --root path/to/data \\
        --method target_only equal aux_ts

prints for each method what OGB's leaderboard asks for, and what it gains over the first one. The
model is by default that of OGB's own example on ogbl-ddi: GraphSAGE, 2 layers of 256, dropout 0.5,
and three layers that read the product of two nodes' vectors; 200 epochs of 65,536 links a step with
a rate of 0.005. Unlike there, the links of a step are taken out of the graph that it encodes;
--keep_links leaves them in.
"""

from __future__ import annotations

import argparse
from typing import Any

from _ogb import Runner

from gtl.data import Dataset


def training_graph(data: Dataset) -> Dataset:
    """The graph of the training links."""
    return Dataset(f"{data.spec}/graph", graph=data.graph, level="node")


def answering(options: argparse.Namespace) -> dict[str, Any]:
    """What reads a pair of nodes, and what it is asked in training."""
    head: Any = options.head
    if head == "mlp":
        head = {"name": head, "depth": 3, "dropout": options.dropout}
    links = {
        "features": options.features,
        "corrupt": options.corrupt,
        "remove": not options.keep_links,
    }
    if options.negatives is not None:
        links["negatives"] = options.negatives
    return {"head": head, "links": links}


RUNNER = Runner(
    prefix="ogbl",
    defaults={
        "encoder": "sage",
        "width": 256,
        "depth": 2,
        "dropout": 0.5,
        "epochs": 200,
        "batch_size": 65536,
        "lr": 0.005,
        "auxiliary": ["infomax", "partition"],
        "tasks": ["edge_prediction", "infomax"],
        "pretrain_epochs": 100,
    },
    unlabeled=training_graph,
    extra={
        "head": {"default": "mlp", "help": "mlp (of three layers) or linear (%(default)s)"},
        "features": {
            "default": "product",
            "help": "of a pair: product, mean, l1, l2 (%(default)s)",
        },
        "negatives": {"type": int, "help": "pairs without a link drawn for each link (1)"},
        "corrupt": {"default": "both", "help": "ends drawn anew: both, one, second (%(default)s)"},
        "keep_links": {
            "action": "store_true",
            "help": "leave the links of a step in the graph that it encodes",
        },
        "directed": {
            "action": "store_true",
            "help": "edges as OGB has them (ogbl-citation2); by default they go both ways",
        },
    },
    reading=lambda options: {"undirected": not options.directed},
    training=answering,
)

if __name__ == "__main__":
    raise SystemExit(RUNNER.main(__doc__))
