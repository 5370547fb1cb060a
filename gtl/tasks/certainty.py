"""Certainty of predictions: probabilities, entropies and confidences of the items."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from gtl.errors import ConfigError

_UNSURE = {"binary": math.log(2)}


def probabilities(scores: Tensor, kind: str | None) -> Tensor:
    """Probabilities ``(b, c)`` of classes or of label columns; regressions stay as they are.

    Args:
        scores: Outputs of the head ``(b, c)``.
        kind: ``"multiclass"``, ``"binary"`` or ``"regression"``.
    """
    if kind == "multiclass":
        return scores.softmax(1)
    return scores.sigmoid() if kind == "binary" else scores


def entropies(scores: Tensor, kind: str | None) -> Tensor:
    """Entropy of each item's prediction in nats, ``(b,)``; the mean over binary columns.

    Raises:
        ConfigError: If it is a regression, whose predictions have none.

    Example:
        >>> round(entropies(torch.zeros(1, 4), "multiclass").item(), 4)  # ln 4
        1.3863
    """
    require_classes(kind)
    if kind == "multiclass":
        logs = scores.log_softmax(1)
        return -(logs.exp() * logs).sum(1)
    p, off = scores.sigmoid(), (-scores).sigmoid()
    return -(p * F.logsigmoid(scores) + off * F.logsigmoid(-scores)).mean(1)


def largest_entropy(kind: str | None, outputs: int) -> float:
    """Entropy of a prediction that knows nothing."""
    return _UNSURE.get(str(kind), math.log(max(outputs, 1)))


def confidences(scores: Tensor, kind: str | None) -> Tensor:
    """Largest probability of an item ``(b,)``, or of either value of each column ``(b, c)``."""
    require_classes(kind)
    p = probabilities(scores, kind)
    return p.amax(1) if kind == "multiclass" else torch.maximum(p, 1 - p)


def strength_of(given: float | None, kind: str | None) -> float:
    """Factor of a squared difference of predictions.

    Args:
        given: What the user gave; ``None`` for 100 of probabilities, whose differences are so small
            that with 1 their gradient is a twentieth of the target's, and 1 of a regression.
        kind: ``"multiclass"``, ``"binary"`` or ``"regression"``.
    """
    if given is not None:
        return given
    return 100.0 if kind in ("binary", "multiclass") else 1.0


def require_classes(kind: str | None) -> None:
    """Refuse a target without classes.

    Raises:
        ConfigError: If it is a regression, or its kind is not known.
    """
    if kind not in ("binary", "multiclass"):
        raise ConfigError(
            f"the target is of kind {kind!r}, whose predictions have no certainty; use "
            "mean_teacher, interpolation_consistency or knowledge_consistency, or give `kind`"
        )
