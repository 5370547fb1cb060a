"""Paired differences agree with scipy and with hand values; ranks add up."""

from __future__ import annotations

import math

import pytest
import scipy.stats
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gtl.errors import ConfigError, GtlError
from gtl.report.compare import (
    Difference,
    decimals,
    mean_ranks,
    paired,
    ranks,
    spread,
)

MINE = {0: 0.71, 1: 0.78, 2: 0.74, 3: 0.80, 4: 0.69, 7: 0.77, 11: 0.73}
OTHER = {0: 0.70, 1: 0.73, 2: 0.75, 3: 0.72, 4: 0.66, 7: 0.71, 11: 0.70}
NUMBERS = st.integers(-1000, 1000).map(lambda i: i / 64)  # sums and differences are exact
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SIDES = st.dictionaries(st.integers(0, 20), st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=9)


def _split(pairs):
    return {s: a for s, (a, _) in pairs.items()}, {s: b for s, (_, b) in pairs.items()}


def test_mean_and_standard_deviation_by_hand():
    found = spread([2.0, 4.0, 9.0])
    assert (found.mean, found.n) == (5.0, 3)
    assert found.std == pytest.approx(math.sqrt((9 + 1 + 16) / 2))
    assert found.text(1) == "5.0 ± 3.6"


def test_one_value_has_no_spread():
    assert spread([0.25]).std is None
    assert spread([0.25]).text(2) == "0.25"


def test_the_interval_by_hand():
    # differences 1, 2, 1; mean 4/3, standard error 1/3; t(0.975, 2) = 4.302653 from a printed table
    found = paired({0: 1.0, 1: 3.0, 2: 2.0}, {0: 0.0, 1: 1.0, 2: 1.0})
    assert found.mean == pytest.approx(4 / 3)
    assert found.low == pytest.approx(4 / 3 - 4.302653 / 3, abs=1e-6)
    assert found.high == pytest.approx(4 / 3 + 4.302653 / 3, abs=1e-6)
    # for two degrees of freedom p = 1 - t / sqrt(2 + t²), with t = 4
    assert found.p == pytest.approx(1 - 4 / math.sqrt(18))


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_interval_and_p_value_are_those_of_scipy(level):
    found = paired(MINE, OTHER, level)
    test = scipy.stats.ttest_rel(list(MINE.values()), list(OTHER.values()))
    interval = test.confidence_interval(level)
    assert (found.low, found.high) == pytest.approx(tuple(interval), abs=1e-12)
    assert found.p == pytest.approx(test.pvalue, rel=1e-9)


def test_only_seeds_that_both_have_count_in_whatever_order():
    found = paired({5: 3.0, 0: 1.0, 9: 100.0}, {0: 0.0, 5: 1.0, 8: -100.0})
    assert found.n == 2 and found.mean == 1.5


def test_one_common_seed_gives_a_mean_without_an_interval():
    found = paired({0: 0.75, 1: 0.5}, {0: 0.5})
    assert found == Difference(0.25, None, None, 1, None)
    assert found.text(2) == "+0.25"
    assert found.verdict("higher") == ""


def test_equal_differences_have_an_interval_without_width():
    always = paired({0: 1.0, 1: 2.0}, {0: 0.5, 1: 1.5})
    assert (always.low, always.high, always.p) == (0.5, 0.5, 0.0)
    assert always.verdict("higher") == "better"
    never = paired({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0})
    assert (never.low, never.high, never.p) == (0.0, 0.0, 1.0)
    assert never.verdict("higher") == never.verdict("lower") == ""


@pytest.mark.parametrize(
    ("low", "high", "better", "verdict"),
    [
        (0.1, 0.3, "higher", "better"),
        (0.1, 0.3, "lower", "worse"),
        (-0.3, -0.1, "higher", "worse"),
        (-0.3, -0.1, "lower", "better"),
        (-0.1, 0.3, "higher", ""),
        (0.0, 0.3, "lower", ""),
    ],
)
def test_a_verdict_needs_an_interval_that_leaves_out_zero(low, high, better, verdict):
    assert Difference((low + high) / 2, low, high, 5, 0.01).verdict(better) == verdict


def test_numbers_that_round_to_zero_have_no_sign():
    assert Difference(-0.0001, -0.0004, 0.2, 3, 0.9).text(3) == "0.000 [0.000, +0.200]"


@unhurried
@given(SIDES)
def test_swapping_the_sides_flips_the_signs(pairs):
    mine, other = _split(pairs)
    one, two = paired(mine, other), paired(other, mine)
    assert (one.mean, one.low, one.high) == pytest.approx((-two.mean, -two.high, -two.low))
    assert one.p == pytest.approx(two.p)
    assert one.verdict("higher") == two.verdict("lower")


@unhurried
@given(SIDES, NUMBERS)
def test_shifting_all_values_shifts_no_difference(pairs, by):
    mine, other = _split(pairs)
    shifted = paired({s: v + by for s, v in mine.items()}, {s: v + by for s, v in other.items()})
    assert shifted == paired(mine, other)


@unhurried
@given(SIDES, st.randoms())
def test_the_order_of_the_seeds_does_not_matter(pairs, random):
    mine, other = _split(pairs)
    items = list(mine.items())
    random.shuffle(items)
    assert paired(dict(items), other) == paired(mine, other)


@unhurried
@given(SIDES)
def test_the_interval_leaves_out_zero_exactly_when_p_is_below_its_level(pairs):
    found = paired(*_split(pairs))
    if abs(found.p - 0.05) > 1e-9:
        assert bool(found.verdict("higher")) == (found.p < 0.05)


@unhurried
@given(
    st.dictionaries(st.text(max_size=3), st.integers(-3, 3).map(float), min_size=1),
    st.sampled_from(["higher", "lower"]),
)
def test_ranks_sum_right_and_are_those_of_scipy(values, better):
    found = ranks(values, better)
    assert sum(found.values()) == len(values) * (len(values) + 1) / 2
    sign = -1 if better == "higher" else 1
    expected = scipy.stats.rankdata([sign * value for value in values.values()])
    assert list(found.values()) == expected.tolist()


def test_mean_ranks_skip_methods_that_are_absent_somewhere():
    table = {
        "x": {"a": 0.9, "b": 0.7, "c": 0.8},
        "y": {"b": 1.0, "a": 1.0, "d": 0.1},
        "z": {"a": 3.0, "b": 2.0, "c": 1.0, "d": 0.0},
    }
    better = {"x": "higher", "y": "higher", "z": "lower"}
    assert mean_ranks(table, better) == pytest.approx({"a": (1 + 1.5 + 2) / 3, "b": 1.5})
    assert mean_ranks({"x": {"a": 1.0}, "y": {"b": 1.0}}, better) == {}
    assert mean_ranks({}, {}) == {}


def test_the_best_mean_rank_comes_first():
    table = {"x": {"bad": 0.1, "good": 0.9}}
    assert list(mean_ranks(table, {"x": "higher"})) == ["good", "bad"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], 3), ([0.0], 3), ([-0.0123], 4), ([0.1, 0.09], 3), ([9.99], 3), ([99.9], 2), ([1e-9], 6)],
)
def test_decimals_follow_the_largest_value(values, expected):
    assert decimals(values) == expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spread([]), "at least one"),
        (lambda: spread([1.0, math.nan]), "finite"),
        (lambda: paired({0: 1.0}, {1: 1.0}), r"\[0\] and \[1\]"),
        (lambda: paired({3: math.inf}, {3: 1.0}), "3 is inf"),
        (lambda: paired({3: 1.0}, {3: math.nan}), "3 is nan"),
        (lambda: paired(MINE, OTHER, 95), "level"),
        (lambda: paired(MINE, OTHER).verdict("up"), "'up'"),
        (lambda: ranks({"a": 1.0}, "best"), "'best'"),
        (lambda: ranks({"a": math.nan}, "lower"), "'a' is nan"),
        (lambda: mean_ranks({"x": {"a": 1.0}}, {}), "'x'"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ConfigError, match=message) as caught:
        call()
    assert isinstance(caught.value, GtlError)
