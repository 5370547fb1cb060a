"""The cache: made once, made again when broken or outdated, never in the way."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import torch

from gtl.data.cache import cached, fingerprint
from gtl.graph import Graph
from gtl.graph.pack import PackedGraphs


@pytest.fixture
def raw(tmp_path):
    file = tmp_path / "edge.csv"
    file.write_text("0,1\n")
    return file


class Maker:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        graph = Graph(torch.tensor([0]), torch.tensor([1]), 2, torch.tensor([[5], [7]]))
        return PackedGraphs.pack([graph, graph])


def kept_files():
    return sorted(Path(os.environ["GTL_CACHE"]).iterdir())


def test_the_second_call_reads_what_the_first_one_kept(raw):
    make = Maker()
    first, second = (cached("a", [raw], make) for _ in range(2))
    assert make.calls == 1
    assert first.checksum() == second.checksum() == make().checksum()
    assert [file.suffix for file in kept_files()] == [".safetensors"]


def test_changed_raw_files_are_parsed_again(raw):
    make = Maker()
    cached("a", [raw], make)
    before = fingerprint([raw])
    os.utime(raw, ns=(0, 1))
    assert fingerprint([raw]) != before
    cached("a", [raw], make)
    assert make.calls == 2


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"x" * 99])
def test_a_broken_file_is_made_again(raw, damage, caplog):
    make = Maker()
    cached("a", [raw], make)
    (file,) = kept_files()
    file.write_bytes(damage(file.read_bytes()))
    assert cached("a", [raw], make).checksum() == make().checksum()
    assert "is damaged and written again" in caplog.text
    cached("a", [raw], make)
    assert make.calls == 3  # once, once more for the damage, once by hand


def test_a_file_whose_tensors_do_not_belong_together_is_made_again(raw):
    from safetensors import safe_open
    from safetensors.torch import save_file

    make = Maker()
    cached("a", [raw], make)
    (file,) = kept_files()
    with safe_open(file, "pt") as opened:
        tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
        facts = opened.metadata()
    tensors["x"] = tensors["x"][:3].clone()
    save_file(tensors, file, facts)
    assert len(cached("a", [raw], make).x) == 4


def test_a_cache_that_cannot_be_written_is_only_logged(raw, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("GTL_CACHE", str(tmp_path / "file" / "cache"))
    make = Maker()
    with caplog.at_level(logging.WARNING):
        graphs = [cached("a", [raw], make) for _ in range(2)]
    assert make.calls == 2
    assert len(graphs[0]) == 2
    assert "could not be cached" in caplog.text


def test_a_failed_write_leaves_nothing_behind(raw, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    cached("a", [raw], Maker())
    assert kept_files() == []
