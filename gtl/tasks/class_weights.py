"""Weights of classes in the supervised loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gtl.errors import ConfigError


def initial_weights(given: str | Sequence[Any], kind: str | None, outputs: int) -> Tensor:
    """Weights as they are before labels are seen, ``(c,)``, or ``(2, t)`` for binary labels.

    Args:
        given: ``"balanced"``, or a number for each class; of binary labels also two lists, of 0
            and of 1, of a number for each column.
        kind: Kind of the labels.
        outputs: Classes, or columns of binary labels.

    Raises:
        ConfigError: If labels have no classes, or the numbers are not one for each class.
    """
    if kind not in ("binary", "multiclass"):
        raise ConfigError(
            f"`class_weights` are for classes, and the labels are of the kind {kind!r}; leave them "
            "out"
        )
    classes = outputs if kind == "multiclass" else 2
    if isinstance(given, str):
        if given != "balanced":
            raise ConfigError(f"`class_weights` is {given!r}, expected 'balanced' or numbers")
        weights = torch.ones(classes)
    elif kind == "binary" and all(isinstance(row, Sequence) for row in given):
        return _by_column(given, outputs)
    else:
        weights = _numbers(given)
        if len(weights) != classes or not bool((weights >= 0).all()):
            raise ConfigError(
                f"`class_weights` are {list(given)}, expected {classes} numbers from 0 on, one for "
                "each class"
            )
    return weights if kind == "multiclass" else weights.unsqueeze(1).repeat(1, outputs)


def _by_column(given: Sequence[Any], outputs: int) -> Tensor:
    shape = [len(row) for row in given]
    if shape != [outputs, outputs]:
        raise ConfigError(
            f"`class_weights` has {len(given)} lists of {shape} numbers, expected 2, of 0 and of "
            f"1, of {outputs} numbers each, one for each label column"
        )
    return torch.stack([_numbers(row) for row in given])


def _numbers(given: Sequence[Any]) -> Tensor:
    """Numbers in the default precision."""
    try:
        if isinstance(given, Mapping):  # whose keys would be read as weights
            raise TypeError
        return torch.tensor([float(number) for number in given])
    except (TypeError, ValueError):
        raise ConfigError(
            f"`class_weights` has {given!r}, expected 'balanced' or a list of numbers"
        ) from None


def balanced_weights(labels: Tensor, shape: Sequence[int]) -> Tensor:
    """Weights inverse to the share of each class, with mean 1 over the known labels.

    Args:
        labels: Int64 ``(b,)``, -1 for missing, or zeros and ones ``(b, t)``, NaN for missing.
        shape: ``(c,)``, or ``(2, t)``.

    Returns:
        ``known labels / (classes that occur * labels of the class)``, 1 for a class without any.

    Example:
        >>> balanced_weights(torch.tensor([0, 0, 0, 1]), (2,))
        tensor([0.6667, 2.0000])
    """
    if labels.is_floating_point():
        counts = torch.stack([(labels == value).sum(0) for value in (0, 1)])  # (2, t)
    else:
        counts = torch.bincount(labels[labels >= 0], minlength=shape[0])
    present = (counts > 0).sum(0).clamp(min=1)
    weights = counts.sum(0) / (present * counts.clamp(min=1))
    return torch.where(counts > 0, weights, torch.ones(()))
