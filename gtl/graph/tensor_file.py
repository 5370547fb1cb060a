"""safetensors files larger than memory, written piece by piece and memory-mapped for reading.

The package safetensors writes only tensors that are in memory, and maps for torch no more than
memory can hold. Its format, an index and then plain rows, has neither limit.
"""

from __future__ import annotations

import json
import mmap
import os
import secrets
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from gtl.errors import ShapeError

_NAMES = {
    torch.int64: "I64",
    torch.float64: "F64",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.int16: "I16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.bool: "BOOL",
}
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}
_STEP = 1 << 22  # bytes that are in memory at once
_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


def map_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; pages are read when used.

    Changes to such a tensor stay in memory and are never written to the file.

    Raises:
        OSError: If the file cannot be read.
        safetensors.SafetensorError: If it is no such file, or truncated.
    """
    from safetensors import safe_open

    with safe_open(path, "np") as checked:  # compares the index with the file
        metadata = checked.metadata() or {}
    with open(path, "rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        index = json.loads(file.read(start - 8))
        pages = _map(file)
    index.pop("__metadata__", None)
    return {name: _view(pages, start, facts) for name, facts in index.items()}, metadata


def save_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file, which appears only when it is complete."""
    columns = {name: _Rows(value) for name, value in tensors.items()}
    _write(Path(path), columns, metadata)


def raw_bytes(values: Tensor) -> memoryview:
    """The bytes of a contiguous tensor, without a copy, for dtypes that NumPy lacks too."""
    if not values.numel():
        return memoryview(b"")  # strides of an empty tensor can be anything
    return values.flatten().view(torch.uint8).numpy().data


class TensorWriter:
    """A safetensors file whose tensors grow by rows.

    Rows are collected in unnamed files beside ``path``, so that no file is left if the process is
    killed or the disk is full. Until the end this takes twice the size of the file on disk, and a
    few megabytes of memory. Integers are stored in the widest dtype among the pieces of a tensor.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = TensorWriter(folder + "/a")
        ...     file.append("x", torch.tensor([1, 2]))
        ...     file.append("x", torch.tensor([3]))
        ...     file.close({})
        ...     map_tensors(folder + "/a")[0]["x"].tolist()
        [1, 2, 3]
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._columns: dict[str, _Column] = {}

    def append(self, name: str, rows: Tensor) -> None:
        """Add rows ``(k, ...)`` to a tensor.

        Raises:
            ShapeError: If their shape or kind of numbers is not that of the rows before.
            OSError: If they cannot be written.
        """
        if name not in self._columns:
            self._columns[name] = _Column(self.path.parent, rows)
        self._columns[name].append(name, rows.detach().cpu().contiguous())

    def close(self, metadata: Mapping[str, str]) -> None:
        """Write the file; it appears, or replaces the one before, when it is complete.

        Raises:
            OSError: If it cannot be written; then all is as it was before.
        """
        try:
            _write(self.path, self._columns, metadata)
        finally:
            self.discard()

    def discard(self) -> None:
        """Delete all rows."""
        for column in self._columns.values():
            column.file.close()
        self._columns = {}


class _Rows:
    """A tensor in memory, in the form that :func:`_write` takes."""

    def __init__(self, values: Tensor) -> None:
        self.values, self.dtype, self.shape = values, values.dtype, tuple(values.shape)

    def parts(self) -> Iterable[Tensor]:
        return self.values.split(_at_once(self.dtype, self.shape[1:])) if self.shape[0] else ()


class _Column:
    """Rows of one tensor in an unnamed file, each piece in its own dtype."""

    def __init__(self, folder: Path, rows: Tensor) -> None:
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by discard)
        self.width, self.dtype, self.count = tuple(rows.shape[1:]), rows.dtype, 0
        self.pieces: list[tuple[torch.dtype, int]] = []  # dtype and rows, neighbors joined

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.count, *self.width)

    def append(self, name: str, rows: Tensor) -> None:
        floating = self.dtype.is_floating_point or rows.dtype.is_floating_point
        if tuple(rows.shape[1:]) != self.width or (floating and rows.dtype != self.dtype):
            raise ShapeError(
                f"`{name}` has rows of {rows.dtype} {tuple(rows.shape[1:])}, expected "
                f"{self.dtype} {self.width} as in the pieces before"
            )
        if not len(rows):
            return
        self.dtype = torch.promote_types(self.dtype, rows.dtype) if self.count else rows.dtype
        self.count += len(rows)
        if self.pieces and self.pieces[-1][0] == rows.dtype:
            self.pieces[-1] = (rows.dtype, self.pieces[-1][1] + len(rows))
        else:
            self.pieces.append((rows.dtype, len(rows)))
        self.file.write(raw_bytes(rows))

    def parts(self) -> Iterator[Tensor]:
        self.file.seek(0)
        for dtype, rows in self.pieces:
            for start in range(0, rows, _at_once(dtype, self.width)):
                count = min(_at_once(dtype, self.width), rows - start)
                part = torch.empty((count, *self.width), dtype=dtype)
                space = raw_bytes(part)
                if space.nbytes and self.file.readinto(space) != space.nbytes:
                    raise OSError("rows that were written cannot be read back")
                yield part.to(self.dtype)


def _write(path: Path, columns: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    # Wide numbers first: then each tensor starts at a multiple of its own numbers' size.
    order = sorted(columns, key=lambda name: (-columns[name].dtype.itemsize, name))
    index: dict[str, Any] = {"__metadata__": dict(metadata)}
    start = 0
    for name in order:
        dtype, shape = columns[name].dtype, columns[name].shape
        end = start + dtype.itemsize * torch.Size(shape).numel()
        index[name] = {"dtype": _NAMES[dtype], "shape": shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(index).encode()
    text += b" " * (-len(text) % 8)
    with _appearing(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            for part in columns[name].parts():
                file.write(raw_bytes(part.contiguous()))


@contextmanager
def _appearing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which is named ``path`` only when the block ends without an error."""
    passing = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    nameless = _nameless(path.parent)
    try:
        with nameless or open(passing, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if nameless:
                # Without a folder's number, Python would link the link and not what it points to.
                os.link(f"/proc/self/fd/{file.fileno()}", passing, src_dir_fd=file.fileno())
        os.replace(passing, path)
    finally:
        passing.unlink(missing_ok=True)


def _nameless(folder: Path) -> BinaryIO | None:
    """A file that is deleted when the process ends; ``None`` on systems without such files."""
    if sys.platform != "linux" or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o666), "wb")
    except OSError:
        return None


def _map(file: BinaryIO) -> mmap.mmap:
    if not hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    # Linux refuses a private mapping larger than memory without MAP_NORESERVE.
    return mmap.mmap(
        file.fileno(),
        0,
        flags=mmap.MAP_PRIVATE | _NORESERVE,
        prot=mmap.PROT_READ | mmap.PROT_WRITE,
    )


def _view(pages: mmap.mmap, start: int, facts: Mapping[str, Any]) -> Tensor:
    dtype, shape = _DTYPES[facts["dtype"]], facts["shape"]
    count = torch.Size(shape).numel()
    if not count:
        return torch.empty(shape, dtype=dtype)
    offset = start + facts["data_offsets"][0]
    return torch.frombuffer(pages, dtype=dtype, count=count, offset=offset).view(shape)


def _at_once(dtype: torch.dtype, width: tuple[int, ...]) -> int:
    return max(1, _STEP // max(1, dtype.itemsize * torch.Size(width).numel()))
