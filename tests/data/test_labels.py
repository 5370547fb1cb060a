"""Labels in memory: what becomes a class, a column or a value, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from gtl.data.labels import read_labels
from gtl.errors import DataError

nan = float("nan")


def listed(found) -> list:
    return torch.nan_to_num(found.values.float(), nan=-9).flatten().tolist()


@pytest.mark.parametrize(
    ("labels", "values", "kind", "class_names"),
    [
        (["b", "a", "c"], [1, 0, 2], "multiclass", ("a", "b", "c")),
        (["yes", "no", None, ""], [1, 0, -9, -9], "binary", ("no", "yes")),
        (["a", nan, "b"], [0, -9, 1], "binary", ("a", "b")),
        (np.array(["x", "y", "x"]), [0, 1, 0], "binary", ("x", "y")),
        ([0, 1, 1], [0, 1, 1], "binary", ()),
        ([1, 2, 1], [0, 1, 0], "binary", ("1", "2")),
        ([-1, 1, 1], [0, 1, 1], "binary", ("-1", "1")),
        ([0, 1, -1], [0, 1, -9], "binary", ()),
        ([0, 2, -1, 1], [0, 2, -1, 1], "multiclass", ("0", "1", "2")),
        (np.array([5, 3, 9]), [1, 0, 2], "multiclass", ("3", "5", "9")),
        ([True, False], [1, 0], "binary", ("False", "True")),
        ([[1], [0]], [1, 0], "binary", ()),
        ([1.0, 0.0, nan], [1, 0, -9], "binary", ()),
        ([0.5, 2.0, None], [0.5, 2, -9], "regression", ()),
        (torch.tensor([0.25, 0.5], dtype=torch.bfloat16), [0.25, 0.5], "regression", ()),
        ([[0, 1], [1, nan]], [0, 1, 1, -9], "binary", ()),
        ([[0.5, 1], [1, 2]], [0.5, 1, 1, 2], "regression", ()),
        ([torch.tensor(1), torch.tensor(0)], [1, 0], "binary", ()),
    ],
)
def test_labels_become_classes_or_columns(labels, values, kind, class_names):
    found = read_labels(labels, len(labels))
    assert (listed(found), found.kind, found.class_names) == (values, kind, class_names)


def test_tables_give_the_names_of_their_columns():
    table = pd.DataFrame({"acid": [0, 1], "base": [1, None]})
    found = read_labels(table, 2)
    assert (listed(found), found.label_names) == ([0, 1, 1, -9], ("acid", "base"))
    words = read_labels(pd.Series(["b", None, "a"]), 3)
    assert (listed(words), words.class_names) == ([1, -9, 0], ("a", "b"))
    whole = read_labels(pd.Series([1, None, 2], dtype="Int64"), 3)
    assert (listed(whole), whole.class_names) == ([0, -9, 1], ("1", "2"))
    ordered = pd.Series(pd.Categorical(["low", "high"], ["low", "mid", "high"]))
    found = read_labels(ordered, 2)
    assert (listed(found), found.class_names) == ([0, 2], ("low", "mid", "high"))


def test_a_kind_that_is_given_decides():
    assert read_labels([0, 1, 1], 3, "multiclass").values.tolist() == [0, 1, 1]
    assert listed(read_labels([0, 3, 7], 3, "regression")) == [0, 3, 7]
    assert read_labels([0.0, 1.0, 2.0], 3, "multiclass").values.tolist() == [0, 1, 2]


def test_class_names_number_the_classes_whatever_is_there():
    found = read_labels(["neutral", "base"], 2, class_names=("acid", "base", "neutral"))
    assert (found.values.tolist(), found.kind) == ([2, 1], "multiclass")
    found = read_labels([2, 0], 2, class_names=("acid", "base", "neutral"))
    assert found.values.tolist() == [2, 0]
    assert read_labels([2, 3], 2, class_names=("1", "2", "3")).values.tolist() == [1, 2]
    assert read_labels([2, 3], 2, class_names=(1, 2, 3)).class_names == ("1", "2", "3")
    assert listed(read_labels([True, False], 2, class_names=(False, True))) == [1, 0]


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        ([0, 1], {}, "2 rows for 3 items"),
        ([None, None, nan], {}, "every label is missing"),
        ([-1, -1, -1], {}, "every label is missing"),
        ([1.5, float("inf"), 2], {}, "item 1 is infinite"),
        ([1.5, 1e39, 2], {}, "item 1 is infinite in float32"),
        ([0.0, 1.0, 2.0], {}, "classes or quantities; tell which with kind"),
        ([-100, 1, 2], {}, "expected classes from 0 on"),
        ([[1, -1], [0, 1], [1, 1]], {}, "may be missing or a class"),
        ([[1, 0.5], [0, 1], [1, 1]], {}, r"columns \[0\] of `labels` hold 0 and 1"),
        ([["a", "b"]] * 3, {}, "words in 2 columns"),
        ([[1, 0]] * 3, {"kind": "multiclass"}, "argmax"),
        ([0, 1, 2], {"kind": "binary"}, "there are 3 classes"),
        ([0.5, 1, 2], {"kind": "binary"}, "holds fractions"),
        ([0, 1, 2], {"kind": "ordinal"}, "`kind` is 'ordinal'"),
        (["a", "b", "d"], {"class_names": ("a", "b", "c")}, "names d, which `class_names`"),
        ([object(), 1, 2], {}, "holds a object"),
        ([[1], [1, 2], [3]], {}, "differ in length"),
        (np.zeros((3, 1, 1)), {}, r"shape \(3, 1, 1\)"),
    ],
)
def test_labels_that_cannot_be_told_are_refused(labels, options, words):
    with pytest.raises(DataError, match=words):
        read_labels(labels, 3, **options)


def test_many_different_whole_numbers_need_a_kind():
    with pytest.raises(DataError, match="30 different whole numbers"):
        read_labels(range(30), 30)
    assert read_labels(range(30), 30, "regression").kind == "regression"


@pytest.mark.parametrize(("no", "yes"), [("inactive", "active"), ("no", "yes"), ("acid", "base")])
def test_of_two_words_the_negative_one_is_0(no, yes):
    found = read_labels([yes, no, None], 3)
    assert (found.kind, found.class_names) == ("binary", (no, yes))
    assert found.values.nan_to_num(-1).tolist() == [[1], [0], [-1]]
