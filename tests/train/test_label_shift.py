"""Label shift: shares worked out by hand, recovered from draws, and weights that undo it."""

from __future__ import annotations

import pytest
import torch

from gtl.report.domain_tables import alignment_tables
from gtl.train.calibration import Calibration
from gtl.train.label_shift import (
    black_box_shift,
    described_shift,
    estimated_shares,
    expectation_maximization,
    importance,
    shift_size,
)


def domain(shares, count, seed, noise=0.8):
    """Classes drawn with some shares, and the right probabilities of a noisy observation."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(torch.tensor(shares), count, replacement=True, generator=rng)
    seen = labels + noise * torch.randn(count, generator=rng)
    return labels, seen


def posterior(seen, shares, noise=0.8):
    centers = torch.arange(len(shares)).double()
    chance = torch.exp(-((seen[:, None].double() - centers) ** 2) / (2 * noise**2))
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


def under_confident(shares, count, seed, factor, noise):
    """Classes and the probabilities of a model whose logits are too small and biased."""
    labels, seen = domain(shares, count, seed, noise)
    bias = torch.tensor([0.0, 0.02, 0.2, 0.1])
    return labels, (factor * posterior(seen, [0.25] * 4, noise or 0.5).log() + bias).softmax(1)


@pytest.mark.parametrize(("noise", "factor"), [(0.5, 0.2), (0.0, 0.3)])
@pytest.mark.parametrize("after", [[0.25, 0.25, 0.25, 0.25], [0.1, 0.5, 0.1, 0.3]])
def test_em_recovers_shares_of_an_under_confident_biased_model(noise, factor, after):
    labels, here = under_confident([0.25] * 4, 4000, 0, factor, noise)
    truth, there = under_confident(after, 4000, 1, factor, noise)
    raw = expectation_maximization(there, torch.full((4,), 0.25))
    found = estimated_shares("multiclass", labels, here, there)
    expected = torch.bincount(truth) / len(truth)
    assert float((raw - expected).abs().max()) > 0.2
    assert torch.allclose(found["em"], expected.double(), atol=0.05)
    assert described_shift("multiclass", found)["large"] == (after != [0.25] * 4)


def test_em_of_few_items_told_apart_without_an_error_is_right():
    """Two domains alike, predicted without an error by a model at the start of its training."""
    labels = torch.arange(40) % 4
    logits = 0.3 * torch.eye(4)[labels] + torch.tensor([0.0, 0.0, 0.2, 0.15])
    guess = (
        logits + 0.02 * torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    ).double()
    found = estimated_shares("multiclass", labels, guess.softmax(1), guess.flip(0).softmax(1))
    assert torch.allclose(found["em"], torch.full((4,), 0.25).double(), atol=0.02)
    assert not described_shift("multiclass", found)["large"]


def test_calibration_finds_the_temperature_and_undoes_the_bias():
    labels, seen = domain([0.25] * 4, 8000, 2)
    right = posterior(seen, [0.25] * 4)
    bias = torch.tensor([0.0, 0.3, -0.2, 0.1])
    found = Calibration.fitted(0.2 * right.log() + bias, labels)
    assert float(found.factor) == pytest.approx(5, rel=0.1)
    assert float((found(0.2 * right.log() + bias) - right).abs().mean()) < 0.02
    nothing = Calibration.fitted(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    assert torch.allclose(nothing(right.log()), right)


def test_a_model_that_predicts_one_class_alone_leaves_the_shift_to_em():
    labels = torch.tensor([0, 1] * 20)
    here = torch.tensor([[0.9, 0.1], [0.8, 0.2]]).repeat(20, 1).double()
    found = estimated_shares("multiclass", labels, here, here[:1].expand(30, 2))
    assert found["bbse"].isnan().all()
    report = described_shift("multiclass", found)
    assert report["shares"]["bbse"] == [None, None] and report["size"]["bbse"] is None
    assert report["large"] and report["size"]["em"] > 0.4
    results = {"stages": {}, "source": "a", "method": "dann", "data": "b", "test": None}
    text = alignment_tables({**results, "label_shift": report})
    assert "differences by em" in text and "bbse" in text


def test_em_alone_makes_no_shift_large():
    even = torch.tensor([0.5, 0.5]).double()
    shares = {"source": even, "predicted": even, "bbse": even, "em": torch.tensor([0.9, 0.1])}
    assert not described_shift("multiclass", shares)["large"]
    for agreed, large in ((0.55, False), (0.6, True), (0.9, True)):
        bbse = torch.tensor([agreed, 1 - agreed]).double()
        assert described_shift("multiclass", {**shares, "bbse": bbse})["large"] == large


@pytest.mark.parametrize("method", ["bbse", "em"])
def test_a_class_that_validation_data_lack_has_no_share_and_counts_once(method):
    labels = torch.arange(60) % 2
    here = (4 * torch.eye(3)[labels] + torch.tensor([0.0, 0.0, 1.0])).double().softmax(1)
    there = (4 * torch.eye(3)[torch.arange(60) % 3]).double().softmax(1)
    found = estimated_shares("multiclass", labels, here, there)
    assert float(found[method][2]) == 0 and float(found[method].sum()) == pytest.approx(1)
    weights = importance(found["source"], found[method])
    assert float(weights[2]) == 1 and float(weights.max()) < 2
    even = torch.tensor([0.5, 0.5, 0.0])
    assert float(expectation_maximization(there, even)[2]) == 0


def test_a_column_without_known_labels_is_skipped():
    labels = torch.tensor([[1.0, float("nan")], [0.0, float("nan")]]).repeat(20, 1)
    here = labels.nan_to_num(0.5).clamp(0.01, 0.99).double()
    found = estimated_shares("binary", labels, here, here)
    assert found["em"].isnan().tolist() == [False, True]
    report = described_shift("binary", found)
    assert report["size"]["em"] < 0.01 and not report["large"]
    assert report["shares"]["em"][1] is None
    weights = importance(*(torch.stack([1 - v, v]) for v in (found["source"][1], found["em"][1])))
    assert weights.tolist() == [1, 1]
    none = estimated_shares("multiclass", torch.full((4,), -1), here[:4], here)
    assert none["em"].isnan().all() and not described_shift("multiclass", none)["large"]
