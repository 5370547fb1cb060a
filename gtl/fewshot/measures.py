"""Measures of few-shot comparisons: top-1 and top-5 accuracy, ROC-AUC, by group of classes.

The measures are those of low-shot recognition (Hariharan & Girshick 2017; Wang et al. 2018; Chen
et al. 2020): novel queries among all classes or among novel ones, all queries among all classes,
and the same where base and novel classes have a given share beforehand.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gtl.errors import DataError

TOPS = (1, 5)


def k_shot_measures(scores: Tensor, labels: Tensor) -> dict[str, float]:
    """Shares of queries with their class first or among the first five; of two classes, ROC-AUC.

    Args:
        scores: ``(q, c)``.
        labels: int64 ``(q,)``.

    Returns:
        ``top1``; ``top5`` of more than five classes; ``rocauc`` of two that both have
            queries.
    """
    measures = _tops("", scores, labels)
    if scores.shape[1] == 2 and len(labels.unique()) == 2:
        from sklearn.metrics import roc_auc_score

        margin = (scores[:, 1] - scores[:, 0]).double().cpu().numpy()
        measures = {"rocauc": float(roc_auc_score(labels.cpu().numpy(), margin)), **measures}
    return measures


def base_novel_measures(
    scores: Tensor, labels: Tensor, novel: Tensor, prior: float
) -> dict[str, float]:
    """Shares of queries with their class first or among the first five, by group.

    Args:
        scores: ``(q, c)``; as logits where ``prior`` is concerned.
        labels: int64 ``(q,)``.
        novel: Which classes are novel, boolean ``(c,)``.
        prior: Probability that a query is novel, before it is seen.

    Returns:
        ``novel_in_all``, ``novel_in_novel``, ``all`` and ``all_with_prior``, each with ``_top1``
        and, among more than five classes, ``_top5``.
    """
    of_novel = novel[labels]
    number = novel.long().cumsum(0) - 1  # of a class among the novel ones
    among = scores[of_novel][:, novel], number[labels[of_novel]]
    return {
        **_tops("novel_in_all_", scores[of_novel], labels[of_novel]),
        **_tops("novel_in_novel_", *among),
        **_tops("all_", scores, labels),
        **_tops("all_with_prior_", with_prior(scores, novel, prior), labels),
    }


def with_prior(scores: Tensor, novel: Tensor, prior: float) -> Tensor:
    """Log-probabilities ``(q, c)``: a softmax within each group, times the group's share.

    Example:
        >>> known = torch.tensor([False, False, True])
        >>> with_prior(torch.tensor([[5.0, 5.0, -9.0]]), known, 0.8).exp()
        tensor([[0.1000, 0.1000, 0.8000]])
    """
    found = torch.empty_like(scores)
    for group, share in ((novel, prior), (~novel, 1 - prior)):
        found[:, group] = scores[:, group].log_softmax(1) + torch.tensor(share).log().to(scores)
    return found


def hits(scores: Tensor, labels: Tensor, k: int) -> Tensor:
    """Whether each query's class is among the ``k`` with the highest scores, ``(q,)``.

    A class that shares its score with others at the edge counts by its probability under
    a random order: equal scores of all classes have the accuracy of guessing.

    Example:
        >>> hits(torch.tensor([[3.0, 1.0, 1.0], [0.0, 0.0, 0.0]]), torch.tensor([1, 2]), 2)
        tensor([0.5000, 0.6667])
    """
    own = scores.gather(1, labels.unsqueeze(1))
    above, level = (scores > own).sum(1), (scores == own).sum(1)
    return ((k - above) / level).clamp(0, 1)


def require_scores(scores: Tensor, queries: int, classes: int, method: str) -> None:
    """Refuse scores of another shape, or with NaN.

    Raises:
        DataError: Naming the method.
    """
    if scores.shape != (queries, classes):
        raise DataError(
            f"{method} gave scores of shape {tuple(scores.shape)}, expected ({queries}, {classes})"
        )
    if bool(scores.isnan().any()):
        raise DataError(f"{method} gave scores that are no numbers; try another scaling")


def _tops(name: str, scores: Tensor, labels: Tensor) -> dict[str, float]:
    return {
        f"{name}top{k}": float(hits(scores, labels, k).double().mean())
        for k in TOPS
        if k < scores.shape[1]
    }
