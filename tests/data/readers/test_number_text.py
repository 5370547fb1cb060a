"""Numbers in tables: each way to write them is read as what it says, or left unread."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtl.data.readers.number_text import looks_like_number, read_numbers

AMOUNTS = st.lists(st.integers(-(10**11), 10**11), min_size=1, max_size=8)


def values(*cells, decimal=None):
    numbers = read_numbers(pd.Series(list(cells), dtype="str", name="y"), decimal)
    return ["?" if bad else v for v, bad in zip(numbers.values.tolist(), numbers.unread)]


@pytest.mark.parametrize(
    ("cells", "read"),
    [
        (["1.5", "-2", "+3e-5", ".5", "4."], [1.5, -2, 3e-5, 0.5, 4]),
        (["1,5", "-0,25", "2"], [1.5, -0.25, 2]),
        (["1,5e-3", "1,000"], [0.0015, 1]),
        (["1.000,5", "2.000", "3"], [1000.5, 2000, 3]),
        (["1.000.000", "2.500"], [1_000_000, 2500]),
        (["1,000,000", "1,000", "12"], [1_000_000, 1000, 12]),
        (["1,000", "2.5"], [1000, 2.5]),
        (["1,234.5", "-1,000"], [1234.5, -1000]),
        (["10%", "2.5 %"], [0.1, 0.025]),
        (["1,5%", "100%"], [0.015, 1]),
        (["\u22121.5", "2"], [-1.5, 2]),
        (["0,125"], [0.125]),
    ],
)
def test_each_format_is_read_as_what_it_says(cells, read):
    assert values(*cells) == read


@pytest.mark.parametrize(
    "cells", [["10%", "2"], ["1,5", "2.5"], ["1 000"], ["<0.5"], ["1.2.3"], ["1_000"], ["\u0661"]]
)
def test_what_is_no_number_or_mixes_formats_is_unread(cells):
    assert "?" in values(*cells)


def test_a_number_that_may_be_two_is_ambiguous_unless_the_mark_is_given():
    numbers = read_numbers(pd.Series(["1,000", "2,500", "7"], dtype="str"))
    assert numbers.ambiguous == "1,000" and numbers.unread.tolist() == [True, True, False]
    assert values("1,000", "2,500", decimal=".") == [1000, 2500]
    assert values("1,000", "2,500", decimal=",") == [1, 2.5]
    assert values("1.000", "2,5", decimal=",") == [1000, 2.5]
    assert values("1.000", decimal=",") == [1000] and values("1.5", decimal=",") == ["?"]


def test_markers_of_missing_values_are_missing_beside_numbers():
    read = values("1", "NA", "n/a", "None", "null", "NaN", None)
    assert read[0] == 1 and all(math.isnan(value) for value in read[1:])


@pytest.mark.parametrize("word", ["1 000", "<0.5", ">= 10", "10%", "1'000", "1.2.3", "~5", ",5"])
def test_a_word_that_is_meant_as_a_number_looks_like_one(word):
    assert looks_like_number(word)


@pytest.mark.parametrize("word", ["1-2", "2020-01-01", "3+", "5 mg", "high", "-", ""])
def test_a_name_does_not_look_like_a_number(word):
    assert not looks_like_number(word)


@settings(deadline=None, max_examples=60)
@given(AMOUNTS, st.integers(0, 4))
def test_numbers_written_with_thousands_come_back_in_either_convention(amounts, digits):
    written = [f"{amount / 10**digits:,.{digits}f}" for amount in amounts]
    swapped = [text.translate(str.maketrans(",.", ".,")) for text in written]
    exact = [float(text.replace(",", "")) for text in written]
    assert values(*written, decimal=".") == exact
    assert values(*swapped, decimal=",") == exact


@settings(deadline=None, max_examples=60)
@given(AMOUNTS, st.integers(1, 4))
def test_a_column_with_one_unambiguous_number_is_read_without_being_told(amounts, digits):
    written = [f"{amount / 10**digits:,.{digits}f}" for amount in (*amounts, 1234567)]
    written.append("1,234,567.5")
    exact = [float(text.replace(",", "")) for text in written]
    assert values(*written) == exact
    swapped = [text.translate(str.maketrans(",.", ".,")) for text in written]
    assert values(*swapped) == exact


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
def test_numbers_as_python_writes_them_come_back_in_either_convention(numbers):
    plain = [repr(number) for number in numbers]
    assert values(*plain) == pytest.approx(numbers, rel=1e-15)
    commas = [text.replace(".", ",") for text in plain]
    assert values(*commas, decimal=",") == pytest.approx(numbers, rel=1e-15)
