"""Checks of single arguments, with one wording for all functions."""

from __future__ import annotations

import operator
from numbers import Real
from typing import Any

from gtl.errors import ConfigError

_LARGEST_SEED = 10**12 - 1  # draws within a run take multiples of it, which have 64 bits


def check_positive(**numbers: Any) -> None:
    """Refuse what is not a positive number, by name.

    Raises:
        ConfigError: Naming the first one.
    """
    for name, value in numbers.items():
        if not _is_number(value) or not value > 0:
            raise ConfigError(f"`{name}` is {value!r}, expected a positive number")


def check_not_negative(**numbers: Any) -> None:
    """Refuse what is not a number from 0 on, by name.

    Raises:
        ConfigError: Naming the first one.
    """
    for name, value in numbers.items():
        if not _is_number(value) or not value >= 0:
            raise ConfigError(f"`{name}` is {value!r}, expected 0 or a positive number")


def check_whole(**numbers: Any) -> None:
    """Refuse what is not a whole number, by name.

    Raises:
        ConfigError: Naming the first one.
    """
    for name, value in numbers.items():
        if not _is_number(value) or value != value // 1:
            raise ConfigError(f"`{name}` is {value!r}, expected a whole number")


def as_seed(seed: Any) -> int:
    """A seed as a plain integer; those of NumPy are taken, too.

    Raises:
        ConfigError: If it is not a whole number, or too large.

    Example:
        >>> as_seed(3)
        3
    """
    try:
        found = operator.index(seed)
    except TypeError:
        raise ConfigError(f"`seed` is {seed!r}, expected a whole number") from None
    if abs(found) > _LARGEST_SEED:
        raise ConfigError(f"`seed` is {seed}, expected a whole number of at most 12 digits")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
