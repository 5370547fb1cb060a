"""Count of the arithmetic of message passing, which torch's own counter cannot see.

Kernels of DGL do not pass through torch, and a product with a sparse matrix is counted by torch as
if the matrix were dense. Here an addition and a multiplication are one operation each, as in torch:
a sum over ``m`` edges of ``d`` columns is ``m d`` operations, a weighted one ``2 m d``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor


class Counter:
    """Operations counted so far: those of message passing and, by torch, all others.

    Elementwise functions, such as norms and activations, are left out by torch and here.
    """

    def __init__(self) -> None:
        from torch.utils.flop_counter import FlopCounterMode

        self.messages = 0
        self._torch = FlopCounterMode(display=False)
        self._torch.mod_tracker = _OneModule()  # type: ignore[assignment]
        self._within = 0

    @property
    def total(self) -> int:
        """All operations."""
        return self.messages + self.products

    @property
    def products(self) -> int:
        """Operations of matrix products and convolutions, counted by torch."""
        return int(self._torch.get_total_flops()) - self._within

    def run(self, operations: int, kernel: Callable[..., Tensor], *inputs: Any) -> Tensor:
        """Result of a kernel, which counts as so many operations whatever it is made of."""
        before = self._torch.get_total_flops()
        out = kernel(*inputs)
        self._within += int(self._torch.get_total_flops() - before)
        self.messages += operations
        return out


class _OneModule:
    """Everything counts as one module.

    Torch's tracker of modules fails where a module gets a parameter while no gradients are
    recorded; counts of each module are not needed.
    """

    parents = frozenset({"Global"})

    def __enter__(self) -> _OneModule:
        return self

    def __exit__(self, *error: object) -> None:
        return None


_active: ContextVar[Counter | None] = ContextVar("gtl_operations", default=None)


@contextmanager
def counted_operations() -> Iterator[Counter]:
    """Count the operations inside the block."""
    counter = Counter()
    token = _active.set(counter)
    try:
        with counter._torch:
            yield counter
    finally:
        _active.reset(token)


def counted(operations: int, kernel: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """Result of a kernel; its operations are added to the active counter, if there is one."""
    counter = _active.get()
    return kernel(*inputs) if counter is None else counter.run(operations, kernel, *inputs)
