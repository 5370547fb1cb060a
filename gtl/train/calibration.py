"""Calibration of a classifier: a temperature and a bias of each class, fitted to held-out labels.

Without it an under-confident or biased model makes expectation maximization of class shares wrong
by any amount. Bias-corrected temperature scaling (Alexandari et al. 2020, BCTS).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_SPREAD = 3.0  # standard deviation of the prior of a log temperature, and of a bias
_STEPS = 200
_TINY = 1e-12


@dataclass(frozen=True)
class Calibration:
    """Calibrated probabilities ``softmax(factor * (logits + bias))``.

    Attributes:
        factor: One over the temperature, ``()``.
        bias: Of each class, ``(c,)``.
    """

    factor: Tensor
    bias: Tensor

    @staticmethod
    def fitted(logits: Tensor, labels: Tensor) -> Calibration:
        """The most likely calibration of held-out items.

        Weak normal priors keep it finite where classes are separated without an error: of the
        logarithm of the factor, and of the biases. The unit of both is the logits' deviation.

        Args:
            logits: Of these items, ``(b, c)``.
            labels: Their classes, int64 ``(b,)``. Without any the calibration changes nothing.

        Example:
            >>> logits = torch.tensor([[0.1, 0.0], [0.0, 0.1]]).repeat(50, 1)
            >>> found = Calibration.fitted(logits, torch.tensor([0, 1]).repeat(50))
            >>> found(logits)[0, 0] > 0.99
            tensor(True)
        """
        logits = _centered(logits)
        unit = _deviation(logits)

        def loss(found: Tensor) -> Tensor:
            scores = found[0].exp() * (logits / unit + found[1:])
            return F.cross_entropy(scores, labels, reduction="sum")

        best = _most_likely(logits.new_zeros(logits.shape[1] + 1), loss)
        return Calibration(best[0].exp() / unit, unit * best[1:])

    def __call__(self, logits: Tensor) -> Tensor:
        """Probabilities ``(b, c)`` of logits, float64."""
        return (self.factor * (_centered(logits) + self.bias)).softmax(1)


def factor_of(logits: Tensor, labels: Tensor, kind: str) -> float:
    """The most likely factor of the logits of held-out items, one over a temperature.

    It keeps the order of the classes of an item (Guo et al. 2017, "On calibration of modern neural
    networks"). A weak normal prior of its logarithm keeps it finite; its unit is the logits'
    deviation.

    Args:
        logits: Of these items, ``(b, c)``.
        labels: Classes, int64 ``(b,)``, -1 where unknown; or 0, 1 and NaN ``(b, c)``.
        kind: ``"multiclass"`` or ``"binary"``.

    Returns:
        The factor; 1 where no label is known.

    Example:
        >>> logits = torch.tensor([[0.1, 0.0], [0.0, 0.1]]).repeat(50, 1)
        >>> factor_of(logits, torch.tensor([0, 1]).repeat(50), "multiclass") > 50
        True
    """
    multiclass = kind == "multiclass"
    known = labels >= 0  # NaN is not
    if not known.any():
        return 1.0
    logits = _centered(logits) if multiclass else logits.double()
    logits, labels = logits[known], labels[known]
    unit = _deviation(logits)

    def loss(found: Tensor) -> Tensor:
        scores = found.exp() * logits / unit
        if multiclass:
            return F.cross_entropy(scores, labels, reduction="sum")
        return F.binary_cross_entropy_with_logits(scores, labels.double(), reduction="sum")

    return float(_most_likely(logits.new_zeros(()), loss).exp() / unit)


def _most_likely(start: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """The minimum of a loss plus the prior, from a start on."""
    found = start.clone().requires_grad_()
    search = torch.optim.LBFGS([found], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def total() -> Tensor:
        search.zero_grad()
        value = loss(found) + found.square().sum() / (2 * _SPREAD**2)
        value.backward()
        return value

    with torch.enable_grad():
        search.step(total)
    return found.detach()


def _deviation(logits: Tensor) -> Tensor:
    """Root of the mean square; 1 where all are 0, or there are none."""
    found = logits.square().mean().sqrt()
    return found if found > _TINY else logits.new_ones(())


def _centered(logits: Tensor) -> Tensor:
    logits = logits.double()
    return logits - logits.mean(1, keepdim=True)
