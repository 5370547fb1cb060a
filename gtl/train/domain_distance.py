"""Distance of two domains by how well a classifier tells their vectors apart.

The proxy A-distance (Ben-David et al. 2006) is ``2 (1 - 2 error)`` of a classifier of the domain on
vectors that it was not fitted to: 0 where domains look alike, 2 where every vector shows its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gtl.train.transfer_criteria import logistic_regression

MOST_ROWS = 2000  # of each domain


@dataclass(frozen=True)
class Distance:
    """How far apart two domains are.

    Attributes:
        accuracy: Of a domain classifier on held-out vectors, both domains counting alike.
        a_distance: ``2 (2 accuracy - 1)``, not below 0.
    """

    accuracy: float
    a_distance: float


def domain_distance(source: Tensor, target: Tensor, seed: int = 0) -> Distance:
    """The distance of two sets of vectors.

    A linear classifier is fitted to half of at most 2,000 vectors of each domain, and evaluated on
    the other half. Balanced accuracy is used: with unequal numbers of vectors a classifier that
    always says the same would look good.

    Args:
        source: ``(n, h)``.
        target: ``(m, h)``.
        seed: Decides which vectors are used.

    Example:
        >>> near, far = torch.zeros(50, 2), torch.ones(60, 2)
        >>> domain_distance(near, far)
        Distance(accuracy=1.0, a_distance=2.0)
    """
    rng = torch.Generator().manual_seed(seed)
    sides = [_drawn(rows, rng).double() for rows in (source, target)]
    if min(len(rows) for rows in sides) < 4:
        return Distance(0.5, 0.0)
    fit = torch.cat([rows[: len(rows) // 2] for rows in sides])
    mean, spread = fit.mean(0), fit.std(0).clamp(min=1e-6)
    count = len(sides[0]) // 2
    domain = (torch.arange(len(fit)) >= count).double()
    weights = logistic_regression((fit - mean) / spread, domain)
    shares = []
    for side, rows in enumerate(sides):
        held = (rows[len(rows) // 2 :] - mean) / spread
        guess = held @ weights[:-1] + weights[-1] > 0
        shares.append(float((guess == bool(side)).double().mean()))
    accuracy = sum(shares) / 2
    return Distance(accuracy, max(0.0, 2 * (2 * accuracy - 1)))


def _drawn(rows: Tensor, rng: torch.Generator) -> Tensor:
    return rows.cpu()[torch.randperm(len(rows), generator=rng)[:MOST_ROWS]]
