from __future__ import annotations

import pytest
import torch

from gtl.errors import ConfigError
from gtl.weightings import SLGrad


def test_weights_by_hand(parabolas):
    # At w = 0 a sample with center c pulls 4 c times down the held-out loss (w - 1)^2.
    step = parabolas({"target": [1.0, 3.0], "other": [-2.0, 0.0, 3.0]})
    weights = SLGrad().backward(step)
    # Means of what is useful: 8 and 4; they become 2 * 8 / 12 and 2 * 4 / 12.
    assert weights == pytest.approx({"target": 4 / 3, "other": 2 / 3})
    # Samples: 4, 12 and 0, 0, 12, each over 6; the gradient is the mean of -2 c times that.
    assert step.pull() == pytest.approx((2 / 3 * -2 + 2 * -6) / 2 + (2 * -6) / 3)


def test_samples_that_judged_count_as_much_as_the_others_of_the_target(parabolas):
    centers = {"target": [1.0, 3.0, 5.0], "other": [4.0]}
    step = parabolas(centers, meta=None, held=[True, False, False])
    # 12 and 20, so 16 for the one that judged; 16 for the other task.
    assert SLGrad().backward(step) == pytest.approx({"target": 1.0, "other": 1.0})
    assert step.pull() == pytest.approx((-2 * 1 - 2 * 3 * 0.75 - 2 * 5 * 1.25) / 3 - 8)


def test_a_single_target_sample_judges_and_counts_like_the_other_tasks(parabolas):
    step = parabolas({"target": [1.0], "other": [4.0]}, meta=None, held=[True])
    assert SLGrad().backward(step) == pytest.approx({"target": 1.0, "other": 1.0})


def test_where_nothing_helps_the_target_counts_alone(parabolas):
    step = parabolas({"target": [-1.0, -3.0], "other": [-2.0]})
    assert SLGrad().backward(step) == {"target": 1.0, "other": 0.0}
    assert step.pull() == pytest.approx(4.0)


def test_where_the_meta_loss_is_flat_the_target_counts_alone(parabolas):
    step = parabolas({"target": [2.0], "other": [3.0]}, meta=0.0)
    assert SLGrad().backward(step) == {"target": 1.0, "other": 0.0}


def test_weights_of_a_model_are_those_of_one_backward_pass_a_sample(problem):
    setting = problem("noisy")
    step = setting.step(torch.optim.RMSprop(setting.model.parameters()))
    names = list(step.parameters)
    held = step.hold_back(0)

    def gradient(loss):
        found = torch.autograd.grad(
            loss, [step.parameters[n] for n in names], retain_graph=True, allow_unused=True
        )
        zero = [torch.zeros_like(step.parameters[n]) for n in names]
        return torch.cat([(z if g is None else g).flatten() for g, z in zip(found, zero)])

    uphill = gradient(step.losses["target"][held].mean())
    useful = {
        name: torch.stack([(gradient(loss) @ uphill).clamp(min=0) for loss in losses])
        for name, losses in step.losses.items()
    }
    useful["target"][held] = useful["target"][~held].mean()
    total = sum(values.mean() for values in useful.values())
    expected = {name: float(3 * values.mean() / total) for name, values in useful.items()}
    terms = [(3 * useful[name] / total * step.losses[name]).mean() for name in useful]
    whole = gradient(sum(terms))
    weights = SLGrad().backward(step)
    assert weights == pytest.approx(expected, rel=1e-4)
    got = torch.cat([step.parameters[n].grad.flatten() for n in names])
    torch.testing.assert_close(got, whole, rtol=0, atol=1e-5 * float(whole.abs().max()))


def test_noise_counts_less_than_a_useful_task(useful_and_noise):
    weighting = SLGrad()
    seen = [weighting.backward(step) for step in useful_and_noise(100, seed=1)]
    useful, noise = (sum(w[name] for w in seen) / 100 for name in ("useful", "noise"))
    assert noise < 0.8 * useful


def test_without_target_samples_every_task_counts_once(parabolas):
    step = parabolas({"target": [], "other": [3.0]})
    assert SLGrad().backward(step) == {"target": 0.0, "other": 1.0}


def test_it_needs_a_target():
    with pytest.raises(ConfigError, match=r"SLGrad .*weighting='equal'"):
        SLGrad().setup(["one"], None)
