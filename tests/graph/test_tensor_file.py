"""Tensor files: what safetensors reads, larger than memory, and all or nothing."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtl.errors import ShapeError
from gtl.graph import tensor_file
from gtl.graph.tensor_file import TensorWriter, map_tensors, save_tensors

DTYPES = [
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.bool,
]


def tensors_of_every_kind():
    kinds = {str(dtype): torch.arange(21).reshape(7, 3).to(dtype) for dtype in DTYPES}
    return {**kinds, "none": torch.zeros(0, 5), "thin": torch.zeros(4, 0), "row": torch.arange(11)}


def write(path, rows):
    file = TensorWriter(path)
    for part in rows:
        file.append("x", part)
    file.close({})


def test_safetensors_reads_what_is_written(tmp_path):
    from safetensors import safe_open

    expected = tensors_of_every_kind()
    save_tensors(tmp_path / "a", expected, {"who": "me"})
    with safe_open(tmp_path / "a", "pt") as file:
        assert file.metadata() == {"who": "me"}
        assert set(file.keys()) == set(expected)
        for name, value in expected.items():
            assert file.get_tensor(name).dtype == value.dtype
            assert torch.equal(file.get_tensor(name), value), name


def test_what_safetensors_writes_is_mapped(tmp_path):
    from safetensors.torch import save_file

    expected = tensors_of_every_kind()
    save_file(expected, tmp_path / "a", {"who": "me"})
    found, metadata = map_tensors(tmp_path / "a")
    assert metadata == {"who": "me"} and set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value), name


@given(
    values=st.lists(st.integers(-40000, 40000), max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=6),
    step=st.sampled_from([1, 5, 1 << 22]),
)
@settings(max_examples=40, deadline=None)
def test_pieces_of_any_size_and_dtype_are_one_tensor(tmp_path_factory, values, cuts, step):
    path = tmp_path_factory.mktemp("pieces") / "a"
    whole = torch.tensor(values, dtype=torch.int64).unsqueeze(1)
    ends = sorted(min(cut, len(whole)) for cut in cuts)
    pieces = whole.tensor_split(ends)
    small = [piece.to(torch.uint8) if (piece & 255).equal(piece) else piece for piece in pieces]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensor_file, "_STEP", step)
        write(path, small)
    assert torch.equal(map_tensors(path)[0]["x"].long(), whole)


def test_integers_take_the_widest_dtype_of_their_pieces_and_empty_ones_none(tmp_path):
    none = torch.zeros(0, dtype=torch.int64)
    pieces = [torch.tensor([v], dtype=d) for v, d in ((1, torch.uint8), (-300, torch.int16))]
    write(tmp_path / "a", [none, *pieces, none])
    x = map_tensors(tmp_path / "a")[0]["x"]
    assert x.dtype == torch.int16 and x.tolist() == [1, -300]


def test_rows_without_columns_are_counted(tmp_path):
    write(tmp_path / "a", [torch.empty(2, 0), torch.empty(1, 0)])
    assert map_tensors(tmp_path / "a")[0]["x"].shape == (3, 0)


@pytest.mark.parametrize(
    "wrong", [torch.zeros(2, 4), torch.zeros(2, 3).double(), torch.zeros(2, 3).long()]
)
def test_rows_of_another_kind_are_refused(tmp_path, wrong):
    file = TensorWriter(tmp_path / "a")
    file.append("x", torch.zeros(2, 3))
    with pytest.raises(ShapeError, match=r"`x` has rows of .* expected torch.float32 \(3,\)"):
        file.append("x", wrong)


def test_a_mapped_tensor_may_be_changed_without_changing_the_file(tmp_path):
    write(tmp_path / "a", [torch.arange(5)])
    map_tensors(tmp_path / "a")[0]["x"][0] = 9
    assert map_tensors(tmp_path / "a")[0]["x"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone refuses large mappings")
def test_a_file_twice_as_large_as_memory_is_mapped(tmp_path):
    rows = 2 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    index = {"x": {"dtype": "U8", "shape": [rows], "data_offsets": [0, rows]}}
    text = json.dumps(index).encode()
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        try:
            file.truncate(8 + len(text) + rows)
        except OSError:
            pytest.skip("this file system has no files of that size")
        file.seek(-1, os.SEEK_END)
        file.write(b"\7")
    if path.stat().st_blocks * 512 > 1 << 20:
        pytest.skip("this file system has no sparse files")
    x = map_tensors(path)[0]["x"]
    assert len(x) == rows and int(x[-1]) == 7 and int(x[rows // 2]) == 0


# -- all or nothing ------------------------------------------------------------------------------


def test_a_failure_leaves_the_file_of_before(tmp_path):
    path = tmp_path / "a"
    write(path, [torch.arange(3)])
    with pytest.raises(ShapeError):
        write(path, [torch.arange(5), torch.zeros(2)])
    assert map_tensors(path)[0]["x"].tolist() == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("nameless", [True, False])
def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch, nameless):
    if not nameless:
        monkeypatch.setattr(tensor_file, "_nameless", lambda folder: None)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (1 << 12, 3 << 12):  # too small for the rows; too small for rows and index
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                write(tmp_path / "a", [torch.zeros(3 << 12, dtype=torch.uint8)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("nameless", [True, False])
def test_a_file_appears_whether_the_system_has_nameless_files_or_not(
    tmp_path, monkeypatch, nameless
):
    if not nameless:
        monkeypatch.setattr(tensor_file, "_nameless", lambda folder: None)
    write(tmp_path / "a", [torch.arange(3)])
    assert map_tensors(tmp_path / "a")[0]["x"].tolist() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.skipif(sys.platform != "linux", reason="nameless files are Linux's")
@pytest.mark.parametrize("moment", ["append", "fsync"])
def test_a_killed_writer_leaves_nothing(tmp_path, moment):
    code = f"""
import os, signal, torch
from gtl.graph.tensor_file import TensorWriter
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
file = TensorWriter("a")
file.append("x", torch.arange(100000))
if {moment!r} == "fsync":
    os.fsync = die
    file.close({{}})
die()
"""
    root = str(Path(__file__).resolve().parents[2])
    env = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "a", [torch.arange(3)])
    assert map_tensors(tmp_path / "a")[0]["x"].tolist() == [0, 1, 2]
