"""Restricted reader of pickles that hold arrays, the form of many published data sets.

A pickle can name any function to call. These readers allow the few names that arrays need and
nothing else.
"""

from __future__ import annotations

import collections
import pickle
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy.sparse

from gtl.errors import DataError

# What files of `torch.save` from before version 1.6 start with, and how many pickles then come
# before that of the value.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_HEADERS = 2
_SPARSE = (("scipy.sparse.csr", "csr_matrix"), ("scipy.sparse._csr", "csr_matrix"))


def _bytes(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into a pickle that Python 2 could read."""
    if encoding != "latin1":
        raise DataError(f"it encodes bytes as {encoding!r}, expected 'latin1'")
    return text.encode("latin1")


# Everything that published files name, under the paths of Python 2 and of today.
_RECONSTRUCT = np.zeros(0).__reduce__()[0]
_HARMLESS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("_codecs", "encode"): _bytes,
    ("collections", "defaultdict"): collections.defaultdict,
    ("__builtin__", "list"): list,
    ("__builtin__", "dict"): dict,
    ("builtins", "list"): list,
    ("builtins", "dict"): dict,
}


def read_arrays(file: BinaryIO) -> Any:
    """What a pickle of an array, a sparse matrix, or lists and dictionaries of them holds.

    Args:
        file: Read from where it stands up to the end of one pickle.

    Raises:
        DataError: If it names anything else, or is damaged.
    """
    try:
        reader = _ArraysOnly(file)
        value = reader.load()
        if isinstance(value, reader.matrix):
            parts = vars(value)
            arrays = parts["data"], parts["indices"], parts["indptr"]
            value = scipy.sparse.csr_matrix(arrays, parts["_shape"])
            value.check_format(full_check=True)
        return value
    except DataError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        reason = " ".join(str(error).split())
        raise DataError(
            f"it is damaged ({type(error).__name__}: {reason}); get it again"
        ) from error


def read_saved_arrays(path: Path) -> Any:
    """The NumPy arrays, in lists and dictionaries, that a file of ``torch.save`` holds.

    Raises:
        DataError: If it holds anything else, tensors included, or is damaged.
    """
    try:
        with open(path, "rb") as file:
            if zipfile.is_zipfile(file):
                return _read_zipped(file)
            file.seek(0)
            if read_arrays(file) != _LEGACY_MAGIC:
                raise DataError("it is no file of torch.save")
            for _ in range(_LEGACY_HEADERS):
                read_arrays(file)
            return read_arrays(file)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; get it again") from error
    except DataError as error:
        raise DataError(f"{path} is refused: {error}") from error


def _read_zipped(file: BinaryIO) -> Any:
    try:
        with zipfile.ZipFile(file) as archive:
            found = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(found) != 1:
                raise DataError("it is no file of torch.save")
            with archive.open(found[0]) as pickled:
                return read_arrays(pickled)  # type: ignore[arg-type]
    except zipfile.BadZipFile as error:
        raise DataError(f"it is damaged ({error}); get it again") from error


class _ArraysOnly(pickle.Unpickler):
    """Unpickler that calls nothing but the harmless functions listed above."""

    def __init__(self, file: BinaryIO):
        super().__init__(file, encoding="latin1")
        # A pickle may also change the classes that it names, so it is given one of its own.
        self.matrix = type("StoredMatrix", (), {})

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _SPARSE:
            return self.matrix
        if (module, name) not in _HARMLESS:
            raise DataError(
                f"it asks for {module}.{name}; only arrays are read from pickles, "
                "get the file from a source you trust"
            )
        return _HARMLESS[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise DataError("it holds tensors, expected NumPy arrays; get it from its publisher")
