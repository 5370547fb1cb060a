"""Stored names are the strings that went in."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gtl.data.stored_names import StoredNames, encode_names

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), max_size=9)


@given(TEXTS, TEXTS)
def test_names_come_back_whatever_their_letters_and_pieces(first, second):
    text, ends = encode_names(first)
    more, later = encode_names(second, len(text))
    names = StoredNames(torch.cat([text, more]), torch.cat([ends, later]))
    whole = (*first, *second)
    assert len(names) == len(whole)
    assert tuple(names) == whole and names == whole and whole == names
    assert [names[-i - 1] for i in range(len(whole))] == list(reversed(whole))
    assert names[1:7:2] == whole[1:7:2]


def test_other_names_are_not_equal():
    names = StoredNames(*encode_names(["CC", "C"]))
    assert names != ("CC",) and names != ("CC", "N") and names != ["CC", "C"]


@pytest.mark.parametrize("index", [2, -3])
def test_a_name_that_does_not_exist_is_refused(index):
    with pytest.raises(IndexError, match=f"name {index} of 2"):
        StoredNames(*encode_names(["CC", "C"]))[index]
