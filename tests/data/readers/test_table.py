"""Tables: labels, splits and complaints by hand-written files."""

from __future__ import annotations

import gzip

import pytest
import torch

from gtl.data.readers.table import Table
from gtl.errors import ConfigError, DataError


@pytest.fixture
def table(tmp_path):
    def make(text, name="a.csv"):
        path = tmp_path / name
        path.write_text(text)
        return Table.read(path)

    return make


def test_empty_cells_are_missing_labels(table):
    labels, names = table("s,a,b\nx,1,\ny,,2.5\n").labels(["a", "b"], None)
    assert labels.dtype == torch.float32
    assert labels.isnan().tolist() == [[False, True], [True, False]]
    assert labels[0, 0] == 1 and labels[1, 1] == 2.5
    assert names == ()


def test_a_column_of_words_is_one_class_per_word(table):
    labels, names = table("s,a\nx,toxic\ny,safe\nz,\nw,toxic\n").labels(["a"], None)
    assert labels.dtype == torch.int64
    assert labels.tolist() == [1, 0, -1, 1]
    assert names == ("safe", "toxic")


def test_numbers_as_classes_keep_their_order_and_names(table):
    labels, names = table("a\n10\n9\n2000000\n9\n").labels(["a"], "multiclass")
    assert labels.tolist() == [1, 0, 2, 0]
    assert names == ("9", "10", "2000000")


def test_a_number_among_class_names_is_a_name_when_classes_are_asked_for(table):
    labels, names = table("a\n1\nhigh\n1\n").labels(["a"], "multiclass")
    assert (labels.tolist(), names) == ([0, 1, 0], ("1", "high"))


def test_a_cell_that_is_not_a_number_is_named_with_its_row(table):
    with pytest.raises(DataError, match=r"row 3: 'a' is 'n\.d\.', expected a number"):
        table("s,a\nx,1\ny,n.d.\nz,3\n").labels(["a"], None)
    with pytest.raises(DataError, match="row 2: 'a' is 'inf'"):
        table("s,a\nx,inf\nz,3\n").labels(["a"], None)


def test_words_are_refused_where_numbers_were_announced(table):
    with pytest.raises(DataError, match="row 2: 'a' is 'low'"):
        table("a\nlow\nhigh\n").labels(["a"], "regression")
    with pytest.raises(DataError, match="row 3: 'a' is '2', expected 0, 1"):
        table("a\n1\n2\n").labels(["a"], "binary")


def test_blank_rows_count_as_rows_of_the_file(table):
    with pytest.raises(DataError, match="row 5: 'a' is 'bad'"):
        table("s,a\nx,1\n\ny,2\nz,bad\n").labels(["a"], None)


def test_a_table_of_several_columns_is_not_multiclass(table):
    with pytest.raises(ConfigError, match="one column, `target` names 2"):
        table("a,b\n1,2\n").labels(["a", "b"], "multiclass")
    with pytest.raises(ConfigError, match="`kind` is 'ordinal'"):
        table("a,b\n1,2\n").labels(["a", "b"], "ordinal")


def test_target_names_come_alone_in_a_list_or_between_commas(table):
    read = table('smiles,a,b,"a, b"\nx,1,2,3\n')
    assert read.target_names(None) == []
    assert read.target_names("a") == ["a"]
    assert read.target_names("b,a") == ["b", "a"]
    assert read.target_names(("a", "b")) == ["a", "b"]
    assert read.target_names("a, b") == ["a, b"]


def test_a_missing_column_offers_the_nearest(table):
    with pytest.raises(DataError, match="no column 'Solubilty'; did you mean 'solubility'"):
        table("smiles,solubility\nC,1\n").target_names("Solubilty")


def test_a_split_column_is_read_word_by_word(table):
    split = table("s,part\na,Train\nb,val\nc,test\nd,validation\ne, train\n").split("part")
    assert {part: index.tolist() for part, index in split.items()} == {
        "train": [0, 4],
        "valid": [1, 3],
        "test": [2],
    }


def test_a_split_cell_that_names_no_part_is_named_with_its_row(table):
    with pytest.raises(DataError, match="row 3: 'part' is 'dev', expected train, valid or test"):
        table("s,part\na,train\nb,dev\n").split("part")
    with pytest.raises(DataError, match="row 2: 'part' is empty"):
        table("s,part\na,\n").split("part")


def test_a_compressed_file_with_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress("\ufeffsmiles,a\nCC,1\n".encode()))
    assert Table.read(path).column("smiles").tolist() == ["CC"]


def test_a_comma_at_the_end_of_each_row_does_not_shift_the_columns(table):
    assert table("smiles,a\nCC,1,\nC,2,\n").column("smiles").tolist() == ["CC", "C"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read as CSV"),
        (b"smiles,a\n", "has a header but no rows"),
        (b"smiles,a\nCC,1\nC,2,3,4\n", "cannot be read as CSV"),
        (b"smiles,a\nCC,1,5\nC,2,3\n", "cannot be read as CSV"),
        (b"\xff\xfe\x00\x01", "cannot be read as CSV"),
    ],
)
def test_what_is_not_a_table_is_refused_in_one_line(content, words, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        Table.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [lambda b: b[:-12], lambda b: b[:30] + b"\0\0\0\0" + b[34:]])
def test_a_damaged_archive_is_refused(damage, tmp_path):
    whole = gzip.compress(b"smiles,a\n" + b"".join(b"C%d,%d\n" % (i, i) for i in range(200)))
    (tmp_path / "a.csv.gz").write_bytes(damage(whole))
    with pytest.raises(DataError, match=r"a\.csv\.gz cannot be read as CSV"):
        Table.read(tmp_path / "a.csv.gz")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"there is no file .*nowhere\.csv"):
        Table.read(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="there is no file"):
        Table.read(tmp_path)
