"""Label shift between two domains: class shares of a target without labels, estimated.

Alignment makes distributions of vectors equal. Where classes are not as frequent in both domains,
equal distributions are wrong ones (Zhao et al. 2019), which is worth a warning.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.train.calibration import Calibration

LARGE = 0.15  # total variation between class shares from which on a warning is given
METHODS = ("bbse", "em")
_LEAST = 0.05  # share of the largest singular value at which a confusion matrix can be inverted


def black_box_shift(confusion: Tensor, predicted: Tensor, shares: Tensor) -> Tensor:
    """Class shares of the target by the confusion matrix of the source (Lipton et al. 2018, BBSE).

    Args:
        confusion: Joint shares of predicted class (rows) and true class (columns) on validation
            data of the source, ``(c, c)``, summing to one.
        predicted: Shares of the predicted classes on the target, ``(c,)``.
        shares: Class shares of the source, ``(c,)``.

    Returns:
        Shares ``(c,)``, none negative, summing to one.

    Example:
        >>> confusion = torch.tensor([[0.4, 0.1], [0.1, 0.4]]).double()
        >>> black_box_shift(confusion, torch.tensor([0.68, 0.32]).double(), confusion.sum(0))
        tensor([0.8000, 0.2000], dtype=torch.float64)
    """
    from scipy.optimize import nnls

    ratio, _ = nnls(confusion.double().numpy(), predicted.double().numpy())
    return _normed(torch.from_numpy(np.asarray(ratio)) * shares.double(), shares)


def expectation_maximization(
    probabilities: Tensor, shares: Tensor, steps: int = 1000, tolerance: float = 1e-8
) -> Tensor:
    """Class shares of the target by its predicted probabilities (Saerens et al. 2002, EM).

    Args:
        probabilities: Of the target's items by a model of the source, ``(u, c)``; calibrated ones
            give a maximum-likelihood estimate, others may be wrong by any amount.
        shares: Class shares of the source, ``(c,)``.
        steps: At most so many iterations.
        tolerance: Change of the shares at which they end.

    Returns:
        Shares ``(c,)``, summing to one; 0 of a class that the source lacks, of which nothing is
        known.
    """
    start = shares.double().clamp(min=1e-12)
    guess, found = probabilities.double() * (shares > 0), start.clone()
    for _ in range(steps):
        posterior = guess * (found / start)
        posterior = posterior / posterior.sum(1, keepdim=True).clamp(min=1e-12)
        new = posterior.mean(0)
        done = bool((new - found).abs().max() < tolerance)
        found = new
        if done:
            break
    return _normed(found, shares)


def class_shares(labels: Tensor, kind: str, classes: int) -> Tensor:
    """Shares of classes ``(c,)``, or of ones in each binary column ``(t,)``, of known labels."""
    if kind == "multiclass":
        known = labels[labels >= 0]
        return torch.bincount(known, minlength=classes).double() / max(len(known), 1)
    return labels.double().nanmean(0)


def estimated_shares(
    kind: str, source_labels: Tensor, source_guess: Tensor, target_guess: Tensor
) -> dict[str, Tensor]:
    """Class shares of source and target: ``source``, ``predicted``, ``bbse`` and ``em``.

    Probabilities are calibrated on the source's items before EM, see
    :class:`gtl.train.calibration.Calibration`. BBSE is NaN where it cannot be computed: predictions
    do not tell all classes of the source apart. All are NaN where no label of the source is known.
    A class that these labels lack has the share 0.

    Args:
        kind: ``"multiclass"``, or ``"binary"``: then each column is a problem of two classes of its
            own, and shares are those of the ones.
        source_labels: Labels of validation items of the source.
        source_guess: Probabilities of these, ``(v, c)``.
        target_guess: Probabilities of the target's items, ``(u, c)``.

    Returns:
        Each ``(c,)``.
    """
    if kind == "multiclass":
        known = source_labels >= 0
        return _of_classes(source_labels[known], source_guess[known], target_guess)
    columns = []
    for column in range(source_guess.shape[1]):
        y = source_labels[:, column]
        both = [_two(guess[:, column]) for guess in (source_guess, target_guess)]
        columns.append(_of_classes(y[~y.isnan()].long(), both[0][~y.isnan()], both[1]))
    return {name: torch.stack([found[name][1] for found in columns]) for name in columns[0]}


def shift_size(one: Tensor, other: Tensor, kind: str) -> float:
    """Total variation between class shares; of binary columns the largest known difference."""
    gap = (one.double() - other.double()).abs()
    if kind == "multiclass" or bool(gap.isnan().all()):
        return float(gap.sum() / 2)
    return float(gap[~gap.isnan()].max())


def importance(source: Tensor, target: Tensor, most: float = 10.0) -> Tensor:
    """How much each class should count for training to be as in the target, ``(c,)``, mean one.

    A class that the source lacks, or whose share is not known, counts once.

    Args:
        source: Class shares of the source.
        target: Those of the target.
        most: Largest ratio: a class that the source hardly has cannot be made up for.
    """
    ratio = (target.double() / source.double().clamp(min=1e-12)).clamp(max=most)
    weights = ratio / (ratio * source.double()).sum().clamp(min=1e-12)
    return torch.where(source > 0, weights, 1.0)


def trusted_shares(shares: dict[str, Tensor]) -> Tensor:
    """Shares of the target by BBSE, or by EM where BBSE cannot be computed, ``(c,)``.

    BBSE reads predicted classes alone, so that a wrong calibration does not change it.
    """
    return shares["bbse"].where(~shares["bbse"].isnan(), shares["em"])


def described_shift(kind: str, shares: dict[str, Tensor]) -> dict[str, Any]:
    """What ``results.json`` holds of estimated shares; ``None`` for what cannot be computed.

    A shift is ``large`` if one of the estimates reaches :data:`LARGE`, and BBSE at least half of
    it, unless it cannot be computed.
    """
    trusted = shift_size(shares["source"], trusted_shares(shares), kind)
    sizes = {name: shift_size(shares["source"], shares[name], kind) for name in METHODS}
    return {
        "shares": {name: [_rounded(float(v)) for v in values] for name, values in shares.items()},
        "size": {name: _rounded(value) for name, value in sizes.items()},
        "large": max(trusted, sizes["em"]) >= LARGE and trusted >= LARGE / 2,
    }


def _of_classes(labels: Tensor, guess: Tensor, target: Tensor) -> dict[str, Tensor]:
    classes = guess.shape[1]
    if not len(labels):
        return dict.fromkeys(
            ("source", "predicted", *METHODS), torch.full((classes,), torch.nan).double()
        )
    shares = class_shares(labels, "multiclass", classes)
    confusion = torch.zeros(classes, classes, dtype=torch.float64)
    index = (guess.argmax(1), labels)
    confusion.index_put_(index, torch.ones(len(labels), dtype=torch.float64), accumulate=True)
    confusion /= len(labels)
    predicted = class_shares(target.argmax(1), "multiclass", classes)
    bbse = black_box_shift(confusion, predicted, shares)
    return {
        "source": shares,
        "predicted": predicted,
        "bbse": bbse if _can_be_inverted(confusion, shares) else torch.full_like(bbse, torch.nan),
        "em": _by_maximization(labels, guess, target, shares),
    }


def _by_maximization(labels: Tensor, guess: Tensor, target: Tensor, shares: Tensor) -> Tensor:
    """EM on calibrated probabilities of the classes that the source's labels have."""
    known = (shares > 0).nonzero().flatten()
    place = torch.full((len(shares),), -1).index_put((known,), torch.arange(len(known)))
    here, there = (part[:, known].double().clamp(min=1e-30).log() for part in (guess, target))
    calibration = Calibration.fitted(here, place[labels])
    found = expectation_maximization(calibration(there), calibration(here).mean(0))
    return torch.zeros_like(shares).index_put((known,), found)


def _can_be_inverted(confusion: Tensor, shares: Tensor) -> bool:
    """Whether predictions tell all classes of the source apart."""
    known = shares > 0
    rates = confusion[:, known] / shares[known]
    return int(torch.linalg.matrix_rank(rates, rtol=_LEAST)) == int(known.sum())


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def _two(share: Tensor) -> Tensor:
    return torch.stack([1 - share, share], 1)


def _normed(values: Tensor, fallback: Tensor) -> Tensor:
    total = float(values.sum())
    return values / total if total > 0 else fallback.double()
