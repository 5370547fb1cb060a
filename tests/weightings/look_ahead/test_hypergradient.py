"""Both engines against the central difference of the whole look-ahead through torch.optim."""

from __future__ import annotations

import copy

import pytest
import torch

from gtl.encoders import GIN
from gtl.errors import ConfigError, GtlError
from gtl.graph.schema import Columns, Schema
from gtl.roles import Batch, Task, View
from gtl.tasks import AttributeMasking, Supervised
from gtl.train.step import Step, TaskModel
from gtl.weightings import directional, unrolled
from gtl.weightings.look_ahead.hypergradient import (
    central_difference,
    forward_mode,
    meta_gradient,
    sample_slopes,
)
from gtl.weightings.look_ahead.optimizer_step import optimizer_step

OPTIMIZERS = ["sgd", "momentum", "nesterov", "adam", "amsgrad", "adamw"]


def weights_and_shares(step, held):
    generator = torch.Generator().manual_seed(7)
    weights, shares = {}, {}
    for name, losses in step.losses.items():
        draw = torch.rand(len(losses), generator=generator).to(losses.dtype)
        weights[name] = 0.2 + draw
        shares[name] = torch.full_like(losses, 1 / len(losses)).detach()
    if held is not None:
        shares["target"] = (~held).to(losses.dtype) / (~held).sum()
    return weights, shares


def gradient(step, weights, shares):
    total = sum((shares[n] * weights[n] * step.losses[n]).sum() for n in weights)
    found = torch.autograd.grad(
        total, list(step.parameters.values()), retain_graph=True, allow_unused=True
    )
    return {n: g for n, g in zip(step.parameters, found) if g is not None}


def meta_after_real_steps(step, weights, shares, held, steps=1) -> float:
    """Let torch.optim take the steps on the real parameters, judge, and put everything back."""
    before = {n: p.detach().clone() for n, p in step.parameters.items()}
    state = copy.deepcopy(step.optimizer.state_dict())
    for _ in range(steps):
        losses = step.replay(dict(step.parameters))
        total = sum((shares[n] * weights[n] * losses[n]).sum() for n in weights)
        step.optimizer.zero_grad()
        total.backward()
        step.optimizer.step()
    with torch.no_grad():
        meta = float(step.meta_loss({}, held))
        for name, value in before.items():
            step.parameters[name].copy_(value)
    step.optimizer.load_state_dict(state)
    step.optimizer.zero_grad()
    return meta


def numeric(step, weights, shares, held, along, steps=1, width=1e-4) -> float:
    """Derivative of the meta loss when the weights move ``along`` a direction."""
    moved = [{n: w + sign * width * along[n] for n, w in weights.items()} for sign in (1, -1)]
    up, down = (meta_after_real_steps(step, w, shares, held, steps) for w in moved)
    return (up - down) / (2 * width)


def directions(weights, count=4):
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        yield {n: torch.randn(len(w), generator=generator).to(w.dtype) for n, w in weights.items()}


@pytest.mark.parametrize("encoder", ["sum", "attention", "noisy"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_directional_equals_the_difference_of_real_steps(problem, optimizers, warm, kind, encoder):
    setting = problem(encoder)
    optimizer = optimizers[kind](setting.model.parameters())
    warm(setting, optimizer)
    step = setting.step(optimizer)
    held = step.hold_back(0)
    weights, shares = weights_and_shares(step, held)
    pulls = directional(step, gradient(step, weights, shares), shares, held)
    exact = unrolled(step, weights, shares, held)
    for along in directions(weights):
        expected = numeric(step, weights, shares, held, along)
        size = sum(float(exact[n].square().sum()) for n in exact) ** 0.5
        for got, tolerance in ((pulls, 1e-6), (exact, 1e-6)):
            value = sum(float((got[n] * along[n]).sum()) for n in got)
            assert value == pytest.approx(expected, abs=tolerance * size)


@pytest.mark.parametrize("steps", [2, 3])
@pytest.mark.parametrize("kind", ["momentum", "adam", "adamw"])
def test_unrolled_goes_through_several_steps(problem, optimizers, warm, kind, steps):
    setting = problem("attention")
    optimizer = optimizers[kind](setting.model.parameters())
    warm(setting, optimizer)
    step = setting.step(optimizer)
    held = step.hold_back(0)
    weights, shares = weights_and_shares(step, held)
    pulls = unrolled(step, weights, shares, held, steps)
    size = sum(float(pull.square().sum()) for pull in pulls.values()) ** 0.5
    for along in directions(weights, 2):
        expected = numeric(step, weights, shares, held, along, steps)
        value = sum(float((pulls[n] * along[n]).sum()) for n in pulls)
        assert value == pytest.approx(expected, abs=1e-6 * size)


def test_directional_equals_unrolled_through_graph_attention(problem, optimizers, warm):
    gat = pytest.importorskip("gtl.encoders.gat")
    encoder = gat.GAT(Schema(node=Columns(width=5)), width=7, depth=2, norm=None)
    setting = problem(encoder)
    optimizer = optimizers["adam"](setting.model.parameters())
    warm(setting, optimizer)
    step = setting.step(optimizer)
    held = step.hold_back(1)
    weights, shares = weights_and_shares(step, held)
    pulls = directional(step, gradient(step, weights, shares), shares, held)
    exact = unrolled(step, weights, shares, held)
    for name in pulls:
        torch.testing.assert_close(
            pulls[name], exact[name], rtol=1e-6, atol=1e-6 * float(exact[name].abs().max())
        )


def test_single_precision_is_within_a_thousandth(problem, optimizers, warm):
    found = []
    for dtype in (torch.float64, torch.float32):
        setting = problem("attention", dtype=torch.float64)
        warm(setting, optimizers["adam"](setting.model.parameters()), 3)
        optimizer = optimizers["adam"](setting.model.to(dtype).parameters())
        setting.graph = setting.graph.to(dtype=dtype)
        for parameter in setting.model.parameters():
            state = {"exp_avg": parameter.detach() * 0.01, "exp_avg_sq": parameter.detach() ** 2}
            optimizer.state[parameter] = {"step": torch.tensor(9.0), **state}
        step = setting.step(optimizer)
        weights, shares = weights_and_shares(step, None)
        pulls = directional(step, gradient(step, weights, shares), shares)
        found.append(torch.cat([pull.double() for pull in pulls.values()]))
    assert float((found[0] - found[1]).norm() / found[0].norm()) < 1e-3


def test_held_back_samples_have_no_pull_on_the_look_ahead(problem, optimizers):
    setting = problem()
    step = setting.step(optimizers["sgd"](setting.model.parameters()))
    held = step.hold_back(0)
    weights, shares = weights_and_shares(step, held)
    pulls = directional(step, gradient(step, weights, shares), shares, held)
    assert bool((pulls["target"][held] == 0).all())
    assert bool((pulls["target"][~held] != 0).all())


def test_weights_of_one_task_pull_differently(problem, optimizers):
    setting = problem()
    step = setting.step(optimizers["sgd"](setting.model.parameters()))
    weights, shares = weights_and_shares(step, None)
    pulls = directional(step, gradient(step, weights, shares), shares)
    assert all(float(pull.std()) > 0 for pull in pulls.values())


def test_a_zero_direction_gives_zeros(problem, optimizers):
    setting = problem()
    step = setting.step(optimizers["sgd"](setting.model.parameters()))
    _, shares = weights_and_shares(step, None)
    pulls = directional(step, {}, shares)
    assert all(bool((pull == 0).all()) for pull in pulls.values())
    assert sample_slopes(step, {n: torch.zeros_like(p) for n, p in step.parameters.items()}) == {}


def test_a_frozen_parameter_does_not_stop_the_unrolled_engine(problem, optimizers):
    setting = problem()
    setting.model.encoder.first.weight.requires_grad_(False)
    step = setting.step(optimizers["adam"](setting.model.parameters()))
    weights, shares = weights_and_shares(step, None)
    assert set(unrolled(step, weights, shares)) == set(weights)


def test_a_loss_that_explodes_one_step_ahead_is_named(problem):
    setting = problem()
    step = setting.step(torch.optim.SGD(setting.model.parameters(), lr=1e200))
    weights, shares = weights_and_shares(step, None)
    with pytest.raises(GtlError, match=r"task 'target'.*one step ahead.*learning rate"):
        directional(step, gradient(step, weights, shares), shares)


def test_unrolled_refuses_to_maximize(problem):
    setting = problem()
    optimizer = torch.optim.SGD(setting.model.parameters(), lr=0.1, maximize=True)
    step = setting.step(optimizer)
    with pytest.raises(ConfigError, match="look_ahead='directional'"):
        unrolled(step, *weights_and_shares(step, None))


# -- accuracy, and what it depends on --------------------------------------------------------------


def as_double(step):
    """The same step in double precision: parameters, moments and views."""
    model = copy.deepcopy(step.model).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=step.optimizer.param_groups[0]["lr"])
    optimizer.load_state_dict(copy.deepcopy(step.optimizer.state_dict()))
    views = {
        name: View(
            view.graph.to(dtype=torch.float64),
            {
                key: value.double() if torch.is_floating_point(value) else value
                for key, value in view.targets.items()
                if isinstance(value, torch.Tensor)
            },
        )
        for name, view in step.views.items()
    }
    return Step(model, views, optimizer, "target")


def relative_error(came, expected):
    a, b = (torch.cat([part.double() for part in x.values()]) for x in (came, expected))
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize(("width", "depth"), [(32, 2), (300, 5)])
def test_in_single_precision_the_error_is_below_a_thousandth_on_wide_encoders_too(
    shapes, width, depth
):
    """A central difference is off by a hundredth here, at the best of all distances."""
    encoder = GIN(shapes.schema, width, depth, dropout=0.0)
    tasks = {"target": Supervised(kind="binary", outputs=1), "masking": AttributeMasking()}
    for task in tasks.values():
        task.setup(shapes.schema, width)
    model, rng = TaskModel(encoder, tasks), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    graph = shapes.batch(torch.arange(24))
    for _ in range(4):
        views = {name: task.view(Batch(graph.replace()), rng) for name, task in tasks.items()}
        step = Step(model, views, optimizer, "target")
        optimizer.zero_grad()
        torch.stack([losses.mean() for losses in step.losses.values()]).sum().backward()
        optimizer.step()
    step = Step(model, views, optimizer, "target")
    exact = as_double(step)
    weights, shares = weights_and_shares(exact, exact.hold_back(0))
    expected = unrolled(exact, weights, shares, exact.hold_back(0))
    held = step.hold_back(0)
    weights, shares = weights_and_shares(step, held)
    pulls = directional(step, gradient(step, weights, shares), shares, held)
    assert relative_error(pulls, expected) < 1e-3
    for name, pull in pulls.items():
        assert float(pull.sum()) == pytest.approx(float(expected[name].sum()), rel=1e-3)


class Detached(Task):
    """Distance to vectors that are a constant for the gradient, as of a teacher."""

    def __init__(self):
        super().__init__()
        self.map = torch.nn.Linear(7, 7)

    def view(self, batch, rng):
        return View(batch.source.replace(), {})

    def losses(self, nodes, view):
        return (self.map(nodes) - nodes.detach().sin()).square().mean(1)


def test_what_a_task_detaches_is_a_constant_of_the_look_ahead_too(problem, optimizers, warm):
    """A central difference moved the detached vectors with the parameters: off by a half."""
    setting = problem("sum", {"teacher": Detached()})
    optimizer = optimizers["adam"](setting.model.parameters())
    warm(setting, optimizer)
    step = setting.step(optimizer)
    weights, shares = weights_and_shares(step, None)
    pulls = directional(step, gradient(step, weights, shares), shares)
    expected = unrolled(step, weights, shares)
    assert relative_error(pulls, expected) < 1e-9
    _, jacobian = optimizer_step(optimizer, step.parameters, gradient(step, weights, shares))
    difference = central_difference(step, jacobian)
    assert relative_error(difference, forward_mode(step, jacobian)) > 1e-2


class Opaque(torch.autograd.Function):
    """A kernel of somebody else's: the gradient of tanh, and no forward mode."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x.tanh())
        return x.tanh()

    @staticmethod
    def backward(ctx, grad):
        return grad * (1 - ctx.saved_tensors[0] ** 2)


class OpaqueEncoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.map, self.calls = torch.nn.Linear(5, 7), 0

    def forward(self, graph):
        self.calls += 1
        return Opaque.apply(self.map(graph.x))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-7), (torch.float32, 1e-2)])
def test_a_model_without_forward_mode_falls_back_on_a_central_difference(problem, dtype, tolerance):
    setting = problem(OpaqueEncoder(), dtype=dtype)
    optimizer = torch.optim.SGD(setting.model.parameters(), lr=0.1)
    step = setting.step(optimizer)
    with pytest.raises(RuntimeError):
        forward_mode(step, dict(step.parameters))
    weights, shares = weights_and_shares(step, None)
    pulls = directional(step, gradient(step, weights, shares), shares)
    # The same by one gradient a sample.
    ahead = {
        n: p - 0.1 * g
        for (n, g), p in zip(gradient(step, weights, shares).items(), step.parameters.values())
    }
    along = meta_gradient(step, {n: v.detach() for n, v in ahead.items()})
    expected = {}
    for name, losses in step.losses.items():
        slopes = []
        for loss, share in zip(losses, shares[name]):
            found = torch.autograd.grad(
                loss, [step.parameters[n] for n in along], retain_graph=True, allow_unused=True
            )
            dot = sum((g * w).sum() for g, w in zip(found, along.values()) if g is not None)
            slopes.append(-0.1 * share * dot)
        expected[name] = torch.stack(slopes).detach()
    assert relative_error(pulls, expected) < tolerance


def test_forward_mode_is_tried_once_for_an_optimizer(problem):
    setting = problem(OpaqueEncoder())
    optimizer = torch.optim.SGD(setting.model.parameters(), lr=0.1)
    calls = []
    for _ in range(2):
        step = setting.step(optimizer)
        before = setting.model.encoder.calls
        sample_slopes(step, {n: torch.ones_like(p) for n, p in step.parameters.items()})
        calls.append(setting.model.encoder.calls - before)
    assert calls[1] == calls[0] - 1  # the first of the two tries also stopped in the encoder


def test_forward_mode_leaves_no_trace(problem, parts, warm):
    setting = problem("noisy", {"queue": parts.Queue()})
    optimizer = torch.optim.Adam(setting.model.parameters(), lr=1e-2)
    warm(setting, optimizer)
    step = setting.step(optimizer)
    before = copy.deepcopy(setting.model.state_dict())
    random = torch.get_rng_state()
    one = forward_mode(step, dict(step.parameters))
    two = forward_mode(step, dict(step.parameters))
    for name, value in setting.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(one[name], two[name]) for name in one)
    for name, value in central_difference(step, dict(step.parameters)).items():
        torch.testing.assert_close(one[name], value, rtol=1e-6, atol=1e-6)
