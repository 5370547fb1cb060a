"""Agreement of a graph of classes with their features, a permutation test before training."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gtl.errors import ConfigError

_MOST_PAIRS = 50_000
_PAIRS_AT_ONCE = 8192
_ROUNDS = 20  # of drawing pairs that no edge joins; a dense graph may have few


class Agreement(NamedTuple):
    """Agreement of two orders of pairs of classes.

    Attributes:
        correlation: Spearman's, in ``[-1, 1]``; 0 if all pairs are equal on either side.
        p_value: Share of permutations of the classes, the identity included, with at least this
            correlation.
    """

    correlation: float
    p_value: float


def rank_agreement(
    src: Tensor,
    dst: Tensor,
    weight: Tensor,
    means: Tensor,
    rng: torch.Generator,
    permutations: int,
) -> Agreement:
    """Rank correlation of weight in a graph with nearness of means (Mantel's test).

    The weight of a pair is the mean of its two directions, 0 without an edge. Time is proportional
    to pairs times columns times permutations.

    Args:
        src: Edges of a graph of ``c`` classes, int64 ``(m,)``, each at most once.
        dst: Likewise.
        weight: float64 ``(m,)``.
        means: float64 ``(c, d)``.
        rng: Draws pairs, if there are too many, and permutations.
        permutations: At least 1.

    Raises:
        ConfigError: If ``permutations`` is below 1.
    """
    if permutations < 1:
        raise ConfigError(f"`permutations` is {permutations}, expected at least 1")
    first, second, near = _pairs(src, dst, weight, len(means), rng)
    if len(first) < 2:
        return Agreement(0.0, 1.0)
    near = _standardized(near)

    def correlation(order: Tensor) -> float:
        apart = [
            (means[order[a]] - means[order[b]]).norm(dim=1)
            for a, b in zip(first.split(_PAIRS_AT_ONCE), second.split(_PAIRS_AT_ONCE))
        ]
        return float(near @ _standardized(-torch.cat(apart)))

    observed = correlation(torch.arange(len(means)))
    at_least = 1
    for _ in range(permutations):
        at_least += correlation(torch.randperm(len(means), generator=rng)) >= observed - 1e-12
    return Agreement(observed, at_least / (permutations + 1))


def _standardized(values: Tensor) -> Tensor:
    """Ranks minus their mean, scaled to length 1; zeros if all are the same."""
    import scipy.stats

    ranks = torch.from_numpy(scipy.stats.rankdata(values.numpy()))
    ranks -= ranks.mean()
    return ranks / ranks.norm().clamp(min=1e-12)


def _pairs(
    src: Tensor, dst: Tensor, weight: Tensor, c: int, rng: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of classes, first < second, and the weight of each."""
    apart = src != dst
    src, dst, weight = src[apart], dst[apart], weight[apart]
    keys, which = torch.unique(
        torch.minimum(src, dst) * c + torch.maximum(src, dst), return_inverse=True
    )
    near = weight.new_zeros(len(keys)).index_add(0, which, weight / 2)
    if c * (c - 1) // 2 <= _MOST_PAIRS:
        first, second = torch.triu_indices(c, c, 1).unbind(0)
        full = weight.new_zeros(c * c)
        full[keys] = near
        return first, second, full[first * c + second]
    others = _unjoined(keys, c, min(len(keys), _MOST_PAIRS), rng)
    if len(keys) > _MOST_PAIRS:
        chosen = torch.randperm(len(keys), generator=rng)[:_MOST_PAIRS]
        keys, near = keys[chosen], near[chosen]
    keys, near = torch.cat([keys, others]), torch.cat([near, near.new_zeros(len(others))])
    return keys // c, keys % c, near


def _unjoined(keys: Tensor, c: int, count: int, rng: torch.Generator) -> Tensor:
    """Keys of up to ``count`` different pairs that no edge joins."""
    found = keys.new_empty(0)
    for _ in range(_ROUNDS):
        if len(found) >= count:
            break
        ends = torch.randint(c, (2 * count, 2), generator=rng).sort(1).values
        new = ends[:, 0] * c + ends[:, 1]
        new = new[(ends[:, 0] != ends[:, 1]) & ~torch.isin(new, keys)]
        found = torch.cat([found, new]).unique()
    return found[torch.randperm(len(found), generator=rng)[:count]]
