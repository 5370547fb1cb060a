from __future__ import annotations

import math

import pytest
import torch

from gtl.errors import ConfigError, GtlError
from gtl.weightings import GCS, Equal, Fixed, RandomFixed


@pytest.fixture
def make(problem):
    setting = problem()
    optimizer = torch.optim.Adam(setting.model.parameters())
    return lambda: setting.step(optimizer)


def plain_gradients(step, weights):
    total = sum(weight * step.losses[name].mean() for name, weight in weights.items())
    found = torch.autograd.grad(
        total, list(step.parameters.values()), retain_graph=True, allow_unused=True
    )
    return dict(zip(step.parameters, found))


def assert_gradients(step, expected):
    for name, parameter in step.parameters.items():
        if expected[name] is None:
            assert parameter.grad is None
        else:
            torch.testing.assert_close(parameter.grad, expected[name])


def test_equal_sums_the_mean_losses_and_replaces_old_gradients(make):
    step = make()
    expected = plain_gradients(step, dict.fromkeys(step.losses, 1.0))
    for parameter in step.parameters.values():
        parameter.grad = torch.full_like(parameter, 9.0)
    assert Equal().backward(step) == {"target": 1.0, "first": 1.0, "second": 1.0}
    assert_gradients(step, expected)


def test_fixed_weighs_as_told_and_leaves_out_what_weighs_nothing(make):
    step = make()
    expected = plain_gradients(step, {"target": 1.0, "first": 0.25})
    weighting = Fixed({"first": 0.25, "second": 0.0})
    weighting.setup(list(step.losses), "target")
    assert weighting.backward(step) == {"target": 1.0, "first": 0.25, "second": 0.0}
    assert_gradients(step, expected)


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_fixed_refuses_weights_that_make_no_sense(weight):
    with pytest.raises(ConfigError, match="first"):
        Fixed({"first": weight})


def test_fixed_refuses_a_task_that_is_not_there():
    with pytest.raises(ConfigError, match="the tasks are: target, second"):
        Fixed({"first": 1.0}).setup(["target", "second"], "target")


def test_random_weights_are_drawn_once_from_the_seed(make):
    step = make()
    one, two, other = RandomFixed(seed=3), RandomFixed(seed=3), RandomFixed(seed=4)
    for weighting in (one, two, other):
        weighting.setup(list(step.losses), "target")
    first = one.backward(step)
    assert one.backward(make()) == first == two.backward(make()) != other.backward(make())
    assert all(0.16 <= weight <= 0.78 for weight in first.values())
    other.load_state_dict(one.state_dict())
    assert other.backward(make()) == first


def test_random_weights_ask_for_a_sensible_range():
    with pytest.raises(ConfigError, match="low"):
        RandomFixed(low=0.5, high=0.1)


@pytest.mark.parametrize("weighting", [Equal(), Fixed({}), RandomFixed()])
def test_no_target_is_needed(make, weighting):
    step = make()
    step.target = None
    weighting.setup(list(step.losses), None)
    assert set(weighting.backward(step)) == set(step.losses)


def test_an_empty_task_weighs_nothing(problem, parts):
    setting = problem("sum", {"first": parts.Nothing()})
    step = setting.step(torch.optim.Adam(setting.model.parameters()))
    assert Equal().backward(step) == {"target": 1.0, "first": 0.0}
    assert setting.model.tasks["first"].head.weight.grad is None


def test_a_loss_that_is_not_finite_is_named(make):
    step = make()
    step.losses["second"] = step.losses["second"] * math.inf
    with pytest.raises(GtlError, match=r"'second' is inf"):
        Equal().backward(step)


class TwoPulls:
    """Target and auxiliary gradients written down: shared (3, 4), and a private parameter each."""

    target, shared, optimizer = "target", ("shared",), None

    def __init__(self, pull):
        shared = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
        own = [torch.nn.Parameter(torch.zeros(1, dtype=torch.float64)) for _ in "ab"]
        self.parameters = {"shared": shared, "a": own[0], "b": own[1]}
        one = shared @ shared.new_tensor([3.0, 4.0]) + 2 * own[0]
        two = shared @ shared.new_tensor(pull) + 5 * own[1]
        self.losses = {"target": one.flatten(), "other": two.flatten()}


@pytest.mark.parametrize(
    ("gate", "pull", "weight", "cosine"),
    [
        ("cosine", [5.0, 0.0], 0.6, 0.6),
        ("sign", [5.0, 0.0], 1.0, 0.6),
        ("cosine", [-5.0, 0.0], 0.0, -0.6),
        ("sign", [-5.0, 0.0], 0.0, -0.6),
        ("cosine", [-4.0, 3.0], 0.0, 0.0),
        ("sign", [-4.0, 3.0], 1.0, 0.0),
    ],
)
def test_gcs_by_hand(gate, pull, weight, cosine):
    step, weighting = TwoPulls(pull), GCS(gate)
    assert weighting.backward(step) == pytest.approx({"target": 1.0, "other": weight})
    assert weighting.consistency == pytest.approx({"other": cosine})
    shared = torch.tensor([3.0, 4.0]).double() + weight * torch.tensor(pull).double()
    torch.testing.assert_close(step.parameters["shared"].grad, shared)
    assert step.parameters["a"].grad.tolist() == [2.0]
    assert step.parameters["b"].grad.tolist() == [5.0]  # private: not gated


def test_gcs_refuses_what_it_cannot_do():
    with pytest.raises(ConfigError, match="cosine"):
        GCS(gate="maybe")
    with pytest.raises(ConfigError, match="weighting='equal'"):
        GCS().setup(["one"], None)
