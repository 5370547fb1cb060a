"""Freezing of an encoder by the adapted forms of it, and its release when the last is detached.

The record is an attribute of the encoder itself, so that a copy of it, too, is known to be frozen
for an adapter.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from torch import nn

_RECORD = "_frozen_by_adapters"


class _Record:
    """Gradients and mode before the first adapter, and the adapters that freeze the encoder."""

    def __init__(self, required: dict[str, bool], modes: dict[str, bool]):
        self.required, self.modes = required, modes
        # Weak: an adapted form that was dropped without `detach` must not freeze it for good.
        self.owners: WeakSet[nn.Module] = WeakSet()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Record, (self.required, self.modes)  # a copy of the encoder has no owner yet


def freeze(base: nn.Module, owner: nn.Module) -> bool:
    """Freeze a module for an adapted form of it: no gradients, eval mode.

    Returns:
        Whether it was in train mode before the first adapter was attached.
    """
    record = vars(base).get(_RECORD)
    if record is None:
        required = {name: p.requires_grad for name, p in base.named_parameters()}
        record = _Record(required, {name: part.training for name, part in base.named_modules()})
        vars(base)[_RECORD] = record
    record.owners.add(owner)
    base.requires_grad_(False)
    base.eval()
    return record.modes[""]


def release(base: nn.Module, owner: nn.Module) -> None:
    """End the freezing by one adapted form; with the last one the module is unfrozen."""
    record = vars(base).get(_RECORD)
    if record is not None:
        record.owners.discard(owner)
        if not record.owners:
            unfreeze(base)


def unfreeze(base: nn.Module) -> None:
    """Gradients and modes as before the first adapter, whatever adapted forms there are."""
    record = vars(base).pop(_RECORD, None)
    if record is not None:
        for name, parameter in base.named_parameters():
            parameter.requires_grad_(record.required.get(name, True))
        for name, module in base.named_modules():
            module.training = record.modes.get(name, module.training)


def is_frozen_by_adapter(module: nn.Module) -> bool:
    """Whether a module is frozen because an adapter was attached to it."""
    return _RECORD in vars(module)
