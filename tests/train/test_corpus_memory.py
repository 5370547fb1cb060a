"""A corpus is packed, checked and trained on without ever being in memory."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest
import torch

import gtl
from gtl.graph import Graph, PackedGraphs, PackedWriter
from gtl.train import loop

MIB = 1 << 20
SMALL = {"name": "gin", "width": 8, "depth": 2}


def _anonymous() -> int:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    for line in lines:
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    pytest.skip("the memory of a process cannot be read here")


def _rise(call) -> int:
    """By how much anonymous memory rises at most, looked at every millisecond."""
    before = peak = _anonymous()
    done = threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(0.001):
            peak = max(peak, _anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        call()
    finally:
        done.set()
        watcher.join()
    return peak - before


@pytest.fixture(scope="module")
def piece():
    """A thousand paths of 30 nodes with nine columns, as molecules have them."""
    src = torch.arange(29)
    ends = torch.cat([src, src + 1]), torch.cat([src + 1, src])
    x, e = torch.randint(4, (30, 9)), torch.randint(3, (58, 3))
    return PackedGraphs.pack([Graph(*ends, 30, x, e)] * 1000).compact()


def _write(path, piece, times):
    with PackedWriter(path) as file:
        for _ in range(times):
            file.add(piece)


def test_packing_a_hundred_megabytes_takes_a_few(tmp_path, piece):
    _write(tmp_path / "a", piece, 2)
    assert _rise(lambda: _write(tmp_path / "a", piece, 200)) < 24 * MIB
    assert (tmp_path / "a").stat().st_size > 100 * MIB


def test_pretraining_from_a_hundred_megabytes_takes_what_a_few_take(tmp_path, piece, monkeypatch):
    whole = loop.batches
    monkeypatch.setattr(loop, "batches", lambda *order: itertools.islice(whole(*order), 3))
    for name, times in (("few", 2), ("many", 200)):
        _write(tmp_path / name, piece, times)

    def pretrain(name):
        data = gtl.load(f"packed:{tmp_path / name}")
        gtl.pretrain(SMALL, data, ["attribute_masking"], epochs=1, batch_size=64)

    pretrain("few")  # imports and the allocator's first pages
    assert _rise(lambda: pretrain("many")) < 24 * MIB
