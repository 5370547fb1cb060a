"""Files of numbers: read as they are, and refused with the file and the row."""

from __future__ import annotations

import pytest
import torch

from gtl.data.readers.number_file import read_numbers
from gtl.errors import DataError


def test_numbers_are_read_with_any_spaces_around_them(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("1, 2\n 3,4\n")
    assert torch.equal(read_numbers(file), torch.tensor([[1, 2], [3, 4]]))
    file.write_text("1\t2\n 3  4\n")
    assert read_numbers(file, "float64", 2, r"\s+").tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("text", "dtype", "words"),
    [
        ("", "int64", "cannot be read"),
        ("1,2\n1,x\n", "int64", "cannot be read"),
        ("1,2\n1,2,3\n", "int64", "cannot be read"),
        ("1,2\n1\n", "int64", "cannot be read"),
        ("1\n2\n", "int64", "has 1 columns, expected 2"),
        ("1,2\n1,nan\n", "float64", "row 2 is not all numbers"),
        ("inf,2\n", "float64", "row 1 is not all numbers"),
    ],
)
def test_a_refusal_names_the_file_and_what_is_wrong(tmp_path, text, dtype, words):
    file = tmp_path / "a.txt"
    file.write_text(text)
    with pytest.raises(DataError, match=rf"a\.txt {words}.*copy the data set again"):
        read_numbers(file, dtype, 2)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.txt is missing; copy the data set again"):
        read_numbers(tmp_path / "a.txt")
