"""Suggestion of the known name nearest to a misspelled one, for error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for an error message: the known name most like ``word``, and all of them.

    Example:
        >>> nearest("scafold", ["random", "scaffold"])
        "did you mean 'scaffold'? known: random, scaffold"
    """
    names = [str(name) for name in known]
    lower = {name.lower(): name for name in reversed(names)}
    near = difflib.get_close_matches(word.lower(), list(lower), n=1, cutoff=0.5)
    hint = f"did you mean {lower[near[0]]!r}? " if near else ""
    return f"{hint}known: {', '.join(names) or 'none'}"
