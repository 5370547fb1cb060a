"""Scores of triples of a knowledge graph: TransE, DistMult, ComplEx and RotatE.

Complex vectors are stored as their real parts, then their imaginary parts. Vectors of relations
are of the score unless the encoder makes them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gtl.errors import ConfigError
from gtl.heads.vector_pairs import all_distances, distances, inner_products
from gtl.roles.triple_score import TripleScore

_EPSILON = 2.0  # of the range from which Sun et al. 2019 draw vectors, (margin + 2) / width


class _DistanceScore(TripleScore):
    """A margin minus the distance of the entity from the query."""

    pairs: bool

    def __init__(self, width: int, relations: int, margin: float):
        if not margin > 0:
            raise ConfigError(f"`margin` is {margin}, expected a positive number")
        self._range = (margin + _EPSILON) / self.width_of_relations(width)
        super().__init__(width, relations)
        self.margin = margin

    def reset(self, vectors: Tensor) -> None:
        """Uniform numbers in a range that follows from margin and width (Sun et al. 2019)."""
        torch.nn.init.uniform_(vectors, -self._range, self._range)

    def against_all(self, queries: Tensor, entities: Tensor) -> Tensor:
        """See :class:`TripleScore`."""
        return self.margin - all_distances(queries, entities, self.pairs)

    def against_each(self, queries: Tensor, entities: Tensor, candidates: Tensor) -> Tensor:
        """See :class:`TripleScore`."""
        return self.margin - distances(queries, entities, candidates, self.pairs)


class _ProductScore(TripleScore):
    """The inner product of the entity and the query."""

    def reset(self, vectors: Tensor) -> None:
        """Normal numbers of variance one over the width, as large as vectors of length 1."""
        torch.nn.init.normal_(vectors, std=vectors.shape[1] ** -0.5)

    def against_all(self, queries: Tensor, entities: Tensor) -> Tensor:
        """See :class:`TripleScore`."""
        return queries @ entities.t()

    def against_each(self, queries: Tensor, entities: Tensor, candidates: Tensor) -> Tensor:
        """See :class:`TripleScore`."""
        return inner_products(queries, entities, candidates)


class TransE(_DistanceScore):
    """A relation moves the head to the tail: ``margin - |h + r - t|_1`` (Bordes et al. 2013).

    Args:
        width: Columns of the vectors of entities.
        relations: See :class:`TripleScore`.
        margin: Score of a triple that fits exactly.

    Raises:
        ConfigError: If a number is out of range.

    Example:
        >>> h, r, t = (torch.tensor([row]) for row in ([1.0, 2.0], [3.0, 0.0], [4.0, 1.0]))
        >>> float(TransE(2, 0, margin=5.0)(h, r, t))
        4.0
    """

    pairs = False

    def __init__(self, width: int, relations: int = 0, margin: float = 10.0):
        super().__init__(width, relations, margin)

    @staticmethod
    def width_of_relations(width: int) -> int:
        """As many as those of entities."""
        return width

    def tail_queries(self, heads: Tensor, relations: Tensor) -> Tensor:
        """Heads moved, ``(b, h)``."""
        return heads + relations

    def head_queries(self, tails: Tensor, relations: Tensor) -> Tensor:
        """Tails moved back, ``(b, h)``."""
        return tails - relations


class RotatE(_DistanceScore):
    """A relation turns the head: ``margin - sum |h exp(i phase) - t|`` (Sun et al. 2019).

    The vector of a relation is a phase for each complex number of an entity, in units of a range,
    ``(margin + 2)`` over their number, that stands for half a turn.

    Args:
        width: Columns of the vectors of entities: real parts, then imaginary parts.
        relations: See :class:`TripleScore`.
        margin: Score of a triple that fits exactly.

    Raises:
        ConfigError: If ``width`` is odd or a number is out of range.

    Example:
        >>> half_turn = torch.tensor([[12.0]])  # the whole range
        >>> one, minus = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
        >>> round(float(RotatE(2, 0, margin=10.0)(one, half_turn, minus)), 5)
        10.0
    """

    pairs = True

    def __init__(self, width: int, relations: int = 0, margin: float = 10.0):
        super().__init__(width, relations, margin)

    @staticmethod
    def width_of_relations(width: int) -> int:
        """Half of those of entities."""
        return _half(width)

    def tail_queries(self, heads: Tensor, relations: Tensor) -> Tensor:
        """Heads turned, ``(b, h)``."""
        return self._turned(heads, relations * (math.pi / self._range))

    def head_queries(self, tails: Tensor, relations: Tensor) -> Tensor:
        """Tails turned back, ``(b, h)``."""
        return self._turned(tails, relations * (-math.pi / self._range))

    def _turned(self, vectors: Tensor, phases: Tensor) -> Tensor:
        return _times(vectors, torch.cat([phases.cos(), phases.sin()], 1))


class DistMult(_ProductScore):
    """A weighted inner product: ``sum h r t`` (Yang et al. 2015); it cannot tell head from tail.

    Args:
        width: Columns of the vectors of entities.
        relations: See :class:`TripleScore`.

    Example:
        >>> h, r, t = (torch.tensor([row]) for row in ([1.0, 2.0], [3.0, 0.5], [1.0, 4.0]))
        >>> float(DistMult(2)(h, r, t))
        7.0
    """

    def __init__(self, width: int, relations: int = 0):
        super().__init__(width, relations)

    @staticmethod
    def width_of_relations(width: int) -> int:
        """As many as those of entities."""
        return width

    def tail_queries(self, heads: Tensor, relations: Tensor) -> Tensor:
        """Weighted heads, ``(b, h)``."""
        return heads * relations

    def head_queries(self, tails: Tensor, relations: Tensor) -> Tensor:
        """Weighted tails, ``(b, h)``."""
        return tails * relations


class ComplEx(_ProductScore):
    """A complex inner product: ``Re sum h r conj(t)`` (Trouillon et al. 2016).

    Args:
        width: Columns of the vectors of entities, and of relations: real parts, then imaginary.
        relations: See :class:`TripleScore`.

    Raises:
        ConfigError: If ``width`` is odd.

    Example:
        >>> i, one = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]])
        >>> float(ComplEx(2)(one, i, i)), float(ComplEx(2)(i, i, one))
        (1.0, -1.0)
    """

    def __init__(self, width: int, relations: int = 0):
        super().__init__(width, relations)

    @staticmethod
    def width_of_relations(width: int) -> int:
        """As many as those of entities, an even number."""
        return 2 * _half(width)

    def tail_queries(self, heads: Tensor, relations: Tensor) -> Tensor:
        """``h r`` as real and imaginary parts, ``(b, h)``."""
        return _times(heads, relations)

    def head_queries(self, tails: Tensor, relations: Tensor) -> Tensor:
        """``conj(r) t``, ``(b, h)``, likewise."""
        real, imaginary = relations.chunk(2, 1)
        return _times(tails, torch.cat([real, -imaginary], 1))


def _half(width: int) -> int:
    if width % 2:
        raise ConfigError(
            f"`width` is {width}, expected an even number: complex numbers have two parts"
        )
    return width // 2


def _times(one: Tensor, other: Tensor) -> Tensor:
    """Product of complex vectors ``(b, h)``."""
    (a, b), (c, d) = one.chunk(2, 1), other.chunk(2, 1)
    return torch.cat([a * c - b * d, a * d + b * c], 1)
