"""Triples per second in training and in filtered ranking: gtl against pykeen, in one run.

Both train with Adam, RotatE (or, beside NodePiece, DistMult), the self-adversarial loss and as many
negatives for each triple, on one set at one batch size and width; gtl draws half of the negatives
for each side, pykeen the side of each at random. gtl's negatives are filtered by the training
triples; pykeen's are timed unfiltered, its default, and filtered, its exact choice. Each turn
trains on the same number of batches. NodePiece trains on inverse triples as well and so sees each
triple twice: inverse ones are counted, too. Ranking is that of the same test triples, filtered by
all known ones, both sides.

pykeen is no dependency of gtl. ``pip install pykeen``, then

    OMP_NUM_THREADS=1 python benchmarks/kg_speed.py --root path/to/data
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from _measure import compare, write_results
from _triples import Training, loaded, model_of, ranks, some_of

from gtl.data import Dataset
from gtl.roles import Batch
from gtl.train.step import TaskModel

WIDTH, BATCH, NEGATIVES, BATCHES = 64, 1024, 32, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--root", default=os.environ.get("GTL_DATA", ""), help="folder of data")
    parser.add_argument("--set", default="codex-s", help="knowledge graph")
    parser.add_argument("--ranked", type=int, default=500, help="test triples that are ranked")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    data = loaded(options.set, options.root)
    triples = BATCH * BATCHES
    chosen = {
        part: some_of(data.items(part), count)
        for part, count in (("train", triples), ("test", options.ranked))
    }
    training = {**ours(data, chosen["train"][:triples]), **theirs(data, chosen["train"][:triples])}
    results = {
        "training": per_second(compare(training, options.repeats), triples),
        "ranking": per_second(
            compare(rankings(data, chosen["test"]), options.repeats), len(chosen["test"])
        ),
    }
    show(results)
    how = {"set": options.set, "width": WIDTH, "batch": BATCH, "negatives_per_side": NEGATIVES}
    write_results("kg_speed", {"pykeen": version("pykeen"), "settings": how, **results})


def ours(data: Dataset, items: torch.Tensor) -> dict[str, Callable[[], Any]]:
    """Training of a table and of EARL."""
    encoders = {"gtl RotatE": {"name": "embedding"}, "gtl EARL": {"name": "earl", "reserved": 200}}
    return {name: trainer(made(options, data), data, items) for name, options in encoders.items()}


def made(options: dict[str, Any], data: Dataset) -> TaskModel:
    return model_of({**options, "width": WIDTH}, data, Training(negatives=NEGATIVES), 0)


def trainer(model: TaskModel, data: Dataset, items: torch.Tensor) -> Callable[[], None]:
    """A pass over the items."""
    task = dict(model.named_tasks())["link_ranking"]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    rng = torch.Generator().manual_seed(0)

    def call() -> None:
        for batch in items[torch.randperm(len(items), generator=rng)].split(BATCH):
            view = task.view(Batch(data.batch(batch)), rng)
            optimizer.zero_grad()
            model({"link_ranking": view})[0]["link_ranking"].mean().backward()
            optimizer.step()

    return call


def theirs(data: Dataset, items: torch.Tensor) -> dict[str, Callable[[], Any]]:
    """pykeen's training of the same."""
    return {
        "pykeen RotatE": other_trainer("rotate", data, items, None),
        "pykeen RotatE, filtered": other_trainer("rotate", data, items, "python-set"),
        "pykeen NodePiece": other_trainer("nodepiece", data, items, None),
    }


def factory(data: Dataset, items: torch.Tensor, inverse: bool) -> Any:
    from pykeen.triples import CoreTriplesFactory

    assert data.triples is not None and data.graph is not None
    return CoreTriplesFactory.create(
        data.triples[items],
        num_entities=data.graph.num_nodes,
        num_relations=data.schema.edge_types,
        create_inverse_triples=inverse,
    )


def other_model(name: str, data: Dataset) -> Any:
    """A model of pykeen on all training triples; a complex number has two columns."""
    from pykeen.losses import NSSALoss
    from pykeen.models import NodePiece, RotatE

    loss = NSSALoss(margin=10.0, adversarial_temperature=1.0)
    known = factory(data, data.items("train"), name == "nodepiece")
    common = {"triples_factory": known, "loss": loss, "random_seed": 0}
    if name == "rotate":
        return RotatE(embedding_dim=WIDTH // 2, **common)
    return NodePiece(embedding_dim=WIDTH, num_tokens=10, **common)


def other_trainer(
    name: str, data: Dataset, items: torch.Tensor, filterer: str | None
) -> Callable[[], None]:
    from pykeen.training import SLCWATrainingLoop

    model = other_model(name, data)
    # Inverse triples double what is given: half as many make the same number of batches.
    given = factory(data, items[::2] if name == "nodepiece" else items, name == "nodepiece")
    sampling: dict[str, Any] = {"num_negs_per_pos": 2 * NEGATIVES, "filtered": filterer is not None}
    if filterer is not None:
        sampling["filterer"] = filterer
    loop = SLCWATrainingLoop(
        model=model,
        triples_factory=given,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
        negative_sampler="basic",
        negative_sampler_kwargs=sampling,
    )

    def call() -> None:
        loop.train(
            given,
            num_epochs=1,
            batch_size=BATCH,
            use_tqdm=False,
            use_tqdm_batch=False,
            num_workers=0,
        )

    return call


def rankings(data: Dataset, items: torch.Tensor) -> dict[str, Callable[[], Any]]:
    """Filtered ranking of some test triples by tables of one width."""
    from pykeen.evaluation import RankBasedEvaluator

    assert data.triples is not None
    model, other = made({"name": "embedding"}, data), other_model("rotate", data)
    evaluator = RankBasedEvaluator(filtered=True)
    known = [data.triples[data.items(part)] for part in ("train", "valid", "test")]

    def theirs() -> None:
        evaluator.evaluate(
            other,
            data.triples[items],
            batch_size=256,
            additional_filter_triples=known,
            use_tqdm=False,
        )

    return {"gtl RotatE": lambda: ranks(model, data, items), "pykeen RotatE": theirs}


def per_second(found: dict[str, Any], triples: int) -> dict[str, Any]:
    """What :func:`compare` found, and triples per second."""
    rates = {side: round(triples / s["median"], 1) for side, s in found["seconds"].items()}
    return {"triples": triples, "triples_per_second": rates, **found}


def show(results: dict[str, Any]) -> None:
    for what, found in results.items():
        for side, rate in found["triples_per_second"].items():
            ratio = found["ratio"].get(side, 1.0)
            print(f"{what:>9}  {side:<24} {rate:10,.0f} triples/s  {ratio:6.2f}x")


if __name__ == "__main__":
    main()
