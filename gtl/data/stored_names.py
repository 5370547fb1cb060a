"""Names of items kept as bytes, possibly in a memory-mapped file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import overload

import torch
from torch import Tensor


class StoredNames(Sequence[str]):
    """A list of strings kept as their UTF-8 bytes, in tensors that may be memory-mapped.

    Args:
        text: All bytes, uint8.
        ends: Where each string ends in ``text``, int64 ``(items,)``.

    Example:
        >>> names = StoredNames(torch.tensor(list(b"CCOC"), dtype=torch.uint8),
        ...                     torch.tensor([3, 4]))
        >>> names[0], names[-1], names == ("CCO", "C")
        ('CCO', 'C', True)
    """

    def __init__(self, text: Tensor, ends: Tensor) -> None:
        self._text, self._ends = text.numpy(), ends.numpy()

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...

    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"name {index} of {len(self)} does not exist")
        index %= len(self)
        start = self._ends[index - 1] if index else 0
        return self._text[start : self._ends[index]].tobytes().decode()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (StoredNames, tuple)):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other))

    __hash__ = None  # type: ignore[assignment]


def encode_names(names: Iterable[str], start: int = 0) -> tuple[Tensor, Tensor]:
    """The tensors of :class:`StoredNames`, the first string beginning at ``start``."""
    encoded = [name.encode() for name in names]
    lengths = torch.tensor([len(name) for name in encoded], dtype=torch.int64)
    text = torch.frombuffer(bytearray(b"".join(encoded)) or bytearray(1), dtype=torch.uint8)
    return text[: int(lengths.sum())], start + lengths.cumsum(0)
