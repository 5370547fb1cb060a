"""Checks of a task's options, and that it was set up before its use."""

from __future__ import annotations

from typing import TypeVar

from gtl.errors import ConfigError
from gtl.roles import Task

T = TypeVar("T")


def built(task: Task, part: T | None) -> T:
    """A module or value that :meth:`Task.build` made.

    Raises:
        ConfigError: If it was not called yet.
    """
    if part is None:
        raise ConfigError(
            f"{type(task).__name__} was not set up; call `task.setup(schema, width)` first"
        )
    return part


def require_share(name: str, value: float, whole: bool = True) -> float:
    """Check an option that is a share in ``(0, 1]``, or in ``(0, 1)`` unless ``whole``.

    Raises:
        ConfigError: If it lies outside.
    """
    if not 0 < value <= 1 or (value == 1 and not whole):
        end = "up to" if whole else "below"
        raise ConfigError(f"`{name}` is {value}, expected a share above 0 and {end} 1")
    return value


def require_count(name: str, value: int, least: int = 1) -> int:
    """Check an option that is a whole number.

    Raises:
        ConfigError: If it is smaller than ``least``, or no whole number.
    """
    if value < least:
        raise ConfigError(f"`{name}` is {value}, expected {least} or more")
    if not float(value).is_integer():
        raise ConfigError(f"`{name}` is {value}, expected a whole number, {least} or more")
    return int(value)


def require_positive(name: str, value: float) -> float:
    """Check an option that is a number above zero.

    Raises:
        ConfigError: If it is not.
    """
    if not value > 0:
        raise ConfigError(f"`{name}` is {value}, expected a number above 0")
    return value
