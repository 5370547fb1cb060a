"""Criteria of a model on a target domain without labels, by which an epoch or setting is selected.

Validation data of the source say nothing of the target. Each criterion here needs no label of the
target; larger is better for all of them, and none is reliable alone (Ericsson et al. 2023).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

TEMPERATURE = 0.05
MOST_ROWS = 500  # of a neighborhood density, whose cost is quadratic, and of a density ratio
_TINY = 1e-12


@dataclass(frozen=True)
class Outputs:
    """What a model gave on validation items of the source and on items of the target.

    Attributes:
        kind: ``"binary"``, ``"multiclass"`` or ``"regression"``.
        source_metric: Metric on validation items of the source, larger is better.
        source_losses: Loss of each of these that has a label, ``(v,)``.
        source_vectors: Their vectors, ``(v, h)``.
        training_vectors: Vectors of training items of the source, ``(s, h)``.
        target_vectors: Vectors of the target's items, ``(u, h)``.
        target_scores: Their logits, or values of a regression, ``(u, c)``.
    """

    kind: str
    source_metric: float
    source_losses: Tensor
    source_vectors: Tensor
    training_vectors: Tensor
    target_vectors: Tensor
    target_scores: Tensor

    @cached_property
    def weights(self) -> Tensor:
        """The density ratio of :func:`density_ratio`, computed once, ``(v,)``."""
        return density_ratio(self)


def entropy(outputs: Outputs) -> float:
    """One minus the mean entropy of the target's predictions, as a share of the largest possible.

    In ``[0, 1]``; predictions that are all the same class are certain too, which this does not see
    (Morerio et al. 2018).
    """
    certain, _ = _certainty_and_diversity(outputs)
    return certain


def infomax(outputs: Outputs) -> float:
    """Mutual information of the target's items and predictions, as a share of the largest possible.

    It is the entropy of the mean prediction minus the mean entropy of the predictions, in
    ``[0, 1]``: predictions are to be certain, and not all the same (Musgrave et al. 2022).
    """
    certain, diverse = _certainty_and_diversity(outputs)
    return certain + diverse - 1


def neighborhood_density(outputs: Outputs) -> float:
    """Soft neighborhood density of the target's predictions (Saito et al. 2021), in ``[0, 1]``.

    The entropy of the similarities of each item to the others, as a share of the largest possible:
    high where items lie in dense groups. At most 500 items are compared, evenly spaced, so that
    the value does not depend on a draw.
    """
    rows = _spaced(predicted(outputs.target_scores, outputs.kind))
    if len(rows) < 3:
        return 0.0
    rows = torch.nn.functional.normalize(rows, dim=1)
    similarity = rows @ rows.T / TEMPERATURE
    similarity.fill_diagonal_(-torch.inf)
    share = similarity.softmax(1)
    each = -(share * share.clamp(min=_TINY).log()).sum(1)
    return float(each.mean()) / math.log(len(rows) - 1)


def importance_weighted(outputs: Outputs) -> float:
    """Minus the validation loss of the source, weighted by how much items are like the target's.

    Weights are a density ratio of vectors (Sugiyama et al. 2007), scaled to a mean of one.
    """
    return -float((outputs.weights * outputs.source_losses.double()).mean())


def deep_embedded(outputs: Outputs) -> float:
    """Deep embedded validation: the same with a control variate (You et al. 2019, Eq. 9)."""
    weights = outputs.weights
    weighted = weights * outputs.source_losses.double()
    spread = weights.var()
    if len(weights) < 2 or float(spread) < _TINY:
        return -float(weighted.mean())
    joint = ((weighted - weighted.mean()) * (weights - weights.mean())).sum() / (len(weights) - 1)
    eta = -joint / spread
    return -float(weighted.mean() + eta * weights.mean() - eta)


def source_alone(outputs: Outputs) -> float:
    """Zero: validation data of the source decide alone."""
    return 0.0


CRITERIA: Mapping[str, Callable[[Outputs], float]] = {
    "infomax": infomax,
    "entropy": entropy,
    "snd": neighborhood_density,
    "iwcv": importance_weighted,
    "dev": deep_embedded,
    "source": source_alone,
}
_HAVE_SOURCE = ("iwcv", "dev")  # which are validation of the source themselves
OF_CLASSES = ("infomax", "entropy", "snd")  # undefined for a regression


def values_of(outputs: Outputs) -> dict[str, float]:
    """All criteria that are defined, each together with the source's validation metric.

    To the criteria in ``[0, 1]`` the metric is added; importance-weighted ones are made of
    validation data of the source themselves.
    """
    found = {}
    for name, criterion in CRITERIA.items():
        if outputs.kind == "regression" and name in OF_CLASSES:
            continue
        own = name in _HAVE_SOURCE
        found[name] = criterion(outputs) + (0.0 if own else outputs.source_metric)
    return found


def predicted(scores: Tensor, kind: str) -> Tensor:
    """Probabilities ``(b, c)`` of logits in float64, of one binary column both ``(b, 2)``."""
    scores = scores.double()
    if kind == "multiclass":
        return scores.softmax(1)
    shares = scores.sigmoid()
    return torch.cat([1 - shares, shares], 1) if shares.shape[1] == 1 else shares


def density_ratio(outputs: Outputs) -> Tensor:
    """How much more frequent vectors like those of validation items are in the target, ``(v,)``.

    The odds of a logistic regression of the domain on standardized vectors, fitted to training
    items of the source and items of the target, at most 500 each; their mean over these training
    items is one.
    """
    one, other = _spaced(outputs.training_vectors), _spaced(outputs.target_vectors)
    both = torch.cat([one, other]).double()
    mean, spread = both.mean(0), both.std(0).clamp(min=1e-6)
    domain = torch.cat([torch.zeros(len(one)), torch.ones(len(other))]).double().to(both)
    weights = logistic_regression((both - mean) / spread, domain)
    # The mean is one over training items: over validation items it is not, and that is what the
    # control variate of deep embedded validation corrects.
    odds, usual = (
        (_with_one((rows.double() - mean) / spread) @ weights).clamp(-20, 20).exp()
        for rows in (outputs.source_vectors, one)
    )
    return odds / usual.mean().clamp(min=_TINY)


def logistic_regression(rows: Tensor, labels: Tensor, penalty: float = 1.0) -> Tensor:
    """Weights ``(d + 1,)`` of a penalized logistic regression, the intercept last.

    Args:
        rows: Features ``(n, d)``, float64.
        labels: 0 or 1, ``(n,)``.
        penalty: Of half the squared weights; the intercept has none.
    """
    rows = _with_one(rows)
    ridge = torch.full_like(rows[0], penalty)
    ridge[-1] = 1e-6
    weights = torch.zeros_like(rows[0])
    for _ in range(25):  # Newton's method
        share = (rows @ weights).sigmoid()
        slope = rows.T @ (share - labels) + ridge * weights
        bend = (rows * (share * (1 - share)).unsqueeze(1)).T @ rows + ridge.diag()
        step = torch.linalg.solve(bend, slope)
        weights = weights - step * min(1.0, 5.0 / max(float(step.norm()), _TINY))
        if float(step.norm()) < 1e-4 * float(weights.norm()):
            break
    return weights


def _with_one(rows: Tensor) -> Tensor:
    return torch.cat([rows, rows.new_ones(len(rows), 1)], 1)


def _spaced(rows: Tensor) -> Tensor:
    """At most 500 rows, evenly spaced."""
    if len(rows) <= MOST_ROWS:
        return rows
    return rows[torch.linspace(0, len(rows) - 1, MOST_ROWS, device=rows.device).long()]


def _certainty_and_diversity(outputs: Outputs) -> tuple[float, float]:
    """One minus the mean entropy, and the entropy of the mean, as shares of the largest."""
    scores = outputs.target_scores.double()
    if outputs.kind == "multiclass":
        shares = scores.softmax(1)
        most = math.log(max(shares.shape[1], 2))
        each = -(shares * shares.clamp(min=_TINY).log()).sum(1)
        mean = shares.mean(0)
        middle = -(mean * mean.clamp(min=_TINY).log()).sum()
    else:  # each column has an entropy of its own
        shares, most = scores.sigmoid(), math.log(2)
        each, middle = _binary(shares).mean(1), _binary(shares.mean(0)).mean()
    if not len(shares):
        return 0.0, 0.0
    return 1 - float(each.mean()) / most, float(middle) / most


def _binary(shares: Tensor) -> Tensor:
    rest = 1 - shares
    return -(shares * shares.clamp(min=_TINY).log() + rest * rest.clamp(min=_TINY).log())
