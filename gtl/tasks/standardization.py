"""Standardization of columns by quantiles, for properties with rare, large or missing values."""

from __future__ import annotations

import torch
from torch import Tensor

_TAILS = (0.05, 0.95)
_NORMAL_RANGE = 2 * 1.6449  # distance of these quantiles of a standard normal distribution


def center_and_scale(values: Tensor) -> tuple[Tensor, Tensor]:
    """Median of each column, and the distance of its 5 % and 95 % quantiles.

    The distance is in units of that of a normal distribution, so that it estimates the standard
    deviation; where both quantiles coincide (a rare count) it is the standard deviation itself. The
    scale of a column that is constant, or of which nothing is known, is 0.

    Args:
        values: Numbers ``(rows, d)``, NaN where unknown; infinite ones do not count.

    Returns:
        Center and scale, ``(d,)`` each.

    Example:
        >>> center, scale = center_and_scale(torch.arange(101.0).unsqueeze(1))
        >>> center.item(), round(scale.item(), 2)
        (50.0, 27.36)
    """
    wide = values.double()
    wide = wide.masked_fill(wide.isinf(), torch.nan)
    low, middle, high = (wide.nanquantile(q, dim=0) for q in (_TAILS[0], 0.5, _TAILS[1]))
    spread = (high - low) / _NORMAL_RANGE
    deviation = (wide - wide.nanmean(0)).square().nanmean(0).sqrt()
    scale = torch.where(spread > 0, spread, deviation.nan_to_num())
    return middle.nan_to_num().to(values), scale.to(values)


def standardized(
    values: Tensor, center: Tensor, scale: Tensor, clip: float
) -> tuple[Tensor, Tensor]:
    """Values in units of the scale, clipped, 0 where they are unknown, and which are known.

    Args:
        values: Numbers ``(rows, d)``, NaN where unknown.
        center: Of each column ``(d,)``.
        scale: Of each column ``(d,)``; 0 for a column that counts as unknown.
        clip: Largest absolute result.

    Returns:
        Both ``(rows, d)``.
    """
    known = ~values.isnan() & (scale > 0)
    units = (values - center) / scale.where(scale > 0, torch.ones_like(scale))
    return units.clamp(-clip, clip).where(known, torch.zeros_like(units)), known
