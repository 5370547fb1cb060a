"""Classes in domain tasks: probabilities of predictions, and losses of source labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gtl.errors import ConfigError
from gtl.roles import Batch


def class_probabilities(scores: Tensor, kind: str | None) -> Tensor:
    """Probabilities of all classes: ``(b, c)``, or ``(b, 2 c)`` for ``c`` binary columns.

    A binary column counts as two classes, so that one column is the same as two classes.

    Args:
        scores: Outputs of the head ``(b, c)``.
        kind: ``"multiclass"`` or ``"binary"``.

    Example:
        >>> class_probabilities(torch.zeros(1, 2), "binary").tolist()
        [[0.5, 0.5, 0.5, 0.5]]
    """
    if kind == "multiclass":
        return scores.softmax(1)
    return torch.cat([scores.sigmoid(), (-scores).sigmoid()], 1)


def count_classes(kind: str | None, outputs: int) -> int:
    """Columns of :func:`class_probabilities`."""
    return outputs if kind == "multiclass" else 2 * outputs


def labels_of(batch: Batch) -> Tensor:
    """Labels of the source items.

    Raises:
        ConfigError: If there are none.
    """
    if batch.graph.y is None:
        raise ConfigError(
            "the batch of the loop has no labels `y`, and classifiers of this task are trained on "
            "those of the source; give the labeled domain as the data set and the other one as "
            "`unlabeled`"
        )
    return batch.graph.y


def label_losses(scores: Tensor, y: Tensor, kind: str | None) -> Tensor:
    """Cross-entropy of the items with a known label, ``(k,)``; the mean of their known columns.

    Args:
        scores: ``(b, c)``.
        y: Classes int64 ``(b,)``, negative where unknown, or columns ``(b, c)``, NaN likewise.
        kind: ``"multiclass"`` or ``"binary"``.
    """
    if kind == "multiclass":
        known = y >= 0
        return F.cross_entropy(scores[known], y[known], reduction="none")
    known = ~y.isnan()
    each = F.binary_cross_entropy_with_logits(
        scores, y.to(scores).masked_fill(~known, 0), reduction="none"
    )
    rows = known.any(1)
    return each.masked_fill(~known, 0).sum(1)[rows] / known.sum(1)[rows]
