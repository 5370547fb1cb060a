"""Measures of recognition: by hand, against sorting, and what chance would give."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gtl.errors import DataError
from gtl.fewshot.measures import (
    base_novel_measures,
    hits,
    k_shot_measures,
    require_scores,
    with_prior,
)

# Classes 0 and 1 are base, 2 and 3 novel; three novel queries and one base query.
SCORES = torch.tensor(
    [[4.0, 0, 3, 1], [0.0, 1, 2, 3], [0.0, 0, 5, 9], [2.0, 1, 0, 3]], dtype=torch.float64
)
LABELS = torch.tensor([2, 2, 3, 0])
NOVEL = torch.tensor([False, False, True, True])


def test_novel_queries_are_asked_among_all_and_among_novel_classes():
    found = base_novel_measures(SCORES, LABELS, NOVEL, 0.5)
    assert found["novel_in_all_top1"] == pytest.approx(1 / 3)  # the third
    assert found["novel_in_novel_top1"] == pytest.approx(2 / 3)  # the first and the third
    assert found["all_top1"] == pytest.approx(1 / 4)


def test_a_prior_moves_the_answers_toward_its_group():
    sure = base_novel_measures(SCORES, LABELS, NOVEL, 1 - 1e-9)
    assert sure["all_with_prior_top1"] == pytest.approx(2 / 4)  # as novel in novel; base is lost
    other = base_novel_measures(SCORES, LABELS, NOVEL, 1e-9)
    assert other["all_with_prior_top1"] == pytest.approx(1 / 4)  # the base query alone


def test_with_a_prior_each_group_sums_to_its_share():
    shares = with_prior(SCORES, NOVEL, 0.8).exp()
    assert torch.allclose(shares[:, NOVEL].sum(1), torch.full((4,), 0.8, dtype=torch.float64))
    assert torch.allclose(shares.sum(1), torch.ones(4, dtype=torch.float64))


@given(st.integers(0, 10_000), st.integers(1, 7))
def test_hits_are_those_of_a_sort_where_no_scores_are_equal(seed, k):
    rng = torch.Generator().manual_seed(seed)
    scores = torch.stack([torch.randperm(7, generator=rng) for _ in range(11)]).double()
    labels = torch.randint(7, (11,), generator=rng)
    first = scores.argsort(1, descending=True)[:, :k]
    assert torch.equal(hits(scores, labels, k).bool(), (first == labels.unsqueeze(1)).any(1))


@given(st.integers(2, 13), st.integers(1, 5))
def test_who_scores_all_alike_is_right_as_often_as_chance(classes, k):
    found = hits(torch.zeros(3, classes), torch.tensor([0, 1, classes - 1]), k)
    assert torch.allclose(found, torch.full((3,), min(1.0, k / classes)))


def test_five_guesses_are_counted_only_among_more_than_five_classes():
    assert set(k_shot_measures(torch.zeros(2, 5), torch.tensor([0, 1]))) == {"top1"}
    assert set(k_shot_measures(torch.zeros(2, 6), torch.tensor([0, 1]))) == {"top1", "top5"}


def test_of_two_classes_the_first_measure_is_the_area_under_the_curve():
    scores = torch.tensor([[0.0, 3], [0, 2], [0, 1], [0, 0]])
    found = k_shot_measures(scores, torch.tensor([1, 0, 1, 0]))
    assert list(found) == ["rocauc", "top1"]
    assert found["rocauc"] == pytest.approx(3 / 4)


@pytest.mark.parametrize("scores", [torch.zeros(3, 4), torch.full((3, 5), torch.nan)])
def test_scores_that_say_nothing_are_refused_by_the_name_of_their_method(scores):
    with pytest.raises(DataError, match="mine gave scores"):
        require_scores(scores, 3, 5, "mine")
