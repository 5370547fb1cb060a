"""The metrics, with OGB's conventions (Hu et al. 2020), and OGB's own evaluators for its sets."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.errors import DataError
from gtl.optional import without_version_check

METRICS = {
    "rocauc": "higher",
    "ap": "higher",
    "acc": "higher",
    "f1": "higher",
    "mrr": "higher",
    "rmse": "lower",
    "mae": "lower",
}
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


def is_better(value: float | None, best: float | None, metric: str) -> bool:
    """Whether a validation value beats the best so far; without values the latest always does."""
    if value is None or best is None:
        return True
    return value > best if direction(metric) == "higher" else value < best


def score(
    metric: str, labels: np.ndarray, outputs: np.ndarray, queries: np.ndarray | None = None
) -> float:
    """A metric with OGB's conventions: per column over known labels, then the mean of columns.

    Args:
        metric: ``rocauc``, ``ap``, ``acc``, ``f1`` (macro), ``rmse`` or ``mae``; of pairs also
            ``hits@K``, the share of links above the K-th best of all others, and ``mrr``, the
            mean of one over the rank of each link among the others of its query, ties by half.
        labels: Float ``(b, t)`` with NaN for missing, or classes ``(b,)``, -1 for missing.
        outputs: Logits or values ``(b, c)``.
        queries: Which question each pair belongs to, ``(b,)``, for ``mrr``.

    Raises:
        DataError: If no column has both classes (``rocauc``, ``ap``) or any known label, there are
            fewer than K negatives, or a query has none.

    Example:
        >>> score("hits@1", np.array([[1.0], [1.0], [0.0]]), np.array([[3.0], [1.0], [2.0]]))
        0.5
    """
    from sklearn import metrics

    if labels.ndim == 1:
        known = labels >= 0
        if not known.any():
            raise DataError("no item of this split has a label")
        truth, guess = labels[known], outputs[known].argmax(1)
        if metric == "f1":
            return float(metrics.f1_score(truth, guess, average="macro"))
        return float((truth == guess).mean())
    if metric == "mrr" or metric.startswith("hits@"):
        return _ranking(metric, labels[:, 0], outputs[:, 0], queries)
    values = []
    for column in range(labels.shape[1]):
        known = ~np.isnan(labels[:, column])
        truth, guess = labels[known, column], outputs[known, column]
        if metric in ("rocauc", "ap"):
            if len(np.unique(truth)) == 2:
                judge = (
                    metrics.roc_auc_score if metric == "rocauc" else metrics.average_precision_score
                )
                values.append(judge(truth, guess))
        elif len(truth):
            values.append(_column_score(metric, truth, guess))
    if not values:
        raise DataError(
            f"{metric} is undefined: no column of this split has labels of both classes"
        )
    return float(np.mean(values))


def score_by_ogb(
    name: str,
    metric: str,
    labels: np.ndarray,
    outputs: np.ndarray,
    queries: np.ndarray | None = None,
) -> float:
    """The value that OGB's own evaluator gives.

    Args:
        name: OGB's name of the data set.
        metric: OGB's metric of that data set.
        labels: As for :func:`score`.
        outputs: As for :func:`score`.
        queries: Which question each pair belongs to, ``(b,)``; each has one link and the same
            number of others.

    Raises:
        DataError: If the metric is undefined on these items.
    """
    evaluator = _evaluator(name)
    try:
        if name.startswith("ogbl"):
            values = evaluator.eval(_links_for_ogb(metric, labels, outputs, queries))
            return float(values[metric] if metric in values else values[f"{metric}_list"].mean())
        truth = labels if labels.ndim == 2 else np.where(labels < 0, np.nan, labels)[:, None]
        guess = outputs if labels.ndim == 2 else outputs.argmax(1)[:, None]
        return float(evaluator.eval({"y_true": truth, "y_pred": guess})[metric])
    except (RuntimeError, ZeroDivisionError) as error:
        raise DataError(f"{metric} of {name} is undefined on this split: {error}") from error


def _column_score(metric: str, truth: np.ndarray, guess: np.ndarray) -> float:
    from sklearn import metrics

    if metric == "rmse":
        return float(np.sqrt(np.mean((truth - guess) ** 2)))
    if metric == "mae":
        return float(np.mean(np.abs(truth - guess)))
    hard = (guess > 0).astype(truth.dtype)
    return float(metrics.f1_score(truth, hard)) if metric == "f1" else float(np.mean(truth == hard))


def _ranking(
    metric: str, truth: np.ndarray, guess: np.ndarray, queries: np.ndarray | None
) -> float:
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
