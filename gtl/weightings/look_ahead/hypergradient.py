"""Hyper-gradient of the target's loss after the next step with respect to every sample's weight.

The step is linear in the weights, so the hyper-gradient is one directional derivative of the
losses of the samples, of first order: a forward pass that carries the derivative along
(forward-mode differentiation). Differentiating through the step needs second derivatives, a graph
twice as large, and layers whose second derivatives are right. Liu et al. 2022 (Auto-Lambda) use the
case of one weight per task; here every sample of every task has its own.
"""

from __future__ import annotations

import logging
import math
import weakref
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.autograd import forward_ad

from gtl.roles import Step
from gtl.weightings.gradients import sound_losses
from gtl.weightings.look_ahead.optimizer_step import optimizer_step

log = logging.getLogger(__name__)
# Distance between the current parameters and those of a central difference, by dtype. The error
# of the difference grows with it (curvature, and units of ReLU that change sign), that of rounding
# with its inverse.
RADIUS = {torch.float64: 1e-6}
RADIUS_OF_OTHERS = 3e-4
# Optimizers of models of which forward-mode differentiation has failed.
_WITHOUT_FORWARD_MODE: weakref.WeakSet[torch.optim.Optimizer] = weakref.WeakSet()


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

    by :func:`sample_slopes`.

    Args:
        step: The step; neither its model nor its optimizer changes.
        gradients: Gradient of the look-ahead's weighted loss, by parameter name.
        shares: ``a``, ``(b_k,)`` by task: ``1 / b_k`` for a mean, 0 for a sample that sits out.
        held: Target samples of the meta loss, from :meth:`Step.hold_back`.

    Returns:
        Derivatives ``(b_k,)`` for the tasks in ``shares``; zeros if the step does not move what
        the meta loss depends on.

    Raises:
        GtlError: If a loss is not finite after the step.
        ConfigError: If the optimizer is not supported.
    """
    ahead, jacobian = optimizer_step(step.optimizer, step.parameters, gradients)
    meta = meta_gradient(step, ahead, held)
    direction = {name: jacobian[name] * meta[name] for name in meta}  # w
    del ahead, jacobian, meta
    slopes = sample_slopes(step, direction)
    if not slopes:
        return {name: torch.zeros_like(share) for name, share in shares.items()}
    return {name: -share * slopes[name] for name, share in shares.items()}


def meta_gradient(
    step: Step, parameters: Mapping[str, Tensor], held: Tensor | None = None
) -> dict[str, Tensor]:
    """Gradient of the meta loss at other parameters, by name, of those that it depends on.

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
    """Directional derivative of the loss of every sample.

    In forward mode; by a central difference if an operation of the model has no forward mode
    (layers with kernels of their own, such as those of ``dgl.nn``).

    Args:
        step: The step.
        direction: ``w`` by parameter name; parameters that are not named stay.

    Returns:
        ``<grad l_ki, w>``, ``(b_k,)`` by task; empty if ``w`` is zero.

    Raises:
        GtlError: If ``w``, a derivative, or a loss near the current parameters is not finite.
    """
    norms = [torch.linalg.vector_norm(value) for value in direction.values()]
    length = float(torch.linalg.vector_norm(torch.stack(norms))) if norms else 0.0
    if length == 0.0:
        return {}
    if not math.isfinite(length):
        sound_losses({str(step.target): torch.tensor([length])}, " one step ahead (its gradient)")
    unit = {name: value / length for name, value in direction.items()}
    slopes = None
    if step.optimizer not in _WITHOUT_FORWARD_MODE:
        try:
            slopes = forward_mode(step, unit)
        except RuntimeError as error:  # also NotImplementedError: no forward mode somewhere
            _WITHOUT_FORWARD_MODE.add(step.optimizer)
            reason = str(error).split("\n")[0]
            log.info("look-aheads by a central difference, without forward mode: %s", reason)
    if slopes is None:
        slopes = central_difference(step, unit)
    sound_losses(slopes, " (its derivative in the direction of the meta loss)")
    return {name: length * slope for name, slope in slopes.items()}


def forward_mode(step: Step, direction: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Directional derivative of the loss of every sample, exact up to rounding.

    One pass without a graph, at about the cost of two. What a task detaches is a constant, as in
    its gradient.

    Args:
        step: The step.
        direction: ``w`` by parameter name; parameters that are not named stay.

    Returns:
        ``<grad l_ki, w>``, ``(b_k,)`` by task.

    Raises:
        RuntimeError: If an operation of the model has no forward mode.
    """
    with torch.no_grad(), forward_ad.dual_level():
        moving = {
            name: forward_ad.make_dual(step.parameters[name].detach(), w)
            for name, w in direction.items()
        }
        pairs = {n: forward_ad.unpack_dual(v) for n, v in step.replay(moving).items()}
        return {
            name: torch.zeros_like(loss) if slope is None else slope
            for name, (loss, slope) in pairs.items()
        }


def central_difference(
    step: Step, direction: Mapping[str, Tensor], radius: float | None = None
) -> dict[str, Tensor]:
    """Directional derivative of the loss of every sample from the losses at two points.

    Works for every model, at two passes without a graph. What a task detaches is no constant here.

    Args:
        step: The step.
        direction: ``w`` of length 1 by parameter name; parameters that are not named stay.
        radius: Distance of both points from the current parameters; by default by their dtype.

    Returns:
        ``<grad l_ki, w>``, ``(b_k,)`` by task.

    Raises:
        GtlError: If a loss is not finite near the current parameters.
    """
    dtype = next(iter(direction.values())).dtype
    reach = RADIUS.get(dtype, RADIUS_OF_OTHERS) if radius is None else radius
    with torch.no_grad():
        plus = step.replay(_moved(step, direction, reach))
        minus = step.replay(_moved(step, direction, -reach))
    for losses in (plus, minus):
        sound_losses(losses, " near the current parameters")
    return {name: (plus[name] - minus[name]) / (2 * reach) for name in plus}


def _moved(step: Step, direction: Mapping[str, Tensor], by: float) -> dict[str, Tensor]:
    return {name: step.parameters[name].add(w, alpha=by) for name, w in direction.items()}
