"""Ranks of triples are those of a plain loop over all entities, ties included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gtl.catalog import TRIPLE_SCORES
from gtl.errors import DataError
from gtl.graph.triples import TripleIndex
from gtl.metrics import score_of_ranks
from gtl.train import ranking
from gtl.train.ranking import ranks_of

ENTITIES, RELATIONS = 13, 3


class Largest(TorchDispatchMode):
    """Numbers in the largest matrix of 40 columns that an operation makes."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.dim() == 2 and out.shape[1] == 40:
            self.numbers = max(self.numbers, out.numel())
        return out


def problem(name="rotate", seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    score = TRIPLE_SCORES.build(name, 4, 0)
    entities = torch.randn(ENTITIES, 4, dtype=dtype)
    entities[5:9] = entities[2]  # ties
    relations = torch.randn(RELATIONS, score.relation_width, dtype=dtype)
    every = torch.unique(torch.randint(ENTITIES, (60, 3)) % torch.tensor([13, 3, 13]), dim=0)
    return score, entities, relations, every[torch.randperm(len(every))]


def plain_rank(score, entities, relations, known, triple, side):
    """Mean of the best and the worst place among entities that complete no other known triple."""
    h, r, t = triple
    own, above, level = None, 0, 0
    values = []
    for entity in range(ENTITIES):
        other = (h, r, entity) if side == "tail" else (entity, r, t)
        ends = entities[other[0]], relations[r], entities[other[2]]
        value = float(score(*(v.unsqueeze(0) for v in ends)))
        if other == triple:
            own = value
        elif other not in known:
            values.append(value)
    above = sum(value > own + 1e-9 for value in values)
    level = sum(abs(value - own) <= 1e-9 for value in values)
    return ((1 + above) + (1 + above + level)) / 2


@pytest.mark.parametrize("name", TRIPLE_SCORES.names())
@pytest.mark.parametrize("batch_size", [None, 1, 4])
def test_ranks_equal_those_of_a_plain_loop(name, batch_size):
    score, entities, relations, every = problem(name)
    known = {tuple(row) for row in every.tolist()}
    triples = every[:20]
    index = TripleIndex.of(every, ENTITIES, RELATIONS)
    ranks = ranks_of(triples, score, entities, relations, index, batch_size)
    for side in ("head", "tail"):
        expected = [
            plain_rank(score, entities, relations, known, tuple(row), side)
            for row in triples.tolist()
        ]
        assert getattr(ranks, side).tolist() == expected


@pytest.mark.parametrize("many", [2, 64])
def test_triples_of_one_query_are_ranked_in_little_memory(many, monkeypatch):
    monkeypatch.setattr(ranking, "_MANY", many)
    monkeypatch.setattr(ranking, "_SCORES", 40 * 4)
    score, entities, relations, _ = problem()
    entities, everyone = torch.randn(40, 4, dtype=torch.float64), torch.arange(40)
    entities[5:9] = entities[2]
    star = torch.stack([everyone, torch.zeros_like(everyone), torch.full_like(everyone, 3)], 1)
    triples = torch.cat([star, torch.tensor([[1, 1, 2], [4, 1, 2], [0, 2, 2]])])
    index = TripleIndex.of(triples[::2], 40, RELATIONS)
    with Largest() as seen:
        heads = ranks_of(triples, score, entities, relations, index).head
    assert seen.numbers <= 40 * 4
    one = [ranks_of(t, score, entities, relations, index).head for t in triples.split(1)]
    assert torch.equal(heads, torch.cat(one))


def test_ties_are_exact_in_single_precision_too():
    score, entities, relations, every = problem(dtype=torch.float32)
    known = TripleIndex.of(every, ENTITIES, RELATIONS)
    tied = every[(every[:, 2] >= 5) & (every[:, 2] < 9)]
    ranks = ranks_of(tied, score, entities, relations, known).tail
    double = ranks_of(tied, score.double(), entities.double(), relations.double(), known).tail
    assert torch.equal(ranks, double) and len(tied)


def test_a_model_that_gives_all_entities_one_score_has_the_rank_of_chance():
    score = TRIPLE_SCORES.build("distmult", 4, 0)
    triples = torch.tensor([[0, 0, 1], [2, 0, 3]])
    known = TripleIndex.of(triples, ENTITIES, 1)
    ranks = ranks_of(triples, score, torch.zeros(ENTITIES, 4), torch.ones(1, 4), known)
    assert ranks.both().tolist() == [(ENTITIES + 1) / 2] * 4


def test_other_known_completions_do_not_count():
    score = TRIPLE_SCORES.build("distmult", 1, 0)
    entities = torch.tensor([[1.0], [5.0], [4.0], [3.0], [2.0]])
    triples = torch.tensor([[0, 0, 1], [0, 0, 2], [0, 0, 4]])
    known = TripleIndex.of(triples, 5, 1)
    ranks = ranks_of(triples[1:], score, entities, torch.ones(1, 1), known)
    assert ranks.tail.tolist() == [1.0, 2.0]


def test_a_triple_that_is_not_among_the_known_ones_is_not_its_own_rival():
    score = TRIPLE_SCORES.build("distmult", 1, 0)
    entities = torch.tensor([[1.0], [3.0], [2.0]])
    none = TripleIndex.of(torch.empty(0, 3, dtype=torch.int64), 3, 1)
    one = torch.tensor([[0, 0, 2]])
    assert ranks_of(one, score, entities, torch.ones(1, 1), none).tail.tolist() == [2.0]


def test_scores_that_are_no_numbers_are_refused():
    score, entities, relations, every = problem()
    entities[3] = torch.nan
    with pytest.raises(DataError, match="scores are not finite"):
        ranks_of(every, score, entities, relations, TripleIndex.of(every, ENTITIES, RELATIONS))


def test_metrics_of_ranks_are_means():
    ranks = np.array([1.0, 2.0, 4.0, 1.5])
    assert score_of_ranks("mrr", ranks) == pytest.approx((1 + 1 / 2 + 1 / 4 + 2 / 3) / 4)
    assert score_of_ranks("hits@1", ranks) == 0.25 and score_of_ranks("hits@3", ranks) == 0.75
    for metric, values in (("rocauc", ranks), ("mrr", ranks[:0])):
        with pytest.raises(DataError):
            score_of_ranks(metric, values)
