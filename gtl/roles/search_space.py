"""Values that an option of a part may have in a search of settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from gtl.errors import ConfigError


@dataclass(frozen=True)
class Choice:
    """One of some values.

    Attributes:
        values: What may be chosen; JSON values.
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError("a choice of a search has no values; give at least one")


@dataclass(frozen=True)
class Range:
    """A number between two others, both included.

    Attributes:
        low: The smallest.
        high: The largest. Where both are whole, so are all between them.
        log: Whether ratios count, and not differences: for learning rates and the like.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low <= self.high or (self.log and self.low <= 0):
            raise ConfigError(
                f"a range of a search is from {self.low} to {self.high}, expected low <= high, "
                "and above 0 where `log` is true"
            )

    @property
    def is_whole(self) -> bool:
        """Whether its numbers are whole."""
        return isinstance(self.low, int) and isinstance(self.high, int)


Space: TypeAlias = "Choice | Range"


def as_space(name: str, given: Any) -> Space:
    """A space from plain values: a list of choices, or a mapping of ``low``, ``high``, ``log``.

    Args:
        name: Of the option, for messages.
        given: A space, or plain values.

    Raises:
        ConfigError: If it is neither.

    Example:
        >>> as_space("lr", {"low": 1e-4, "high": 1e-2, "log": True})
        Range(low=0.0001, high=0.01, log=True)
        >>> as_space("readout", ["mean", "sum"])
        Choice(values=('mean', 'sum'))
    """
    if isinstance(given, (Choice, Range)):
        return given
    if isinstance(given, (list, tuple)):
        return Choice(tuple(given))
    if isinstance(given, Mapping) and {"low", "high"} <= given.keys() <= {"low", "high", "log"}:
        return Range(**given)
    raise ConfigError(
        f"`space[{name!r}]` is {given!r}, expected a list of values, or low and high, such as "
        "{low: 1.0e-4, high: 1.0e-2, log: true}"
    )
