"""Training on triples until validation stops it, and filtered ranks: what benchmarks of knowledge
graphs share.

The loop is the bare step of a user's own loop: the task makes its view, the model gives one loss
per triple, and the weights with the best validation MRR are kept.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

import gtl
from gtl.catalog import ENCODERS
from gtl.data import Dataset
from gtl.graph import Graph
from gtl.graph.triples import TripleIndex
from gtl.metrics import score_of_ranks
from gtl.roles import Batch
from gtl.tasks.link_ranking import LinkRanking
from gtl.train.ranking import Ranks, ranks_of
from gtl.train.step import TaskModel, relations_by

MEASURES = ("mrr", "hits@1", "hits@3", "hits@10")


@dataclass(frozen=True)
class Training:
    """How a model is trained.

    Attributes:
        batch: Triples of a step.
        negatives: Negatives of a triple and side.
        lr: Learning rate of Adam.
        steps: Steps at most.
        every: Steps between validations.
        patience: Validations without a better MRR after which training ends.
        validated: Validation triples that are ranked while training, evenly spaced; 0 for all.
        remove: As for :class:`LinkRanking`.
        margin: Of RotatE.
    """

    batch: int = 1024
    negatives: int = 64
    lr: float = 1e-3
    steps: int = 2000
    every: int = 100
    patience: int = 5
    validated: int = 0
    remove: str = "triples"
    margin: float = 10.0


def model_of(encoder: Mapping[str, Any], data: Dataset, how: Training, seed: int) -> TaskModel:
    """An encoder by name and options, and RotatE on its vectors.

    Relations have vectors of the encoder's where it makes some.
    """
    torch.manual_seed(seed)
    built = ENCODERS.build(dict(encoder), data.schema)
    assert data.graph is not None
    built.observe(data.graph)
    task = LinkRanking(
        score={"name": "rotate", "margin": how.margin},
        negatives=how.negatives,
        remove=how.remove,
        relations="own" if relations_by(built, data.graph) is None else "encoder",
    )
    task.setup(data.schema, built.width)
    if encoder["name"] == "embedding":  # as Sun et al. 2019 have it
        assert task.score is not None
        for table in built.parameters():
            task.score.reset(table.data)
    return TaskModel(built, {"link_ranking": task})


def parameters_of(model: torch.nn.Module) -> int:
    """Numbers that are trained."""
    return sum(p.numel() for p in model.parameters())


def bytes_of(model: torch.nn.Module) -> int:
    """Bytes that must be stored: parameters, and buffers such as profiles of reserved entities."""
    return sum(value.numel() * value.element_size() for value in model.state_dict().values())


def train(model: TaskModel, data: Dataset, how: Training, seed: int) -> dict[str, Any]:
    """Train a model in place; it ends with the weights of the best validation.

    Returns:
        ``step`` of the best validation, ``steps`` made, ``valid`` MRR, ``seconds`` of training in
        processor time, validations not counted, and ``curve``: MRR by step.
    """
    rng = torch.Generator().manual_seed(seed)
    task = dict(model.named_tasks())["link_ranking"]
    optimizer = torch.optim.Adam(model.parameters(), lr=how.lr)
    items, order = data.items("train"), torch.empty(0, dtype=torch.int64)
    checked = some_of(data.items("valid"), how.validated)
    best, curve, seconds, step = {"valid": -1.0, "step": 0}, {}, 0.0, 0
    weights: Mapping[str, Tensor] = {}
    while step < how.steps and step - best["step"] < how.patience * how.every:
        started = time.process_time()
        for _ in range(how.every):
            if len(order) < min(how.batch, len(items)):
                order = torch.randperm(len(items), generator=rng)
            chosen, order = order[: how.batch], order[how.batch :]
            view = task.view(Batch(data.batch(items[chosen])), rng)
            loss = model({"link_ranking": view})[0]["link_ranking"].mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds += time.process_time() - started
        step += how.every
        curve[step] = round(measured(ranks(model, data, checked))["mrr"], 5)
        if curve[step] > best["valid"]:
            best = {"valid": curve[step], "step": step}
            weights = copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    return {**best, "steps": step, "seconds": round(seconds, 1), "curve": curve}


@torch.no_grad()
def ranks(model: TaskModel, data: Dataset, items: Tensor, graph: Graph | None = None) -> Ranks:
    """Filtered ranks of some triples, heads and tails, among all entities.

    Args:
        model: Encoder and task.
        data: All known triples.
        items: Which of them to rank.
        graph: What is encoded; by default the graph of the data.
    """
    graph = data.graph if graph is None else graph
    assert graph is not None and data.triples is not None
    task: Any = dict(model.named_tasks())["link_ranking"]
    model.eval()
    nodes = model.encoder(graph)
    relations = task.relation_vectors({"relations": relations_by(model.encoder, graph)})
    known = graph.remember(
        ("known triples", id(data)),
        lambda: TripleIndex.of(data.triples, graph.num_nodes, task.kinds),
    )
    found = ranks_of(data.triples[items], task.score, nodes, relations, known)
    model.train()
    return found


def measured(found: Ranks) -> dict[str, float]:
    """Measures of ranks, heads and tails together."""
    both = found.both().numpy()
    return {name: round(score_of_ranks(name, both), 5) for name in MEASURES}


def some_of(items: Tensor, count: int) -> Tensor:
    """``count`` of the items, evenly spaced; all for 0."""
    return items if not 0 < count < len(items) else items[:: -(-len(items) // count)]


def table_width(parameters: int, entities: int, relations: int) -> int:
    """Columns of a table of entities and RotatE with as many parameters, an even number."""
    return max(2, 2 * round(parameters / (2 * entities + relations)))


def loaded(name: str, root: str) -> Dataset:
    """A knowledge graph with its usual split."""
    return gtl.load(f"kg:{name}", root=root)


def settings(how: Training, **changes: Any) -> dict[str, Any]:
    """The training as JSON, with changes."""
    return asdict(replace(how, **changes))
