from __future__ import annotations

import pytest

from gtl.errors import ConfigError
from gtl.weightings import OLAux

# Cosines 0.6, -1 and 0 with the target, whatever the lengths.
PULLS = {"target": [3.0, 4.0], "with": [500.0, 0.0], "against": [-6.0, -8.0], "aside": [-4.0, 3.0]}


def test_two_windows_by_hand(by_hand):
    weighting = OLAux(window=2, lr=0.1)
    seen = []
    for _ in range(5):
        step = by_hand(PULLS)
        seen.append(weighting.backward(step))
    once = {"target": 1.0, "with": 1.12, "against": 0.8, "aside": 1.0}
    twice = {"target": 1.0, "with": 1.24, "against": 0.6, "aside": 1.0}
    for weights, expected in zip(seen, [dict.fromkeys(PULLS, 1.0)] * 2 + [once] * 2 + [twice]):
        assert weights == pytest.approx(expected)
    assert step.pull() == pytest.approx([3 + 1.24 * 500 - 0.6 * 6 - 4, 4 - 0.6 * 8 + 3])
    assert weighting.consistency == pytest.approx({"with": 0.6, "against": -1.0, "aside": 0.0})


def test_a_task_that_pulls_against_the_target_is_switched_off_and_a_helper_is_bounded(by_hand):
    weighting = OLAux(window=1, lr=0.5)
    for _ in range(9):
        step = by_hand(PULLS)
        weights = weighting.backward(step)
    assert weights == pytest.approx({"target": 1.0, "with": 2.0, "against": 0.0, "aside": 1.0})
    assert step.pull("against") == [2.0]  # what is the task's own goes on learning
    assert step.pull() == pytest.approx([3 + 1000 - 4, 4 + 3])


def test_noise_falls_below_a_useful_task(useful_and_noise):
    weighting = OLAux()
    *_, weights = (weighting.backward(step) for step in useful_and_noise(80, seed=1))
    assert weights["noise"] < 0.6 * weights["useful"]


def test_a_task_or_a_target_without_samples_says_nothing(by_hand):
    weighting = OLAux(window=1, lr=0.5)
    weighting.setup(list(PULLS), "target")
    for missing in ("with", "target"):
        step = by_hand(PULLS)
        step.losses[missing] = step.losses[missing][:0]
        assert weighting.backward(step)[missing] == 0.0
    # "with" had one window of silence and one without a target, the others heard once.
    weights = weighting.backward(by_hand(PULLS))
    assert weights == pytest.approx({"target": 1.0, "with": 1.0, "against": 0.5, "aside": 1.0})


def test_it_needs_a_target_and_something_shared(by_hand):
    with pytest.raises(ConfigError, match=r"OLAux .*weighting='equal'"):
        OLAux().setup(["one"], None)
    step = by_hand(PULLS)
    step.shared = ()
    with pytest.raises(ConfigError, match="attach an adapter"):
        OLAux().backward(step)


def test_state_of_other_tasks_is_refused(by_hand):
    one, other = OLAux(), OLAux()
    one.backward(by_hand(PULLS))
    other.setup(["target", "third"], "target")
    with pytest.raises(ConfigError, match="setup"):
        other.load_state_dict(one.state_dict())


@pytest.mark.parametrize("options", [{"window": 0}, {"lr": 0.0}, {"start": 3.0}, {"largest": 0.5}])
def test_arguments_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        OLAux(**options)
