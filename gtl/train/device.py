"""Devices: the one a user named, checked, and the one a module is on."""

from __future__ import annotations

import torch
from torch import nn

from gtl.errors import ConfigError


def as_device(device: str | torch.device | None) -> torch.device | None:
    """The device a user named.

    Args:
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, ...; ``"auto"`` for an accelerator
            if there is one, else the CPU; ``None`` to leave everything where it is.

    Raises:
        ConfigError: If there is no such device here.

    Example:
        >>> as_device("cpu")
        device(type='cpu')
    """
    if device is None:
        return None
    if device == "auto":
        mps = "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device("cuda" if torch.cuda.is_available() else mps)
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(
            f"`device` is {str(device)!r}, which cannot be used here ({reason}); use 'cpu', or "
            "'auto' for an accelerator where there is one"
        ) from error
    return chosen


def module_device(module: nn.Module) -> torch.device:
    """Device of a module's parameters; the CPU if it has none."""
    return next((p.device for p in module.parameters()), torch.device("cpu"))
