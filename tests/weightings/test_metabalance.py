from __future__ import annotations

import pytest
import torch
from torch import nn

from gtl.errors import ConfigError
from gtl.weightings import MetaBalance

# Gradients of length 5 and 10.
PULLS = {"target": [3.0, 4.0], "other": [-8.0, 6.0]}


def test_two_steps_by_hand(by_hand):
    weighting = MetaBalance(strength=0.7, decay=0.9)
    step = by_hand(PULLS)
    scale = 0.7 * 5 / 10 + 0.3
    assert weighting.backward(step) == pytest.approx({"target": 1.0, "other": scale})
    assert step.pull() == pytest.approx([3 - 8 * scale, 4 + 6 * scale])
    assert step.pull("other") == [2.0] and step.pull("target") == [2.0]  # own: as they are
    # The other's gradient is now of length 1; its average is (0.9 * 0.1 * 10 + 0.1) / 0.19.
    step = by_hand({**PULLS, "other": [0.6, 0.8]})
    scale = 0.7 * 5 / (1.0 / 0.19) + 0.3
    assert weighting.backward(step)["other"] == pytest.approx(scale)
    assert step.pull() == pytest.approx([3 + 0.6 * scale, 4 + 0.8 * scale])


@pytest.mark.parametrize(("strength", "length"), [(0.0, 10.0), (1.0, 5.0)])
def test_full_strength_makes_gradients_equally_long_and_none_changes_nothing(
    by_hand, strength, length
):
    step = by_hand(PULLS)
    MetaBalance(strength).backward(step)
    assert step.pull() == pytest.approx([3 - 0.8 * length, 4 + 0.6 * length])


def test_each_tensor_has_a_scale_of_its_own_and_one_that_a_task_misses_stops_nothing(by_hand):
    step = by_hand(PULLS)
    for place in ("first", "second"):
        step.parameters[place] = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    step.shared = ("first", "second", "encoder.last")
    # The target does not reach the first tensor, the other task does not reach the second.
    step.losses["other"] = step.losses["other"] + 7 * step.parameters["first"]
    step.losses["target"] = step.losses["target"] + 9 * step.parameters["second"]
    MetaBalance(1.0).backward(step)
    assert step.pull("first") == pytest.approx([7.0])
    assert step.pull("second") == pytest.approx([9.0])
    assert step.pull() == pytest.approx([3 - 4.0, 4 + 3.0])


def test_a_loud_task_no_longer_drowns_the_target(by_hand):
    weighting = MetaBalance(strength=1.0)
    for turn in range(30):
        step = by_hand({"target": [1.0, 0.0], "other": [0.0, 1000.0 + turn]})
        weighting.backward(step)
    across, along = step.pull()
    assert across == pytest.approx(1.0) and along == pytest.approx(1.0, rel=0.05)


def test_gradients_of_length_zero_give_no_nan(by_hand):
    weighting = MetaBalance()
    for pull in ([0.0, 0.0], [1.0, 0.0]):
        step = by_hand({"target": [0.0, 0.0], "other": pull})
        weighting.backward(step)
        assert step.pull() == pytest.approx([0.3 * value for value in pull])


def test_an_average_is_remembered_over_steps_without_samples(by_hand):
    weighting = MetaBalance(strength=1.0)
    weighting.backward(by_hand(PULLS))
    step = by_hand(PULLS)
    step.losses["target"] = step.losses["target"][:0]
    assert weighting.backward(step) == pytest.approx({"target": 0.0, "other": 0.5})


def test_it_needs_a_target_and_something_shared(by_hand):
    with pytest.raises(ConfigError, match=r"MetaBalance .*weighting='equal'"):
        MetaBalance().setup(["one"], None)
    step = by_hand(PULLS)
    step.shared = ()
    with pytest.raises(ConfigError, match="attach an adapter"):
        MetaBalance().backward(step)


def test_state_of_other_tasks_is_refused(by_hand):
    one, other = MetaBalance(), MetaBalance()
    one.backward(by_hand(PULLS))
    other.setup(["target", "third"], "target")
    with pytest.raises(ConfigError, match="setup"):
        other.load_state_dict(one.state_dict())


@pytest.mark.parametrize("options", [{"strength": 1.5}, {"decay": 1.0}])
def test_arguments_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        MetaBalance(**options)
