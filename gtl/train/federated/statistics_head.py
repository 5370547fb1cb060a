"""Heads that are fitted to statistics of classes, for data with one binary label, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gtl.catalog import HEADS
from gtl.data.dataset import Dataset
from gtl.errors import ConfigError
from gtl.heads.closed_form import ClosedForm


def head_for(given: Any, data: Dataset, share_head: str | None) -> Any:
    """The head as it is given; of one binary label with statistics of two classes.

    Args:
        given: Name, mapping or instance.
        data: Labeled data.
        share_head: As for :func:`gtl.federate`.

    Raises:
        ConfigError: If statistics of classes are to be shared and items have not one class each.
    """
    if share_head not in (None, "statistics") or data.kind == "multiclass" or not _is_closed(given):
        return given
    assert data.labels is not None
    if data.kind != "binary" or data.labels.shape[1] != 1:
        raise ConfigError(
            f"the head {_name_of(given)!r} is fitted to statistics of classes, and {data.spec} has "
            f"{data.labels.shape[1]} {data.kind} label columns, expected one class an item; use "
            "head='linear', or share_head='average'"
        )
    if isinstance(given, ClosedForm):
        return given
    return {**({"name": given} if isinstance(given, str) else given), "binary": True}


def class_numbers(labels: Tensor) -> Tensor:
    """Classes int64 ``(b,)`` of labels that are all known: classes, or one binary column."""
    return labels[:, 0].long() if labels.is_floating_point() else labels


def _is_closed(given: Any) -> bool:
    name = given.get("name") if isinstance(given, Mapping) else given
    if isinstance(name, str):
        return name in HEADS.names() and issubclass(HEADS.get(name), ClosedForm)
    return isinstance(given, ClosedForm)


def _name_of(given: Any) -> str:
    if isinstance(given, ClosedForm):
        return HEADS.name_of(given)
    return str(given.get("name") if isinstance(given, Mapping) else given)
