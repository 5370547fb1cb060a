"""Criteria without target labels: values worked out by hand, invariances, degenerate cases."""

from __future__ import annotations

import math

import pytest
import torch

from gtl.train.transfer_criteria import (
    CRITERIA,
    Outputs,
    deep_embedded,
    density_ratio,
    entropy,
    importance_weighted,
    infomax,
    logistic_regression,
    neighborhood_density,
    values_of,
)


def outputs(scores, kind="multiclass", losses=(0.0, 0.0), source=None, target=None) -> Outputs:
    scores = torch.as_tensor(scores, dtype=torch.float64)
    vectors = torch.zeros(len(losses), 1) if source is None else source
    there = torch.zeros(len(scores), 1) if target is None else target
    return Outputs(kind, 0.5, torch.tensor(losses), vectors, vectors, there, scores)


def test_certain_and_diverse_predictions_have_the_largest_mutual_information():
    sure = 40 * torch.eye(3)
    assert entropy(outputs(sure)) == pytest.approx(1)
    assert infomax(outputs(sure)) == pytest.approx(1)


def test_certain_predictions_of_one_class_look_good_to_the_entropy_alone():
    same = 40 * torch.eye(3)[[0, 0, 0]]
    assert entropy(outputs(same)) == pytest.approx(1)
    assert infomax(outputs(same)) == pytest.approx(0, abs=1e-6)


def test_mutual_information_of_two_items_by_hand():
    scores = torch.tensor([[0.8, 0.2], [0.4, 0.6]]).log()

    def h(p):
        return -(p * math.log(p) + (1 - p) * math.log(1 - p))

    expected = (h(0.6) - (h(0.8) + h(0.4)) / 2) / math.log(2)
    assert infomax(outputs(scores)) == pytest.approx(expected)
    assert entropy(outputs(scores)) == pytest.approx(1 - (h(0.8) + h(0.4)) / 2 / math.log(2))


def test_each_column_of_several_labels_has_an_entropy_of_its_own():
    scores = torch.tensor([[40.0, 40.0], [-40.0, 40.0]])
    assert infomax(outputs(scores, "binary")) == pytest.approx(0.5)  # the second says nothing


def test_neighborhood_density_is_highest_where_items_lie_in_groups():
    grouped = 40 * torch.eye(3)[[0, 0, 0, 1, 1, 1, 2, 2, 2]]
    spread = torch.randn(9, 3, generator=torch.Generator().manual_seed(0)) * 3
    one, other = (neighborhood_density(outputs(s)) for s in (grouped, spread))
    assert one == pytest.approx(math.log(2) / math.log(8), abs=1e-6)
    assert other < one
    assert neighborhood_density(outputs(grouped[:2])) == 0


def test_losses_count_more_where_the_target_has_more_items():
    rng = torch.Generator().manual_seed(0)
    source = torch.randn(300, 2, generator=rng)
    target = torch.randn(300, 2, generator=rng) + torch.tensor([2.0, 0.0])
    here = torch.cat([source[:, :1].double() * 0.0, source[:, 1:] * 0.0], 1)
    found = Outputs("binary", 0.5, torch.zeros(300), source, source, target, here)
    weights = density_ratio(found)
    assert weights.mean() == pytest.approx(1)
    right = source[:, 0] > 0.5
    assert weights[right].mean() > 5 * weights[~right].mean()
    worse_there = Outputs("binary", 0.5, right.float(), source, source, target, here)
    worse_elsewhere = Outputs("binary", 0.5, (~right).float(), source, source, target, here)
    for criterion in (importance_weighted, deep_embedded):
        assert criterion(worse_there) < criterion(worse_elsewhere)


def test_the_control_variate_takes_out_what_weights_explain():
    train = torch.linspace(-1, 1, 50).unsqueeze(1)
    valid, target = train[::3] + 0.1, train + 0.5
    losses = torch.full((len(valid),), 0.3)
    constant = Outputs("binary", 0.5, losses, valid, train, target, train)
    assert abs(float(constant.weights.mean()) - 1) > 0.05
    assert importance_weighted(constant) != pytest.approx(-0.3, abs=1e-2)
    assert deep_embedded(constant) == pytest.approx(-0.3, abs=1e-6)


def test_the_logistic_regression_is_scikit_learns():
    linear = pytest.importorskip("sklearn.linear_model")
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(80, 3, generator=rng).double()
    y = (x[:, 0] + torch.randn(80, generator=rng) > 0).double()
    ours = logistic_regression(x, y)
    theirs = linear.LogisticRegression(C=1.0, tol=1e-10).fit(x.numpy(), y.numpy())
    expected = torch.tensor([*theirs.coef_[0], *theirs.intercept_])
    assert torch.allclose(ours, expected, atol=1e-3)


def test_a_regression_has_the_criteria_that_read_no_classes():
    found = values_of(outputs(torch.zeros(3, 1), "regression"))
    assert list(found) == ["iwcv", "dev", "source"]
    assert list(values_of(outputs(torch.eye(3)))) == list(CRITERIA)
