"""Heads as scikit-learn classifiers, for features of any origin.

>>> x, y = [[0.0, 1.0], [0.2, 0.9], [1.0, 0.1]], ["a", "a", "b"]
>>> PrototypeClassifier().fit(x, y).predict([[0.1, 1.0]]).tolist()
['a']
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from gtl.heads.cosine import Cosine, unit_rows
from gtl.heads.gaussian import Gaussian
from gtl.heads.prototype import Prototype
from gtl.roles import Head

_DTYPES = [np.float64, np.float32]


class HeadClassifier(ClassifierMixin, BaseEstimator):
    """A head with scikit-learn's interface; subclasses choose the head and fit it.

    Attributes:
        head_: The fitted head.
        classes_: Labels, in the order of the columns of probabilities.
        n_features_in_: Columns of the features.
    """

    def fit(self, X: Any, y: Any) -> HeadClassifier:  # noqa: N803
        """Fit the head to features ``(b, h)`` and labels ``(b,)`` of any kind."""
        X, y = validate_data(self, X, y, dtype=_DTYPES)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        with torch.random.fork_rng(devices=[]):  # random initial values are replaced by the fit
            self.head_ = self._fitted(torch.tensor(X), torch.from_numpy(labels))
        self.head_.eval().requires_grad_(False)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Probabilities ``(b, c)`` of the classes: the softmax of the head's logits."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=_DTYPES)
        dtype = next(self.head_.parameters()).dtype
        with torch.no_grad():
            return self.head_(torch.tensor(X, dtype=dtype)).softmax(1).numpy()

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Most probable labels ``(b,)``."""
        best = self.predict_proba(X).argmax(1)
        return self.classes_[best]

    @abstractmethod
    def _fitted(self, features: Tensor, labels: Tensor) -> Head:
        """The head, fitted to samples of ``len(self.classes_)`` classes."""


class PrototypeClassifier(HeadClassifier):
    """Similarity to class means: :class:`gtl.heads.Prototype`.

    Args:
        similarity: ``"euclidean"`` or ``"cosine"``.
        scale: Factor of cosines.
    """

    def __init__(self, similarity: str = "euclidean", scale: float = 10.0):
        self.similarity = similarity
        self.scale = scale

    def _fitted(self, features: Tensor, labels: Tensor) -> Head:
        sizes = features.shape[1], len(self.classes_)
        head = Prototype(*sizes, similarity=self.similarity, scale=self.scale)
        return head.to(features.dtype).fit(features, labels)


class GaussianClassifier(HeadClassifier):
    """A Gaussian per class with shrunk covariances: :class:`gtl.heads.Gaussian`.

    Args:
        kind: ``"qda"``, ``"lda"`` or ``"proto"``.
        task: Center of the shared covariance, ``"total"`` or ``"within"``.
        prior: ``"uniform"`` or ``"empirical"``.
        shrinkage: Weights of the covariances, which are not trained, or ``"oas"``.
    """

    def __init__(
        self,
        kind: str = "lda",
        task: str = "total",
        prior: str = "uniform",
        shrinkage: Sequence[float] | str | None = None,
    ):
        self.kind = kind
        self.task = task
        self.prior = prior
        self.shrinkage = shrinkage

    def _fitted(self, features: Tensor, labels: Tensor) -> Head:
        sizes = features.shape[1], len(self.classes_)
        head = Gaussian(*sizes, self.kind, self.task, self.prior, self.shrinkage)
        return head.to(features.dtype).fit(features, labels)


class CosineClassifier(HeadClassifier):
    """Scaled cosines, :class:`gtl.heads.Cosine`: weights imprinted, then trained.

    Imprinted weights (Qi et al. 2018) are the class means of features of length 1; training then
    minimizes cross-entropy by L-BFGS, without randomness.

    Args:
        scale: Initial factor of the cosines.
        max_iter: Steps of training; 0 leaves the weights as they were imprinted.

    Attributes:
        n_iter_: Steps taken.
    """

    def __init__(self, scale: float = 10.0, max_iter: int = 100):
        self.scale = scale
        self.max_iter = max_iter

    def _fitted(self, features: Tensor, labels: Tensor) -> Head:
        head = Cosine(features.shape[1], len(self.classes_), scale=self.scale).to(features.dtype)
        prototypes = Prototype(features.shape[1], len(self.classes_)).to(features.dtype)
        with torch.no_grad():
            head.weight.copy_(prototypes.fit(unit_rows(features), labels).statistics.means)
        self.n_iter_ = _train(head, features, labels, self.max_iter) if self.max_iter else 0
        return head


def _train(head: Head, features: Tensor, labels: Tensor, steps: int) -> int:
    """Train in place; returns the number of steps taken."""
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(head(features), labels)
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return int(optimizer.state[optimizer.param_groups[0]["params"][0]]["n_iter"])
