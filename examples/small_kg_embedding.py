"""Small knowledge-graph embedding: EARL against tables of vectors (Chen et al. 2023).

Trains EARL, whose parameters do not grow with the number of entities, and two RotatE tables on the
triples of a knowledge graph: one with as many parameters as EARL, one as wide. Prints parameters
and filtered MRR on the test triples as mean and standard deviation over seeds, and the paired
difference to the table of equal size with its 95 % interval. Then it ranks triples of people whom
training has never seen, from their other triples alone, which a table cannot do.

By default it makes a small world of families; ``--data kg:umls`` reads one of your own.

    python examples/small_kg_embedding.py --seeds 3
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

import gtl
from gtl.data import Dataset
from gtl.graph import Graph
from gtl.report.compare import paired, spread

RELATIONS = ("parent of", "child of", "married to", "sibling of", "grandparent of")
RATES = {"earl": 0.03, "embedding": 0.1}  # by validation on one seed, of 0.01 to 0.1
PARENT, CHILD, MARRIED, SIBLING, GRANDPARENT = range(5)


def main() -> None:
    """Parse the options, train, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="a knowledge graph such as kg:umls; families by default")
    parser.add_argument("--root", help="folder of named data sets; GTL_DATA by default")
    parser.add_argument("--families", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--width", type=int, default=16)
    options = parser.parse_args()
    data = gtl.load(options.data, root=options.root) if options.data else families(options.families)
    entities, relations = data.schema.nodes, data.schema.edge_types
    earl = {"name": "earl", "width": options.width, "reserved": max(entities // 20, 4)}
    size = trained(earl, data, 0, 1).results["footprint"]["parameters_total"]
    equal = max(2, 2 * round(size / (2 * entities + relations)))
    methods = {
        "RotatE, equal size": {"name": "embedding", "width": equal},
        "RotatE, equally wide": {"name": "embedding", "width": options.width},
        "EARL": earl,
    }
    print(f"{data.spec}: {entities} entities, {relations} relations, {len(data.triples)} triples")
    first: dict[int, float] = {}
    for name, encoder in methods.items():
        models = [trained(encoder, data, seed, options.epochs) for seed in range(options.seeds)]
        values = {seed: model.results["test"] for seed, model in enumerate(models)}
        first = first or values
        gain = "" if values is first else paired(values, first).text()
        parameters = models[0].results["footprint"]["parameters_total"]
        mrr = spread(values.values()).text()
        line = f"{name:21} {parameters:7,} parameters  test mrr {mrr}  {gain}"
        print(line.rstrip(), flush=True)
    if not options.data:
        others = families(options.families, seed=1)
        found = [gtl.evaluate(model, others, split="test")["mrr"] for model in models]
        print(f"EARL on {others.schema.nodes} people of other families: mrr {spread(found).text()}")


def trained(encoder: dict[str, object], data: Dataset, seed: int, epochs: int) -> gtl.Model:
    """A model of the knowledge graph, at its best epoch on validation triples."""
    return gtl.finetune(
        encoder,
        data,
        links={"negatives": 16},
        batch_size=256,
        lr=RATES[str(encoder["name"])],
        epochs=epochs,
        seed=seed,
    )


def families(count: int, seed: int = 0) -> Dataset:
    """Families of two parents, their children, one of whom is married and has children.

    Three quarters of the triples are known; the others follow from them for a reader.
    """
    rng = torch.Generator().manual_seed(seed)
    rows: list[tuple[int, int, int]] = []
    people = 0
    for _ in range(count):
        rows += family(people, (numbers := torch.randint(2, 5, (2,), generator=rng)).tolist())
        people += 3 + int(numbers.sum())
    triples = torch.tensor(rows)[torch.randperm(len(rows), generator=rng)]
    known, valid = 3 * len(rows) // 4, 7 * len(rows) // 8
    split = dict(
        zip(("train", "valid", "test"), torch.arange(len(rows)).tensor_split([known, valid]))
    )
    return Dataset(
        "families",
        graph=graph_of(triples[:known], people),
        triples=triples,
        split=split,
        level="triple",
        metric="mrr",
    )


def family(first: int, sizes: list[int]) -> list[tuple[int, int, int]]:
    """Triples of a family whose people are numbered from ``first`` on."""
    father, mother = first, first + 1
    children = list(range(first + 2, first + 2 + sizes[0]))
    in_law = first + 2 + sizes[0]
    grandchildren = list(range(in_law + 1, in_law + 1 + sizes[1]))
    rows = []
    for one, other in ((father, mother), (children[0], in_law)):
        rows += [(one, MARRIED, other), (other, MARRIED, one)]
    for parents, born in (((father, mother), children), ((children[0], in_law), grandchildren)):
        for child in born:
            rows += [(parent, PARENT, child) for parent in parents]
            rows += [(child, CHILD, parent) for parent in parents]
            rows += [(child, SIBLING, other) for other in born if other != child]
    return rows + [(old, GRANDPARENT, young) for old in (father, mother) for young in grandchildren]


def graph_of(triples: Tensor, people: int) -> Graph:
    """The graph that training may know."""
    head, relation, tail = triples.t().contiguous()
    return Graph(head, tail, people, edge_type=relation)


if __name__ == "__main__":
    main()
