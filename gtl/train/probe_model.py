"""Contract of a model that a probe fits, and the features that its models share."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from gtl.train.fitted_arrays import Array, Fitted

_TAILS = (0.005, 0.995)  # quantiles at which features are clipped


class ProbeModel(ABC):
    """A model of features and the labels of one column, or of classes.

    Attributes:
        share: Whether the fitted arrays give shares of votes; if not, logits or values.
    """

    share: bool = False

    @abstractmethod
    def fit(self, x: Array, y: Array, classes: int, seed: int) -> Fitted:
        """Fit to rows whose labels are all known.

        Args:
            x: Float32 ``(k, d)``, finite.
            y: Values ``(k,)``, or classes from 0 to ``classes - 1``, each of which occurs.
            classes: 0 for values.
            seed: For random choices.

        Returns:
            Arrays that give values ``(k, 1)``; of two classes the logit, or the share, of the
            second ``(k, 1)``; of more one of each ``(k, classes)``.
        """


def standardized(x: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Features clipped to the range of most rows, with mean 0 and standard deviation 1.

    Args:
        x: Float32 ``(k, d)``, finite.

    Returns:
        Scores, float64 ``(k, d)``; then of each feature the least and the largest value, the mean
        and the standard deviation of the clipped ones, ``(d,)``; the last is infinite where a
        feature hardly varies, so that its scores are 0.
    """
    wide = x.astype(np.float64)
    low, high = np.quantile(wide, _TAILS, axis=0)
    wide = wide.clip(low, high)
    mean, std = wide.mean(0), wide.std(0)
    scale = np.where(std > 1e-12 * np.maximum(np.abs(mean), 1e-12), std, np.inf)
    return (wide - mean) / scale, low, high, mean, scale
