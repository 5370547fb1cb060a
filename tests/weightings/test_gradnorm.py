from __future__ import annotations

import pytest
import torch

from gtl.errors import ConfigError
from gtl.weightings import GradNorm
from gtl.weightings.gradnorm import last_block

# Gradients of length 5 and 1.
PULLS = {"target": [3.0, 4.0], "other": [0.0, 1.0]}


def test_a_step_by_hand(by_hand):
    weighting = GradNorm(lr=0.1)
    step = by_hand(PULLS)
    assert weighting.backward(step) == {"target": 1.0, "other": 1.0}
    assert step.pull() == [3.0, 5.0]
    # The mean length is 3: the target's gradient is too long, the other's too short.
    weights = weighting.backward(by_hand(PULLS))
    assert weights == pytest.approx({"target": 0.9, "other": 1.1})


def test_weights_and_gradients_are_those_of_a_plain_loop(by_hand):
    weighting = GradNorm(alpha=0.7, lr=0.1)
    w = torch.ones(2, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([w], lr=0.1)
    lengths, first = torch.tensor([5.0, 1.0]).double(), torch.tensor([2.0, 4.0]).double()
    for turn in range(9):
        losses = torch.tensor([2.0 - 0.2 * turn, 4.0 + 0.1 * turn]).double()
        step = by_hand(PULLS, dict(zip(PULLS, losses.tolist())))
        weights = weighting.backward(step)
        assert list(weights.values()) == pytest.approx(w.tolist())
        one, two = w.tolist()
        assert step.pull() == pytest.approx([3 * one, 4 * one + two])
        assert step.pull("other") == pytest.approx([2 * two])
        ratio = losses / first
        aim = ((w * lengths).mean() * (ratio / ratio.mean()) ** 0.7).detach()
        adam.zero_grad()
        (w * lengths - aim).abs().sum().backward()
        adam.step()
        with torch.no_grad():
            w *= 2 / w.sum()


def test_gradients_become_equally_long(by_hand):
    weighting = GradNorm(alpha=0.0, lr=0.01)
    for _ in range(200):
        weights = weighting.backward(by_hand(PULLS))
    assert weights == pytest.approx({"target": 1 / 3, "other": 5 / 3}, rel=0.1)


def test_a_task_that_lags_gets_the_longer_gradient(by_hand):
    weighting, pulls = GradNorm(lr=0.01), {"target": [1.0, 0.0], "other": [0.0, 1.0]}
    for turn in range(60):
        weights = weighting.backward(by_hand(pulls, {"target": 0.9**turn, "other": 1.0}))
    assert weights["other"] > 1.2 > 0.8 > weights["target"] > 0


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_losses_that_are_not_positive_do_no_harm(by_hand, value):
    weighting = GradNorm()
    for values in ({"other": value}, {"other": 1.0}, {"target": value, "other": value}):
        weights = weighting.backward(by_hand(PULLS, values))
        assert all(weight > 0 for weight in weights.values())
        assert sum(weights.values()) == pytest.approx(2.0)


def test_a_weight_stays_positive_however_large_the_step(by_hand):
    weighting = GradNorm(lr=30.0)
    for _ in range(5):
        assert min(weighting.backward(by_hand(PULLS)).values()) > 0


def test_it_looks_at_the_last_block_or_at_everything(problem):
    found = {}
    for layer in ("last", "all"):
        setting = problem()
        step = setting.step(torch.optim.Adam(setting.model.parameters()))
        names = [n for n in step.shared if layer == "all" or ".second." in n]
        lengths = []
        for losses in step.losses.values():
            parts = torch.autograd.grad(
                losses.mean(), [step.parameters[n] for n in names], retain_graph=True
            )
            lengths.append(float(torch.cat([part.flatten() for part in parts]).norm()))
        weighting = GradNorm(lr=0.1, layer=layer)
        weighting.backward(step)
        middle = sum(lengths) / 3
        found[layer] = [0.9 if length > middle else 1.1 for length in lengths]
        scale = 3 / sum(found[layer])
        weights = [weighting.weights[name] for name in step.losses]
        assert weights == pytest.approx([scale * w for w in found[layer]], rel=1e-5)


def test_the_last_block_of_an_encoder():
    assert last_block(["encoder.blocks.9.w", "encoder.blocks.10.w", "encoder.blocks.10.a.b"]) == [
        "encoder.blocks.10.w",
        "encoder.blocks.10.a.b",
    ]
    assert last_block(["encoder.first.weight", "encoder.second.weight", "encoder.second.bias"]) == [
        "encoder.second.weight",
        "encoder.second.bias",
    ]


def test_it_needs_no_target(by_hand):
    weighting = GradNorm(lr=0.1)
    for _ in range(2):
        weights = weighting.backward(by_hand(PULLS, target=None))
    assert weights["other"] > weights["target"]


def test_a_task_without_samples_learns_nothing(by_hand):
    weighting = GradNorm(lr=0.1)
    weighting.setup(list(PULLS), "target")
    step = by_hand(PULLS)
    step.losses["other"] = step.losses["other"][:0]
    assert weighting.backward(step) == {"target": 1.0, "other": 0.0}
    assert weighting.backward(by_hand(PULLS)) == {"target": 1.0, "other": 1.0}


def test_a_frozen_encoder_is_refused_with_the_remedy(by_hand):
    step = by_hand(PULLS)
    step.shared = ()
    with pytest.raises(ConfigError, match="attach an adapter"):
        GradNorm().backward(step)


def test_state_of_other_tasks_is_refused(by_hand):
    one, other = GradNorm(), GradNorm()
    one.backward(by_hand(PULLS))
    other.setup(["target", "third"], "target")
    with pytest.raises(ConfigError, match="setup"):
        other.load_state_dict(one.state_dict())


@pytest.mark.parametrize("options", [{"alpha": -1.0}, {"lr": 0.0}, {"layer": "first"}])
def test_arguments_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        GradNorm(**options)
