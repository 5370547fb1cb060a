"""Critics: reversed gradients, balanced domains, and steps of their own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gtl.errors import ConfigError
from gtl.tasks.domain.critic import Adversary, Critic, accuracy, domain_losses
from gtl.tasks.domain.own_steps import OwnSteps
from gtl.tasks.domain.task import Domains, side_weights


def test_the_factor_rises_with_the_progress_of_the_training():
    adversary = Adversary(0.5, 10.0, 4, 1)
    at = [float(adversary.factor(torch.tensor(p).double())) for p in (0.0, 0.1, 1.0)]
    assert at == pytest.approx([0.0, 0.5 * math.tanh(0.5), 0.5 * math.tanh(5.0)])
    assert float(Adversary(0.5, None, 4, 1).factor(torch.tensor(0.0))) == 0.5


def test_the_encoder_gets_the_negative_gradient_and_the_critic_its_own(
    domains, train, view, losses
):
    found = {}
    for strength in (0.0, 1.0, 2.0):
        model = train({"name": "dann", "alpha": None, "strength": strength})
        value = losses(model, view(model, domains())).mean()
        parameters = [model.encoder.scale, *model.tasks["task"].parameters()]
        found[strength] = value, torch.autograd.grad(value, parameters)
    critic = model.tasks["task"].adversary
    batch = domains()
    items = torch.cat([batch.graph.x[1:], batch.own.x[1:]]) * model.encoder.scale
    sides = Domains(items[:5], items[5:])
    plain = domain_losses(critic(items), sides).mean()
    (slope,) = torch.autograd.grad(plain, model.encoder.scale)
    assert torch.equal(found[0.0][1][0], torch.zeros(3))
    torch.testing.assert_close(found[1.0][1][0], -slope)
    torch.testing.assert_close(found[2.0][1][0], -2 * slope)
    for strength in (1.0, 2.0):  # neither the loss nor the critic's gradient is changed
        assert torch.equal(found[strength][0], found[0.0][0])
        assert all(map(torch.equal, found[strength][1][1:], found[0.0][1][1:]))


def test_both_domains_count_the_same_whatever_their_sizes():
    sides = Domains(torch.zeros(2, 1), torch.zeros(5, 1))
    logits = torch.tensor([1.0, 2.0, 0.0, 0.0, -1.0, 3.0, -2.0])
    each = domain_losses(logits, sides)
    source, target = nn.functional.softplus(-logits[:2]), nn.functional.softplus(logits[2:])
    assert float(each.mean()) == pytest.approx(float((source.mean() + target.mean()) / 2))
    assert float(accuracy(logits, sides)) == pytest.approx((1 + 4 / 5) / 2)
    assert side_weights(sides.source[:0], sides.target).tolist() == [1.0] * 5


def test_own_steps_are_those_of_adam():
    torch.manual_seed(0)
    module = Critic(3, 5, 1).double()
    own = OwnSteps(module, lr=0.03)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.03)
    x = torch.randn(7, 3).double()
    for step in range(5):
        optimizer.zero_grad()
        (module(x) - step).square().mean().backward()
        optimizer.step()
        own.step(lambda critic, step=step: (critic(x) - step).square().mean())
    torch.testing.assert_close(own(x), module(x).detach(), rtol=1e-12, atol=1e-14)


def test_own_steps_keep_everything_in_buffers():
    own = OwnSteps(Critic(3, 5, 1), lr=0.03)
    assert not list(own.parameters()) and int(own.count) == 0
    other = OwnSteps(Critic(3, 5, 1), lr=0.03)
    x = torch.randn(7, 3)

    def loss(critic):
        return critic(x).square().mean()

    own.step(loss), own.step(loss)
    other.load_state_dict(own.state_dict())
    own.step(loss), other.step(loss)
    assert all(torch.equal(a, b) for a, b in zip(own.buffers(), other.buffers()))
    assert own.double()(x.double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strength": -1.0}, "`strength` is -1.0"),
        ({"alpha": -1.0}, "`alpha` is -1.0"),
        ({"hidden": 0}, "`hidden` is 0, expected 1 or more"),
        ({"layers": -1}, "`layers` is -1, expected 0 or more"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    known = {"strength": 1.0, "alpha": 10.0, "hidden": 4, "layers": 1}
    with pytest.raises(ConfigError, match=words):
        Adversary(**{**known, **options})
