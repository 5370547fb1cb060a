from __future__ import annotations

import math

import pytest

from gtl.errors import ConfigError
from gtl.weightings import DWA

PULLS = {"target": [3.0, 4.0], "slow": [-1.0, 2.0]}


def go(weighting, step, targets, slows):
    """Weights of a step for each pair of losses."""
    return [
        weighting.backward(step(PULLS, {"target": one, "slow": two}))
        for one, two in zip(targets, slows)
    ]


def test_weights_by_hand(by_hand):
    # Windows of two steps: means 4, 2, 3 of the target and 8, 8, 4 of the other.
    seen = go(DWA(window=2), by_hand, [5, 3, 2, 2, 1, 5, 9], [8, 8, 10, 6, 4, 4, 9])
    assert seen[:4] == [{"target": 1.0, "slow": 1.0}] * 4
    third = [math.exp(0.5 / 2), math.exp(1 / 2)]
    fourth = [math.exp(1.5 / 2), math.exp(0.5 / 2)]
    for weights, shares in zip(seen[4:], [third, third, fourth]):
        expected = [2 * share / sum(shares) for share in shares]
        assert list(weights.values()) == pytest.approx(expected)


def test_the_gradient_is_that_of_the_weighted_sum(by_hand):
    weighting = DWA(window=1, temperature=1.0)
    go(weighting, by_hand, [4.0, 2.0], [4.0, 4.0])
    step = by_hand(PULLS)
    weights = weighting.backward(step)
    one, two = weights["target"], weights["slow"]
    assert one + two == pytest.approx(2.0) and two / one == pytest.approx(math.exp(0.5))
    assert step.pull() == pytest.approx([3 * one - two, 4 * one + 2 * two])
    assert step.pull("slow") == pytest.approx([2 * two])


def test_a_task_that_stands_still_comes_to_count_more_than_one_that_falls(by_hand):
    weighting = DWA(window=5)
    falling = [0.9**i for i in range(60)]
    weights = go(weighting, by_hand, falling, [1.0] * 60)[-1]
    assert weights["slow"] > 1.1 > 0.9 > weights["target"]


@pytest.mark.parametrize("before", [0.0, -1.0])
def test_an_earlier_mean_that_is_not_positive_says_nothing(by_hand, before):
    seen = go(DWA(window=1), by_hand, [1.0] * 3, [before, 5.0, 5.0])
    assert seen[-1] == {"target": 1.0, "slow": 1.0}


def test_a_loss_that_rises_from_next_to_nothing_does_not_silence_the_others(by_hand):
    weights = go(DWA(window=1), by_hand, [1.0] * 3, [1e-12, 1.0, 1.0])[-1]
    shares = [math.exp(0.5), math.exp(5.0)]
    assert weights["target"] == pytest.approx(2 * shares[0] / sum(shares))


def test_a_task_without_samples_in_a_window_moves_nothing(by_hand):
    weighting = DWA(window=1)
    go(weighting, by_hand, [4.0], [4.0])
    step = by_hand(PULLS, {"target": 4.0})
    step.losses["slow"] = step.losses["slow"][:0]
    assert weighting.backward(step) == {"target": 1.0, "slow": 0.0}
    assert go(weighting, by_hand, [4.0], [4.0]) == [{"target": 1.0, "slow": 1.0}]


def test_it_needs_no_target_and_a_target_alone_weighs_one(by_hand):
    weighting = DWA(window=1)
    for _ in range(4):
        assert weighting.backward(by_hand({"only": [1.0]}, target=None)) == {"only": 1.0}


def test_state_of_other_tasks_is_refused(by_hand):
    one, other = DWA(), DWA()
    one.backward(by_hand(PULLS))
    other.setup(["target", "third"], "target")
    with pytest.raises(ConfigError, match="setup"):
        other.load_state_dict(one.state_dict())


@pytest.mark.parametrize("options", [{"window": 0}, {"temperature": 0.0}])
def test_arguments_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        DWA(**options)
