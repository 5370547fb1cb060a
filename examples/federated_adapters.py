"""Federated adapters (Elvebakken et al. 2023): data stay with their clients, few numbers travel.

Items are divided among clients with different shares of each class. Compared are clients that train
alone, FedAvg of the whole encoder, FedAvg of an adapter and the head, a head fitted to statistics
of classes that clients add up, and one client with all data. All start from one encoder that was
pre-trained without labels. Prints the bytes that were sent, and the test metric as mean and
standard deviation over seeds, with its paired difference to FedAvg of the whole encoder and its
95 % interval. Needs Flower: pip install 'graph-transfer[federated]'. Without ``--data`` the graph
is random, with communities that are classes.

    python examples/federated_adapters.py --data planetoid:cora --root path/to/data
"""

from __future__ import annotations

import argparse

import torch

import gtl
from gtl.report.compare import paired, spread

CLASSES, NODES, COLUMNS = 4, 400, 30
WHOLE = "FedAvg, whole encoder"


def main() -> None:
    """Parse the options, train, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="labeled data of nodes or graphs")
    parser.add_argument("--root", help="folder of named data sets; GTL_DATA by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--clients", type=int, default=5)
    parser.add_argument("--alpha", type=float, default=0.3, help="the lower, the less alike")
    parser.add_argument("--width", type=int, default=64)
    options = parser.parse_args()
    scores: dict[str, dict[int, float]] = {}
    sent: dict[str, float] = {}
    for seed in range(options.seeds):
        data = data_of(options, seed)
        for title, (value, kilobytes) in results_of(data, options, seed).items():
            scores.setdefault(title, {})[seed] = value
            sent[title] = kilobytes
    for title, values in scores.items():
        gain = "" if title == WHOLE else paired(values, scores[WHOLE]).text()
        test = f"test {data.metric} {spread(values.values()).text()}"
        print(f"{title:26}  {sent[title]:9,.0f} kB  {test}  {gain}".rstrip())


def results_of(data: gtl.Dataset, options, seed: int) -> dict[str, tuple[float, float]]:
    """Test value and kilobytes of each way, by title."""
    bare = gtl.Dataset(data.spec, graph=data.graph, graphs=data.graphs, level=data.level)
    start = gtl.pretrain({"name": "gcn", "width": options.width}, bare, ["bootstrap"], epochs=20)
    how = {
        "clients": options.clients,
        "partition": {"name": "dirichlet", "alpha": options.alpha},
        "rounds": options.rounds,
        "local_epochs": 2,
        "seed": seed,
    }
    whole = gtl.federate(start, data, adapter=None, **how).results
    few = gtl.federate(start, data, adapter="film", bounds=True, **how).results
    once = {**how, "rounds": 1}
    head = gtl.federate(start, data, adapter=[], head="prototype", **once).results
    return {
        "clients alone": (few["bounds"]["local"], 0.0),
        WHOLE: (whole["test"], whole["bytes"]["training"] / 1000),
        "FedAvg, adapter and head": (few["test"], few["bytes"]["training"] / 1000),
        "statistics, one round": (head["test"], head["bytes"]["training"] / 1000),
        "one client with all data": (few["bounds"]["centralized"], 0.0),
    }


def data_of(options, seed: int) -> gtl.Dataset:
    """The data; without a name, a random graph whose nodes mostly know nodes of their class."""
    if options.data:
        return gtl.load(options.data, root=options.root, seed=seed)
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (NODES,), generator=rng)
    chance = torch.where(labels[:, None] == labels[None], 0.03, 0.004)
    pairs = torch.triu(torch.rand(NODES, NODES, generator=rng) < chance, 1).nonzero().t()
    centers = torch.randn(CLASSES, COLUMNS, generator=rng)
    x = centers[labels] * 0.4 + torch.randn(NODES, COLUMNS, generator=rng)
    order = torch.randperm(NODES, generator=rng)
    split = {"train": order[:100], "valid": order[100:200], "test": order[200:]}
    graph = gtl.Graph(torch.cat([*pairs]), torch.cat([*pairs.flip(0)]), NODES, x)
    return gtl.Dataset("random graph", graph=graph, labels=labels, split=split, level="node")


if __name__ == "__main__":
    main()
