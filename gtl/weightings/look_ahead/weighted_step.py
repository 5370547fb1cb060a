"""Gradients of weighted losses, and the hyper-gradient with respect to the weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gtl.roles import Step
from gtl.weightings.gradients import gradients, set_gradients
from gtl.weightings.look_ahead.hypergradient import directional
from gtl.weightings.look_ahead.unrolled import unrolled


def weighted_step(
    step: Step,
    losses: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    fold: int,
    unroll_steps: int = 0,
) -> dict[str, Tensor]:
    """Set the gradient of the weighted mean losses, and compute the hyper-gradient of its step.

    The look-ahead takes the step without the target's samples that :meth:`Step.hold_back` holds
    back; they make up the meta loss. One backward pass over the tasks serves both, and a small one
    adds the samples held back to the step. (Without holding back, that pass would be saved, but
    the meta loss would overestimate the step: a task of noise then kept twice the weight beside a
    useful task.)

    Args:
        step: The step; its graph is freed.
        losses: Losses ``(b_k,)`` of the tasks that have samples, the target among them.
        weights: Weights ``(b_k,)`` by task.
        fold: Number of the look-ahead.
        unroll_steps: 0 for a first-order look-ahead, else the inner steps that are
            differentiated through.

    Returns:
        Derivative of the meta loss with respect to each weight, ``(b_k,)`` by task; zero for
        samples held back.

    Raises:
        GtlError: If a loss is not finite after the look-ahead.
        ConfigError: If the optimizer is not supported.
    """
    target = str(step.target)
    held = step.hold_back(fold)
    shares = mean_shares(losses)
    shares[target] = without(shares[target], held)
    # The samples held back are part of the step, but not of the look-ahead.
    rest = mean_shares(losses)[target] - shares[target]
    extra = {}
    if held is not None:
        extra = gradients((rest * weights[target] * losses[target]).sum(), step.parameters)
    set_gradients(step, weighted_terms(losses, weights, shares))
    ahead = {n: p.grad for n, p in step.parameters.items() if p.grad is not None}
    for name, gradient in extra.items():
        step.parameters[name].grad = gradient + ahead[name] if name in ahead else gradient
    del extra
    return hypergradient(step, ahead, weights, shares, held, unroll_steps)


def hypergradient(
    step: Step,
    ahead: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    shares: Mapping[str, Tensor],
    held: Tensor | None,
    unroll_steps: int = 0,
) -> dict[str, Tensor]:
    """Derivative of the meta loss with respect to each weight, by the chosen engine."""
    if unroll_steps:
        return unrolled(step, weights, shares, held, unroll_steps)
    return directional(step, ahead, shares, held)


def mean_shares(losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Share of each sample in a mean, ``1 / b_k``."""
    return {n: torch.full_like(v, 1 / len(v), requires_grad=False) for n, v in losses.items()}


def without(share: Tensor, held: Tensor | None) -> Tensor:
    """Share of each sample in the mean of those not held back; zero if all are."""
    if held is None:
        return share
    left = (~held).to(share.dtype)
    return left / left.sum().clamp(min=1)


def weighted_terms(
    losses: Mapping[str, Tensor], weights: Mapping[str, Tensor], shares: Mapping[str, Tensor]
) -> list[Tensor]:
    """Weighted sum of each task's losses."""
    return [(shares[name] * weights[name] * losses[name]).sum() for name in losses]
