"""AUX-TS without its network, or with one weight for all samples of a task."""

from __future__ import annotations

import pytest
import torch

from gtl.errors import ConfigError
from gtl.weightings import SELAR, AuxTS


def direct(**options):
    return AuxTS(network=False, **{"refresh": 1, **options})


def test_without_a_network_a_sample_weighs_what_the_look_ahead_says(parabolas):
    step = parabolas({"target": [1.0], "other": [-2.0, 3.0]})
    # From 0, with weights 1 and 0.3, w goes to 0.5 (2 + 0.3) = 1.15, beyond the meta loss's
    # minimum at 1: what pulls back is useful, what pulls further is not.
    assert direct().backward(step) == pytest.approx({"target": 1.0, "other": 0.3})
    assert step.pull() == pytest.approx(-2 + (0.6 * 4) / 2)


def test_without_a_network_tasks_share_the_total_by_what_they_are_worth(parabolas):
    step = parabolas({"target": [1.0], "one": [3.0], "two": [6.0], "three": [-1.0]}, lr=0.01)
    weights = direct(auxiliary_weight=0.1).backward(step)
    assert weights == pytest.approx({"target": 1.0, "one": 0.1, "two": 0.2, "three": 0.0})


@pytest.mark.parametrize(
    ("level", "expected"),
    # Pulls -2, 4 and 3, 5: clipped and then averaged 2 and 4, averaged and then clipped 1 and 4.
    [("sample", [0.2, 0.4]), ("task", [0.12, 0.48])],
)
def test_a_task_is_worth_its_mean_and_a_sample_what_it_is_itself(parabolas, level, expected):
    step = parabolas({"target": [1.0], "mixed": [-2.0, 4.0], "pure": [3.0, 5.0]}, lr=0.01)
    weights = direct(level=level).backward(step)
    assert [weights["mixed"], weights["pure"]] == pytest.approx(expected)


def test_without_a_network_the_last_weights_hold_until_the_next_look_ahead(parabolas):
    weighting = direct(refresh=3)
    good, bad = ({"target": [1.0], "one": [3.0], "two": [c]} for c in (6.0, -6.0))
    seen = [weighting.backward(parabolas(c, lr=0.01)) for c in (good, bad, bad, bad)]
    assert seen[0] == seen[1] == seen[2] == pytest.approx({"target": 1.0, "one": 0.2, "two": 0.4})
    assert seen[3] == pytest.approx({"target": 1.0, "one": 0.6, "two": 0.0})


def test_without_a_network_nothing_useful_is_plain_training(parabolas):
    step = parabolas({"target": [1.0], "other": [-2.0]}, lr=0.01)
    assert direct().backward(step) == {"target": 1.0, "other": 0.0}
    assert step.pull() == pytest.approx(-2.0)


@pytest.mark.parametrize("level", ["sample", "task"])
def test_both_engines_say_the_same_without_a_network(problem, warm, level):
    found = []
    for look_ahead in ("directional", "unrolled"):
        setting = problem("sum")
        optimizer = torch.optim.Adam(setting.model.parameters(), lr=1e-2)
        warm(setting, optimizer)
        weighting = direct(level=level, look_ahead=look_ahead)
        found.append(weighting.backward(setting.step(optimizer)))
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def test_without_a_network_noise_falls_below_a_useful_task(useful_and_noise):
    weighting = direct()
    seen = [weighting.backward(step) for step in useful_and_noise(80, seed=1)]
    useful, noise = (sum(w[name] for w in seen) / 80 for name in ("useful", "noise"))
    assert noise < 0.8 * useful


def test_where_all_samples_of_a_task_are_alike_both_levels_are_the_same(parabolas):
    found = []
    for level in ("sample", "task"):
        torch.manual_seed(2)
        weighting = AuxTS(hidden=5, refresh=1, level=level, consistency="parameters")
        weighting.setup(["target", "one", "two"], "target")
        centers = {"target": [1.0, 1.0], "one": [3.0, 3.0, 3.0], "two": [-6.0]}
        found.append([weighting.backward(parabolas(centers, lr=0.01)) for _ in range(5)])
    for one, two in zip(*found):
        assert one == pytest.approx(two)
    assert found[1][-1]["one"] > found[1][0]["one"]


def test_at_task_level_all_samples_of_a_task_weigh_alike(parabolas):
    weighting = AuxTS(refresh=1, level="task", consistency="parameters")
    weighting.setup(["target", "other"], "target")
    step = parabolas({"target": [1.0], "other": [3.0, 5.0, -2.0]})
    weights = weighting.backward(step)
    assert step.pull() == pytest.approx(-2 - 2 * weights["other"] * 2)


def test_a_target_weighed_down_to_nothing_does_not_blow_up_the_others(parabolas):
    weighting = SELAR(hidden=1)
    step = parabolas({"target": [1.0], "other": [3.0]})
    weighting.setup(["target", "other"], "target")
    with torch.no_grad():
        for parameter in weighting.network.parameters():
            parameter.zero_()
        weighting.network.hidden.weight[0, 1] = 1.0  # reads: is this the target?
        weighting.network.output.weight[0, 0] = -90.0
    weights = weighting.backward(step)
    assert weights["other"] == pytest.approx(1e3)
    assert 0 <= weights["target"] < 1e-3
    assert step.pull() == pytest.approx(-6e3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "graph"}, "`level` is 'graph'"),
        ({"network": False, "normalize": "target"}, "normalize='auxiliary'"),
        ({"network": False, "normalize": None}, "normalize='auxiliary'"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        AuxTS(**options)
