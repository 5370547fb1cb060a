"""Models of a probe: forest, boosting and linear model of scikit-learn, and all by name.

The strength of each is found inside the training split: of a forest by its out-of-bag predictions
(Breiman 2001), of boosting and of a logistic regression by cross-validation, of a ridge regression
by leave-one-out predictions in closed form (Golub et al. 1979), of a Gaussian process by its
marginal likelihood.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from gtl.checks import check_positive
from gtl.errors import ConfigError
from gtl.suggest import nearest
from gtl.train.fitted_arrays import Array, Fitted, Linear, Trees
from gtl.train.gaussian_process import GaussianProcess
from gtl.train.probe_model import ProbeModel, standardized

_TRIAL_TREES, _TRIAL_ROWS = 200, 2000
_SHARES: tuple[str | float, ...] = ("sqrt", 0.1, 1 / 3)  # of the features that a split may use
_MOST_FOLDS = 5
_ALPHAS = np.logspace(-1, 6, 15)
_STRENGTHS = np.logspace(-6, 1, 15)  # C of a logistic regression


@dataclass(frozen=True)
class Forest(ProbeModel):
    """Random forest (Breiman 2001).

    Args:
        trees: Number of trees.
        max_features: Share of the features that a split may use, or ``"sqrt"``; ``None`` for the
            best of several by out-of-bag error.
        min_leaf: Least number of samples in a leaf.
    """

    trees: int = 500
    max_features: float | str | None = None
    min_leaf: int = 1

    share = True

    def __post_init__(self) -> None:
        check_positive(trees=self.trees, min_leaf=self.min_leaf)
        if self.max_features not in (None, "sqrt"):
            _check_share(self.max_features)

    def fit(self, x: Array, y: Array, classes: int, seed: int) -> Fitted:
        """See :class:`ProbeModel`."""
        share = self.max_features
        if share is None:
            rows = np.random.default_rng(seed).permutation(len(x))[:_TRIAL_ROWS]
            errors = [self._error(x[rows], y[rows], classes, seed, each) for each in _SHARES]
            share = _SHARES[int(np.argmin(errors))]
        found = self._forest(classes, seed, share, self.trees).fit(x, y)
        trees = [_tree(estimator.tree_, classes) for estimator in found.estimators_]
        width = classes if classes > 2 else 1
        return Trees.of(trees, [0] * len(trees), 1 / len(trees), np.zeros(width))

    def _forest(self, classes: int, seed: int, share: Any, trees: int, **options: Any) -> Any:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        kind = RandomForestClassifier if classes else RandomForestRegressor
        return kind(
            trees,
            max_features=share if isinstance(share, str) else float(share),
            min_samples_leaf=self.min_leaf,
            random_state=seed,
            n_jobs=1,
            **options,
        )

    def _error(self, x: Array, y: Array, classes: int, seed: int, share: Any) -> float:
        """Mean squared out-of-bag error of values, or of probabilities (Brier 1950)."""
        trees = min(self.trees, _TRIAL_TREES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rows that no tree left out
            forest = self._forest(classes, seed, share, trees, oob_score=True).fit(x, y)
        if not classes:
            return float(np.mean((forest.oob_prediction_ - y) ** 2))
        truth = y[:, None] == forest.classes_
        return float(np.nanmean((forest.oob_decision_function_ - truth) ** 2))


@dataclass(frozen=True)
class Boosting(ProbeModel):
    """Gradient boosting of trees on binned features (Friedman 2001; Ke et al. 2017).

    Args:
        rounds: Most rounds; how many there are is found by cross-validation.
        rate: Learning rate.
        max_features: Share of the features that a split may use.
        min_leaf: Least number of samples in a leaf.
        leaves: Most leaves of a tree.
    """

    rounds: int = 300
    rate: float = 0.05
    max_features: float = 0.3
    min_leaf: int = 5
    leaves: int = 31

    def __post_init__(self) -> None:
        check_positive(**asdict(self))
        _check_share(self.max_features)

    def fit(self, x: Array, y: Array, classes: int, seed: int) -> Fitted:
        """See :class:`ProbeModel`."""
        losses = np.zeros(self.rounds)
        for train, valid in folds(y, classes, seed):
            model = self._model(classes, seed, self.rounds).fit(x[train], y[train])
            losses += _staged_losses(model, x[valid], y[valid], classes)
        model = self._model(classes, seed, int(losses.argmin()) + 1).fit(x, y)
        return _boosted(model, x)

    def _model(self, classes: int, seed: int, rounds: int) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
        return kind(
            learning_rate=self.rate,
            max_iter=rounds,
            max_features=self.max_features,
            min_samples_leaf=self.min_leaf,
            max_leaf_nodes=self.leaves,
            early_stopping=False,
            random_state=seed,
        )


@dataclass(frozen=True)
class LinearModel(ProbeModel):
    """Ridge regression of values, logistic regression of classes, on standardized features.

    Args:
        strength: Penalty: ``alpha`` of a ridge regression, ``1 / C`` of a logistic one; ``None``
            for the best by validation inside the training split.
    """

    strength: float | None = None

    def __post_init__(self) -> None:
        if self.strength is not None:
            check_positive(strength=self.strength)

    def fit(self, x: Array, y: Array, classes: int, seed: int) -> Linear:
        """See :class:`ProbeModel`."""
        scores, low, high, mean, scale = standardized(x)
        weight, bias = (self._logistic if classes else self._ridge)(scores, y, classes, seed)
        weight = weight / scale[:, None]
        return Linear(low, high, weight, bias - mean @ weight)

    def _ridge(self, scores: Array, y: Array, classes: int, seed: int) -> tuple[Array, Array]:
        from sklearn.linear_model import RidgeCV

        alphas = _ALPHAS if self.strength is None else [self.strength]
        found = RidgeCV(alphas).fit(scores, y)
        return found.coef_[:, None], np.atleast_1d(found.intercept_)

    def _logistic(self, scores: Array, y: Array, classes: int, seed: int) -> tuple[Array, Array]:
        rotated, back = _rotated(scores)
        strength = 1 / self.strength if self.strength else self._best(rotated, y, classes, seed)
        found = _fit_logistic(rotated, y, strength)
        return back @ found.coef_.T, found.intercept_

    def _best(self, x: Array, y: Array, classes: int, seed: int) -> float:
        from sklearn.metrics import log_loss

        losses = np.zeros(len(_STRENGTHS))
        for train, valid in folds(y, classes, seed):
            for place, strength in enumerate(_STRENGTHS):
                model = _fit_logistic(x[train], y[train], strength)
                chances = model.predict_proba(x[valid])
                losses[place] += log_loss(y[valid], chances, labels=model.classes_) * len(valid)
        return float(_STRENGTHS[losses.argmin()])


MODELS: dict[str, Callable[..., ProbeModel]] = {
    "forest": Forest,
    "boosting": Boosting,
    "linear": LinearModel,
    "gaussian_process": GaussianProcess,
}
SYNONYMS = {"ridge": "linear", "logistic": "linear"}  # the kind of labels decides which it is


def build_model(model: Any, known: Mapping[str, Callable[..., Any]]) -> tuple[str, Any]:
    """Name and object of a model that was given by name or by a mapping with options.

    Args:
        model: A name, or a mapping of ``name`` and options.
        known: What there is.

    Raises:
        ConfigError: If the name or an option is unknown.
    """
    options = {"name": model} if isinstance(model, str) else model
    if not isinstance(options, Mapping) or not isinstance(options.get("name"), str):
        raise ConfigError(f"`model` is {model!r}, expected a name or a mapping with 'name'")
    options = dict(options)
    given = str(options.pop("name"))
    name = SYNONYMS.get(given, given)
    if name not in known:
        raise ConfigError(f"unknown model {given!r}; {nearest(given, [*known, *SYNONYMS])}")
    kind: Any = known[name]
    names = [field.name for field in fields(kind)]
    for option in options:
        if option not in names:
            found = nearest(option, names) if names else "it has none"
            raise ConfigError(f"model {name!r} has no option {option!r}; {found}")
    return name, kind(**options)


def _check_share(value: Any) -> None:
    if not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise ConfigError(f"`max_features` is {value!r}, expected a share in (0, 1], or 'sqrt'")


def folds(y: Array, classes: int, seed: int) -> Iterator[tuple[Array, Array]]:
    """Training and validation rows of a cross-validation, each class in all training parts.

    Where a class has one row, there is no such division: the rows validate themselves.
    """
    from sklearn.model_selection import KFold, StratifiedKFold

    least = int(np.bincount(y.astype(int)).min()) if classes else len(y)
    count = min(_MOST_FOLDS, least)
    if count < 2:
        rows = np.arange(len(y))
        yield rows, rows
        return
    cutter = StratifiedKFold if classes else KFold
    yield from cutter(count, shuffle=True, random_state=seed).split(y, y)


def _fit_logistic(x: Array, y: Array, strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 2000 steps without convergence are enough
        return LogisticRegression(C=strength, max_iter=2000).fit(x, y)


def _rotated(scores: Array) -> tuple[Array, Array]:
    """Fewer columns with the same inner products, and the map back to weights of all columns.

    A solution under an L2 penalty is a combination of the rows, so nothing is lost.
    """
    if scores.shape[1] <= scores.shape[0]:
        return scores, np.eye(scores.shape[1])
    _, _, back = np.linalg.svd(scores, full_matrices=False)
    return scores @ back.T, back.T


def _tree(tree: Any, classes: int) -> dict[str, Array]:
    values = tree.value[:, 0, :]  # (nodes, 1) or shares of the classes
    if classes:
        values = values / values.sum(1, keepdims=True)
    return {
        "feature": tree.feature,
        "threshold": tree.threshold,
        "left": tree.children_left,
        "right": tree.children_right,
        "value": values[:, 1:] if classes == 2 else values,
    }


def _staged_losses(model: Any, x: Array, y: Array, classes: int) -> Array:
    """Summed loss after each round, ``(rounds,)``."""
    if not classes:
        return np.array([np.sum((guess - y) ** 2) for guess in model.staged_predict(x)])
    rows = np.arange(len(y))
    chances = (chance[rows, y.astype(int)] for chance in model.staged_predict_proba(x))
    return np.array([-np.log(chance.clip(1e-15)).sum() for chance in chances])


def _boosted(model: Any, x: Array) -> Fitted:
    """The trees of histogram boosting, which scikit-learn keeps in private attributes."""
    bias = np.ravel(model._baseline_prediction)
    trees, outputs = [], []
    for stage in model._predictors:
        for output, predictor in enumerate(stage):
            nodes = predictor.nodes
            leaf = nodes["is_leaf"].astype(bool)
            tree = {
                "feature": nodes["feature_idx"].astype(np.int64),
                "threshold": nodes["num_threshold"].astype(np.float64),
                "left": np.where(leaf, -1, nodes["left"].astype(np.int64)),
                "right": np.where(leaf, -1, nodes["right"].astype(np.int64)),
                "value": nodes["value"][:, None],
            }
            trees.append(tree)
            outputs.append(output)
    found = Trees.of(trees, outputs, 1.0, bias)
    sample = x[:100]
    theirs = (
        model.decision_function(sample) if hasattr(model, "classes_") else model.predict(sample)
    )
    if not np.allclose(found(sample), theirs.reshape(len(sample), -1), rtol=1e-4, atol=1e-4):
        raise ConfigError(
            "the trees of this version of scikit-learn are stored in a way that gtl does not know; "
            "use the model 'forest', or a version of constraints.txt"
        )
    return found
