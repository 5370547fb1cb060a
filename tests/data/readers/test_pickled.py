"""Pickles: arrays come out, whatever else they ask for does not happen."""

from __future__ import annotations

import codecs
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from gtl.data.readers.pickled import read_arrays, read_saved_arrays
from gtl.errors import DataError

ARRAYS = {"edge": np.arange(14).reshape(7, 2), "weight": np.array([0.5, -1.0], dtype="float32")}


class Command:
    """What an attacker would send: calls a function when it is read."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def same(one, other):
    return one.keys() == other.keys() and all(
        np.array_equal(one[key], other[key]) and one[key].dtype == other[key].dtype for key in one
    )


@pytest.mark.parametrize("protocol", range(5))
def test_arrays_come_out_as_they_went_in(protocol):
    assert same(read_arrays(io.BytesIO(pickle.dumps(ARRAYS, protocol))), ARRAYS)


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_torch_save_old_and_new_are_read(tmp_path, zipped):
    torch.save(ARRAYS, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    assert same(read_saved_arrays(tmp_path / "a.pt"), ARRAYS)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_is_called(tmp_path, zipped):
    trace = tmp_path / "called"
    for command in (Command(os.mkdir, str(trace)), Command(eval, "1")):
        held = {"edge": command}
        torch.save(held, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
        with pytest.raises(DataError, match=r"a\.pt is refused: it asks for \w+\.\w+"):
            read_saved_arrays(tmp_path / "a.pt")
    assert not trace.exists()


def test_bytes_are_decoded_in_one_way_alone():
    code = pickle.dumps({"edge": Command(codecs.encode, "x", "rot13")})
    with pytest.raises(DataError, match="encodes bytes as 'rot13', expected 'latin1'"):
        read_arrays(io.BytesIO(code))


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_are_refused_by_name(tmp_path, zipped):
    torch.save({"edge": torch.ones(3)}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(DataError, match=r"is refused: it (holds tensors|asks for torch)"):
        read_saved_arrays(tmp_path / "a.pt")


def test_other_and_damaged_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.pt cannot be read"):
        read_saved_arrays(tmp_path / "none.pt")
    file = tmp_path / "a.pt"
    for content, words in (
        (b"", "is damaged"),
        (b"plain text", "is damaged"),
        (pickle.dumps(7), "no file of torch.save"),
    ):
        file.write_bytes(content)
        with pytest.raises(DataError, match=rf"a\.pt is refused: it .*{words.removeprefix('is ')}"):
            read_saved_arrays(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("other", "text")
    with pytest.raises(DataError, match=r"no file of torch\.save"):
        read_saved_arrays(file)
    torch.save(ARRAYS, file, _use_new_zipfile_serialization=False)
    file.write_bytes(file.read_bytes()[:-300])
    with pytest.raises(DataError, match="damaged"):
        read_saved_arrays(file)
