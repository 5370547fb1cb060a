"""Order of the names of two classes: the negative one first."""

from __future__ import annotations

import re

_NEGATIVE = (
    *("false", "no", "n", "f", "negative", "neg", "-", "off", "absent", "none", "low", "safe"),
    "0",
)
_NEGATED = re.compile(r"(?:non|not|un|in|im)[ _-]?(.+)", re.IGNORECASE)


def ordered_pair(first: str, second: str) -> tuple[tuple[str, str], bool]:
    """Two names of classes, the negative one first, and whether the words show that it is.

    Example:
        >>> ordered_pair("active", "inactive"), ordered_pair("acid", "base")
        ((('inactive', 'active'), True), (('acid', 'base'), False))
    """
    if _negates(second, first):
        return (second, first), True
    return (first, second), _negates(first, second)


def _negates(word: str, other: str) -> bool:
    """Whether a word is the negative one of two: no and yes, inactive and active."""
    negated = _NEGATED.fullmatch(word)
    if negated is not None and negated.group(1).lower() == other.lower():
        return True
    return word.lower() in _NEGATIVE and other.lower() not in _NEGATIVE
