"""Normalization of sample weights: over the auxiliary tasks, or by the target."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_LARGEST = 1e3


def over_auxiliary(
    weights: Mapping[str, Tensor],
    target: str,
    auxiliary_weight: float,
    factors: Mapping[str, float] | None = None,
) -> dict[str, Tensor]:
    """Weight 1 for the target, and auxiliary weights scaled to a given mean.

    A network then decides how a given total is shared, not how large it is.

    Args:
        weights: Weights ``(b_k,)`` by task, not negative.
        target: The target's name.
        auxiliary_weight: Mean weight of an auxiliary task; every task counts as much as any other
            in this mean, whatever its number of samples.
        factors: Factors in ``(0, 1]`` by auxiliary task, of its weights and of how much it counts
            in the mean; without them all are 1.

    Returns:
        Weights ``(b_k,)`` by task; zeros for all auxiliary tasks if their weights are all zero.
    """
    others = {name: weight for name, weight in weights.items() if name != target}
    counts = {name: (factors or {}).get(name, 1.0) for name in others}
    total = torch.stack([counts[name] * weight.mean() for name, weight in others.items()]).sum()
    scale = auxiliary_weight * sum(counts.values()) / positive(total)
    return {
        name: torch.ones_like(weight) if name == target else counts[name] * weight * scale
        for name, weight in weights.items()
    }


def by_target(weights: Mapping[str, Tensor], target: str) -> dict[str, Tensor]:
    """Weights divided by the target's mean weight (Hwang et al. 2020, SELAR).

    Departure from the paper: the divisor is at least a thousandth of the largest mean weight of a
    task. Hyper-gradients that lower the target's weight would let the others grow without bound.

    Args:
        weights: Weights ``(b_k,)`` by task, not negative.
        target: The target's name.

    Returns:
        Weights ``(b_k,)`` by task; unchanged if the target has no samples.
    """
    if target not in weights:
        return dict(weights)
    means = torch.stack([weight.mean() for weight in weights.values()])
    # Detached: while the bound is active the divisor is a constant, so that the others' weights
    # keep a gradient. With it their ratio to the bound would be constant and they could not learn.
    bound = means.max().detach() / _LARGEST
    mean = positive(torch.maximum(weights[target].mean(), bound))
    return {name: weight / mean for name, weight in weights.items()}


def positive(mean: Tensor) -> Tensor:
    """A mean weight, at least the smallest positive number of its dtype, to divide by."""
    return mean.clamp(min=torch.finfo(mean.dtype).tiny)
