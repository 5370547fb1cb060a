"""Means, paired differences with confidence intervals, and mean ranks of methods.

Runs of two methods with one seed share their split and their start, so the differences seed by
seed vary less than the values do (the paired t-test of Student 1908); methods are compared over
several data sets by their mean rank (Demšar 2006). Pure functions over numbers, for reports and
benchmarks alike.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from gtl.errors import ConfigError

DIRECTIONS = ("higher", "lower")
S = TypeVar("S", bound=Any)


@dataclass(frozen=True)
class Spread:
    """Values around their mean.

    Attributes:
        mean: Arithmetic mean.
        std: Standard deviation with ``n - 1`` in the denominator; ``None`` for one value.
        n: How many values.
    """

    mean: float
    std: float | None
    n: int

    def text(self, decimals: int = 3) -> str:
        """``mean ± std``, or the mean alone."""
        mean = _fixed(self.mean, decimals)
        return mean if self.std is None else f"{mean} ± {self.std:.{decimals}f}"


@dataclass(frozen=True)
class Difference:
    """A method minus the reference over the seeds that both have.

    Attributes:
        mean: Mean difference, in the unit of the values.
        low: Lower end of the confidence interval of the mean; ``None`` for one seed.
        high: Its upper end.
        n: How many seeds.
        p: Two-sided p-value of the paired t-test; ``None`` for one seed.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    p: float | None

    def verdict(self, better: str) -> str:
        """``"better"`` or ``"worse"`` if the difference is significant, else an empty string.

        It is significant if the interval leaves out 0, and never so for one seed.

        Args:
            better: ``"higher"`` or ``"lower"``: which values are good.
        """
        _check_direction(better)
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return ""
        return "better" if (self.low > 0) == (better == "higher") else "worse"

    def text(self, decimals: int = 3) -> str:
        """``mean [low, high]`` with signs, or the mean alone."""
        mean = _signed(self.mean, decimals)
        if self.low is None or self.high is None:
            return mean
        return f"{mean} [{_signed(self.low, decimals)}, {_signed(self.high, decimals)}]"


def spread(values: Iterable[float]) -> Spread:
    """Mean and standard deviation, ``std² = Σ (v - mean)² / (n - 1)``.

    Raises:
        ConfigError: If there is no value, or one is not finite.

    Example:
        >>> spread([1.0, 3.0, 2.0])
        Spread(mean=2.0, std=1.0, n=3)
        >>> print(spread([1.0, 3.0, 2.0]).text(), "|", spread([2.0]).text())
        2.000 ± 1.000 | 2.000
    """
    values = list(values)
    if not values:
        raise ConfigError("no values to average; give at least one")
    _check_finite(enumerate(values))
    std = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), std, len(values))


def paired(
    values: Mapping[S, float], reference: Mapping[S, float], level: float = 0.95
) -> Difference:
    """Mean difference over common seeds with its t interval and p-value (Student 1908).

    With ``d_s = values[s] - reference[s]`` for the ``n`` seeds ``s`` that both have, ``m`` their
    mean and ``std`` their standard deviation, the interval is ``m ± q · std / √n``, where ``q`` is
    the ``(1 + level) / 2`` quantile of Student's t with ``n - 1`` degrees of freedom, and ``p`` the
    probability of ``|t| ≥ |m| √n / std`` under it. It assumes that the differences are
    independent and normal, which a few seeds cannot test. It is not corrected for the number of
    methods compared: of 20 that do not differ, one is significant on average.

    One common seed has no interval. Differences that are all equal have an interval without width,
    and ``p`` is 0, or 1 if they are 0.

    Args:
        values: Value of the method by seed, or by whatever else names a repetition.
        reference: Value of the reference by seed.
        level: Probability that the interval covers the true mean.

    Raises:
        ConfigError: If no seed is common, a value is not finite, or ``level`` is not in (0, 1).

    Example:
        >>> gain = paired({0: 5.0, 1: 7.0, 2: 6.0, 3: 9.0}, {0: 4.0, 1: 5.0, 2: 5.0})
        >>> print(gain.text(), gain.n)
        +1.333 [-0.101, +2.768] 3
        >>> paired({0: 0.8}, {0: 0.5}).low is None
        True
    """
    if not 0 < level < 1:
        raise ConfigError(f"`level` is {level}, expected a probability between 0 and 1, as 0.95")
    seeds = sorted(values.keys() & reference.keys())
    if not seeds:
        raise ConfigError(
            f"no seed is common to {sorted(values)} and {sorted(reference)}; "
            "run both methods with the same seeds"
        )
    for side in (values, reference):
        _check_finite((seed, side[seed]) for seed in seeds)
    gaps = spread(values[seed] - reference[seed] for seed in seeds)
    if gaps.std is None:
        return Difference(gaps.mean, None, None, 1, None)
    half, p = _student(gaps.mean, gaps.std / math.sqrt(gaps.n), gaps.n - 1, level)
    return Difference(gaps.mean, gaps.mean - half, gaps.mean + half, gaps.n, p)


def ranks(values: Mapping[str, float], better: str) -> dict[str, float]:
    """Rank of each method, 1 for the best; equal values share the mean of their ranks.

    ``rank = 1 + (values that are better) + (other values that are equal) / 2``; the ranks of ``k``
    methods sum to ``k (k + 1) / 2``.

    Args:
        values: Value of each method.
        better: ``"higher"`` or ``"lower"``: which values are good.

    Raises:
        ConfigError: If a value is not finite or ``better`` is something else.

    Example:
        >>> ranks({"a": 0.9, "b": 0.7, "c": 0.9}, "higher")
        {'a': 1.5, 'b': 3.0, 'c': 1.5}
    """
    _check_direction(better)
    _check_finite(values.items())
    sign = 1 if better == "higher" else -1
    good = {method: sign * value for method, value in values.items()}
    return {
        method: 1.0
        + sum(other > mine for other in good.values())
        + (sum(other == mine for other in good.values()) - 1) / 2
        for method, mine in good.items()
    }


def mean_ranks(
    table: Mapping[str, Mapping[str, float]], better: Mapping[str, str]
) -> dict[str, float]:
    """Mean rank of each method over data sets (Demšar 2006), the best first.

    Only methods that every data set has are ranked, so that no rank depends on a missing method.

    Args:
        table: Value of each method, by data set and method.
        better: ``"higher"`` or ``"lower"``, by data set.

    Returns:
        Mean rank by method; empty if no method is everywhere.

    Raises:
        ConfigError: If a value is not finite or a direction is missing or unknown.

    Example:
        >>> table = {"x": {"a": 0.9, "b": 0.7, "c": 0.8}, "y": {"a": 1.2, "b": 1.1}}
        >>> mean_ranks(table, {"x": "higher", "y": "lower"})
        {'a': 1.5, 'b': 1.5}
    """
    everywhere = [
        method
        for method in next(iter(table.values()), {})
        if all(method in r for r in table.values())
    ]
    placed = []
    for name, row in table.items():
        if name not in better:
            raise ConfigError(f"`better` has no {name!r}; it has: {', '.join(better) or 'nothing'}")
        placed.append(ranks({method: row[method] for method in everywhere}, better[name]))
    means = {method: statistics.fmean(p[method] for p in placed) for method in everywhere}
    return dict(sorted(means.items(), key=lambda item: item[1]))


def decimals(values: Iterable[float]) -> int:
    """Decimals to show values with: 3 if the largest lies from 0.1 to 10, from 0 to 6 in all.

    Example:
        >>> decimals([0.7832, 0.5]), decimals([1.203]), decimals([12345.6]), decimals([0.0123])
        (3, 3, 0, 4)
    """
    largest = max(map(abs, values), default=0.0)
    if largest == 0:
        return 3
    power = math.floor(math.log10(largest))
    return min(max(3 - power - (power < 0), 0), 6)


def _student(mean: float, error: float, freedom: int, level: float) -> tuple[float, float]:
    """Half the width of the t interval, and the two-sided p-value."""
    if error == 0:
        return 0.0, 1.0 if mean == 0 else 0.0
    from scipy.stats import t

    half = float(t.ppf((1 + level) / 2, freedom)) * error
    return half, float(2 * t.sf(abs(mean) / error, freedom))


def _fixed(value: float, decimals: int) -> str:
    """Fixed decimals without a minus sign before zeros."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def _signed(value: float, decimals: int) -> str:
    rounded = round(value, decimals) + 0.0
    return f"{rounded:+.{decimals}f}" if rounded else f"{rounded:.{decimals}f}"


def _check_finite(values: Iterable[tuple[object, float]]) -> None:
    for key, value in values:
        if not math.isfinite(value):
            raise ConfigError(f"the value of {key!r} is {value}, expected a finite number")


def _check_direction(better: str) -> None:
    if better not in DIRECTIONS:
        raise ConfigError(f"`better` is {better!r}, expected one of {', '.join(DIRECTIONS)}")
