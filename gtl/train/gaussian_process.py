"""Gaussian process of a probe: scikit-learn's, with one length scale for all features.

On a few hundred labels and computed descriptors it needs a second, and is often better than a
forest (Rasmussen and Williams 2006, chapters 2, 3 and 5).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from gtl.checks import check_positive
from gtl.train.fitted_arrays import Array, Kernel
from gtl.train.probe_model import ProbeModel, standardized

_TRIAL_ROWS = 500  # for amplitude, length scale and noise
_FARTHEST = 5.0  # standard deviations of a feature
_AMPLITUDE, _OFFSET = (1e-2, 1e3), (1e-2, 1e2)
_LENGTH, _NOISE = (0.1, 20.0), (1e-3, 1e1)
_NUMBERS = ("amplitude", "length", "offset", "weight", "bias")


@dataclass(frozen=True)
class GaussianProcess(ProbeModel):
    """Gaussian process with a Matern kernel (3/2) of the standardized features.

    Amplitude, length scale and noise maximize the marginal likelihood of at most 500 rows. Classes
    have Laplace's approximation, of several classes one against the others each. The probability
    of two classes is averaged over the posterior; of more it is the softmax of its means.

    Args:
        rows: Most training rows that are read; of more, so many are drawn with the seed.
    """

    rows: int = 1000

    def __post_init__(self) -> None:
        check_positive(rows=self.rows)

    def fit(self, x: Array, y: Array, classes: int, seed: int) -> Kernel:
        """See :class:`ProbeModel`."""
        rows = _drawn(y, classes, self.rows, seed)
        x, y = x[rows], y[rows]
        scores, low, high, mean, scale = standardized(x)
        width = np.sqrt(max(np.isfinite(scale).sum(), 1))  # distances do not grow with the columns
        features = scores.clip(-_FARTHEST, _FARTHEST) / width
        trial = _drawn(y, classes, _TRIAL_ROWS, seed)
        parts = [
            _fitted(features, target, trial, is_class=bool(classes))
            for target in _targets(y, classes)
        ]
        scale = scale * width
        reach = _FARTHEST / width * np.where(np.isfinite(scale), scale, 0.0)
        numbers = {name: np.array([part[name] for part in parts]) for name in _NUMBERS}
        return Kernel(
            low=np.maximum(low, mean - reach),
            high=np.minimum(high, mean + reach),
            mean=mean,
            scale=scale,
            rows=features,
            spread=parts[0]["spread"] if classes == 2 else np.zeros((0, 0), np.float32),
            **numbers,
        )


def _targets(y: Array, classes: int) -> list[Array]:
    """What each of the fitted processes explains: values, or whether a row is of a class."""
    if classes <= 2:
        return [y]
    return [(y == number).astype(np.int64) for number in range(classes)]


def _drawn(y: Array, classes: int, most: int, seed: int) -> Array:
    """Numbers of at most so many rows, among them one of each class."""
    if len(y) <= most:
        return np.arange(len(y))
    order = np.random.default_rng(seed).permutation(len(y))
    if not classes:
        return np.sort(order[:most])
    firsts = [order[np.flatnonzero(y[order] == number)[0]] for number in range(classes)]
    rest = order[~np.isin(order, firsts)]
    return np.sort(np.concatenate([firsts, rest[: max(most - classes, 0)]]))


def _fitted(x: Array, y: Array, trial: Array, is_class: bool) -> dict[str, Any]:
    """Arrays of one process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a length scale at its bound
        return _classified(x, y, trial) if is_class else _regressed(x, y, trial)


def _regressed(x: Array, y: Array, trial: Array) -> dict[str, Any]:
    from sklearn.gaussian_process import GaussianProcessRegressor as Process
    from sklearn.gaussian_process.kernels import WhiteKernel

    kernel = _matern() + WhiteKernel(0.1, _NOISE)
    found = Process(kernel, normalize_y=True).fit(x[trial], y[trial])
    if len(trial) < len(x):
        found = Process(found.kernel_, optimizer=None, normalize_y=True).fit(x, y)
    product = found.kernel_.k1
    return {
        "amplitude": product.k1.constant_value,
        "length": product.k2.length_scale,
        "offset": 0.0,
        "weight": np.ravel(found.alpha_) * found._y_train_std,
        "bias": float(found._y_train_mean),
    }


def _classified(x: Array, y: Array, trial: Array) -> dict[str, Any]:
    from sklearn.gaussian_process import GaussianProcessClassifier as Process
    from sklearn.gaussian_process.kernels import ConstantKernel

    kernel = _matern() + ConstantKernel(1.0, _OFFSET)
    found = Process(kernel).fit(x[trial], y[trial]).base_estimator_
    if len(trial) < len(x):
        found = Process(found.kernel_, optimizer=None).fit(x, y).base_estimator_
    product = found.kernel_.k1
    half = np.linalg.solve(found.L_, np.diag(found.W_sr_))
    return {
        "amplitude": product.k1.constant_value,
        "length": product.k2.length_scale,
        "offset": found.kernel_.k2.constant_value,
        "weight": found.y_train_ - found.pi_,
        "bias": 0.0,
        "spread": (half.T @ half).astype(np.float32),
    }


def _matern() -> Any:
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern

    return ConstantKernel(1.0, _AMPLITUDE) * Matern(1.0, _LENGTH, nu=1.5)
