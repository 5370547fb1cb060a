"""How would the target's loss after the step change with each sample's weight? First order only.

The step is linear in the weights, so the answer is one directional derivative of the losses of
the samples: two passes without a graph, where differentiating through the step needs second
derivatives, a graph twice as large, and layers whose second derivatives are right. The task-level
case of this is Liu et al. 2022 (Auto-Lambda); here every sample of every task gets its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from gtl.roles import Step
from gtl.weightings.gradients import sound_losses
from gtl.weightings.look_ahead.optimizer_step import optimizer_step

# How far the two passes lie from the current parameters. The error of the difference falls with
# the square of it, that of rounding grows with its inverse.
RADIUS, RADIUS_FLOAT64 = 1e-2, 1e-3


def directional(
    step: Step,
    gradients: Mapping[str, Tensor],
    shares: Mapping[str, Tensor],
    held: Tensor | None = None,
) -> dict[str, Tensor]:
    """Derivative of the meta loss after the optimizer's step with respect to every weight.

    The look-ahead minimizes ``sum_ki a_ki v_ki l_ki`` with shares ``a`` and weights ``v``. With
    ``D`` the derivative of the step and ``w = D * grad L_meta(theta_next)``,

    ``dL_meta / dv_ki = -a_ki <grad l_ki, w>``,

    by a central difference of the losses along ``w``.

    Args:
        step: The step; neither its model nor its optimizer changes.
        gradients: Gradient of the look-ahead's weighted loss, by parameter name.
        shares: ``a``, ``(b_k,)`` by task: ``1 / b_k`` for a mean, 0 for a sample that sits out.
        held: Which target samples judge, as :meth:`Step.hold_back` says.

    Returns:
        Derivatives ``(b_k,)`` for the tasks in ``shares``; zeros if the step does not move what
        the meta loss depends on.

    Raises:
        GtlError: If a loss is not finite one step ahead.
        ConfigError: If the optimizer is not supported.
    """
    ahead, jacobian = optimizer_step(step.optimizer, step.parameters, gradients)
    pull = meta_gradient(step, ahead, held)
    direction = {name: jacobian[name] * pull[name] for name in pull}  # w
    del ahead, jacobian, pull
    slopes = sample_slopes(step, direction)
    if not slopes:
        return {name: torch.zeros_like(share) for name, share in shares.items()}
    return {name: -share * slopes[name] for name, share in shares.items()}


def meta_gradient(
    step: Step, parameters: Mapping[str, Tensor], held: Tensor | None = None
) -> dict[str, Tensor]:
    """Gradient of the meta loss at other parameters, by name; those it does not see are left out.

    Raises:
        GtlError: If the meta loss is not finite there.
    """
    leaves = {name: value.requires_grad_() for name, value in parameters.items()}
    with torch.enable_grad():
        loss = step.meta_loss(leaves, held)
    sound_losses({str(step.target): loss.reshape(1)}, " one step ahead")
    if not leaves or not loss.requires_grad:
        return {}
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return {name: g for name, g in zip(leaves, found) if g is not None}


def sample_slopes(step: Step, direction: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Directional derivative of the loss of every sample, by a central difference.

    Args:
        step: The step.
        direction: ``w`` by parameter name; parameters that are not named stay.

    Returns:
        ``<grad l_ki, w>``, ``(b_k,)`` by task; empty if ``w`` is zero.

    Raises:
        GtlError: If a loss is not finite beside the current parameters.
    """
    norms = [torch.linalg.vector_norm(value) for value in direction.values()]
    length = float(torch.linalg.vector_norm(torch.stack(norms))) if norms else 0.0
    if length == 0.0:
        return {}
    if not math.isfinite(length):
        sound_losses({str(step.target): torch.tensor([length])}, " one step ahead (its gradient)")
    in_float64 = all(value.dtype == torch.float64 for value in direction.values())
    reach = (RADIUS_FLOAT64 if in_float64 else RADIUS) / length
    with torch.no_grad():
        uphill = step.replay(_moved(step, direction, reach))
        downhill = step.replay(_moved(step, direction, -reach))
    for losses in (uphill, downhill):
        sound_losses(losses, " beside the current parameters")
    return {name: (uphill[name] - downhill[name]) / (2 * reach) for name in uphill}


def _moved(step: Step, direction: Mapping[str, Tensor], by: float) -> dict[str, Tensor]:
    return {name: step.parameters[name].add(w, alpha=by) for name, w in direction.items()}
