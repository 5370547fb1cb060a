"""OGB's sets of graphs: target alone, auxiliary tasks under a weighting, pre-training, or both.

    python benchmarks/ogb_graph.py --data ogbg-molbace --root path/to/data \\
        --method target_only pretrain aux_ts pretrain+aux_ts

prints for each method what OGB's leaderboard asks for, and what it gains over the first one. The
model is by default that of OGB's own example: GIN, 5 layers of 300, dropout 0.5, 100 epochs.
"""

from __future__ import annotations

from _ogb import Runner

from gtl.data import Dataset


def training_graphs(data: Dataset) -> Dataset:
    """The graphs to train on, without their labels."""
    assert data.graphs is not None
    return Dataset(f"{data.spec}/train", data.graphs.subset(data.split["train"]))


RUNNER = Runner(
    prefix="ogbg",
    defaults={
        "encoder": "gin",
        "width": 300,
        "depth": 5,
        "dropout": 0.5,
        "epochs": 100,
        "batch_size": 32,
        "lr": 1e-3,
        "auxiliary": ["attribute_masking", "edge_prediction", "infomax"],
        "tasks": ["attribute_masking", "context_prediction"],
    },
    unlabeled=training_graphs,
    extra={"readout": {"default": "mean", "help": "mean, sum, max or attention (%(default)s)"}},
    training=lambda options: {"readout": options.readout},
)

if __name__ == "__main__":
    raise SystemExit(RUNNER.main(__doc__))
