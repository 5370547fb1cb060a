"""Filtered ranks of triples among all entities (Bordes et al. 2013), exact and in batches.

The triple is compared with those that have another tail (head) and are not known to be true. Its
rank is realistic: the mean of the best and the worst place that ties leave open, so that a model
that gives all entities one score has the rank of chance (Berrendorf et al. 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gtl.errors import DataError
from gtl.graph.triples import Completions, TripleIndex
from gtl.roles import TripleScore

_SCORES = 1 << 22  # scores that are computed at once
_MANY = 64  # triples of one query, from which on it is faster to sort its scores
SIDES = ("head", "tail")


@dataclass(frozen=True)
class Ranks:
    """Ranks of the true entity of each side, from 1, float64 ``(b,)`` each.

    Attributes:
        head: Of the heads, among all that fit relation and tail.
        tail: Of the tails, among all that fit head and relation.
    """

    head: Tensor
    tail: Tensor

    def both(self) -> Tensor:
        """All ranks, ``(2 b,)``."""
        return torch.cat([self.head, self.tail])


@torch.no_grad()
def ranks_of(
    triples: Tensor,
    score: TripleScore,
    entities: Tensor,
    relations: Tensor,
    known: TripleIndex,
    batch_size: int | None = None,
) -> Ranks:
    """Realistic filtered ranks of triples.

    Each query is scored once, whatever number of its triples is ranked: a row of scores of all
    entities, in which known ones are masked in place.

    Args:
        triples: What to rank, int64 ``(b, 3)``.
        score: Score of triples.
        entities: Vectors of all entities ``(e, h)``.
        relations: Vectors of all relations ``(r, k)``.
        known: Triples that are known to be true: all of training, validation and test.
        batch_size: Queries at a time; by default about four million scores.

    Raises:
        DataError: If a score is no number.
    """
    head, relation, tail = triples.unbind(1)

    def tail_queries(given: Tensor, kind: Tensor) -> Tensor:
        return score.tail_queries(entities[given], relations[kind])

    def head_queries(given: Tensor, kind: Tensor) -> Tensor:
        return score.head_queries(entities[given], relations[kind])

    how = (score, entities, batch_size)
    return Ranks(
        _ranks(tail, known.heads.queries(tail, relation), head, known.heads, head_queries, *how),
        _ranks(head, known.tails.queries(head, relation), tail, known.tails, tail_queries, *how),
    )


def scores_of_queries(
    queries: Tensor,
    make: Callable[[Tensor, Tensor], Tensor],
    known: Completions,
    score: TripleScore,
    entities: Tensor,
    batch_size: int | None = None,
) -> Iterator[tuple[slice, Tensor]]:
    """Scores of all entities for some queries, a few queries at a time.

    Args:
        queries: Numbers of queries, int64 ``(q,)``.
        make: Vectors of queries from entities and relations.
        known: Numbers the queries.
        score: Compares.
        entities: Vectors of all entities.
        batch_size: Queries at a time.

    Yields:
        Which queries, and their scores ``(q', e)``.
    """
    step = batch_size or max(1, _SCORES // max(len(entities), 1))
    for start in range(0, len(queries), step):
        some = queries[start : start + step]
        vectors = make(some // known.relations, some % known.relations)
        yield slice(start, start + step), score.against_all(vectors, entities)


def _ranks(
    given: Tensor,
    query: Tensor,
    found: Tensor,
    known: Completions,
    make: Callable[[Tensor, Tensor], Tensor],
    score: TripleScore,
    entities: Tensor,
    batch_size: int | None,
) -> Tensor:
    """Ranks ``(b,)`` of the entities found, of the queries that they complete."""
    order = torch.argsort(query, stable=True)
    distinct, counts = torch.unique_consecutive(query[order], return_counts=True)
    ends = counts.cumsum(0)
    ranks = torch.empty(len(given), dtype=torch.float64, device=given.device)
    for rows, scores in scores_of_queries(distinct, make, known, score, entities, batch_size):
        some = order[int(ends[rows][0] - counts[rows][0]) : int(ends[rows][-1])]
        row = torch.arange(len(scores), device=scores.device).repeat_interleave(counts[rows])
        own = scores[row, found[some]].unsqueeze(1)  # (t, 1)
        if not bool(own.isfinite().all()):
            raise DataError("scores are not finite; train with a lower rate (lr)")
        scores[known.known(distinct[rows])] = -torch.inf
        above, level = _counts(scores, row, own)
        # The true one is masked if it is known, and in the count of its level if it is not.
        masked = scores[row, found[some]] == -torch.inf
        level = level - (~masked).long()
        ranks[some] = 1 + above + level.double() / 2
    return ranks


def _counts(scores: Tensor, row: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Entities with a higher, and with the same, score as each triple's own, int64 ``(t,)``.

    Args:
        scores: Of each query ``(q, e)``.
        row: Query of each triple, ascending, int64 ``(t,)``.
        own: Scores of the triples ``(t, 1)``.
    """
    if len(row) == len(scores):
        return (scores > own).sum(1), (scores == own).sum(1)
    above, level = torch.zeros_like(row), torch.zeros_like(row)
    sizes = torch.bincount(row, minlength=len(scores))
    many, ends = sizes >= _MANY, sizes.cumsum(0)
    for query in many.nonzero().flatten().tolist():
        part = slice(int(ends[query] - sizes[query]), int(ends[query]))
        ordered, wanted = scores[query].sort().values, own[part, 0].contiguous()
        last = torch.searchsorted(ordered, wanted, right=True)
        above[part] = len(ordered) - last
        level[part] = last - torch.searchsorted(ordered, wanted)
    few = (~many[row]).nonzero().flatten()
    for part in few.split(max(1, _SCORES // max(scores.shape[1], 1))):
        compared = scores[row[part]]
        above[part], level[part] = (compared > own[part]).sum(1), (compared == own[part]).sum(1)
    return above, level
