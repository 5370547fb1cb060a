from __future__ import annotations

import math

import pytest
import torch

from gtl.errors import ConfigError
from gtl.weightings import Uncertainty

PULLS = {"target": [3.0, 4.0], "other": [-1.0, 2.0]}
VALUES = {"target": 3.0, "other": 0.25}


def test_it_starts_with_equal_weights_and_a_step_of_adam_is_the_learning_rate(by_hand):
    weighting = Uncertainty(lr=0.5)
    step = by_hand(PULLS, VALUES)
    assert weighting.backward(step) == {"target": 1.0, "other": 1.0}
    assert step.pull() == [2.0, 6.0] and step.pull("other") == [2.0]
    # A loss above 1 raises its variance, one below lowers it.
    weights = weighting.backward(by_hand(PULLS, VALUES))
    assert weights == pytest.approx({"target": math.exp(-0.5), "other": math.exp(0.5)})


def test_weights_and_gradients_are_those_of_a_plain_loop(by_hand):
    weighting = Uncertainty(lr=0.1)
    s = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([s], lr=0.1)
    for turn in range(7):
        values = {"target": 3.0 - 0.1 * turn, "other": 0.25}
        losses = torch.tensor(list(values.values())).double()
        adam.zero_grad()
        (torch.exp(-s) * losses + s).sum().backward()
        expected = torch.exp(-s).tolist()
        adam.step()
        step = by_hand(PULLS, values)
        weights = weighting.backward(step)
        assert list(weights.values()) == pytest.approx(expected)
        mixed = [3 * expected[0] - expected[1], 4 * expected[0] + 2 * expected[1]]
        assert step.pull() == pytest.approx(mixed)
        assert step.pull("other") == pytest.approx([2 * expected[1]])


def test_tasks_come_to_weigh_alike_whatever_the_unit_of_their_loss(by_hand):
    weighting = Uncertainty(lr=0.05)
    for _ in range(900):
        weights = weighting.backward(by_hand(PULLS, {"target": 40.0, "other": 0.1}))
    assert weights == pytest.approx({"target": 1 / 40, "other": 10.0}, rel=0.02)


@pytest.mark.parametrize("value", [0.0, -2.0])
def test_a_loss_that_is_not_positive_stops_at_the_bound(by_hand, value):
    weighting = Uncertainty(lr=1.0, largest=50.0)
    for _ in range(60):
        weights = weighting.backward(by_hand(PULLS, {"target": 1.0, "other": value}))
    assert weights["other"] == pytest.approx(50.0)


def test_it_needs_no_target(by_hand):
    weighting = Uncertainty(lr=0.5)
    weighting.setup(["target", "other"], None)
    for _ in range(2):
        weights = weighting.backward(by_hand(PULLS, VALUES, target=None))
    assert weights["other"] > 1 > weights["target"]


def test_a_task_without_samples_learns_nothing(by_hand):
    weighting = Uncertainty(lr=0.5)
    weighting.setup(["target", "other"], "target")
    for _ in range(3):
        step = by_hand(PULLS, VALUES)
        step.losses["other"] = step.losses["other"][:0]
        assert weighting.backward(step)["other"] == 0.0
        assert step.pull("other") is None
    assert weighting.backward(by_hand(PULLS, VALUES))["other"] == 1.0


def test_a_target_alone_stays_at_weight_one(by_hand):
    weighting = Uncertainty(lr=0.5)
    for _ in range(3):
        assert weighting.backward(by_hand({"target": [3.0, 4.0]}, VALUES)) == {"target": 1.0}


def test_state_of_other_tasks_is_refused(by_hand):
    one, other = Uncertainty(), Uncertainty()
    one.backward(by_hand(PULLS))
    for tasks in (["target", "third"], None):
        if tasks:
            other.setup(tasks, "target")
        with pytest.raises(ConfigError, match="setup"):
            other.load_state_dict(one.state_dict())


def test_a_task_unknown_at_setup_is_refused(by_hand):
    weighting = Uncertainty()
    weighting.setup(["target"], "target")
    with pytest.raises(ConfigError, match=r"'other'.*setup"):
        weighting.backward(by_hand(PULLS))


@pytest.mark.parametrize("options", [{"lr": 0.0}, {"largest": 0.5}])
def test_arguments_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        Uncertainty(**options)
