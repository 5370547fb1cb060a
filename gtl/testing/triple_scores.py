"""Laws of scores of triples: both sides agree, and one query is compared with many entities."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gtl.roles import TripleScore
from gtl.testing.laws import (
    generator,
    obey,
    require,
    require_close,
    require_finite,
    require_true_derivatives,
)

_TRIPLES, _ENTITIES, _RELATIONS = 7, 11, 3


def check_triple_score(
    score: Callable[[int, int], TripleScore], width: int = 6, skip: Collection[str] = ()
) -> None:
    """Check that a score of triples obeys the laws of its role.

    Args:
        score: The class, or a function that makes a score of ``(width, relations)``.
        width: Columns of the vectors of entities.
        skip: Names of laws that do not apply.

    Raises:
        LawError: Naming the law, what came and what was expected.
    """
    obey(score, TripleScoreTrial(score, width), TRIPLE_SCORE_LAWS, skip)


@dataclass(frozen=True)
class TripleScoreTrial:
    """A way to make scores, and vectors to try them on."""

    build: Callable[[int, int], TripleScore] = field(repr=False)
    width: int

    def score(self, relations: int = 0, dtype: torch.dtype = torch.float64) -> TripleScore:
        """A fresh score, without vectors of relations unless some are wanted."""
        torch.manual_seed(5)
        return self.build(self.width, relations).to(dtype)

    def triples(self, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors of heads, relations and tails."""
        rng, narrow = generator(1), self.score().relation_width
        widths = (self.width, narrow, self.width)
        h, r, t = (torch.randn(_TRIPLES, w, generator=rng, dtype=torch.float64) for w in widths)
        return h.to(dtype), r.to(dtype), t.to(dtype)

    def entities(self) -> Tensor:
        """Vectors of entities."""
        rng = generator(2)
        return torch.randn(_ENTITIES, self.width, generator=rng, dtype=torch.float64)


def one_finite_score_per_triple(trial: TripleScoreTrial) -> None:
    """Triples have finite scores ``(b,)`` in the dtype of the vectors, also zero ones."""
    for dtype in (torch.float32, torch.float64):
        for scale in (1.0, 0.0):
            vectors = [scale * part for part in trial.triples(dtype)]
            found = trial.score(dtype=dtype)(*vectors)
            shape = f"shape {tuple(found.shape)} in {found.dtype}"
            require(found.shape == (_TRIPLES,) and found.dtype == dtype, shape, f"(7,) in {dtype}")
            require_finite("the scores", found)


def both_sides_give_the_same_score(trial: TripleScoreTrial) -> None:
    """A tail compared with its query and a head with its own have the score of the triple."""
    score, (h, r, t) = trial.score(), trial.triples()
    expected = score(h, r, t)
    tails = score.against_all(score.tail_queries(h, r), t).diagonal()
    heads = score.against_all(score.head_queries(t, r), h).diagonal()
    require_close("a score by the tail", tails, expected)
    require_close("a score by the head", heads, expected)


def candidates_score_as_among_all(trial: TripleScoreTrial) -> None:
    """``against_each`` picks the scores that ``against_all`` has."""
    score, (h, r, _), entities = trial.score(), trial.triples(), trial.entities()
    chosen = torch.randint(_ENTITIES, (_TRIPLES, 5), generator=generator(3))
    queries = score.tail_queries(h, r)
    each = score.against_each(queries, entities, chosen)
    require_close("a candidate", each, score.against_all(queries, entities).gather(1, chosen))


def equal_entities_score_equally(trial: TripleScoreTrial) -> None:
    """Entities with equal vectors have one score, bit for bit: ranks depend on ties."""
    score, (h, r, _) = trial.score(dtype=torch.float32), trial.triples(torch.float32)
    entities = trial.entities().float()[:1].expand(1000, -1).contiguous()
    found = score.against_all(score.tail_queries(h, r), entities)
    require(bool((found == found[:, :1]).all()), "different scores of equal vectors", "one")


def relations_have_vectors_where_the_score_keeps_them(trial: TripleScoreTrial) -> None:
    """With relations a score has ``(r, relation_width)`` finite, different vectors; else none."""
    require(trial.score().relation_vectors is None, "vectors of no relations", "None")
    found = trial.score(_RELATIONS).relation_vectors
    require(found is not None, "no vectors of relations", "a parameter")
    assert found is not None
    expected = (_RELATIONS, trial.score().relation_width)
    require(found.shape == expected, f"shape {tuple(found.shape)}", f"{expected}")
    require_finite("the vectors of relations", found)
    require(len(found.unique(dim=0)) == _RELATIONS, "equal vectors", "vectors drawn at random")


def derivatives_are_true(trial: TripleScoreTrial) -> None:
    """First and second derivatives by autograd agree with differences, from every side."""
    score, parts = trial.score(), trial.triples()
    chosen = torch.randint(_ENTITIES, (_TRIPLES, 5), generator=generator(3))

    def value(point: dict[str, Tensor]) -> Tensor:
        h, r, t, entities = (point[name] for name in ("h", "r", "t", "entities"))
        found = [
            score(h, r, t),
            score.against_all(score.head_queries(t, r), entities).flatten(),
            score.against_each(score.tail_queries(h, r), entities, chosen).flatten(),
        ]
        return torch.cat(found).sin().sum()

    point = {**dict(zip("hrt", parts)), "entities": trial.entities()}
    require_true_derivatives(value, point)


TRIPLE_SCORE_LAWS = (
    one_finite_score_per_triple,
    both_sides_give_the_same_score,
    candidates_score_as_among_all,
    equal_entities_score_equally,
    relations_have_vectors_where_the_score_keeps_them,
    derivatives_are_true,
)
