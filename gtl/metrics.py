"""Metrics with OGB's conventions (Hu et al. 2020), and OGB's own evaluators for its data sets."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.errors import DataError, ShapeError
from gtl.optional import without_version_check
from gtl.suggest import nearest

METRICS = {
    "rocauc": "higher",
    "ap": "higher",
    "acc": "higher",
    "f1": "higher",
    "balanced_acc": "higher",
    "mcc": "higher",
    "mrr": "higher",
    "r2": "higher",
    "rmse": "lower",
    "mae": "lower",
}
_OF_CLASSES = ("acc", "f1", "balanced_acc", "mcc")
_OF_TWO_CLASSES = ("rocauc", "ap", "balanced_acc", "mcc")  # undefined with one class alone
_OF_VALUES = ("rmse", "mae", "r2")
_HITS = re.compile(r"hits@[1-9][0-9]*")


def direction(metric: str) -> str | None:
    """Which values of a metric are better, ``"higher"`` or ``"lower"``; ``None`` if unknown.

    Example:
        >>> direction("hits@20"), direction("rmse"), direction("hits@")
        ('higher', 'lower', None)
    """
    return "higher" if _HITS.fullmatch(metric) else METRICS.get(metric)


def ranks_pairs(metric: str) -> bool:
    """Whether a metric ranks links among other pairs: ``mrr`` and ``hits@K``."""
    return metric == "mrr" or _HITS.fullmatch(metric) is not None


def check_metric(metric: str, kind: str) -> None:
    """Refuse a metric of values for labels 0 and 1: outputs are logits there, not values.

    Raises:
        DataError: If it is one.
    """
    if kind == "binary" and metric in _OF_VALUES:
        known = [name for name in METRICS if name not in (*_OF_VALUES, "mrr")]
        raise DataError(
            f"{metric} is a metric of values, and labels are 0 and 1; use one of: "
            f"{', '.join(known)}"
        )


def is_better(value: float | None, best: float | None, metric: str) -> bool:
    """Whether a validation value beats the best so far; without values the latest always does.

    Every value beats NaN, and NaN no other.
    """
    if value is None or best is None or math.isnan(best):
        return True
    return value > best if direction(metric) == "higher" else value < best


def score(
    metric: str, labels: np.ndarray, outputs: np.ndarray, queries: np.ndarray | None = None
) -> float:
    """A metric with OGB's conventions: per column over known labels, then the mean of columns.

    Columns on which the metric is undefined are left out of the mean.

    Args:
        metric: Of binary columns or classes ``acc``, ``f1`` (of classes macro), ``mcc`` and
            ``balanced_acc``; of binary columns ``rocauc`` and ``ap``; of values ``rmse``, ``mae``
            and ``r2``; of pairs also ``hits@K``, the share of links above the K-th best of all
            others, and ``mrr``, the mean of one over the rank of each link among the others of
            its query, ties by half.
        labels: Float ``(b, t)`` with NaN for missing, or classes ``(b,)``, -1 for missing.
        outputs: Logits or values ``(b, t)``, of classes ``(b, c)``.
        queries: The query of each pair, ``(b,)``, for ``mrr``.

    Raises:
        DataError: If the metric is undefined on every column, is no metric of such labels, there
            are fewer than K negatives, or a query has none.
        ShapeError: If outputs have other rows or columns than the labels.

    Example:
        >>> score("hits@1", np.array([[1.0], [1.0], [0.0]]), np.array([[3.0], [1.0], [2.0]]))
        0.5
    """
    if ranks_pairs(metric):
        return _ranking(metric, labels, outputs, queries)
    found = scores_by_column(metric, labels, outputs)
    values = [value for value in found if value is not None]
    if not values:
        raise DataError(f"{metric} is undefined: {_why_undefined(metric, labels)}")
    return float(np.mean(values))


def score_of_ranks(metric: str, ranks: np.ndarray) -> float:
    """The mean of one over the rank (``mrr``), or the share of ranks up to K (``hits@K``).

    Args:
        metric: ``mrr`` or ``hits@K``.
        ranks: From 1, float ``(b,)``; a rank between two places is the mean of several ties.

    Raises:
        DataError: If there are no ranks, or the metric is another one.

    Example:
        >>> score_of_ranks("mrr", np.array([1.0, 4.0])), score_of_ranks("hits@3", np.array([1, 4]))
        (0.625, 0.5)
    """
    if not ranks_pairs(metric):
        raise DataError(f"{metric} is no metric of ranks; use mrr or hits@K")
    if not len(ranks):
        raise DataError(f"{metric} is undefined: there is nothing to rank")
    if metric == "mrr":
        return float(np.mean(1 / ranks))
    return float(np.mean(ranks <= int(metric.removeprefix("hits@"))))


def scores_by_column(
    metric: str, labels: np.ndarray, outputs: np.ndarray, queries: np.ndarray | None = None
) -> list[float | None]:
    """A metric of each column of labels, over its known labels; arguments as for :func:`score`.

    Returns:
        A value per column, one for classes ``(b,)``; ``None`` where the metric is undefined:
        without any label, with labels of one class alone (``rocauc``, ``ap``, ``mcc``,
        ``balanced_acc``), or with equal labels (``r2``).

    Raises:
        DataError: If the metric is unknown or no metric of such labels.
        ShapeError: If outputs have other rows or columns than the labels.

    Example:
        >>> labels = np.array([[1.0, 2.0], [3.0, 2.0], [np.nan, 2.0]])
        >>> scores_by_column("r2", labels, labels + 1.0)
        [0.0, None]
    """
    _check_shapes(labels, outputs)
    if ranks_pairs(metric):
        try:
            return [_ranking(metric, labels, outputs, queries)]
        except DataError:
            return [None]
    if labels.ndim == 1:
        known = labels >= 0
        return [_score_of_classes(metric, labels[known], outputs[known].argmax(1))]
    columns = zip(labels.T, outputs.T)
    return [_score_of_column(metric, y[~np.isnan(y)], guess[~np.isnan(y)]) for y, guess in columns]


def score_by_ogb(
    name: str,
    metric: str,
    labels: np.ndarray,
    outputs: np.ndarray,
    queries: np.ndarray | None = None,
) -> float:
    """The value that OGB's own evaluator gives, for the metric that it has.

    Args:
        name: OGB's name of the data set.
        metric: OGB's metric of that data set; any other is computed as by :func:`score`.
        labels: As for :func:`score`.
        outputs: As for :func:`score`.
        queries: The query of each pair, ``(b,)``; each has one link and the same
            number of others.

    Raises:
        DataError: If the metric is undefined on these items.
    """
    evaluator = _evaluator(name)
    if evaluator.eval_metric != metric:
        return score(metric, labels, outputs, queries)
    try:
        if name.startswith("ogbl"):
            values = evaluator.eval(_links_for_ogb(metric, labels, outputs, queries))
            return float(values[metric] if metric in values else values[f"{metric}_list"].mean())
        truth = labels if labels.ndim == 2 else np.where(labels < 0, np.nan, labels)[:, None]
        guess = outputs if labels.ndim == 2 else outputs.argmax(1)[:, None]
        return float(evaluator.eval({"y_true": truth, "y_pred": guess})[metric])
    except (RuntimeError, ZeroDivisionError) as error:
        raise DataError(f"{metric} of {name} is undefined on this split: {error}") from error


def _score_of_classes(metric: str, truth: np.ndarray, guess: np.ndarray) -> float | None:
    """One metric of classes ``(b,)``, all known."""
    from sklearn import metrics

    if metric not in _OF_CLASSES:
        raise DataError(
            f"{metric} is no metric of items with one of several classes; use one of: "
            f"{', '.join(_OF_CLASSES)}"
        )
    if not len(truth) or (metric in _OF_TWO_CLASSES and len(np.unique(truth)) < 2):
        return None
    if metric == "f1":
        return float(metrics.f1_score(truth, guess, average="macro"))
    if metric == "mcc":
        return float(metrics.matthews_corrcoef(truth, guess))
    if metric == "balanced_acc":
        return _balanced_accuracy(truth, guess)
    return float((truth == guess).mean())


def _score_of_column(metric: str, truth: np.ndarray, guess: np.ndarray) -> float | None:
    """One metric of logits or values ``(b,)`` whose labels are all known."""
    if not len(truth):
        return None
    if metric in _OF_VALUES:
        return _score_of_values(metric, truth, guess)
    if metric not in METRICS:
        raise DataError(f"there is no metric {metric!r}; {nearest(metric, METRICS)}, hits@K")
    if not np.isin(truth, (0.0, 1.0)).all():
        raise DataError(
            f"{metric} needs labels 0 and 1, and a column has {np.setdiff1d(truth, (0.0, 1.0))[0]}"
            f"; use one of: {', '.join(_OF_VALUES)}"
        )
    if metric in _OF_TWO_CLASSES and len(np.unique(truth)) < 2:
        return None
    return _score_of_binary(metric, truth, guess)


def _score_of_values(metric: str, truth: np.ndarray, guess: np.ndarray) -> float | None:
    from sklearn import metrics

    if metric == "rmse":
        return float(np.sqrt(np.mean((truth - guess) ** 2)))
    if metric == "mae":
        return float(np.mean(np.abs(truth - guess)))
    return float(metrics.r2_score(truth, guess)) if len(np.unique(truth)) > 1 else None


def _score_of_binary(metric: str, truth: np.ndarray, guess: np.ndarray) -> float:
    from sklearn import metrics

    if metric == "rocauc":
        return float(metrics.roc_auc_score(truth, guess))
    if metric == "ap":
        return float(metrics.average_precision_score(truth, guess))
    hard = (guess > 0).astype(truth.dtype)
    if metric == "f1":
        return _f1(truth, hard)
    if metric == "mcc":
        return float(metrics.matthews_corrcoef(truth, hard))
    if metric == "balanced_acc":
        return _balanced_accuracy(truth, hard)
    return float(np.mean(truth == hard))


def _f1(truth: np.ndarray, guess: np.ndarray) -> float:
    """F1 of zeros and ones, 0 without any one; scikit-learn's costs 50 times as much to check."""
    ones = truth.sum() + guess.sum()
    return float(2 * (truth * guess).sum() / ones) if ones else 0.0


def _balanced_accuracy(truth: np.ndarray, guess: np.ndarray) -> float:
    """Mean recall of the classes that labels have (Brodersen et al. 2010).

    It is scikit-learn's ``balanced_accuracy_score``, without its warning of classes that only
    predictions have.
    """
    from sklearn.metrics import recall_score

    return float(recall_score(truth, guess, labels=np.unique(truth), average="macro"))


def _why_undefined(metric: str, labels: np.ndarray) -> str:
    if labels.ndim == 1:
        known = (labels >= 0).any()
        return "this split has one class alone" if known else "no item of this split has a label"
    if metric in _OF_TWO_CLASSES:
        return "no column of this split has labels of both classes"
    if metric == "r2" and not np.isnan(labels).all():
        return "no column of this split has two different labels"
    return "no item of this split has a label"


def _check_shapes(labels: np.ndarray, outputs: np.ndarray) -> None:
    same = labels.shape == outputs.shape if labels.ndim == 2 else len(labels) == len(outputs)
    if outputs.ndim != 2 or labels.ndim not in (1, 2) or not same:
        expected = labels.shape if labels.ndim == 2 else (len(labels), "c")
        raise ShapeError(
            f"`outputs` has shape {outputs.shape}, expected {expected} for labels of shape "
            f"{labels.shape}"
        )


def _ranking(
    metric: str, labels: np.ndarray, outputs: np.ndarray, queries: np.ndarray | None
) -> float:
    _check_shapes(labels, outputs)
    if labels.ndim != 2 or labels.shape[1] != 1:
        raise ShapeError(
            f"{metric} ranks pairs: `labels` has shape {labels.shape}, expected (b, 1)"
        )
    truth, guess = labels[:, 0], outputs[:, 0]
    links, others = truth == 1, truth == 0
    if not links.any():
        raise DataError(f"{metric} is undefined: this split has no links")
    if metric == "mrr":
        groups = np.zeros(len(truth), dtype=np.int64) if queries is None else queries
        return float(np.mean(1 / _ranks(guess, links, others, groups)))
    k = int(metric.removeprefix("hits@"))
    if others.sum() < k:
        raise DataError(
            f"{metric} is undefined: this split has {others.sum()} pairs without a link; use a "
            "smaller K"
        )
    return float(np.mean(guess[links] > np.partition(guess[others], -k)[-k]))


def _ranks(
    guess: np.ndarray, links: np.ndarray, others: np.ndarray, queries: np.ndarray
) -> np.ndarray:
    """Rank of each link among the others of its query, from 1; ties count by half."""
    levels, level = np.unique(guess, return_inverse=True)
    _, group = np.unique(queries, return_inverse=True)
    keys = group * len(levels) + level  # query first, then the value
    known = np.sort(keys[others])
    ends = np.searchsorted(known, (group[links] + 1) * len(levels))
    if (ends == np.searchsorted(known, group[links] * len(levels))).any():
        raise DataError(
            "mrr is undefined: some link shares its first node with no other pair of this split, "
            "among which it could be ranked; use hits@K"
        )
    above = ends - np.searchsorted(known, keys[links], side="right")
    not_below = ends - np.searchsorted(known, keys[links], side="left")
    return (above + not_below) / 2 + 1


def _evaluator(name: str) -> Any:
    with without_version_check():
        if name.startswith("ogbn"):
            from ogb.nodeproppred import Evaluator
        elif name.startswith("ogbl"):
            from ogb.linkproppred import Evaluator
        else:
            from ogb.graphproppred import Evaluator
    return Evaluator(name)


def _links_for_ogb(
    metric: str, labels: np.ndarray, outputs: np.ndarray, queries: np.ndarray | None
) -> dict[str, Tensor]:
    truth, guess = labels[:, 0], torch.from_numpy(outputs[:, 0])
    links, others = np.flatnonzero(truth == 1), np.flatnonzero(truth == 0)
    if not len(links) or not len(others):
        raise DataError(f"{metric} is undefined: this split has not both links and other pairs")
    if metric == "mrr":
        assert queries is not None
        links = links[np.argsort(queries[links], kind="stable")]
        others = others[np.argsort(queries[others], kind="stable")]
        each = len(others) // len(links)
        if not np.array_equal(queries[links].repeat(each), queries[others]):
            raise DataError(f"{metric}: not every link has the same number of others to rank among")
        return {"y_pred_pos": guess[links], "y_pred_neg": guess[others].view(-1, each)}
    return {"y_pred_pos": guess[links], "y_pred_neg": guess[others]}
