"""Checks of single arguments, with one wording for all functions."""

from __future__ import annotations

from typing import Any

from gtl.errors import ConfigError


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


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
