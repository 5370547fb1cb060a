"""Alignment of a labeled domain and one without labels (Ganin et al. 2016 and others).

Source and target have the same classes and features, which are shifted in the target. No label of
the target is used: validation data of the source, and how certain and diverse predictions on the
target are, select the epoch and the strength of each method and, in the last row, the method, the
source alone among them. Prints how well a linear classifier tells the domains apart (0.5: not at
all), and the test metric as mean and standard deviation over seeds, with its paired difference to
the source alone and its 95 % interval. Without ``--source`` and ``--target`` the domains are two
random graphs.

    python examples/across_domains.py --source mat:citationv1 --target mat:dblpv7 --root data
"""

from __future__ import annotations

import argparse
import warnings

import torch

import gtl
from gtl.errors import GtlWarning
from gtl.report.compare import paired, spread

CLASSES, NODES, COLUMNS = 3, 400, 12


def main() -> None:
    """Parse the options, train, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--source", help="labeled data of one domain")
    parser.add_argument("--target", help="data of another, with the same features")
    parser.add_argument("--root", help="folder of named data sets; GTL_DATA by default")
    parser.add_argument("--methods", nargs="+", default=["coral", "mk_mmd", "dann", "cdan+e"])
    parser.add_argument("--strengths", nargs="+", type=float, default=[0.1, 1.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--width", type=int, default=32)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", "class shares", GtlWarning)
    scores: dict[str, dict[int, float]] = {}
    apart: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        for title, (test, accuracy) in results_of(options, seed).items():
            scores.setdefault(title, {})[seed] = test
            apart.setdefault(title, []).append(accuracy)
    first = next(iter(scores.values()))
    for title, values in scores.items():
        gain = "" if values is first else paired(values, first).text()
        found = f"domains told apart {spread(apart[title]).mean:.2f}"
        print(f"{title:20}  {found}  test {spread(values.values()).text()}  {gain}".rstrip())


def results_of(options, seed: int) -> dict[str, tuple[float, float]]:
    """Test value, and accuracy of a domain classifier, of each method."""
    source, target = domains(options, seed)
    found, values = {}, {}
    for method in options.methods:
        run = gtl.adapt_domain(
            {"name": "gcn", "width": options.width},
            source,
            target,
            method=method,
            candidates=[{"strength": strength} for strength in options.strengths],
            epochs=options.epochs,
            seed=seed,
        )
        rows, selection = run.results["stages"], run.results["selection"]
        for title, row in (("source alone", rows["source"]), (method, rows["align"])):
            found[title] = row["test"], row["domain_accuracy"]
        values["source alone"] = selection["values"]["source"]
        values[method] = max(v for k, v in selection["values"].items() if k != "source")
    found["selected"] = found[max(values, key=values.__getitem__)]
    return found


def domains(options, seed: int) -> tuple[gtl.Dataset, gtl.Dataset]:
    """The source and the target; with a seed, other items of each have labels to learn from."""
    if options.source and options.target:
        source, target = (
            gtl.load(spec, root=options.root, seed=seed)
            for spec in (options.source, options.target)
        )
        return source, target
    return random_domain("source", seed, shift=0.0), random_domain("target", seed, shift=1.0)


def random_domain(name: str, seed: int, shift: float) -> gtl.Dataset:
    """A graph whose nodes mostly know nodes of their class, and features moved by a shift."""
    shared = torch.Generator().manual_seed(seed)
    centers = torch.randn(CLASSES, COLUMNS, generator=shared)
    direction = torch.randn(COLUMNS, generator=shared)
    rng = torch.Generator().manual_seed(2 * seed + (name == "target"))
    labels = torch.randint(CLASSES, (NODES,), generator=rng)
    chance = torch.where(labels[:, None] == labels[None], 0.02, 0.004)
    pairs = torch.triu(torch.rand(NODES, NODES, generator=rng) < chance, 1).nonzero().t()
    x = centers[labels] * 0.5 + torch.randn(NODES, COLUMNS, generator=rng) + shift * direction
    order = torch.randperm(NODES, generator=rng)
    split = {"train": order[:200], "valid": order[200:300], "test": order[300:]}
    graph = gtl.Graph(torch.cat([*pairs]), torch.cat([*pairs.flip(0)]), NODES, x)
    return gtl.Dataset(f"random {name}", graph=graph, labels=labels, split=split, level="node")


if __name__ == "__main__":
    main()
