"""Text files: found here, in the root or in an archive, and read whatever their compression."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile

import pytest

from gtl.data.text_file import TextFile
from gtl.errors import DataError

TEXT = "CCO ethanol\n\n  CC\t\r\nC\n"
LINES = [(1, "CCO ethanol"), (3, "CC"), (4, "C")]


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "many.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("package/__init__.py", "raise SystemExit('nobody imports me')")
        file.writestr("package/data/train.smi", TEXT)
        file.writestr("package/data/test.smi.gz", gzip.compress(TEXT.encode()))
    return path


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.smi", bytes),
        ("a.smi.gz", gzip.compress),
        ("a.smi.bz2", bz2.compress),
        ("a.smi.xz", lzma.compress),
    ],
)
def test_lines_come_with_their_numbers_and_without_blanks(tmp_path, name, pack):
    (tmp_path / name).write_bytes(pack(TEXT.encode()))
    file = TextFile.find(name, tmp_path)
    assert list(file.lines()) == LINES
    assert (file.suffix, file.stem) == (".smi", "a")


def test_a_mark_of_byte_order_is_no_part_of_the_first_line(tmp_path):
    (tmp_path / "a.txt").write_bytes("CC\n".encode("utf-8-sig"))
    assert list(TextFile(tmp_path / "a.txt").lines()) == [(1, "CC")]


def test_a_path_may_lead_through_an_archive(archive, tmp_path):
    for name in ("package/data/train.smi", "package/data/test.smi.gz"):
        file = TextFile.find(f"many.whl/{name}", tmp_path)
        assert file == TextFile(archive, name) == TextFile.find(f"{archive}/{name}")
        assert list(file.lines()) == LINES
        assert str(file) == f"{archive}/{name}"
        assert file.suffix == ".smi"


def test_the_only_member_need_not_be_named(tmp_path):
    path = tmp_path / "one.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.mkdir("folder") if hasattr(file, "mkdir") else None
        file.writestr("folder/a.txt", TEXT)
    assert list(TextFile.find("one.zip", tmp_path).lines()) == LINES


def test_one_of_several_members_must_be_named(archive):
    with pytest.raises(DataError, match=r"holds 3 files; name one .*train.smi, .*test.smi.gz$"):
        TextFile.find(str(archive))


def test_a_misspelled_member_offers_the_nearest(archive):
    with pytest.raises(DataError, match=r"holds no data/trian.smi; did you mean .*train.smi"):
        TextFile.find(f"{archive}/data/trian.smi")


def test_a_missing_file_says_where_was_looked(tmp_path):
    with pytest.raises(DataError, match=r"no file nowhere.smi here or in .*; check the path"):
        TextFile.find("nowhere.smi", tmp_path)
    with pytest.raises(DataError, match=r"no file nowhere.smi here; check"):
        TextFile.find("nowhere.smi")


def test_the_file_here_comes_before_that_in_the_root(tmp_path, monkeypatch):
    (tmp_path / "root").mkdir()
    for folder in (tmp_path, tmp_path / "root"):
        (folder / "a.smi").write_text("C\n")
    monkeypatch.chdir(tmp_path)
    assert TextFile.find("a.smi", tmp_path / "root").path.resolve() == tmp_path / "a.smi"


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("a.smi.gz", lambda: gzip.compress(TEXT.encode() * 99)[:60]),
        ("a.smi.gz", lambda: b"not compressed"),
        ("a.smi.xz", lambda: b"not compressed"),
        ("a.smi.bz2", lambda: bz2.compress(TEXT.encode() * 99)[:40]),
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path, name, damage):
    (tmp_path / name).write_bytes(damage())
    with pytest.raises(DataError, match=rf"{name} cannot be read as text: ."):
        list(TextFile(tmp_path / name).lines())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1", "cp1252"])
@pytest.mark.parametrize("name", ["a.smi", "a.smi.gz"])
def test_text_of_other_programs_is_read(tmp_path, encoding, name, caplog):
    data = "CC Säure\nC Öl ß\n".encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert list(TextFile(tmp_path / name).lines()) == [(1, "CC Säure"), (2, "C Öl ß")]
    said = "is not UTF-8 throughout: other bytes are read as Latin-1"
    assert caplog.text.count(said) == (encoding in ("latin-1", "cp1252"))


def test_both_orders_of_the_bytes_of_utf_16_are_read(tmp_path):
    for order, mark in (("le", b"\xff\xfe"), ("be", b"\xfe\xff")):
        (tmp_path / "a.smi").write_bytes(mark + f"{'C' * 9}\n".encode(f"utf-16-{order}") * 1)
        assert list(TextFile(tmp_path / "a.smi").lines()) == [(1, "C" * 9)]


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "a.smi").write_bytes("CC\n".encode("utf-16-le"))  # no byte order mark
    with pytest.raises(DataError, match=r"a.smi is not a file of text: .* save it as text in UTF"):
        list(TextFile(tmp_path / "a.smi").lines())


def test_damaged_archives_are_refused_by_name(archive, tmp_path):
    content = archive.read_bytes()
    with zipfile.ZipFile(archive) as file:
        start = file.getinfo("package/data/train.smi").header_offset + 60
    archive.write_bytes(content[:start] + bytes(4) + content[start + 4 :])
    with pytest.raises(DataError, match=r"train.smi cannot be read as text"):
        list(TextFile.find(f"{archive}/package/data/train.smi").lines())
    archive.write_bytes(content[: len(content) // 2])
    for name in (str(archive), f"{archive}/package/data/train.smi"):
        with pytest.raises(DataError, match=r"many.whl is not a readable zip archive"):
            TextFile.find(name)
