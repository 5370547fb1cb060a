"""Every few-shot method obeys the laws, and each law catches a method that breaks it."""

from __future__ import annotations

import itertools

import pytest
import torch

from gtl.catalog import FEW_SHOT_METHODS
from gtl.errors import ConfigError, LawError
from gtl.fewshot.problem import head_for
from gtl.roles import FewShotMethod
from gtl.testing import FEW_SHOT_METHOD_LAWS, check_few_shot_method

# Methods that change the encoder need one, and graphs; tests/fewshot/test_adaptive.py tries them.
NEEDS_AN_ENCODER = {"fit", "finetune"}
SELECTED = {"of": ["prototype", "shrinkage"], "draws": 1}
CASES = {
    "linear": [{"steps": 20}],
    "cosine": [{"steps": 10}, {"steps": 0}],
    "prototype": [{}, {"similarity": "cosine"}],
    "gaussian": [{}, {"kind": "qda"}, {"kind": "proto", "prior": "empirical"}],
    "shrinkage": [{}, {"metric": "plain", "strength": 0.5}],
    "kgtn": [{"episodes": 1}, {"training": "joint", "steps": 5}],
    "selected": [SELECTED],
}
# These start at random weights, a row for each number, or draw base classes by their numbers.
RANDOM = {"renumbering_classes_renumbers_columns"}
SKIP = {"linear": RANDOM, "kgtn": RANDOM, "selected": RANDOM}


@pytest.mark.parametrize("name", FEW_SHOT_METHODS.names())
def test_a_few_shot_method_obeys_the_laws(name):
    if name in NEEDS_AN_ENCODER:
        pytest.skip(f"{name} changes the encoder and needs one: see tests/fewshot/test_adaptive.py")
    for options in CASES.get(name, [{}]):
        # Methods are selected by base classes, so there must be some.
        protocols = ["base_novel"] if options is SELECTED else ["base_novel", "novel"]
        part = {"name": name, **options}
        check_few_shot_method(
            lambda part=part: FEW_SHOT_METHODS.build(part), protocols, SKIP.get(name, set())
        )


# -- the laws themselves -------------------------------------------------------------------------


class Good(FewShotMethod):
    def fit(self, problem):
        head = head_for(problem, "prototype").fit(*problem.samples)
        return lambda queries: self.changed(head(queries))

    def changed(self, scores):
        return scores


class OneNumber(Good):
    def changed(self, scores):
        return scores.sum(1)


class Backwards(Good):
    def changed(self, scores):
        return -scores


class NeverTheSame(Good):
    fits = itertools.count()

    def fit(self, problem):
        scorer, number = super().fit(problem), next(self.fits)
        return lambda queries: scorer(queries) + number


class NeedsTwoSamples(Good):
    def fit(self, problem):
        if problem.shots < 2:
            raise ConfigError("two samples a class are needed")
        return super().fit(problem)


class ScalesTheSamples(Good):
    def fit(self, problem):
        scorer = super().fit(problem)
        problem.features.mul_(2)
        return scorer


class CentersTheQueries(Good):
    def fit(self, problem):
        scorer = super().fit(problem)

        def score(queries):
            scores = scorer(queries)
            queries.sub_(1)
            return scores

        return score


class KnowsTheOtherQueries(Good):
    def changed(self, scores):
        return scores - 1e-3 * scores.mean(0) if len(scores) else scores


class PrefersLowNumbers(Good):
    def changed(self, scores):
        return scores - torch.arange(scores.shape[1])


BROKEN = {
    "one_score_per_query_and_class": OneNumber,
    "separated_classes_are_recognized": Backwards,
    "one_seed_gives_one_result": NeverTheSame,
    "one_sample_a_class_is_enough": NeedsTwoSamples,
    "fitting_leaves_the_problem_as_it_was": ScalesTheSamples,
    "scoring_leaves_everything_as_it_was": CentersTheQueries,
    "a_query_is_scored_by_itself": KnowsTheOtherQueries,
    "renumbering_classes_renumbers_columns": PrefersLowNumbers,
}


def test_a_method_that_does_everything_right_passes():
    check_few_shot_method(Good)


def test_each_law_has_a_method_that_breaks_it():
    assert list(BROKEN) == [law.__name__ for law in FEW_SHOT_METHOD_LAWS]


@pytest.mark.parametrize("law", BROKEN)
def test_a_broken_method_is_caught(law):
    with pytest.raises(LawError, match=f"{BROKEN[law].__name__} with the protocol.*`{law}`"):
        check_few_shot_method(BROKEN[law], skip=set(BROKEN) - {law})
