"""Labels of tables: what is a class, what a value, and what is refused with its row."""

from __future__ import annotations

import logging

import pytest
import torch

from gtl.data.readers.label_columns import read_labels
from gtl.data.readers.table import Table
from gtl.errors import ConfigError, DataError


@pytest.fixture
def table(tmp_path):
    def make(text):
        path = tmp_path / "a.csv"
        path.write_text(text)
        return Table.read(path)

    return make


@pytest.fixture
def column(table):
    """Labels of one column of cells."""

    def read(*cells, **options):
        return read_labels(
            table("s;a\n" + "".join(f"x;{cell}\n" for cell in cells)), ["a"], **options
        )

    return read


# -- values ----------------------------------------------------------------------------------------


def test_empty_cells_are_missing_labels(table):
    labels = read_labels(table("s,a,b\nx,1.5,\ny,,2.5\n"), ["a", "b"])
    assert labels.values.dtype == torch.float32 and labels.kind == "regression"
    assert labels.values.isnan().tolist() == [[False, True], [True, False]]
    assert labels.values[0, 0] == 1.5 and labels.values[1, 1] == 2.5
    assert (labels.names, labels.class_names) == (("a", "b"), ())


def test_numbers_are_read_in_the_format_of_the_column(column):
    assert column("1,5", "0,25").values.flatten().tolist() == [1.5, 0.25]
    assert column("1,234.5", "1,000").values.flatten().tolist() == [1234.5, 1000]
    assert column("50%", "10%").values.flatten().tolist() == pytest.approx([0.5, 0.1])
    assert column("1,000", "2,500", decimal=",").values.flatten().tolist() == [1, 2.5]


def test_a_number_that_may_be_two_is_refused_with_the_remedy(column):
    with pytest.raises(DataError, match=r"row 3: 'a' is '1,000', which may .* decimal='\.' or dec"):
        column("12", "1,000", "3,500")
    with pytest.raises(ConfigError, match="`decimal` is 'x'"):
        column("1", decimal="x")


def test_a_cell_that_is_not_a_number_is_named_with_its_row(column):
    with pytest.raises(DataError, match=r"row 3: 'a' is 'n\.d\.', expected a number .*multiclass"):
        column("1", "n.d.", "3")


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e400", "1e39", "-4e38"])
@pytest.mark.parametrize("kind", [None, "regression"])
def test_values_that_are_not_finite_are_refused_with_their_row(column, cell, kind):
    with pytest.raises(DataError, match=f"row 3: 'a' is '{cell}', expected a finite number"):
        column("1.5", cell, "2", kind=kind)


@pytest.mark.parametrize("cells", [["1 000", "2 500"], ["<0.5", ">10"], ["1.2.3", "2.0.0"]])
def test_words_that_are_meant_as_numbers_are_never_classes(column, cells):
    with pytest.raises(DataError, match=r"row 2: 'a' is .*, expected a number such as 1000 or 0.5"):
        column(*cells)
    assert column(*cells, kind="multiclass").class_names == tuple(sorted(cells))


def test_blank_rows_count_as_rows_of_the_file(table):
    with pytest.raises(DataError, match="row 5: 'a' is 'bad'"):
        read_labels(table("s,a\nx,1\n\ny,2\nz,bad\n"), ["a"])


def test_tiny_values_are_kept(column):
    assert column("1e-13", "2.5e-13").values.flatten().tolist() == pytest.approx([1e-13, 2.5e-13])


# -- classes ---------------------------------------------------------------------------------------


def test_a_column_of_words_is_one_class_per_word(column):
    labels = column("toxic", "safe", "", "unknown")
    assert labels.values.dtype == torch.int64 and labels.kind == "multiclass"
    assert labels.values.tolist() == [1, 0, -1, 2]
    assert labels.class_names == ("safe", "toxic", "unknown")


@pytest.mark.parametrize(
    ("negative", "positive"),
    [
        ("False", "True"),
        ("No", "Yes"),
        ("n", "y"),
        ("inactive", "active"),
        ("non-toxic", "toxic"),
        ("not soluble", "soluble"),
        ("negative", "positive"),
        ("low", "high"),
    ],
)
def test_two_words_are_binary_and_the_affirmed_one_is_1(column, negative, positive, caplog):
    with caplog.at_level(logging.INFO):
        labels = column(positive, negative, "", positive)
    assert labels.kind == "binary" and labels.class_names == (negative, positive)
    assert labels.values.nan_to_num(-1).tolist() == [[1], [0], [-1], [1]]
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert f"{negative} (0) and {positive} (1)" in record.getMessage()


def test_which_of_two_other_words_is_1_is_warned_of_and_can_be_chosen(column, caplog):
    assert column("base", "acid").class_names == ("acid", "base")
    assert "acid (0) and base (1); classes=['base', 'acid'] exchanges them" in caplog.text
    labels = column("base", "acid", classes=["base", "acid"])
    assert labels.values.tolist() == [[0], [1]] and labels.class_names == ("base", "acid")


def test_given_classes_number_a_file_that_lacks_some(column):
    classes = ["acid", "base", "neutral"]
    labels = column("neutral", "base", "", classes=classes)
    assert (labels.kind, labels.values.tolist()) == ("multiclass", [2, 1, -1])
    assert labels.class_names == tuple(classes)
    assert column("yes", classes=["no", "yes"]).values.tolist() == [[1]]
    assert column("2", "1.0", classes=["1", "2"]).values.tolist() == [[1], [0]]
    assert column("2.0", "1.0", classes=["1.0", "2.0"]).class_names == ("1", "2")
    assert column("1", "0", classes=[1, 0]).values.tolist() == [[0], [1]]
    assert column("2.0", "1.0", "0.0", classes=[2.0, 1.0, 0.0]).values.tolist() == [0, 1, 2]
    with pytest.raises(
        DataError, match="row 3: 'a' is 'salt', expected one of the classes acid, b"
    ):
        column("acid", "salt", classes=classes)


@pytest.mark.parametrize(
    "options",
    [
        {"classes": ["a"]},
        {"classes": ["a", "a"]},
        {"classes": "ab"},
        {"classes": ["a", "b"], "kind": "regression"},
        {"classes": ["a", "b", "c"], "kind": "binary"},
        {"kind": "ordinal"},
    ],
)
def test_options_that_cannot_be_are_refused(column, options):
    with pytest.raises(ConfigError, match=r"`classes` are|`kind` is 'ordinal'"):
        column("a", "b", **options)


@pytest.mark.parametrize(
    ("cells", "kind", "values", "names"),
    [
        ("0 1 1 0", "binary", [[0], [1], [1], [0]], ()),
        ("0.0 1.0 NA", "binary", [[0], [1], [-1]], ()),
        ("-1 1 1", "binary", [[0], [1], [1]], ("-1", "1")),
        ("1 2 2 1", "binary", [[0], [1], [1], [0]], ("1", "2")),
        ("2 0 1 1 0 2", "multiclass", [2, 0, 1, 1, 0, 2], ("0", "1", "2")),
        ("10 9 30 9 10 30.0", "multiclass", [1, 0, 2, 0, 1, 2], ("9", "10", "30")),
    ],
)
def test_few_whole_numbers_are_classes(column, cells, kind, values, names, caplog):
    labels = column(*cells.split())
    assert (labels.kind, labels.class_names) == (kind, names)
    assert labels.values.nan_to_num(-1).tolist() == values
    assert ("kind='regression'" in caplog.text) == bool(names)
    chosen = column(*cells.split(), kind="regression")
    assert chosen.kind == "regression" and chosen.values.shape == (len(cells.split()), 1)


@pytest.mark.parametrize("cells", ["1 2 3 4 5", "0.5 1 0.5 1", "3 3 3", "0 1.5 0 1.5 0 1.5"])
def test_other_numbers_are_values(column, cells):
    assert column(*cells.split()).kind == "regression"


def test_whole_numbers_that_are_read_as_values_are_said(column, caplog):
    with caplog.at_level(logging.INFO):
        column("1", "2", "3", "4")
    assert "holds whole numbers and is read as values; kind='multiclass'" in caplog.text
    caplog.clear()
    column(*map(str, range(60)))
    assert not caplog.records


def test_markers_are_names_beside_names_and_missing_beside_numbers(column, caplog):
    labels = column("None", "mild", "severe", "", "NA")
    assert labels.class_names == ("NA", "None", "mild", "severe")
    assert labels.values.tolist() == [1, 2, 3, -1, 0]
    assert "'NA', 'None' as the name of a class; leave cells empty" in caplog.text
    assert column("1.5", "None", "NA", "null").values.isnan().tolist() == [[False]] + 3 * [[True]]


def test_numbers_as_classes_keep_their_order_and_names(column):
    labels = column("10", "9", "2000000", "9", kind="multiclass")
    assert labels.values.tolist() == [1, 0, 2, 0]
    assert labels.class_names == ("9", "10", "2000000")


def test_a_number_among_class_names_is_a_name_when_classes_are_asked_for(column):
    labels = column("1", "high", "1", kind="multiclass")
    assert (labels.values.tolist(), labels.class_names) == ([0, 1, 0], ("1", "high"))


def test_free_text_is_no_column_of_classes(column):
    words = [f"sample {chr(97 + i)}" for i in range(24)]
    with pytest.raises(DataError, match=r"'a' has 24 distinct words in 24 rows.*check `target`"):
        column(*words)
    assert len(column(*words, kind="multiclass").class_names) == 24
    assert column(*(3 * words)).kind == "multiclass"


def test_words_are_refused_where_numbers_were_announced(column):
    with pytest.raises(DataError, match="row 2: 'a' is 'low'"):
        column("low", "high", kind="regression")
    with pytest.raises(DataError, match="row 4: 'a' is '2', expected 0, 1"):
        column("1", "0", "2", kind="binary")
    with pytest.raises(DataError, match="row 2: 'a' is 'yes', expected 0, 1"):
        column("yes", "yes", kind="binary")


# -- several columns -------------------------------------------------------------------------------


def test_a_table_of_several_columns_is_not_multiclass(table):
    with pytest.raises(ConfigError, match="one column, `target` names 2"):
        read_labels(table("a,b\n1,2\n"), ["a", "b"], "multiclass")


def test_columns_of_two_classes_each_are_binary_together(table):
    labels = read_labels(table("a,b,c\n0,yes,-1\n1,no,1\n,yes,1\n"), ["a", "b", "c"])
    assert labels.kind == "binary" and labels.class_names == ()
    assert labels.values.nan_to_num(-1).tolist() == [[0, 1, 0], [1, 0, 1], [-1, 1, 1]]
    same = read_labels(table("a,b\nyes,no\nno,yes\n"), ["a", "b"])
    assert same.class_names == ("no", "yes") and same.values.tolist() == [[1, 0], [0, 1]]


def test_classes_beside_values_are_refused_by_name(table):
    read = table("a,b,c\n0,1.5,yes\n1,2.5,no\n0,3.5,yes\n")
    with pytest.raises(DataError, match=r"two classes: a; .* values: b; .*kind='regression'"):
        read_labels(read, ["a", "b"])
    with pytest.raises(DataError, match=r"two classes: c; .* values: b; name columns of one sort"):
        read_labels(read, ["b", "c"])
    assert read_labels(read, ["a", "b"], "regression").values[1].tolist() == [1, 2.5]
    assert read_labels(read, ["a", "c"]).values.tolist() == [[0, 1], [1, 0], [0, 1]]


def test_a_constant_or_counting_column_beside_values_is_one_of_values(table):
    read = table("a,b,c\n0,1.5,1\n0,2.5,2\n0,3.5,3\n0,4,1\n0,5,2\n0,6,3\n")
    assert read_labels(read, ["a", "b", "c"]).kind == "regression"
    assert read_labels(read, ["a"]).kind == "binary"
    with pytest.raises(DataError, match=r"several classes: c; values: none; .* one column alone"):
        read_labels(read, ["a", "c"])
