"""MCC: little confusion between classes on the target (Jin et al. 2020)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from gtl.roles import View
from gtl.tasks.checks import require_positive
from gtl.tasks.domain.task import Domains, DomainTask, constant


class MCC(DomainTask):
    """Makes the model confuse no two classes on the items of a target batch.

    The confusion of classes ``j`` and ``k`` is the sum over items of ``w p_j p_k``, with softened
    probabilities ``p`` (logits over ``temperature``) and a weight ``w = 1 + exp(-H)`` by the
    entropy ``H`` of ``p``, divided by its mean, a constant. Each row ``j`` is divided by its sum;
    the mean over rows of what is not on the diagonal is made small. One sample is a target item:
    :func:`confusion_losses` are its terms. Each of several binary columns has two classes of its
    own; it is the mean over columns.

    Measured in each epoch: ``confusion``.

    Args:
        temperature: What logits are divided by, above 0.
        warmup: Steps over which the losses rise linearly to their full size.

    Raises:
        ConfigError: If an option is out of range, or the target is a regression.
    """

    reads_classes: ClassVar[bool] = True
    quantities: ClassVar[tuple[str, ...]] = ("confusion",)

    def __init__(self, temperature: float = 2.5, warmup: int = 0):
        super().__init__(warmup)
        self.temperature = require_positive("temperature", temperature)

    def of_domains(self, domains: Domains, nodes: Tensor, view: View) -> Tensor:
        """Terms of the confusion, ``(b_t,)``."""
        _, scores = self.scores(nodes, view)
        logs = class_logs(scores / self.temperature, self.target.kind)  # (b, columns, classes)
        entropy = -(logs.exp() * logs).sum(2)
        weights = constant(view, "weights", lambda: _over_mean(1 + torch.exp(-entropy)))
        each = confusion_losses(logs.exp(), weights)
        if len(each):
            self.measure(view, lambda: [each.mean()])
        return each


def class_logs(scores: Tensor, kind: str | None) -> Tensor:
    """Logarithms of probabilities ``(b, 1, c)``, or of both values of each column ``(b, c, 2)``."""
    if kind == "multiclass":
        return scores.log_softmax(1).unsqueeze(1)
    return torch.stack([scores, torch.zeros_like(scores)], 2).log_softmax(2)


def confusion_losses(p: Tensor, weights: Tensor) -> Tensor:
    """Terms of the mean confusion of classes, one an item, whose mean it is.

    A row ``j`` of the matrix of confusions sums up to ``r_j``, the sum over items of ``w p_j``, so
    that what is not on its diagonal is the sum over items of ``w p_j (1 - p_j) / r_j``.

    Args:
        p: Probabilities of ``c`` classes in each column ``(b, columns, c)``.
        weights: Weights of the items in each column ``(b, columns)``.

    Returns:
        ``(b,)``, in ``[0, b]``; a class without any probability has no confusion.

    Example:
        >>> p = torch.tensor([[[0.5, 0.5]], [[1.0, 0.0]]])
        >>> confusion_losses(p, torch.ones(2, 1)).tolist()  # rows 1.5 and 0.5: 1/6 and 1/2
        [0.6666666865348816, 0.0]
    """
    weighted = weights.unsqueeze(2) * p
    rows = weighted.sum(0).clamp(min=torch.finfo(p.dtype).tiny)  # (columns, c)
    return len(p) * (weighted * (1 - p) / rows).mean(2).mean(1)


def _over_mean(weights: Tensor) -> Tensor:
    return weights / weights.mean(0)
