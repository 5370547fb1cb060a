"""Weights of a blend: non-negative, sum to one, from held-back labels, shrunk towards equal ones.

Stacking with non-negative weights (Breiman 1996; van der Laan et al. 2007). Validation sets are
small, so the loss has a penalty on the distance to equal weights which counts like a few items.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from gtl.train.fitted_arrays import Array
from gtl.train.predicting import probabilities

_LEAST = 1e-6  # a probability of 0 for what happened would outweigh everything else


class HeldBack:
    """Predictions of several members for items whose labels are known.

    Args:
        outputs: Logits or values of each member, ``(k, c)``.
        labels: Of the items, as a data set has them.
        kind: ``"binary"``, ``"multiclass"`` or ``"regression"``.

    Attributes:
        fits: Of classes the probability that each member gives the label, ``(m, cells)``; of a
            regression its error in standard deviations of the error of the equal blend.
        item: Which item a cell belongs to, ``(cells,)``.
    """

    def __init__(self, outputs: Sequence[Tensor], labels: Tensor, kind: str):
        self.kind = kind
        found = np.stack([probabilities(out.double(), kind).numpy() for out in outputs])
        truth = labels.numpy()
        known = truth >= 0 if kind == "multiclass" else ~np.isnan(truth)
        self.item = np.nonzero(known)[0]
        if kind == "multiclass":
            self.fits = found[:, self.item, truth[known]]
        elif kind == "binary":
            self.fits = np.where(truth == 1, found, 1 - found)[:, known]
        else:
            errors = found - truth
            spread = np.sqrt(np.nanmean(errors.mean(0) ** 2, axis=0))
            self.fits = (errors / np.where(spread > 0, spread, 1.0))[:, known]

    def losses(self, weights: Array) -> Array:
        """Negative log-likelihood of each cell under a blend, up to a constant, ``(cells,)``.

        Args:
            weights: ``(m,)``, or of each cell ``(cells, m)``.
        """
        blended = weights @ self.fits if weights.ndim == 1 else (weights.T * self.fits).sum(0)
        return self._losses(blended)

    def mean_by_item(self, losses: Array) -> Array:
        """Means of the cells of each item that has some."""
        sums, counts = np.bincount(self.item, losses), np.bincount(self.item)
        means: Array = (sums / np.maximum(counts, 1))[counts > 0]
        return means

    def _losses(self, blended: Array) -> Array:
        if self.kind == "regression":
            found: Array = blended**2 / 2
            return found
        logs: Array = -np.log(blended.clip(_LEAST))
        return logs

    def weights(self, shrinkage: float, items: Array | None = None) -> Array:
        """The best weights ``(m,)`` for some items.

        They minimize ``sum of losses + shrinkage m |w - 1/m|^2``, the sum being that of the items;
        losses of several columns of an item are averaged.

        Args:
            shrinkage: Penalty, in units of the log-likelihood; large values give equal weights.
            items: Which items count; all by default.
        """
        from scipy.optimize import minimize

        count = len(self.fits)
        cells = np.ones(len(self.item), bool) if items is None else np.isin(self.item, items)
        used, fits = self.item[cells], self.fits[:, cells]
        if not len(used):
            return np.full(count, 1 / count)
        share = len(np.unique(used)) / len(used)

        def loss(w: Array) -> tuple[float, Array]:
            away = w - 1 / count
            blended = w @ fits
            if self.kind == "regression":
                slope = fits @ blended
            else:
                slope = -fits @ (1 / blended.clip(_LEAST))
            value = share * self._losses(blended).sum() + shrinkage * count * away @ away
            return float(value), share * slope + 2 * shrinkage * count * away

        start = np.full(count, 1 / count)
        scale = loss(start)[0] or 1.0
        found = minimize(
            lambda w: tuple(part / abs(scale) for part in loss(w)),
            start,
            jac=True,
            method="SLSQP",
            bounds=[(0.0, 1.0)] * count,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
            options={"ftol": 1e-10, "maxiter": 500},
        )
        weights = np.clip(found.x, 0.0, None)
        weights[weights < 1e-6] = 0.0
        best: Array = weights / weights.sum()
        return best


def cross_fitted(
    held: HeldBack, outputs: Sequence[Tensor], shrinkage: float, folds: int, seed: int
) -> Array:
    """Weights for each item that were found without it, ``(k, m)``.

    Args:
        held: The held-back predictions.
        outputs: As for :class:`HeldBack`.
        shrinkage: As for :meth:`HeldBack.weights`.
        folds: Parts of the items; each has the weights of the others.
        seed: For the division.
    """
    count = len(outputs[0])
    order = np.random.default_rng(seed).permutation(count)
    found = np.zeros((count, len(outputs)))
    for part in np.array_split(order, min(folds, max(count, 1))):
        others = np.setdiff1d(order, part)
        found[part] = held.weights(shrinkage, others)
    return found
