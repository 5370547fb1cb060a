"""Start of a linear head from a regularized fit on the vectors of the encoder before training.

A head that starts at random drags the encoder along until it has found its direction, and what the
encoder knew is lost (Kumar et al. 2022). Its best direction on frozen vectors is a convex problem:
ridge or logistic regression on standardized columns, whose strength cross-validation finds.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from gtl.data.dataset import Dataset
from gtl.errors import ConfigError
from gtl.heads import Linear
from gtl.roles import Encoder
from gtl.tasks import Supervised
from gtl.train.evaluate import embed
from gtl.train.model import Model
from gtl.train.probe_models import LinearModel


def fit_head(
    encoder: Encoder, target: Supervised, dataset: Dataset, items: Tensor, seed: int
) -> None:
    """Give a linear head the solution on the vectors that it reads now.

    Label columns, and classes, of which too little is known for a fit keep their random start.

    Args:
        encoder: As training will find it.
        target: Its linear head is changed in place.
        dataset: Labeled data.
        items: Training items, int64 ``(k,)``.
        seed: Divides the items for the cross-validation.

    Raises:
        ConfigError: If the head is not linear.
    """
    model = Model(encoder, target)
    head = model.predictor.head
    if not isinstance(head, Linear):
        raise ConfigError(
            f"`head_start` is 'fitted', which is for the head 'linear', not {type(head).__name__}; "
            "leave it out"
        )
    assert dataset.labels is not None
    chosen = replace(dataset, split={"train": items})
    vectors, labels = embed(model, chosen, "train").double().numpy(), dataset.labels[items]
    if dataset.kind == "multiclass":
        _fit_classes(head.map, vectors, labels.numpy(), seed)
        return
    if dataset.kind == "regression":
        labels = (labels - target.mean.cpu()) / target.scale.cpu()
    for column in range(labels.shape[1]):
        known = ~labels[:, column].isnan()
        values = labels[known, column].double().numpy()
        _fit_column(head.map, column, vectors[known.numpy()], values, dataset.kind, seed)


def _fit_column(
    linear: nn.Linear, column: int, vectors: np.ndarray, values: np.ndarray, kind: str, seed: int
) -> None:
    classes = 0 if kind == "regression" else 2
    if len(np.unique(values)) < 2:
        return
    found = LinearModel().fit(vectors, values, classes, seed)
    _set(linear, [column], found.weight[:, -1:], found.bias[-1:])


def _fit_classes(linear: nn.Linear, vectors: np.ndarray, labels: np.ndarray, seed: int) -> None:
    known = labels >= 0
    present, numbers = np.unique(labels[known], return_inverse=True)
    if len(present) < 2:
        return
    found = LinearModel().fit(vectors[known], numbers, len(present), seed)
    weight, bias = found.weight, found.bias
    if len(present) == 2:  # one column: the second class against the first
        weight, bias = np.concatenate([-weight, weight], 1) / 2, np.concatenate([-bias, bias]) / 2
    _set(linear, present.tolist(), weight, bias)


def _set(linear: nn.Linear, rows: list[int], weight: np.ndarray, bias: np.ndarray) -> None:
    with torch.no_grad():
        linear.weight[rows] = torch.from_numpy(weight.T.copy()).to(linear.weight)
        linear.bias[rows] = torch.from_numpy(bias.copy()).to(linear.bias)
