"""Maximum mean discrepancy of two samples, as one loss per row (Gretton et al. 2012)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gtl.tasks.distances import squared_distances
from gtl.tasks.kernel_sums import kernel_sums

_TINY = 1e-12


def mmd_losses(x: Tensor, y: Tensor, widths: Tensor, biased: bool = False) -> Tensor:
    """Terms of the squared MMD of each row, whose mean over all rows is the squared MMD.

    The kernel is the mean over ``w`` bandwidths of ``exp(-|a - b|^2 / width)``. With ``n`` rows of
    ``x`` and ``m`` of ``y``, a row of ``x`` has ``(n + m) / n`` times its mean kernel with ``x``
    less its mean kernel with ``y``, and likewise the rows of ``y``. The unbiased estimate leaves a
    row itself out of its first mean (Gretton et al. 2012, Eq. 3); it may be negative.

    Memory grows with ``n + m``, time with its square (:mod:`gtl.tasks.kernel_sums`).

    Args:
        x: One sample ``(n, h)``.
        y: The other ``(m, h)``.
        widths: Bandwidths ``(w,)`` in the unit of squared distances, above 0; constants.
        biased: Keep the diagonals, as the code of Abuduweili et al. 2021 does.

    Returns:
        ``(n + m,)``, those of ``x`` first; empty if a sample has no row or, unbiased, one row.

    Example:
        >>> x, y = torch.zeros(2, 1), torch.ones(3, 1)
        >>> round(float(mmd_losses(x, y, torch.ones(1)).mean()), 4) # 2 - 2 / e
        1.2642
    """
    n, m = len(x), len(y)
    if min(n, m) < (1 if biased else 2):
        return torch.cat([x, y]).sum(1)[:0]
    across, back = kernel_sums(x, y, widths)
    of_x = _mean_within(x, widths, biased) - across / m
    of_y = _mean_within(y, widths, biased) - back / n
    return torch.cat([of_x * ((n + m) / n), of_y * ((n + m) / m)])


def median_widths(points: Tensor, factors: Sequence[float]) -> Tensor:
    """Bandwidths ``(w,)``: the median squared distance of two rows, times each factor.

    Rows that are all equal have bandwidths of ``factors`` times a tiny number. At most 1,000 rows,
    evenly spaced, are compared.

    Args:
        points: Rows ``(n, h)``.
        factors: What the median is multiplied by.
    """
    points = points[:: max(1, -(-len(points) // 1000))]
    scale = points.new_tensor(list(factors))
    if len(points) < 2:
        return scale
    rows, columns = torch.triu_indices(len(points), len(points), 1, device=points.device)
    return scale * squared_distances(points, points)[rows, columns].median().clamp(min=_TINY)


def _mean_within(x: Tensor, widths: Tensor, biased: bool) -> Tensor:
    sums, _ = kernel_sums(x, x, widths, diagonal=biased)
    return sums / (len(x) if biased else len(x) - 1)
