"""Label shift: shares worked out by hand, recovered from draws, and weights that undo it."""

from __future__ import annotations

import pytest
import torch

from gtl.train.label_shift import (
    black_box_shift,
    described_shift,
    estimated_shares,
    expectation_maximization,
    importance,
    shift_size,
)


def domain(shares, count, seed):
    """Classes drawn with some shares, and the right probabilities of a noisy observation."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(torch.tensor(shares), count, replacement=True, generator=rng)
    seen = labels + 0.8 * torch.randn(count, generator=rng)
    return labels, seen


def posterior(seen, shares):
    centers = torch.arange(len(shares)).double()
    chance = torch.exp(-((seen[:, None].double() - centers) ** 2) / (2 * 0.8**2))
    joint = chance * torch.tensor(shares, dtype=torch.float64)
    return joint / joint.sum(1, keepdim=True)


@pytest.mark.parametrize("method", ["bbse", "em"])
def test_shares_of_a_target_are_recovered(method):
    before, after = [0.4, 0.3, 0.3], [0.1, 0.2, 0.7]
    labels, here = domain(before, 8000, 0)
    _, there = domain(after, 8000, 1)
    guesses = [posterior(seen, before) for seen in (here, there)]
    found = estimated_shares("multiclass", labels, *guesses)
    assert torch.allclose(found[method], torch.tensor(after).double(), atol=0.05)
    assert shift_size(found["predicted"], torch.tensor(after), "multiclass") > 0.05  # uncorrected


def test_without_noise_the_black_box_gives_the_predicted_shares():
    shares = torch.tensor([0.25, 0.75]).double()
    predicted = torch.tensor([0.6, 0.4]).double()
    assert torch.allclose(black_box_shift(shares.diag(), predicted, shares), predicted)


def test_em_of_equal_shares_changes_nothing():
    guess = torch.tensor([[0.9, 0.1], [0.1, 0.9]])
    half = torch.tensor([0.5, 0.5])
    assert torch.allclose(expectation_maximization(guess, half), half.double())


def test_binary_columns_are_problems_of_their_own():
    labels = torch.tensor([[1.0, 0.0], [0.0, float("nan")], [1.0, 1.0], [0.0, 0.0]])
    sure = labels.nan_to_num(0).clamp(0.001, 0.999).double()
    there = torch.tensor([[0.999, 0.001]] * 3 + [[0.001, 0.001]]).double()
    found = estimated_shares("binary", labels, sure, there)
    assert found["source"].tolist() == pytest.approx([0.5, 1 / 3])
    assert found["bbse"].tolist() == pytest.approx([0.75, 0.0])
    report = described_shift("binary", found)
    assert report["large"] and report["size"]["bbse"] == pytest.approx(1 / 3, abs=1e-3)


def test_weights_make_the_source_as_the_target_and_keep_their_mean():
    one, other = torch.tensor([0.8, 0.2]), torch.tensor([0.5, 0.5])
    weights = importance(one, other)
    assert weights.tolist() == pytest.approx([0.625, 2.5])
    assert float((weights * one).sum()) == pytest.approx(1)
