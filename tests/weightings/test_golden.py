"""Reference numbers of a linear model: steps, hyper-gradients and cosines of ten optimizers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from gtl.weightings import (
    WeightNetwork,
    directional,
    gradient_consistency,
    optimizer_step,
    unrolled,
)

CASES = [
    "sgd",
    "sgd_wd",
    "sgd_momentum",
    "sgd_momentum_dampening",
    "sgd_momentum_first_step",
    "sgd_nesterov",
    "adam",
    "adam_l2",
    "adamw",
    "adam_first_step",
]
close = lambda a, b: torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)  # noqa: E731


class LinearStep:
    """The step of the reference: shared slopes, a bias per task, meta samples of its own."""

    target = "target"
    shared = ("w",)

    def __init__(self, data: dict[str, Tensor]):
        self.data = data
        w, b0, b1 = data["theta"].split([3, 1, 1])
        values = {"w": w, "b0": b0, "b1": b1}
        self.parameters = {n: torch.nn.Parameter(v.clone()) for n, v in values.items()}
        self.losses = self.replay(self.parameters)

    def replay(self, parameters):
        p, d = {**self.parameters, **parameters}, self.data
        return {
            "target": 0.5 * (d["x_target"] @ p["w"] + p["b0"] - d["y_target"]) ** 2,
            "aux": 0.5 * (d["x_aux"] @ p["w"] + p["b1"] - d["y_aux"]) ** 2,
        }

    def hold_back(self, fold):
        return None

    def meta_loss(self, parameters, held=None):
        p, d = {**self.parameters, **parameters}, self.data
        return (0.5 * (d["x_meta"] @ p["w"] + p["b0"] - d["y_meta"]) ** 2).mean()


@pytest.fixture(params=CASES)
def case(request, golden: Path) -> SimpleNamespace:
    with np.load(golden / "selar_hypergradient.npz") as file:
        prefix = request.param + "."
        own = {k.removeprefix(prefix): file[k] for k in file.files if k.startswith(prefix)}
        data = {k: file[k] for k in file.files if "." not in k and k != "cases"}
    step = LinearStep({k: torch.as_tensor(v) for k, v in data.items()})
    parameters = list(step.parameters.values())
    settings = {k: own[k].item() for k in ("lr", "weight_decay")}
    if own["optimizer"] == "SGD":
        settings.update({k: own[k].item() for k in ("momentum", "dampening", "nesterov")})
    else:
        betas = (float(data["beta1"]), float(data["beta2"]))
        settings.update(eps=own["eps"].item(), betas=betas)
    optimizer = getattr(torch.optim, str(own["optimizer"]))(parameters, **settings)
    if own["has_state"]:
        pieces = {
            k: torch.as_tensor(data["state_" + k]).split([3, 1, 1])
            for k in ("buf", "exp_avg", "exp_avg_sq")
        }
        for i, parameter in enumerate(parameters):
            if own["optimizer"] == "SGD":
                optimizer.state[parameter] = {"momentum_buffer": pieces["buf"][i].clone()}
            else:
                optimizer.state[parameter] = {
                    "step": torch.tensor(float(own["steps_done_before"])),
                    "exp_avg": pieces["exp_avg"][i].clone(),
                    "exp_avg_sq": pieces["exp_avg_sq"][i].clone(),
                }
    step.optimizer = optimizer
    network = WeightNetwork(3, 7).double()
    names = {"W1": "hidden.weight", "b1": "hidden.bias", "W2": "output.weight", "b2": "output.bias"}
    state = {name: torch.as_tensor(data["phi_" + k]) for k, name in names.items()}
    network.load_state_dict(state)
    xi = {n: torch.as_tensor(data["xi_" + n]) for n in ("target", "aux")}
    want = {k: torch.as_tensor(v) for k, v in own.items() if v.dtype.kind == "f"}
    return SimpleNamespace(
        step=step, network=network, xi=xi, want=want, names=names, data=step.data
    )


def weights_of(case: SimpleNamespace, form: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights with history, and shares, of the plain and of the normalized loss."""
    raw = {name: case.network(xi) for name, xi in case.xi.items()}
    if form == "plain":
        return raw, {name: torch.full_like(v, 1 / 5).detach() for name, v in raw.items()}
    mean = raw["target"].mean()
    weights = {name: v / mean for name, v in raw.items()}
    return weights, {name: torch.full_like(v, 1 / 10).detach() for name, v in raw.items()}


def gradient_of(case: SimpleNamespace, weights, shares) -> dict[str, Tensor]:
    losses = case.step.losses
    total = sum((shares[n] * weights[n].detach() * losses[n]).sum() for n in losses)
    found = torch.autograd.grad(total, list(case.step.parameters.values()), retain_graph=True)
    return dict(zip(case.step.parameters, found))


@pytest.mark.parametrize("form", ["plain", "selar"])
def test_the_look_ahead_lands_where_the_reference_does(case, form):
    weights, shares = weights_of(case, form)
    gradient = gradient_of(case, weights, shares)
    ahead, jacobian = optimizer_step(case.step.optimizer, case.step.parameters, gradient)
    suffix = "" if form == "plain" else ".selar"
    close(torch.cat(list(gradient.values())), case.want["grad" + suffix])
    close(torch.cat(list(ahead.values())), case.want["theta_next" + suffix])
    close(case.step.meta_loss(ahead).detach(), case.want["meta_loss" + suffix])
    if form == "plain":
        close(torch.cat(list(jacobian.values())), case.want["step_jacobian_diag"])


@pytest.mark.parametrize("engine", ["directional", "unrolled"])
@pytest.mark.parametrize("form", ["plain", "selar"])
def test_hyper_gradients_equal_the_reference(case, form, engine):
    weights, shares = weights_of(case, form)
    if engine == "directional":
        pulls = directional(case.step, gradient_of(case, weights, shares), shares)
    else:
        pulls = unrolled(case.step, weights, shares)
    raw = {name: case.network(xi).detach().requires_grad_() for name, xi in case.xi.items()}
    mean = raw["target"].mean() if form == "selar" else torch.ones(())
    outlook = sum((pulls[n] * raw[n] / mean).sum() for n in raw)
    suffix = "" if form == "plain" else ".selar"
    for name, pull in zip(raw, torch.autograd.grad(outlook, list(raw.values()))):
        close(pull, case.want[f"hyper_v_{name}{suffix}"])
    sum((pulls[n] * weights[n]).sum() for n in weights).backward()
    for short, name in case.names.items():
        got = case.network.get_parameter(name).grad
        close(got, case.want[f"hyper_phi_{short}{suffix}"].reshape(got.shape))


def test_the_cosine_equals_the_reference(case):
    step = case.step
    means = [losses.mean() for losses in step.losses.values()]
    cosine = gradient_consistency(means[0], means[1:], [step.parameters["w"]])
    close(cosine[0], case.data["cosine_shared"])
