"""A trained model of a knowledge graph: an encoder, and the score of its triples."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gtl.adapters import trainable
from gtl.adapters.sites import in_eval_mode
from gtl.catalog import TRIPLE_SCORES
from gtl.checkpoint import read_json
from gtl.data.dataset import Dataset
from gtl.data.triples import TripleItems, Vocabulary
from gtl.errors import CheckpointError, DataError
from gtl.graph import Graph, Schema
from gtl.metrics import score_of_ranks
from gtl.roles import Encoder, TripleScore
from gtl.run_folder import RunFolder, best_weights, read_metrics
from gtl.tasks.link_ranking import LinkRanking
from gtl.train.device import module_device
from gtl.train.model import (
    TARGET,
    encoder_config,
    encoder_from_config,
    kind_of_target,
    load_part,
)
from gtl.train.predicting import trained_on
from gtl.train.ranking import Ranks, ranks_of
from gtl.train.related import related
from gtl.train.resolve import has_table, reads_edges
from gtl.train.step import relations_by

METRICS = ("mrr", "hits@1", "hits@3", "hits@10")
_LINKS = ("negatives", "temperature", "remove")


class Ranker(nn.Module):
    """What :func:`gtl.finetune` returns of a knowledge graph: it ranks and completes triples.

    Args:
        encoder: Graph to vectors of entities.
        target: The task that was trained, with its score.
        vocabulary: Names of entities and relations of training; ``None`` if there are none.

    Attributes:
        results: What ``results.json`` holds: metric, valid, test, seed and footprint.
        history: One dictionary per epoch, as in ``metrics.jsonl``.
        folder: The run folder, or ``None``.
        trained_on: ``spec``, ``checksum`` and ``items_checksum`` of the training data, or ``None``.
        relation_names: Names of the relations, in the order of their numbers; may be empty.
        entities: Checksum of the names of the entities; ``None`` where there are none.
    """

    def __init__(self, encoder: Encoder, target: LinkRanking, vocabulary: Vocabulary | None = None):
        super().__init__()
        self.encoder, self.target = encoder, target
        self.relation_names = () if vocabulary is None else tuple(vocabulary.relations)
        self.entities = None if vocabulary is None else checksum_of(vocabulary.entities)
        self.results: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.folder: RunFolder | None = None
        self.trained_on: Mapping[str, Any] | None = None

    @property
    def score(self) -> TripleScore:
        """The score of a triple."""
        assert self.target.score is not None
        return self.target.score

    def forward(self, graph: Graph) -> Tensor:
        """Scores ``(b,)`` of the triples that a graph names.

        Raises:
            DataError: If it names none.
        """
        if graph.pairs is None:
            raise DataError("the graph names no triples; set `pairs` and `pair_type`")
        entities, relations = self.vectors(graph)
        kind = graph.pair_type
        kind = torch.zeros_like(graph.pairs[:, 0]) if kind is None else kind
        head, tail = (entities[end] for end in graph.pairs.unbind(1))
        found: Tensor = self.score(head, relations[kind], tail)
        return found

    def vectors(self, graph: Graph) -> tuple[Tensor, Tensor]:
        """Vectors of all entities ``(e, h)`` and of all relations ``(r, k)`` of a graph."""
        entities = self.encoder(graph)
        made = relations_by(self.encoder, graph)
        return entities, self.target.relation_vectors({} if made is None else {"relations": made})

    @torch.no_grad()
    def ranks(self, data: Dataset, split: str = "test", batch_size: int | None = None) -> Ranks:
        """Realistic filtered ranks of the triples of a split; see :mod:`gtl.train.ranking`.

        Args:
            data: A knowledge graph; its relations are matched with those of training by name.
            split: Which triples.
            batch_size: Queries at a time.

        Raises:
            DataError: If it has relations or, for an encoder that learned a vector for each,
                entities that training did not have.
        """
        data = self.aligned(data)
        items = items_of(data)
        device = module_device(self)
        with in_eval_mode(self):
            graph = items.batch(data.items(split), device)
            entities, relations = self.vectors(graph)
        triples = items.triples[data.items(split)].to(device)
        known = items.known(device)
        return ranks_of(triples, self.score, entities, relations, known, batch_size)

    def evaluate(
        self,
        data: Dataset,
        split: str = "test",
        metrics: Sequence[str] = (),
        batch_size: int | None = None,
    ) -> dict[str, Any]:
        """Filtered MRR, Hits@1, 3 and 10 and further metrics over both sides, and of each side.

        Args:
            data: As for :meth:`ranks`.
            split: Likewise.
            metrics: ``hits@K`` to add.
            batch_size: Queries at a time.

        Returns:
            Values by metric, the data set's own first; ``items``, how many triples were ranked; and
            ``sides``, the same values of ``head`` and ``tail``.
        """
        ranks = self.ranks(data, split, batch_size)
        names = list(dict.fromkeys((data.metric, *METRICS, *metrics)))

        def values(of: Tensor) -> dict[str, float]:
            return {name: score_of_ranks(name, of.cpu().numpy()) for name in names}

        sides = {"head": values(ranks.head), "tail": values(ranks.tail)}
        return {**values(ranks.both()), "items": len(ranks.head), "sides": sides}

    @torch.no_grad()
    def scores(self, data: Dataset, split: str = "all", batch_size: int | None = None) -> Tensor:
        """Scores ``(items,)`` of the triples of a split, on the CPU."""
        data = self.aligned(data)
        items, index, device = items_of(data), data.items(split), module_device(self)
        with in_eval_mode(self):
            entities, relations = self.vectors(items.batch(index[:0], device))
            parts = []
            for some in index.split(items.portions(0, None, batch_size, False)[1]):
                head, kind, tail = items.triples[some].to(device).unbind(1)
                parts.append(self.score(entities[head], relations[kind], entities[tail]).cpu())
        return torch.cat(parts)

    def aligned(self, data: Dataset) -> Dataset:
        """A knowledge graph with relations numbered as in training, by name.

        Raises:
            DataError: If it is none, has a relation that training did not have, lacks inverses of
                triples that the encoder reads, or has other entities than those that the encoder
                learned vectors of.
        """
        items = items_of(data)
        names = data.vocabulary
        if (
            has_table(self.encoder)
            and names is not None
            and self.entities not in (None, checksum_of(names.entities))
        ):
            raise DataError(
                f"{data.spec} has other entities than the knowledge graph of training, of which "
                "the encoder learned a vector each; train an encoder that reads edges alone (earl)"
            )
        both = Vocabulary((), self.relation_names).has_inverses and reads_edges(self.encoder)
        if both and names is not None and not names.has_inverses:
            raise DataError(
                f"{data.spec} has its triples in one direction, the knowledge graph of training in "
                "both; load it with inverses=True"
            )
        if names is not None and self.relation_names:
            return related(data, self.relation_names)
        if items.relations > self.target.kinds:
            raise DataError(
                f"{data.spec} has {items.relations} relations, the model knows {self.target.kinds}"
            )
        return data

    def print_trainable_parameters(self) -> None:
        """Print how many parameters may move, in the manner of PEFT."""
        trainable.print_trainable_parameters(self)

    def config(self) -> dict[str, Any]:
        """What :meth:`load` needs to build the model again, for ``config.json``."""
        return {
            **encoder_config(self.encoder),
            "target": {"kind": "ranking", "level": TripleItems.level},
            "head": TRIPLE_SCORES.spec(self.score),
            "links": {name: getattr(self.target, name) for name in _LINKS},
            "relations": self.target.relations,
            "relation_names": list(self.relation_names),
            "entities": self.entities,
        }

    def save(self, folder: Path | str) -> RunFolder:
        """Write the model as a run folder, which :meth:`load` and every verb can read.

        Raises:
            CheckpointError: If the folder holds a run already.
        """
        config = {} if self.folder is None else read_json(self.folder.path / "config.json")
        config = {"command": "finetune", "tasks": {}, **config, **self.config()}
        written = RunFolder(folder, config)
        state = {f"encoder.{name}": v for name, v in self.encoder.state_dict().items()}
        state |= {f"tasks.{TARGET}.{name}": v for name, v in self.target.state_dict().items()}
        written.save({"best": {"epoch": None, "valid": None, "model": state}})
        written.write_results(self.results)
        return written

    @staticmethod
    def load(folder: Path | str) -> Ranker:
        """The model of a run folder, at its best epoch on validation data.

        Raises:
            CheckpointError: If the folder is no such run, or its checkpoint is damaged.
        """
        folder = Path(folder)
        config = read_json(folder / "config.json")
        if kind_of_target(config) != "ranking":
            raise CheckpointError(f"{folder} is no run on a knowledge graph; use gtl.Model.load")
        weights = best_weights(folder)
        encoder = encoder_from_config(config, folder)
        how = {"score": config["head"], "relations": config["relations"], **config["links"]}
        target = LinkRanking(**how)
        target.setup(Schema.from_json(config["schema"]), encoder.width)
        load_part(encoder, weights, "encoder.", folder)
        load_part(target, weights, f"tasks.{TARGET}.", folder)
        model = Ranker(encoder, target)
        model.relation_names, model.entities = tuple(config["relation_names"]), config["entities"]
        ended = folder / "results.json"
        model.results = read_json(ended) if ended.is_file() else {}
        model.history, model.trained_on = read_metrics(folder), trained_on(config)
        return model.eval()


def items_of(data: Dataset) -> TripleItems:
    """The triples of a data set.

    Raises:
        DataError: If its items are others.
    """
    if not isinstance(data.contents, TripleItems):
        raise DataError(
            f"the model ranks triples of a knowledge graph, the items of {data.spec} are "
            f"{data.level}s; load one with gtl.load('kg:...')"
        )
    return data.contents


def checksum_of(names: Sequence[str]) -> str:
    """SHA-256 over names in their order, hexadecimal."""
    return hashlib.sha256("\n".join(names).encode("utf-8", "surrogatepass")).hexdigest()
