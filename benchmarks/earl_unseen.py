"""Entities that training has never seen: EARL on the other half of a knowledge graph.

Entities are divided into two halves at random. EARL is trained on the triples within the first one,
and encodes the second from a graph of its own: four fifths of the triples within that half, none of
whose entities has a vector. The other fifth is ranked among the entities of that half, and so is a
fifth of the first half among its own, which training has not seen as triples. Chance is the MRR of
ranks drawn at random from as many entities.

*Mapped* repeats the second half with its relations renumbered, which EARL is told, *new* with half
of its relations unknown: these have the mean of the vectors of all known ones, and no training.

    OMP_NUM_THREADS=1 python benchmarks/earl_unseen.py --root path/to/data

Finished runs are kept in ``--out``; the same command goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from _measure import write_results
from _seeds import add_seeds, finished, keep, parsed, parser_of, place, run_all, table
from _triples import MEASURES, Training, loaded, measured, model_of, ranks, settings, train
from torch import Tensor

from gtl.data import Dataset
from gtl.data.triples import Vocabulary
from gtl.encoders.relation_transfer import with_relations
from gtl.graph import Graph
from gtl.report.compare import spread
from gtl.train.step import TaskModel

OUT = Path("runs") / "earl_unseen"
SMALL = Training(
    batch=512, negatives=32, lr=0.02, steps=300, every=50, patience=3, validated=300, margin=3.0
)
SETS: Mapping[str, tuple[dict[str, Any], Training]] = {
    "umls": ({"width": 16, "reserved": 30}, SMALL),
    "codex-s": ({"width": 16, "reserved": 400}, SMALL),
    "WN18RR": (
        {"width": 32, "reserved": 2000},
        replace(SMALL, batch=2048, steps=500, every=250, lr=0.01, margin=6.0),
    ),
}
KINDS = ("seen", "unseen", "mapped", "new")


def main() -> None:
    parser = parser_of(__doc__ or "", OUT, SETS)
    add_seeds(parser, 3)
    parser.set_defaults(workers=1)
    options = parsed(parser)
    if not options.only_collect:
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        jobs = [(name, seed) for name in options.set or SETS for seed in seeds]
        run_all(work, jobs, options.workers, options.root, options.out)
    found = collect(options.out)
    print(markdown(found))
    if not options.no_write:
        how = {name: {**earl, **settings(how)} for name, (earl, how) in SETS.items()}
        write_results("earl_unseen", {"training": how, "sets": found})


def work(name: str, seed: int, root: str, out: Path) -> None:
    """Leave the results of one training."""
    if place(out, name, seed).exists():
        return
    torch.set_num_threads(1)
    earl, how = SETS[name]
    seen, unseen = halves(loaded(name, root), seed)
    model = model_of({"name": "earl", **earl}, seen, how, seed)
    run = train(model, seen, how, seed)
    results = {
        "seen": described(model, seen),
        "unseen": described(model, unseen),
        **transferred(model, unseen, seed),
    }
    keep({**results, "training": run}, out, name, seed)


def halves(data: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """The triples within each half of the entities, split 80 / 10 / 10; entities are renumbered."""
    assert data.triples is not None and data.graph is not None
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(data.graph.num_nodes, generator=rng)
    middle = len(order) // 2
    return tuple(within(data, part, rng) for part in (order[:middle], order[middle:]))  # type: ignore[return-value]


def within(data: Dataset, entities: Tensor, rng: torch.Generator) -> Dataset:
    """The data set of the triples between some entities that have any."""
    assert data.triples is not None and data.graph is not None
    inside = torch.zeros(data.graph.num_nodes, dtype=torch.bool)
    inside[entities] = True
    triples = data.triples[inside[data.triples[:, 0]] & inside[data.triples[:, 2]]]
    ends, numbers = torch.unique(triples[:, ::2], return_inverse=True)
    triples = torch.stack([numbers[:, 0], triples[:, 1], numbers[:, 1]], 1)
    order = torch.randperm(len(triples), generator=rng)
    fifth = len(order) // 5
    split = {
        "train": order[fifth:],
        "valid": order[: fifth // 2],
        "test": order[fifth // 2 : fifth],
    }
    head, relation, tail = triples[split["train"]].unbind(1)
    graph = Graph(head, tail, len(ends), edge_type=relation)
    assert data.vocabulary is not None
    names = tuple(data.vocabulary.entities[i] for i in ends.tolist())
    known = Vocabulary(names, data.vocabulary.relations)
    return replace(data, graph=graph, triples=triples, split=split, vocabulary=known)


def described(model: TaskModel, data: Dataset) -> dict[str, Any]:
    """Measures on the test triples, and chance."""
    assert data.graph is not None
    entities = data.graph.num_nodes
    chance = float((1 / torch.arange(1, entities + 1, dtype=torch.float64)).sum()) / entities
    return {
        **measured(ranks(model, data, data.items("test"))),
        "chance": round(chance, 5),
        "entities": entities,
        "triples": data.graph.num_edges,
    }


def transferred(model: TaskModel, data: Dataset, seed: int) -> dict[str, Any]:
    """Measures on data with renumbered relations, all of them known or every other one."""
    relations = data.schema.edge_types
    order = torch.randperm(relations, generator=torch.Generator().manual_seed(seed))
    numbered = renumbered(data, order)
    known: list[int | None] = [0] * relations
    for old, new in enumerate(order.tolist()):
        known[new] = old
    half = [old if old is not None and old % 2 else None for old in known]
    results = {}
    for kind, mapping in (("mapped", known), ("new", half)):
        other = TaskModel(with_relations(model.encoder, mapping), dict(model.named_tasks()))  # type: ignore[arg-type]
        results[kind] = described(other, numbered)
    return results


def renumbered(data: Dataset, order: Tensor) -> Dataset:
    """The data with relation ``i`` as number ``order[i]``."""
    assert data.graph is not None and data.triples is not None
    assert data.graph.edge_type is not None
    head, relation, tail = data.triples.unbind(1)
    triples = torch.stack([head, order[relation], tail], 1)
    graph = data.graph.replace(edge_type=order[data.graph.edge_type])
    return replace(data, graph=graph, triples=triples)


def collect(out: Path) -> dict[str, Any]:
    """Means over seeds, and how unseen entities do against chance and seen ones."""
    found = {}
    for name in SETS:
        runs = finished(out, name)
        if runs:
            entry = {kind: means_of(run[kind] for run in runs.values()) for kind in KINDS}
            unseen = entry["unseen"]
            found[name] = {
                "seeds": len(runs),
                **entry,
                "over_chance": round(unseen["mrr"] / unseen["chance"], 2),
                "over_seen": round(unseen["mrr"] / entry["seen"]["mrr"], 3),
            }
    return found


def means_of(runs: Any) -> dict[str, Any]:
    """Means over seeds, and the spread of MRR."""
    runs = list(runs)
    names = (*MEASURES, "chance", "entities", "triples")
    means = {name: round(spread(run[name] for run in runs).mean, 5) for name in names}
    return {**means, "std": spread(run["mrr"] for run in runs).std}


def markdown(found: Mapping[str, Any]) -> str:
    """A row a set and kind of entities."""
    rows = [
        [
            name,
            kind,
            f"{entry[kind]['mrr']:.3f} ± {entry[kind]['std'] or 0:.3f} ({entry['seeds']})",
            f"{entry[kind]['hits@10']:.3f}",
            f"{entry[kind]['mrr'] / entry[kind]['chance']:.1f}",
            f"{entry[kind]['mrr'] / entry['seen']['mrr']:.2f}",
        ]
        for name, entry in found.items()
        for kind in KINDS
    ]
    return table(["set", "entities", "MRR", "Hits@10", "over chance", "over seen"], rows)


if __name__ == "__main__":
    main()
