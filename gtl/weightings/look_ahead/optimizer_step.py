"""The optimizer's next step and its derivative, in closed form.

A look-ahead must use the optimizer of the training with its momentum, second moments and settings
of each group. Neither the optimizer nor the parameters change here.

Formulas: Sutskever et al. 2013 (momentum), Kingma & Ba 2015 (Adam), Loshchilov & Hutter 2019
(AdamW), Reddi et al. 2018 (AMSGrad), all in the conventions of ``torch.optim``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gtl.errors import ConfigError

SUPPORTED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)


def optimizer_step(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters after ``optimizer.step()``, and the derivative of that step.

    With ``theta_next = theta - u(g)``, every supported step is elementwise in ``g``, so its
    derivative is a diagonal ``D = du/dg``. Neither the optimizer nor the parameters change.

    Args:
        optimizer: SGD, Adam or AdamW of ``torch.optim``, with whatever state it has.
        parameters: Parameters by name, as the optimizer knows them.
        gradients: Gradients by name.

    Returns:
        New values and ``D``, both by name and in the shape of the parameter. Parameters without
        a gradient, or outside of the optimizer, do not change and are left out.

    Raises:
        ConfigError: If the optimizer is of another kind.

    Example:
        >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> sgd = torch.optim.SGD([w], lr=0.1)
        >>> ahead, jacobian = optimizer_step(sgd, {"w": w}, {"w": torch.tensor([1.0, -1.0])})
        >>> ahead["w"], jacobian["w"]
        (tensor([0.9000, 2.1000]), tensor([0.1000, 0.1000]))
    """
    require_supported(optimizer)
    step_of = _sgd if type(optimizer) is torch.optim.SGD else _adam
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    ahead, jacobian = {}, {}
    with torch.no_grad():
        for name, gradient in gradients.items():
            parameter = parameters[name]
            group = groups.get(id(parameter))
            if group is None:
                continue
            settings = {**group, "decoupled": _is_decoupled(optimizer, group)}
            # .get: the state is a defaultdict, and reading must not create an entry.
            state = optimizer.state.get(parameter, {})
            ahead[name], jacobian[name] = step_of(parameter.detach(), gradient, state, settings)
    return ahead, jacobian


def require_supported(optimizer: torch.optim.Optimizer) -> None:
    """Check that the optimizer has a closed form here.

    Raises:
        ConfigError: If it has none.
    """
    if type(optimizer) not in SUPPORTED:
        raise ConfigError(
            f"`step.optimizer` is {type(optimizer).__name__}, expected one of "
            f"torch.optim.{', torch.optim.'.join(kind.__name__ for kind in SUPPORTED)} for a "
            "look-ahead; use one of these, or a weighting without a look-ahead ('gcs', 'equal')"
        )


def _sgd(
    theta: Tensor, g: Tensor, state: Mapping[str, Any], group: Mapping[str, Any]
) -> tuple[Tensor, Tensor]:
    sign = -1.0 if group["maximize"] else 1.0
    momentum = group["momentum"]
    g = sign * g + group["weight_decay"] * theta
    buffer, slope = g, 1.0  # without momentum
    if momentum and state.get("momentum_buffer") is not None:
        slope = 1.0 - group["dampening"]
        buffer = momentum * state["momentum_buffer"] + slope * g
    # In the first step with momentum torch does not dampen the gradient.
    if momentum and group["nesterov"]:
        buffer, slope = g + momentum * buffer, 1.0 + momentum * slope
    jacobian = torch.as_tensor(sign * group["lr"] * slope, dtype=theta.dtype, device=theta.device)
    return theta - group["lr"] * buffer, jacobian.expand_as(theta)


def _adam(
    theta: Tensor, g: Tensor, state: Mapping[str, Any], group: Mapping[str, Any]
) -> tuple[Tensor, Tensor]:
    sign = -1.0 if group["maximize"] else 1.0
    beta1, beta2 = group["betas"]
    lr, decay = group["lr"], group["weight_decay"]
    step = float(state["step"]) + 1 if state else 1.0
    g = -g if group["maximize"] else g
    if group["decoupled"]:
        theta = theta * (1 - lr * decay)
    elif decay:
        g = g.add(theta, alpha=decay)
    # In place from here on: of a large model this is a part of the look-ahead that one sees.
    first, second = (1 - beta1) * g, (g * g).mul_(1 - beta2)
    if state:
        first.add_(state["exp_avg"], alpha=beta1)
        second.add_(state["exp_avg_sq"], alpha=beta2)
    older = None
    if group["amsgrad"] and state:
        # Where an older maximum is larger, the denominator does not depend on this gradient.
        older = second < state["max_exp_avg_sq"]
        second = torch.maximum(second, state["max_exp_avg_sq"])
    rate, unbias = lr / (1 - beta1**step), math.sqrt(1 - beta2**step)
    root = second.sqrt_()
    denominator = (root / unbias).add_(group["eps"])
    ratio = first.div_(denominator)
    # bend = (1 - beta2) g / (root unbias) * ratio, from the derivative of the root
    bend = (g * ratio).div_(root).mul_((1 - beta2) / unbias)
    if older is not None:
        bend.masked_fill_(older, 0)
    # A parameter that never had a gradient: no loss depends on it, so its derivative, lr / eps,
    # may be set to zero; that large number would dominate the direction of the look-ahead.
    jacobian = bend.neg_().add_(1 - beta1).div_(denominator).mul_(sign * rate)
    return theta.sub(ratio, alpha=rate), jacobian.masked_fill_(root == 0, 0)


def _is_decoupled(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> bool:
    return isinstance(optimizer, torch.optim.AdamW) or group.get("decoupled_weight_decay", False)
