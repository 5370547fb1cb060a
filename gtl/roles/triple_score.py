"""Triple score: vectors of two entities and a relation to one number."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError, ShapeError
from gtl.roles.recorded import Recorded


class TripleScore(Recorded, ABC, nn.Module):
    """How plausible a triple of head, relation and tail is; higher is more plausible.

    A score compares an entity with a query, which is made of the other entity and the relation: so
    one query is compared with all entities at once. Queries of both sides give the same score::

        score(h, r, t) = compare(tail_queries(h, r), t) = compare(head_queries(t, r), h)

    Args:
        width: Columns of the vectors of entities.
        relations: Number of relations that the score has vectors of; 0 where the encoder makes
            them, see :meth:`gtl.roles.Encoder.relations`.

    Attributes:
        relation_vectors: Vectors of the relations ``(r, relation_width)``; ``None`` without.
        relation_width: Columns of the vectors of relations.

    Raises:
        ConfigError: If a number is out of range.
    """

    relation_vectors: nn.Parameter | None

    def __init__(self, width: int, relations: int):
        super().__init__()
        if width < 1 or relations < 0:
            raise ConfigError(
                f"`width` is {width} and `relations` {relations}, expected at least 1 and 0"
            )
        self.width = width
        self.relation_width = self.width_of_relations(width)
        self.relation_vectors = None
        if relations:
            self.relation_vectors = nn.Parameter(torch.empty(relations, self.relation_width))
            self.reset(self.relation_vectors)

    @staticmethod
    @abstractmethod
    def width_of_relations(width: int) -> int:
        """Columns of the vectors of relations beside entities of ``width`` columns.

        Raises:
            ConfigError: If entities cannot have so many columns.
        """

    @abstractmethod
    def reset(self, vectors: Tensor) -> None:
        """Draw vectors of relations at random, in place."""

    @abstractmethod
    def tail_queries(self, heads: Tensor, relations: Tensor) -> Tensor:
        """What tails are compared with, ``(b, h)``: heads ``(b, h)``, relations ``(b, k)``."""

    @abstractmethod
    def head_queries(self, tails: Tensor, relations: Tensor) -> Tensor:
        """What heads are compared with, ``(b, h)``: tails ``(b, h)``, relations ``(b, k)``."""

    @abstractmethod
    def against_all(self, queries: Tensor, entities: Tensor) -> Tensor:
        """Scores ``(b, n)`` of queries ``(b, h)`` with every one of the entities ``(n, h)``."""

    @abstractmethod
    def against_each(self, queries: Tensor, entities: Tensor, candidates: Tensor) -> Tensor:
        """Scores ``(b, k)`` of each query with candidates of its own, int64 ``(b, k)``."""

    def forward(self, heads: Tensor, relations: Tensor, tails: Tensor) -> Tensor:
        """Scores ``(b,)`` of triples, row by row.

        Args:
            heads: Vectors of the heads ``(b, h)``.
            relations: Vectors of the relations ``(b, relation_width)``.
            tails: Vectors of the tails ``(b, h)``.

        Raises:
            ShapeError: If they have other columns.
        """
        for name, vectors, columns in (
            ("heads", heads, self.width),
            ("relations", relations, self.relation_width),
            ("tails", tails, self.width),
        ):
            if vectors.dim() != 2 or vectors.shape != (len(heads), columns):
                raise ShapeError(
                    f"`{name}` has shape {tuple(vectors.shape)}, expected ({len(heads)}, {columns})"
                )
        rows = torch.arange(len(tails), device=tails.device).unsqueeze(1)
        return self.against_each(self.tail_queries(heads, relations), tails, rows).squeeze(1)
