"""Rows that are molecules or graphs: tags of scikit-learn, and what to do with unreadable ones."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from gtl.data.mixed_rows import describe
from gtl.errors import ConfigError, DataError

log = logging.getLogger(__name__)


def of_rows(tags: Any) -> Any:
    """Tags of an estimator whose rows are molecules or graphs, not numbers."""
    tags.input_tags.two_d_array = False
    tags.input_tags.one_d_array = True
    tags.input_tags.string = True
    tags.no_validation = True  # there is no number of features
    return tags


def check_options(on_invalid: str, workers: int) -> None:
    """Refuse options that no estimator has.

    Raises:
        ConfigError: Naming the option.
    """
    if on_invalid not in ("raise", "nan"):
        raise ConfigError(f"`on_invalid` is {on_invalid!r}, expected 'raise' or 'nan'")
    if workers < 1:
        raise ConfigError(f"`workers` is {workers}, expected at least 1")


def refuse(wrong: Mapping[int, str], on_invalid: str) -> None:
    """Refuse unreadable rows, unless they are to be left out.

    Raises:
        DataError: Naming them.
    """
    if wrong and on_invalid == "raise":
        raise DataError(
            f"{describe(wrong)}; correct the rows, or give on_invalid='nan' to leave them out"
        )


def report(wrong: Mapping[int, str], rows: int) -> None:
    """Name the rows that were left out, in one log line."""
    if wrong:
        log.warning("%d of %d rows left out: %s", len(wrong), rows, describe(wrong))
