"""Adaptation to a domain with few labels in three stages (Li et al. 2023, JUST Hydra).

A labeled source domain and a target domain with few labels have the same features. Compared on the
target are an encoder trained on its few labels alone, on the source's labels and then on them, and
the three stages: pre-training by a random quantizer on graphs without labels of both, the source's
labels together with that task on the target, and adapters and a head on the target's few labels.
Prints the share of the parameters that the target trains, and the test metric as mean and standard
deviation over seeds, with its paired difference to the first and its 95 % interval. Without
``--source`` and ``--target`` the domains are two random graphs of the same classes.

    python examples/domain_recipe.py --source mat:dblpv7 --target mat:acmv9 --root path/to/data
"""

from __future__ import annotations

import argparse

import torch

import gtl
from gtl.report.compare import paired, spread

CLASSES, NODES, COLUMNS = 5, 600, 40


def main() -> None:
    """Parse the options, train, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--source", help="labeled data of one domain")
    parser.add_argument("--target", help="data of another, with the same features")
    parser.add_argument("--root", help="folder of named data sets; GTL_DATA by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--width", type=int, default=64)
    options = parser.parse_args()
    scores: dict[str, dict[int, float]] = {}
    shares: dict[str, float] = {}
    for seed in range(options.seeds):
        source, target = domains(options, seed)
        for title, results in results_of(source, target, options, seed).items():
            cost = results["footprint"]
            scores.setdefault(title, {})[seed] = results["test"]
            shares[title] = cost["parameters_trained"] / cost["parameters_total"]
    first = next(iter(scores.values()))
    for title, values in scores.items():
        gain = "" if values is first else paired(values, first).text()
        test = f"test {target.metric} {spread(values.values()).text()}"
        print(f"{title:24}  {shares[title]:6.1%} trained  {test}  {gain}".rstrip())


def results_of(source: gtl.Dataset, target: gtl.Dataset, options, seed: int) -> dict:
    """Results on the target of each way, by title."""
    encoder = {"name": "gcn", "width": options.width}
    how = {"epochs": options.epochs, "seed": seed}
    alone = gtl.finetune(encoder, target, **how)
    known = gtl.finetune(encoder, source, **how)
    then = gtl.finetune(gtl.Run(known.encoder, {}), target, **how)
    recipe = gtl.adapt_domain(encoder, source, target, **how)
    return {
        "target alone": alone.results,
        "source, then target": then.results,
        "three stages": recipe.results,
    }


def domains(options, seed: int) -> tuple[gtl.Dataset, gtl.Dataset]:
    """The source and the target; with a seed, other items of each have labels to learn from."""
    if options.source and options.target:
        source, target = (
            gtl.load(spec, root=options.root, seed=seed)
            for spec in (options.source, options.target)
        )
        return source, target
    return random_domain("source", seed, labeled=200), random_domain("target", seed, labeled=20)


def random_domain(name: str, seed: int, labeled: int) -> gtl.Dataset:
    """A graph whose nodes mostly know nodes of their class; in the target, features are scaled."""
    shared = torch.Generator().manual_seed(seed)
    centers = torch.randn(CLASSES, COLUMNS, generator=shared)
    rng = torch.Generator().manual_seed(2 * seed + (name == "target"))
    labels = torch.randint(CLASSES, (NODES,), generator=rng)
    chance = torch.where(labels[:, None] == labels[None], 0.02, 0.002)
    pairs = torch.triu(torch.rand(NODES, NODES, generator=rng) < chance, 1).nonzero().t()
    scale = 1 if name == "source" else torch.rand(COLUMNS, generator=rng) + 0.5
    x = (centers[labels] * 0.5 + torch.randn(NODES, COLUMNS, generator=rng)) * scale
    order = torch.randperm(NODES, generator=rng)
    split = {"train": order[:labeled], "valid": order[200:300], "test": order[300:]}
    graph = gtl.Graph(torch.cat([*pairs]), torch.cat([*pairs.flip(0)]), NODES, x)
    return gtl.Dataset(f"random {name}", graph=graph, labels=labels, split=split, level="node")


if __name__ == "__main__":
    main()
