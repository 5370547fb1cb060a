from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from gtl.errors import ConfigError
from gtl.weightings import optimizer_step

SETTINGS = {
    "sgd": (torch.optim.SGD, {"lr": 0.1}),
    "sgd decay": (torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.3}),
    "sgd maximize": (torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.3, "maximize": True}),
    "momentum": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.4}),
    "nesterov": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "adam": (torch.optim.Adam, {"lr": 0.1, "weight_decay": 0.2, "eps": 1e-3}),
    "amsgrad": (torch.optim.Adam, {"lr": 0.1, "amsgrad": True}),
    "adam maximize": (torch.optim.Adam, {"lr": 0.1, "maximize": True, "weight_decay": 0.1}),
    "adamw": (torch.optim.AdamW, {"lr": 0.1, "weight_decay": 0.2}),
    "adamw amsgrad": (torch.optim.AdamW, {"lr": 0.1, "amsgrad": True}),
}


def optimizer_after(kind: str, steps: int) -> tuple[torch.optim.Optimizer, dict[str, nn.Parameter]]:
    """An optimizer of two groups with different rates that has taken some steps."""
    torch.manual_seed(3)
    cls, settings = SETTINGS[kind]
    named = {n: nn.Parameter(torch.randn(5, dtype=torch.float64)) for n in "ab"}
    groups = [{"params": [named["a"]]}, {"params": [named["b"]], "lr": 0.03}]
    optimizer = cls(groups, **settings)
    for _ in range(steps):
        for parameter in named.values():
            parameter.grad = torch.randn(5, dtype=torch.float64)
        optimizer.step()
    return optimizer, named


def really(optimizer, named, gradients) -> dict[str, torch.Tensor]:
    """What ``optimizer.step()`` does, on copies."""
    both = copy.deepcopy((optimizer, named))
    for name, parameter in both[1].items():
        parameter.grad = gradients[name].clone() if name in gradients else None
    both[0].step()
    return {name: parameter.detach() for name, parameter in both[1].items()}


@pytest.mark.parametrize("steps", [0, 1, 4])
@pytest.mark.parametrize("kind", SETTINGS)
def test_it_goes_where_the_optimizer_goes(kind, steps):
    optimizer, named = optimizer_after(kind, steps)
    gradients = {name: torch.randn(5, dtype=torch.float64) for name in named}
    ahead, _ = optimizer_step(optimizer, named, gradients)
    for name, value in really(optimizer, named, gradients).items():
        torch.testing.assert_close(ahead[name], value, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("steps", [0, 1, 4])
@pytest.mark.parametrize("kind", SETTINGS)
def test_the_derivative_is_that_of_the_optimizer_s_own_step(kind, steps):
    optimizer, named = optimizer_after(kind, steps)
    gradients = {name: torch.randn(5, dtype=torch.float64) for name in named}
    _, jacobian = optimizer_step(optimizer, named, gradients)
    up = really(optimizer, named, {n: g + 1e-6 for n, g in gradients.items()})
    down = really(optimizer, named, {n: g - 1e-6 for n, g in gradients.items()})
    for name in named:
        # theta_next = theta - u(g)
        torch.testing.assert_close(
            jacobian[name], (down[name] - up[name]) / 2e-6, rtol=1e-4, atol=1e-7
        )


def test_parameters_without_gradient_or_unknown_to_the_optimizer_stay():
    optimizer, named = optimizer_after("adam", 2)
    stranger = nn.Parameter(torch.ones(2))
    gradients = {"a": torch.ones(5, dtype=torch.float64), "stranger": torch.ones(2)}
    ahead, jacobian = optimizer_step(optimizer, {**named, "stranger": stranger}, gradients)
    assert set(ahead) == set(jacobian) == {"a"}


def test_nothing_is_touched():
    optimizer, named = optimizer_after("adamw", 2)
    fresh, other = optimizer_after("momentum", 0)
    before = copy.deepcopy((optimizer.state_dict(), {n: p.detach() for n, p in named.items()}))
    for opt, parameters in ((optimizer, named), (fresh, other)):
        gradients = {n: torch.ones(5, dtype=torch.float64) for n in parameters}
        optimizer_step(opt, parameters, gradients)
        assert all(bool((g == 1).all()) for g in gradients.values())
    assert not fresh.state
    torch.testing.assert_close(optimizer.state_dict()["state"], before[0]["state"], rtol=0, atol=0)
    torch.testing.assert_close({n: p.detach() for n, p in named.items()}, before[1], rtol=0, atol=0)


def test_a_parameter_that_never_had_a_gradient_has_no_slope():
    w = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    adam = torch.optim.Adam([w], lr=0.1)
    ahead, jacobian = optimizer_step(adam, {"w": w}, {"w": torch.tensor([0.0, 1.0]).double()})
    assert jacobian["w"][0] == 0
    assert ahead["w"][0] == 0 and ahead["w"].isfinite().all()


def test_another_optimizer_is_refused_with_the_list_of_those_supported():
    w = nn.Parameter(torch.zeros(2))
    with pytest.raises(ConfigError, match=r"RMSprop.*SGD.*AdamW"):
        optimizer_step(torch.optim.RMSprop([w]), {"w": w}, {"w": w.detach()})
