"""Who holds an encoder frozen: it is free again, as it was, when the last adapter lets go.

The record travels on the encoder itself, so that a copy knows that it was frozen for an adapter.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from torch import nn

_RECORD = "_held"


class _Held:
    """What was free and in which mode before the first adapter came, and who is attached."""

    def __init__(self, moved: dict[str, bool], modes: dict[str, bool]):
        self.moved, self.modes = moved, modes
        self.holders: WeakSet[nn.Module] = WeakSet()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Held, (self.moved, self.modes)  # nobody holds a copy


def hold(base: nn.Module, holder: nn.Module) -> None:
    """Freeze a module for a holder: no gradients, eval mode."""
    record = vars(base).get(_RECORD)
    if record is None:
        moved = {name: p.requires_grad for name, p in base.named_parameters()}
        record = _Held(moved, {name: module.training for name, module in base.named_modules()})
        vars(base)[_RECORD] = record
    record.holders.add(holder)
    base.requires_grad_(False)
    base.eval()


def let_go(base: nn.Module, holder: nn.Module) -> None:
    """The holder lets go; the last one frees the module."""
    record = vars(base).get(_RECORD)
    if record is not None:
        record.holders.discard(holder)
        if not record.holders:
            free(base)


def free(base: nn.Module) -> None:
    """Everything as free and in the mode as before the first holder, whoever holds it."""
    record = vars(base).pop(_RECORD, None)
    if record is not None:
        for name, parameter in base.named_parameters():
            parameter.requires_grad_(record.moved.get(name, True))
        for name, module in base.named_modules():
            module.training = record.modes.get(name, module.training)


def is_held(module: nn.Module) -> bool:
    """Whether a module is frozen because an adapter was attached to it."""
    return _RECORD in vars(module)
