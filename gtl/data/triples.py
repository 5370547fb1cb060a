"""Triples of a knowledge graph as items: a head, a relation and a tail, by number and by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gtl.data.items import ItemsOfOneGraph, moved_once, schema_of
from gtl.errors import DataError
from gtl.graph import Graph, Schema
from gtl.graph.pairs import pair_features
from gtl.graph.triples import TripleIndex, triples_of

INVERSE = "inverse of "  # before the name of a relation
_BATCH = 1 << 16


@dataclass(frozen=True)
class Vocabulary:
    """Names of entities and relations, in the order of their numbers.

    Attributes:
        entities: A name for each entity.
        relations: A name for each relation.
    """

    entities: Sequence[str]
    relations: Sequence[str]

    @property
    def has_inverses(self) -> bool:
        """Whether the second half of the relations are the inverses of the first half."""
        half = len(self.relations) // 2
        first = [f"{INVERSE}{name}" for name in self.relations[:half]]
        return bool(half) and list(self.relations[half:]) == first

    @cached_property
    def entity_numbers(self) -> dict[str, int]:
        """Number of each entity by name."""
        return {name: number for number, name in enumerate(self.entities)}

    @cached_property
    def relation_numbers(self) -> dict[str, int]:
        """Number of each relation by name."""
        return {name: number for number, name in enumerate(self.relations)}

    def named(self, columns: Mapping[str, Any]) -> dict[str, list[str]]:
        """Names in place of numbers, in the columns ``head``, ``relation`` and ``tail``."""
        names = {"head": self.entities, "relation": self.relations, "tail": self.entities}
        return {title: [names[title][i] for i in columns[title]] for title in names}

    def entity(self, name: str) -> int:
        """Number of an entity.

        Raises:
            DataError: If there is none of that name; offers the nearest.
        """
        return _number("entity", name, self.entity_numbers)

    def relation(self, name: str) -> int:
        """Number of a relation, likewise."""
        return _number("relation", name, self.relation_numbers)


@dataclass(frozen=True, eq=False)
class TripleItems(ItemsOfOneGraph):
    """Triples of a knowledge graph, whose edges are those that training may know.

    A triple is a pair of entities with a relation: a batch has them as ``pairs`` and ``pair_type``.

    Attributes:
        triples: Head, relation and tail of each item, int64 ``(items, 3)``.
        relations: Number of relations.
    """

    triples: Tensor
    relations: int
    _known: dict[torch.device, TripleIndex] = field(default_factory=dict, repr=False)

    level = "triple"
    pretraining_part = "train"

    def __post_init__(self) -> None:
        triples = self.triples
        if triples.dtype != torch.int64 or triples.dim() != 2 or triples.shape[1] != 3:
            raise DataError(
                f"`triples` are {triples.dtype} {tuple(triples.shape)}, expected int64 (items, 3): "
                "head, relation, tail"
            )
        for what, numbers, count in (
            ("entities", triples[:, ::2], self.graph.num_nodes),
            ("relations", triples[:, 1], self.relations),
        ):
            if len(triples) and (int(numbers.min()) < 0 or int(numbers.max()) >= count):
                raise DataError(f"`triples` name {what} outside 0..{count - 1}")

    def __len__(self) -> int:
        return len(self.triples)

    @property
    def schema(self) -> Schema:
        """What the graph looks like; all relations are edge types, and entities are known."""
        found = schema_of(self.graph)
        return replace(found, edge_types=self.relations, nodes=self.graph.num_nodes)

    def batch(
        self,
        index: Tensor,
        device: torch.device | str = "cpu",
        fan_out: Sequence[int | None] | None = None,
        rng: torch.Generator | None = None,
    ) -> Graph:
        """The whole graph with the items as its ``pairs`` and their relations as ``pair_type``."""
        whole, chosen = moved_once(self.graph, device), self.triples[index]
        return whole.replace(
            seeds=None,
            pairs=chosen[:, ::2].to(device),
            pair_type=chosen[:, 1].to(device),
        )

    def known(self, device: torch.device | str = "cpu") -> TripleIndex:
        """The index of all items, of whatever part, with which ranks are filtered; made once."""
        device = torch.device(device)
        if device not in self._known:
            every = torch.cat([self.triples, triples_of(self.graph)]).to(device)
            self._known[device] = TripleIndex.of(every, self.graph.num_nodes, self.relations)
        return self._known[device]

    @staticmethod
    def features(graph: Graph, nodes: Tensor, pool: Any) -> Tensor:
        """One vector of the two entities' vectors."""
        if graph.pairs is None:
            raise DataError("the graph has no triples; set `pairs` and `pair_type`")
        return pair_features(nodes, graph.pairs, pool)

    def columns(self, index: Tensor) -> dict[str, Any]:
        """Head, relation and tail, by number."""
        return dict(zip(("head", "relation", "tail"), self.triples[index].t().numpy()))

    def pretraining_step(self, batch_size: int, fan_out: Sequence[int | None] | None) -> int:
        """As many triples as in any training."""
        return batch_size

    def portions(
        self,
        depth: int,
        fan_out: Sequence[int | None] | None,
        batch_size: int | None,
        sampled: bool,
    ) -> tuple[Sequence[int | None] | None, int]:
        """The whole graph, many triples at a time."""
        return None, batch_size or _BATCH


def _number(what: str, name: str, numbers: dict[str, int]) -> int:
    if name not in numbers:
        near = difflib.get_close_matches(name, numbers, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {len(numbers)}"
        raise DataError(f"there is no {what} {name!r} in the knowledge graph; {hint}")
    return numbers[name]
