"""Few-shot recognition of species with a taxonomy as graph of classes (Chen et al. 2020).

Thirty mammals and their real families. Features are drawn along that tree, so that related species
are similar: the tree is informative here, and the results show how much of it a method uses. Half
of the species of each family are novel. Prints the accuracy of each method on novel species among
all, with its spread, and its paired difference to prototypes with its 95 % interval; kgtn without
edges and with random ones are the controls.

    python examples/few_shot_with_category_graph.py --splits 20 --noise 1.5
"""

from __future__ import annotations

import argparse

import torch

import gtl
from gtl.data import CategoryGraph
from gtl.report.compare import spread

FAMILIES = {
    "Carnivora/Felidae": ("lion", "tiger", "leopard", "lynx", "puma", "cheetah"),
    "Carnivora/Canidae": ("wolf", "jackal", "coyote", "fox", "dhole", "fennec"),
    "Carnivora/Ursidae": ("brown_bear", "polar_bear", "sloth_bear", "giant_panda"),
    "Artiodactyla/Bovidae": ("bison", "yak", "ibex", "gazelle", "chamois", "oryx"),
    "Artiodactyla/Cervidae": ("red_deer", "moose", "reindeer", "roe_deer"),
    "Primates/Hominidae": ("gorilla", "chimpanzee", "bonobo", "orangutan"),
}
PATHS = [f"/{family}/{name}" for family, names in FAMILIES.items() for name in names]
METHODS = {
    "prototype": {"name": "prototype", "similarity": "cosine"},
    "linear": "linear",
    "shrinkage, tree": "shrinkage",
    "kgtn, tree": "kgtn",
    "kgtn, no edges": {"name": "kgtn", "graph": "identity"},
    "kgtn, random": {"name": "kgtn", "graph": "random"},
    "kgtn as published, tree": {"name": "kgtn", "training": "joint"},
}


def drawn(noise: float, each: int, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and labels: a random step from the root to each order, family and species."""
    steps: dict[str, torch.Tensor] = {}
    means = []
    for path in PATHS:
        names = path.strip("/").split("/")
        parts = ["/".join(names[: i + 1]) for i in range(len(names))]
        for part in parts:
            if part not in steps:
                steps[part] = torch.randn(32, generator=rng)
        means.append(torch.stack([steps[part] for part in parts]).sum(0))
    labels = torch.arange(len(PATHS)).repeat_interleave(each)
    features = torch.stack(means)[labels]
    return features + noise * torch.randn(features.shape, generator=rng), labels


def half_of_each_family(rng: torch.Generator) -> torch.Tensor:
    """Numbers of the novel species, drawn anew in each split."""
    chosen, first = [], 0
    for names in FAMILIES.values():
        order = torch.randperm(len(names), generator=rng)
        chosen.append(first + order[: len(names) // 2])
        first += len(names)
    return torch.cat(chosen)


def main() -> None:
    """Parse the options, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 2, 5])
    parser.add_argument("--noise", type=float, default=1.5, help="of a sample about its species")
    options = parser.parse_args()
    rng = torch.Generator().manual_seed(0)
    data = drawn(options.noise, 30, rng)
    tree = CategoryGraph.from_paths(PATHS)
    result = gtl.few_shot(
        data,
        METHODS,
        protocol="base_novel",
        graph=tree,
        novel=half_of_each_family,
        shots=options.shots,
        splits=options.splits,
    )
    print(result.advice())
    shuffled = tree.of(torch.randperm(len(PATHS), generator=rng))
    print(f"(of the same tree with shuffled names: {agreement_of(shuffled, data)})\n")
    for k in options.shots:
        print(f"{k} shot{'s' if k > 1 else ''}: novel species among all, top 1")
        for method in result.methods:
            values = spread(result.values[method][k]["novel_in_all_top1"])
            gain = "" if method == result.reference else result.difference(method, k).text()
            print(f"  {method:23}  {values.text()}  {gain}".rstrip())


def agreement_of(graph: CategoryGraph, data: tuple[torch.Tensor, torch.Tensor]) -> str:
    features, labels = data
    means = torch.stack([features[labels == i].mean(0) for i in range(len(PATHS))])
    found = graph.agreement(means, torch.Generator().manual_seed(0))
    return f"{found.correlation:+.2f}, p = {found.p_value:.3f}"


if __name__ == "__main__":
    main()
