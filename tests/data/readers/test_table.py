"""Tables: cells, rows and splits of hand-written files, and refusals that name the row."""

from __future__ import annotations

import gzip

import pytest

from gtl.data import load
from gtl.data.readers.table import (
    Table,
    is_list,
    read_rows,
    smiles_column_of,
    target_columns,
)
from gtl.data.text_file import TextFile
from gtl.errors import ConfigError, DataError


@pytest.fixture
def table(tmp_path):
    def make(text, name="a.csv"):
        path = tmp_path / name
        path.write_text(text)
        return Table.read(path)

    return make


# -- columns ---------------------------------------------------------------------------------------


def test_target_names_come_alone_in_a_list_or_between_commas(table):
    read = table('smiles,a,b,"a, b"\nx,1,2,3\n')
    assert target_columns(read, None) == []
    assert target_columns(read, "a") == ["a"]
    assert target_columns(read, "b,a") == ["b", "a"]
    assert target_columns(read, ("a", "b")) == ["a", "b"]
    assert target_columns(read, "a, b") == ["a, b"]


def test_a_missing_column_offers_the_nearest(table):
    with pytest.raises(DataError, match="no column 'Solubilty'; did you mean 'solubility'"):
        target_columns(table("smiles,solubility\nC,1\n"), "Solubilty")


def test_columns_whose_names_differ_by_space_alone_are_refused_where_they_are_used(table):
    read = table("smiles,a,y, y\nC,1,2,3\n")
    assert read.column("a").tolist() == ["1"]
    with pytest.raises(DataError, match=r"two columns 'y'.*rename one"):
        read.text("y")


def test_a_column_with_another_use_or_named_twice_is_no_target(table):
    read = table("smiles,y\nC,1\n")
    with pytest.raises(ConfigError, match="`target` names 'smiles', which has the SMILES"):
        target_columns(read, "smiles", ["smiles"])
    with pytest.raises(ConfigError, match="names a column twice: y, y"):
        target_columns(read, "y,y")


def test_all_targets_are_the_columns_of_numbers_and_the_log_names_them(table, caplog):
    head = "Unnamed: 0,mol_id,Canonical_SMILES,a,part,b,note,empty\n"
    read = table(head + "0,7,C,1,train,,x,\n1,8,CC,0,test,1.5,y,\n")
    with caplog.at_level("INFO"):
        assert target_columns(read, "all", ["part"]) == ["a", "b"]
    assert "target='all' is 2 columns: a, b; left out: Unnamed: 0, mol_id" in caplog.text
    assert target_columns(table("all,a\n1,2\n"), "all") == ["all"]
    with pytest.raises(DataError, match="no column of numbers; name the columns"):
        target_columns(table("smiles,a\nC,x\n"), "all")


@pytest.mark.parametrize(
    "name", ["smiles", "SMILES", "Smiles", " smiles ", "canonical_smiles", "Canonical SMILES"]
)
def test_the_column_of_smiles_is_found_whatever_its_letters(name, tmp_path):
    (tmp_path / "a.csv").write_text(f"id,{name},y\n1,C,2\n")
    assert smiles_column_of(TextFile(tmp_path / "a.csv")) == name.strip()


def test_several_columns_of_smiles_or_none_are_refused_with_the_remedy(tmp_path):
    file = TextFile(tmp_path / "a.csv")
    file.path.write_text("SMILES_a,smiles_b,y\nC,C,2\n")
    with pytest.raises(DataError, match="'SMILES_a', 'smiles_b'; choose one with smiles_column"):
        smiles_column_of(file)
    assert smiles_column_of(file, "smiles_A") == "SMILES_a"
    with pytest.raises(DataError, match="no column 'structure'; known: SMILES_a, smiles_b, y"):
        smiles_column_of(file, "structure")
    file.path.write_text("CCO,1.5\nCC,2\n")
    with pytest.raises(DataError, match="names of the columns are taken from the first row"):
        smiles_column_of(file)


def test_a_text_file_is_a_list_unless_its_first_line_names_a_column(tmp_path):
    file = TextFile(tmp_path / "a.txt")
    for text, listed in (("CCO a\n", True), ("y;SMILES\n1;C\n", False), ("smiles\nC\n", False)):
        file.path.write_text(text)
        assert is_list(file) is listed


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_commas_semicolons_and_tabs_may_stand_between_columns(mark, table):
    rows = [
        ["smiles", "note", "y"],
        ["CC", "x", "1"],
        ["C", "", "2"],
        ["", "", ""],
        ["O", "z", "3"],
    ]
    read = table("\n".join(mark.join(row) for row in rows) + "\n")
    assert read.column("smiles").tolist() == ["CC", "C", "O"]
    assert read.text("y").tolist() == ["1", "2", "3"] and read.rows == [2, 3, 5]


def test_a_decimal_comma_does_not_divide_a_table_of_semicolons(table):
    read = table("smiles;y,log\nCC;1,5\nC;2,5\n")
    assert list(read.cells.columns) == ["smiles", "y,log"]
    assert read.column("y,log").tolist() == ["1,5", "2,5"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_a_table_of_other_programs_is_read(encoding, tmp_path):
    (tmp_path / "a.csv").write_bytes("smiles;Löslichkeit\r\nCC;mäßig\r\n".encode(encoding))
    assert Table.read(tmp_path / "a.csv").column("Löslichkeit").tolist() == ["mäßig"]


def test_only_empty_cells_are_missing(table):
    cells = table("s,a\nx,NA\ny,None\nz,null\nw,  \nv,\n").text("a")
    assert cells.isna().tolist() == [False, False, False, True, True]


# -- rows ------------------------------------------------------------------------------------------


def test_all_rows_of_a_table_are_read_again_and_items_know_theirs(tmp_path):
    pytest.importorskip("rdkit")
    text = "id,SMILES,y\na,CCO,1\n,,\nb,C1CC,2\nc,C,\nd,CC,3\n"
    (tmp_path / "a.csv").write_text(text)
    data = load("smiles:a.csv", root=tmp_path, target="y", split=None)
    assert data.rows.tolist() == [2, 5, 6] and data.label_names == ("y",)
    assert data.labels.flatten().isnan().tolist() == [False, True, False]
    rows = read_rows(data)
    assert rows.index.tolist() == [2, 4, 5, 6]
    assert rows["id"].tolist() == ["a", "b", "c", "d"]
    assert rows.loc[data.rows.tolist(), "SMILES"].tolist() == list(data.names)


def test_rows_of_a_list_have_names(tmp_path):
    pytest.importorskip("rdkit")
    (tmp_path / "a.smi").write_text("CCO ethanol, pure\n\nC1CC\tbroken\nC\n")
    data = load("smiles:a.smi", root=tmp_path)
    rows = read_rows(data)
    assert data.rows.tolist() == [1, 4] and rows.index.tolist() == [1, 3, 4]
    assert rows["smiles"].tolist() == ["CCO", "C1CC", "C"]
    assert rows["name"].fillna("").tolist() == ["ethanol, pure", "broken", ""]
    (tmp_path / "a.smi").write_text("C\n")
    assert list(read_rows(data).columns) == ["smiles"]


def test_data_without_a_file_of_rows_are_refused(shapes):
    with pytest.raises(DataError, match="test:shapes has no rows of a file"):
        read_rows(shapes)


# -- splits ----------------------------------------------------------------------------------------


def test_a_split_column_is_read_word_by_word(table):
    cells = ["Train", "val", "test", "validation", " train", "DEV", "valid", "testing"]
    split = table("s,part\n" + "".join(f"a,{cell}\n" for cell in cells)).split("part")
    assert {part: index.tolist() for part, index in split.items()} == {
        "train": [0, 4],
        "valid": [1, 3, 5, 6],
        "test": [2, 7],
    }


def test_a_split_cell_that_names_no_part_is_named_with_its_row(table):
    with pytest.raises(DataError, match="row 3: 'part' is 'other', expected train, valid"):
        table("s,part\na,train\nb,other\n").split("part")
    with pytest.raises(DataError, match="row 2: 'part' is empty"):
        table("s,part\na,\n").split("part")


# -- files -----------------------------------------------------------------------------------------


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
        (b"smiles,a\nCC,1,5\nC,2,3\n", "a cell with a comma in it needs quotes"),
        (b"\xff\xfe\x00", "cannot be read as CSV"),
        (b"PK\x03\x04\0\0", "is not a file of text"),
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
