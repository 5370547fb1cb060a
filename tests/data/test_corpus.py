"""Corpora: packed once, mapped afterwards; a kill, a full disk or damage never gives half a one."""

from __future__ import annotations

import gzip
import logging
import os
import resource
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import gtl
from gtl.data import load, pack_corpus
from gtl.data.corpus import Corpus
from gtl.data.readers import smiles as from_smiles
from gtl.data.stored_names import StoredNames
from gtl.errors import ConfigError, DataError
from gtl.graph import PackedGraphs
from gtl.graph.tensor_file import map_tensors, save_tensors

pytest.importorskip("rdkit")

SMILES = [f"{'C' * (i % 5 + 1)}{'O' * (i % 3)}" for i in range(23)]
SMILES[5] = "C1CC"
SMILES[17] = "not-a-molecule"
GOOD = [text for i, text in enumerate(SMILES) if i not in (5, 17)]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(from_smiles, "CHUNK", 4)


@pytest.fixture
def parsed(monkeypatch):
    """Lists the chunks that were parsed."""
    chunks = []
    parse = from_smiles._parse
    monkeypatch.setattr(
        from_smiles, "_parse", lambda chunk, **how: chunks.append(chunk) or parse(chunk, **how)
    )
    return chunks


@pytest.fixture
def listed(tmp_path):
    path = tmp_path / "molecules.smi"
    path.write_text("".join(f"{text}\tname {i}\n" for i, text in enumerate(SMILES)))
    return path


def kept_files():
    folder = Path(os.environ["GTL_CACHE"])
    return sorted(folder.iterdir()) if folder.exists() else []


# -- what is read --------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 2, 4, 7, 22, 23, 24, 5000])
def test_chunks_of_any_size_give_the_same_graphs(listed, monkeypatch, chunk):
    monkeypatch.setattr(from_smiles, "CHUNK", chunk)
    data = load(f"smiles:{listed}")
    graphs, _ = from_smiles.pack_smiles(GOOD)
    assert data.graphs.checksum() == graphs.checksum()
    assert data.graphs.schema == graphs.schema
    assert data.names == tuple(GOOD)
    assert data.labels is None and not data.split
    assert data.graphs.x.dtype == data.graphs.src.dtype == torch.uint8
    assert len(kept_files()) == (chunk < 23)


def test_several_processes_give_the_same_graphs(listed):
    one, two = (load(f"smiles:{listed}", workers=workers) for workers in (1, 2))
    pack_corpus(SMILES, listed.with_name("b"), workers=2)
    other = load(f"packed:{listed.with_name('b')}")
    assert one.graphs.checksum() == two.graphs.checksum() == other.graphs.checksum()
    assert one.options == two.options  # how it was read does not hinder a run from going on


@pytest.mark.parametrize("name", ["a.smi", "a.txt", "a.smi.gz", "a.csv", "a.csv.gz", "column.txt"])
def test_lists_and_tables_hold_the_same_molecules(tmp_path, name):
    text = "\n".join(SMILES) + "\n"
    if "csv" in name or name == "column.txt":
        text = "y,smiles\n" + "".join(f"{i},{smiles}\n" for i, smiles in enumerate(SMILES))
    packed = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    (tmp_path / name).write_bytes(packed)
    with zipfile.ZipFile(tmp_path / "all.whl", "w") as archive:
        archive.writestr(f"data/{name}", packed)
        archive.writestr("data/other.csv", "smiles\nC\n")
    for spec in (f"smiles:{name}", f"smiles:all.whl/data/{name}"):
        data = load(spec, root=tmp_path)
        assert data.names == tuple(GOOD) and data.spec == spec
    assert len(kept_files()) == 2


def test_published_corpora_are_read(shared_data, monkeypatch, tmp_path):
    text = gzip.decompress((shared_data / "zinc" / "znp.50k.smi.gz").read_bytes()).decode()
    lines = text.splitlines()[:40]
    (tmp_path / "few.smi").write_text("\n".join(lines))
    data = load("smiles:few.smi", root=tmp_path)
    assert data.names == tuple(line.split()[0] for line in lines)
    monkeypatch.setattr(from_smiles, "_chunk", lambda entries: [])  # the file is found and opened
    with pytest.raises(DataError, match="there are no SMILES"):
        load("smiles:zinc/valid.txt", root=shared_data)


def test_labels_stay_with_their_molecules(tmp_path):
    rows = [f"{text},{i},{('train', 'valid', 'test')[i % 3]}" for i, text in enumerate(SMILES)]
    rows.insert(9, ",,")  # a blank row is none
    (tmp_path / "a.csv").write_text("\n".join(["smiles,y,part", *rows]) + "\n")
    good = [i for i in range(23) if i not in (5, 17)]
    for _ in range(2):
        data = load("smiles:a.csv", root=tmp_path, target="y", split="part")
        assert isinstance(data.names, StoredNames) and data.names == tuple(GOOD)
        assert data.labels.flatten().tolist() == good
        for part, index in data.split.items():
            assert [("train", "valid", "test")[good[i] % 3] for i in index.tolist()] == [
                part for _ in index
            ]


def test_repeated_smiles_are_dropped_if_asked(listed):
    distinct = tuple(dict.fromkeys(GOOD))
    assert len(distinct) < len(GOOD)
    assert load(f"smiles:{listed}", duplicates="drop").names == distinct
    assert load(f"smiles:{listed}").names == tuple(GOOD)
    listed.with_suffix(".csv").write_text(
        "smiles,y\n" + "".join(f"{text},{i}\n" for i, text in enumerate(SMILES))
    )
    data = load(f"smiles:{listed.with_suffix('.csv')}", duplicates="drop", target="y", split=None)
    assert [SMILES.index(name) for name in data.names] == data.labels.flatten().tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"duplicates": "no"}, "`duplicates` is 'no'"), ({"workers": 0}, "`workers` is 0")],
)
def test_options_out_of_range_are_refused(listed, options, message):
    with pytest.raises(ConfigError, match=message):
        load(f"smiles:{listed}", **options)


def test_a_list_has_no_labels(listed):
    for options in ({"target": "y"}, {"split": "part"}):
        with pytest.raises(DataError, match=r"is a list of SMILES; labels and splits need a CSV"):
            load(f"smiles:{listed}", **options)


def test_an_empty_list_is_refused(listed):
    listed.write_text("\n\n")
    with pytest.raises(DataError, match="there are no SMILES"):
        load(f"smiles:{listed}")


def test_a_list_without_any_molecule_is_refused_and_not_kept(listed):
    listed.write_text("bad\n" * 23)
    with pytest.raises(DataError, match="none of 23 SMILES can be read"):
        load(f"smiles:{listed}")
    with pytest.raises(DataError, match="none of 1 SMILES"):
        pack_corpus(["bad"], listed)
    assert listed.read_text() == "bad\n" * 23 and not kept_files()


# -- what is left out ----------------------------------------------------------------------------


def test_what_is_left_out_is_told_each_time(listed, caplog):
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            load(f"smiles:{listed}")
        (record,) = caplog.records
        assert record.getMessage().endswith(
            "2 of 23 molecules left out, RDKit cannot read them: row 6 ('C1CC'), "
            "row 18 ('not-a-molecule')"
        )


def test_a_long_list_of_rejected_rows_is_cut(listed, caplog):
    listed.write_text("bad\n" * 31 + "C\n")
    with caplog.at_level(logging.WARNING):
        load(f"smiles:{listed}")
    text = caplog.records[0].getMessage()
    assert "31 of 32" in text and "row 20 ('bad')" in text
    assert text.endswith("row 20 ('bad') and 11 more")


def test_unreadable_molecules_are_refused_if_asked_also_when_kept(listed, parsed):
    refusal = pytest.raises(DataError, match=r"row 6 \('C1CC'\) is not a molecule")
    with refusal:
        load(f"smiles:{listed}", on_invalid="raise")
    assert len(parsed) == 2 and not kept_files()  # refused at once, not at the end
    load(f"smiles:{listed}")
    with refusal:
        load(f"smiles:{listed}", on_invalid="raise")


# -- the cache -----------------------------------------------------------------------------------


def test_the_second_load_parses_nothing_and_maps_the_file(listed, parsed):
    first = load(f"smiles:{listed}")
    assert len(parsed) == 6
    second = load(f"smiles:{listed}")
    assert len(parsed) == 6 and isinstance(second.names, StoredNames)
    assert first.checksum() == second.checksum()


def test_few_molecules_are_not_kept(listed, parsed):
    listed.write_text("C\nCC\n")
    for count in (1, 2):
        assert load(f"smiles:{listed}").names == ("C", "CC")
        assert len(parsed) == count
    assert not kept_files()


def test_another_file_option_or_version_is_another_corpus(listed, monkeypatch):
    import rdkit

    load(f"smiles:{listed}")
    load(f"smiles:{listed}", duplicates="drop")
    monkeypatch.setattr(rdkit, "__version__", "of tomorrow")
    load(f"smiles:{listed}")
    os.utime(listed, ns=(0, 1))
    load(f"smiles:{listed}")
    copy = listed.with_name("folder") / listed.name
    copy.parent.mkdir()
    copy.write_bytes(listed.read_bytes())
    os.utime(copy, ns=(0, 1))
    load(f"smiles:{copy}")
    assert len(kept_files()) == 5


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:60] + b"x" + b[61:]]
)
def test_a_damaged_file_is_made_again(listed, damage, caplog):
    whole = load(f"smiles:{listed}").checksum()
    (file,) = kept_files()
    file.write_bytes(damage(file.read_bytes()))
    assert load(f"smiles:{listed}").checksum() == whole
    assert "is damaged and written again" in caplog.text
    assert Corpus.load(file).graphs.checksum() == load(f"smiles:{listed}").graphs.checksum()


@pytest.mark.parametrize("lost", ["names", "name_ends", "left_out"])
def test_a_file_that_lacks_something_is_made_again(listed, lost, caplog):
    load(f"smiles:{listed}")
    (file,) = kept_files()
    tensors, facts = map_tensors(file)
    keep = {name: value.clone() for name, value in tensors.items() if name != lost}
    save_tensors(file, keep, {name: fact for name, fact in facts.items() if name != lost})
    with pytest.raises(DataError, match=r"is damaged .*; make it again"):
        Corpus.load(file)
    assert load(f"smiles:{listed}").names == tuple(GOOD)
    assert "is damaged and written again" in caplog.text


def test_where_nothing_can_be_kept_a_temporary_file_serves(listed, monkeypatch, caplog, parsed):
    (listed.parent / "file").write_text("no folder")
    monkeypatch.setenv("GTL_CACHE", str(listed.parent / "file" / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(listed.parent))
    before = set(listed.parent.iterdir())
    for _ in range(2):
        data = load(f"smiles:{listed}")
        assert data.names == tuple(GOOD) and len(data.graphs.batch(torch.arange(21)).x) > 21
    assert "could not be kept in" in caplog.text and len(parsed) == 2 * 6 + 2 * 2
    assert set(listed.parent.iterdir()) == before


def test_where_nothing_can_be_written_at_all_the_remedy_is_told(listed):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(DataError, match=r"could not be packed .*File too large.* GTL_CACHE"):
            load(f"smiles:{listed}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not kept_files()
    assert load(f"smiles:{listed}").names == tuple(GOOD)


def test_a_kill_in_the_middle_leaves_nothing_and_the_next_call_makes_it(listed):
    code = f"""
import os, signal, gtl
from gtl.data.readers import smiles as from_smiles
from gtl.graph import PackedWriter
from_smiles.CHUNK = 4
add, calls = PackedWriter.add, []
def counted(self, *given):
    add(self, *given)
    calls.append(1)
    if len(calls) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
PackedWriter.add = counted
gtl.load("smiles:{listed}")
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=env, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not kept_files() or sys.platform != "linux"
    assert load(f"smiles:{listed}").names == tuple(GOOD)
    assert len(kept_files()) == 1


# -- packed files of one's own -------------------------------------------------------------------


def test_a_corpus_of_ones_own_is_packed_and_loaded(tmp_path):
    assert pack_corpus(iter(SMILES), tmp_path / "own.safetensors") == len(GOOD)
    data = load("packed:own.safetensors", root=tmp_path)
    assert data.spec == "packed:own.safetensors" and data.names == tuple(GOOD)
    assert data.labels is None and not data.split and data.level == "graph"


def test_graphs_of_ones_own_are_loaded(shapes, tmp_path):
    shapes.graphs.save(tmp_path / "own")
    data = load(f"packed:{tmp_path / 'own'}")
    assert data.names == () and data.graphs.checksum() == shapes.graphs.checksum()
    run = gtl.pretrain({"name": "gin", "width": 8, "depth": 2}, data, ["infomax"], epochs=1)
    same = gtl.pretrain(
        {"name": "gin", "width": 8, "depth": 2}, replace(shapes, labels=None), ["infomax"], epochs=1
    )
    assert run.history[0]["losses"] == same.history[0]["losses"]


def test_what_is_no_packed_file_is_refused(tmp_path, listed):
    with pytest.raises(DataError, match=r"molecules.smi is not a readable file of packed graphs"):
        load("packed:molecules.smi", root=tmp_path)
    with pytest.raises(DataError, match=r"packed:nothing: .* gtl.data.pack_corpus"):
        load("packed:nothing", root=tmp_path)
    with pytest.raises(ConfigError, match="packed: has no option 'target'"):
        load("packed:nothing", root=tmp_path, target="y")


def test_a_failed_packing_leaves_the_file_of_before(tmp_path):
    pack_corpus(GOOD, tmp_path / "own")
    with pytest.raises(DataError, match="is not a molecule"):
        pack_corpus(SMILES, tmp_path / "own", on_invalid="raise")
    assert len(PackedGraphs.load(tmp_path / "own")) == len(GOOD)
    assert [path.name for path in tmp_path.iterdir()] == ["own"]
