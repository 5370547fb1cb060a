from __future__ import annotations

import copy

import pytest
import torch

from gtl.errors import ConfigError, GtlError
from gtl.weightings import AutoLambda
from gtl.weightings.learned import TaskNumbers


@pytest.fixture
def slopes(monkeypatch):
    """What the weights are told to descend."""
    told = []
    monkeypatch.setattr(TaskNumbers, "descend", lambda self, slopes, low: told.append(slopes))
    return told


@pytest.mark.parametrize(
    ("center", "target_slope", "other_slope"),
    # lr 0.5, weights 0.1: w goes from 0 to 0.1 (1 + center), and each slope is
    # 2 (w - 1) times what a unit of weight moves w by: 1 and center.
    [(3.0, -1.2, -3.6), (-3.0, -2.4, 7.2), (0.0, -1.8, 0.0)],
)
def test_the_slopes_by_hand(parabolas, slopes, center, target_slope, other_slope):
    step = parabolas({"target": [1.0, 1.0], "other": [center, center]})
    assert AutoLambda().backward(step) == {"target": 0.1, "other": 0.1}
    assert slopes[0] == pytest.approx({"target": target_slope, "other": other_slope})
    assert step.pull() == pytest.approx(-0.2 - 0.2 * center)


def test_a_first_step_of_adam_moves_each_weight_by_the_learning_rate(parabolas):
    weighting = AutoLambda(lr=0.01)
    for _ in range(2):
        weights = weighting.backward(parabolas({"target": [1.0], "other": [-3.0]}))
    assert weights == pytest.approx({"target": 0.11, "other": 0.09})


def test_samples_held_back_judge_and_do_not_step_ahead(parabolas, slopes):
    step = parabolas({"target": [1.0, 5.0], "other": [3.0]}, meta=None, held=[True, False])
    AutoLambda().backward(step)
    # Ahead w = 0.1 (5 + 3); the meta loss is (w - 1)^2, the real step follows all samples.
    assert slopes[0] == pytest.approx({"target": -0.4 * 5, "other": -0.4 * 3})
    assert step.pull() == pytest.approx(0.1 * -6 + 0.1 * -6)


@pytest.mark.parametrize("kind", ["momentum", "adam", "adamw"])
def test_the_slopes_are_those_of_the_real_step(problem, optimizers, warm, slopes, kind):
    setting = problem("noisy")
    optimizer = optimizers[kind](setting.model.parameters())
    warm(setting, optimizer)
    step = setting.step(optimizer)
    AutoLambda(start=0.3).backward(step)
    held = step.hold_back(0)
    before = {n: p.detach().clone() for n, p in step.parameters.items()}
    state = copy.deepcopy(optimizer.state_dict())

    def meta(weights):
        losses = step.replay(dict(step.parameters))
        losses["target"] = losses["target"][~held]
        optimizer.zero_grad()
        sum(weights[name] * losses[name].mean() for name in losses).backward()
        optimizer.step()
        with torch.no_grad():
            value = float(step.meta_loss({}, held))
            for name, old in before.items():
                step.parameters[name].copy_(old)
        optimizer.load_state_dict(copy.deepcopy(state))
        return value

    size = max(map(abs, slopes[0].values()))
    for name in step.losses:
        ends = [meta({**dict.fromkeys(step.losses, 0.3), name: 0.3 + d}) for d in (1e-4, -1e-4)]
        expected = (ends[0] - ends[1]) / 2e-4
        assert slopes[0][name] == pytest.approx(expected, abs=1e-3 * size)


def test_between_look_aheads_the_weights_stay(parabolas):
    weighting = AutoLambda(lr=0.01, refresh=3)
    seen = [
        weighting.backward(parabolas({"target": [1.0], "other": [-3.0]}))["other"] for _ in range(5)
    ]
    assert seen == pytest.approx([0.1, 0.09, 0.09, 0.09, seen[-1]]) and seen[-1] < 0.09


def test_weights_end_at_zero(parabolas):
    weighting = AutoLambda(lr=0.06)
    for _ in range(4):
        weights = weighting.backward(parabolas({"target": [1.0], "other": [-3.0]}))
    assert weights["other"] == 0.0 < weights["target"]


def test_noise_falls_below_a_useful_task(useful_and_noise):
    weighting = AutoLambda(lr=2e-3)
    seen = [weighting.backward(step) for step in useful_and_noise(100, seed=1)]
    useful, noise = (sum(w[name] for w in seen[-30:]) / 30 for name in ("useful", "noise"))
    assert noise < 0.7 * useful


def test_a_step_without_target_samples_uses_what_was_learned(parabolas):
    weighting = AutoLambda(lr=0.01)
    weighting.backward(parabolas({"target": [1.0], "other": [-3.0]}))
    weights = weighting.backward(parabolas({"target": [], "other": [-3.0]}))
    assert weights == pytest.approx({"target": 0.0, "other": 0.09})


def test_a_target_alone_weighs_one(parabolas):
    assert AutoLambda().backward(parabolas({"target": [1.0]})) == {"target": 1.0}


def test_what_it_cannot_do_is_refused(parabolas):
    with pytest.raises(ConfigError, match=r"AutoLambda .*weighting='equal'"):
        AutoLambda().setup(["one"], None)
    step = parabolas({"target": [1.0], "other": [3.0]})
    step.optimizer = torch.optim.RMSprop(step.parameters.values())
    with pytest.raises(ConfigError, match="RMSprop"):
        AutoLambda().backward(step)
    with pytest.raises(GtlError, match="one step ahead"):
        AutoLambda().backward(parabolas({"target": [1.0], "other": [3.0]}, lr=1e300))


def test_state_of_other_tasks_is_refused(parabolas):
    one, other = AutoLambda(), AutoLambda()
    one.backward(parabolas({"target": [1.0], "other": [3.0]}))
    other.setup(["target", "third"], "target")
    with pytest.raises(ConfigError, match="setup"):
        other.load_state_dict(one.state_dict())


@pytest.mark.parametrize("options", [{"start": 0.0}, {"lr": 0.0}, {"refresh": 0}])
def test_arguments_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        AutoLambda(**options)
