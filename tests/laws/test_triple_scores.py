"""Every registered score of triples obeys the laws, and each law catches what breaks it."""

from __future__ import annotations

import pytest
import torch

from gtl.catalog import TRIPLE_SCORES
from gtl.errors import LawError
from gtl.heads.triple_score import DistMult
from gtl.testing import TRIPLE_SCORE_LAWS, check_triple_score


@pytest.mark.parametrize("name", TRIPLE_SCORES.names())
@pytest.mark.parametrize("width", [2, 6])
def test_a_score_obeys_the_laws(name, width):
    check_triple_score(lambda w, r: TRIPLE_SCORES.build(name, w, r), width)


class OneForAll(DistMult):
    def forward(self, heads, relations, tails):
        return super().forward(heads, relations, tails).sum()


class ForgetsTheRelation(DistMult):
    def head_queries(self, tails, relations):
        return tails


class Doubles(DistMult):
    def against_each(self, queries, entities, candidates):
        return 2 * super().against_each(queries, entities, candidates)

    def forward(self, heads, relations, tails):
        return super().forward(heads, relations, tails) / 2


class CountsEntities(DistMult):
    def against_all(self, queries, entities):
        return super().against_all(queries, entities) + 1e-3 * torch.arange(len(entities))

    def against_each(self, queries, entities, candidates):
        return super().against_each(queries, entities, candidates)


class EqualRelations(DistMult):
    def reset(self, vectors):
        torch.nn.init.ones_(vectors)


class Detached(DistMult):
    def tail_queries(self, heads, relations):
        return heads.detach() * relations


BREACHES = {
    "one_finite_score_per_triple": OneForAll,
    "both_sides_give_the_same_score": ForgetsTheRelation,
    "candidates_score_as_among_all": Doubles,
    "equal_entities_score_equally": CountsEntities,
    "relations_have_vectors_where_the_score_keeps_them": EqualRelations,
    "derivatives_are_true": Detached,
}


@pytest.mark.parametrize("law", [law.__name__ for law in TRIPLE_SCORE_LAWS])
def test_each_law_catches_a_score_that_breaks_it(law):
    others = [other.__name__ for other in TRIPLE_SCORE_LAWS if other.__name__ != law]
    with pytest.raises(LawError, match=law):
        check_triple_score(BREACHES[law], skip=others)
