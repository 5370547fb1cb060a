"""Hyper-gradients by differentiation through one or more steps of the optimizer.

The reference of :func:`gtl.weightings.directional`, and the engine for longer horizons. It needs
second derivatives: a graph of every inner step, and layers that are twice differentiable. The
optimizer's step becomes a graph by ``higher`` (Grefenstette et al. 2019).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gtl.errors import ConfigError
from gtl.roles import Step
from gtl.weightings.gradients import sound_losses
from gtl.weightings.look_ahead.optimizer_step import require_supported


def unrolled(
    step: Step,
    weights: Mapping[str, Tensor],
    shares: Mapping[str, Tensor],
    held: Tensor | None = None,
    steps: int = 1,
) -> dict[str, Tensor]:
    """Derivative of the meta loss after ``steps`` optimizer steps with respect to every weight.

    Each inner step minimizes ``sum_ki a_ki v_ki l_ki`` with the same weights ``v`` and views.

    Args:
        step: The step; neither its model nor its optimizer changes.
        weights: ``v``, ``(b_k,)`` by task.
        shares: ``a``, ``(b_k,)`` by task.
        held: Which target samples make up the meta loss.
        steps: Inner steps.

    Returns:
        Derivatives ``(b_k,)`` by task.

    Raises:
        GtlError: If a loss is not finite before or after a step.
        ConfigError: If the optimizer is not supported.
    """
    live = {name: weight.detach().clone().requires_grad_() for name, weight in weights.items()}
    names = list(step.parameters)
    inner = _differentiable(step)
    values = [value.detach().clone().requires_grad_() for value in step.parameters.values()]
    for _ in range(steps):
        losses = sound_losses(step.replay(dict(zip(names, values))), " while unrolling")
        terms = [(shares[name] * live[name] * losses[name]).sum() for name in live]
        values = inner.step(torch.stack(terms).sum(), params=values)
    meta = step.meta_loss(dict(zip(names, values)), held)
    sound_losses({str(step.target): meta.reshape(1)}, " one step ahead")
    if not meta.requires_grad:
        return {name: torch.zeros_like(weight) for name, weight in live.items()}
    found = torch.autograd.grad(meta, list(live.values()), allow_unused=True)
    return {name: torch.zeros_like(live[name]) if g is None else g for name, g in zip(live, found)}


def _differentiable(step: Step) -> Any:
    """The optimizer in the form of ``higher``, with its state, one group per parameter.

    One group each, since ``higher`` needs every parameter of the optimizer, and since its Adam
    needs a correction that depends on the number of steps that a parameter has taken.
    """
    import higher

    optimizer = step.optimizer
    require_supported(optimizer)
    known = {id(parameter) for parameter in step.parameters.values()}
    groups: list[dict[str, Any]] = []
    state: dict[Tensor, dict[str, Any]] = {}
    for group in optimizer.param_groups:
        if group["maximize"]:
            raise ConfigError(
                "the optimizer has maximize=True, expected False with look_ahead='unrolled'; use "
                "look_ahead='directional', or minimize the negative losses"
            )
        for parameter in group["params"]:
            if id(parameter) in known:
                groups.append({**group, "params": [parameter]})
                state[parameter] = dict(optimizer.state.get(parameter, {}))
                if "step" in state[parameter]:  # a float32 in torch, too coarse for powers of beta
                    state[parameter]["step"] = float(state[parameter]["step"])
    is_sgd = isinstance(optimizer, torch.optim.SGD)
    # The base class: ``higher`` reads its groups and state alone.
    shadow = torch.optim.Optimizer(groups, {})
    shadow.state.update({parameter: values for parameter, values in state.items() if values})

    class Adam(higher.optim.DifferentiableAdam):  # type: ignore[misc]
        # Two differences between `higher` and torch: torch adds epsilon to the corrected root, and
        # AdamW multiplies the parameter instead of adding to the gradient.
        def _update(self, grouped_grads: Any, **kwargs: Any) -> None:
            before = [dict(group) for group in self.param_groups]
            for group, states in zip(self.param_groups, self.state):
                taken = float(states[0]["step"]) if states[0] else 0.0
                group["eps"] *= math.sqrt(1 - group["betas"][1] ** (taken + 1))
            for group, grads in zip(self.param_groups, grouped_grads):
                if decoupled and grads[0] is not None:
                    shrink = 1 - group["lr"] * group["weight_decay"]
                    group["params"] = [group["params"][0] * shrink]
                    group["weight_decay"] = 0.0
            super()._update(grouped_grads, **kwargs)
            for group, settings in zip(self.param_groups, before):
                group.update(eps=settings["eps"], weight_decay=settings["weight_decay"])

    decoupled = isinstance(optimizer, torch.optim.AdamW) or any(
        group.get("decoupled_weight_decay", False) for group in groups
    )
    kind = higher.optim.DifferentiableSGD if is_sgd else Adam
    return kind(shadow, list(step.parameters.values()), track_higher_grads=True)
