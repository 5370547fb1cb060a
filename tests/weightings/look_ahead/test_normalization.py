"""Normalized weights, and the gradients that a network gets through them."""

from __future__ import annotations

import pytest
import torch

from gtl.weightings.look_ahead.normalization import by_target, over_auxiliary


def weights(target, **others):
    return {"target": torch.tensor(target), **{n: torch.tensor(v) for n, v in others.items()}}


def test_over_auxiliary_the_target_has_weight_one_and_the_others_a_given_mean():
    found = over_auxiliary(weights([0.3, 0.1], one=[1.0, 3.0], two=[4.0]), "target", 0.6)
    # The means 2 and 4 of the tasks have the mean 3.
    assert found["target"].tolist() == [1.0, 1.0]
    torch.testing.assert_close(found["one"], torch.tensor([0.2, 0.6]))
    torch.testing.assert_close(found["two"], torch.tensor([0.8]))


def test_over_auxiliary_weights_that_are_all_zero_stay_zero():
    found = over_auxiliary(weights([1.0], one=[0.0, 0.0]), "target", 0.6)
    assert found["one"].tolist() == [0.0, 0.0]


def test_by_target_all_weights_are_divided_by_its_mean():
    found = by_target(weights([1.0, 3.0], one=[1.0, 5.0]), "target")
    assert found["target"].tolist() == [0.5, 1.5]
    assert found["one"].tolist() == [0.5, 2.5]


def test_by_target_without_samples_of_the_target_nothing_changes():
    found = by_target({"one": torch.tensor([1.0, 5.0])}, "target")
    assert found["one"].tolist() == [1.0, 5.0]


def test_where_the_bound_is_active_the_others_still_get_a_gradient():
    """With a gradient through the bound the ratio would be constant, and the gradient zero."""
    given = weights([1e-9], one=[2.0, 4.0])
    given["one"].requires_grad_()
    found = by_target(given, "target")
    assert found["one"].mean().item() == pytest.approx(1e3)
    (gradient,) = torch.autograd.grad(found["one"].sum(), given["one"])
    # The divisor is a thousandth of the mean weight, 3.
    torch.testing.assert_close(gradient, torch.full((2,), 1e3 / 3))
