"""Start of a linear head from the vectors of the encoder before training.

A head that starts at random drags the encoder along until it has found its direction, and what the
encoder knew is lost (Kumar et al. 2022). Its best direction on frozen vectors is a convex problem:
ridge or logistic regression on standardized columns, whose strength cross-validation finds. With
few samples a class the directions of the class means (Qi et al. 2018) need no fit at all.
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
from gtl.train.tuning import Tuning


def start_head(
    encoder: Encoder,
    target: Supervised,
    dataset: Dataset,
    items: Tensor,
    seed: int,
    tuning: Tuning | None,
) -> None:
    """Start a linear head as the settings say; arguments as for :func:`fit_head`."""
    if tuning is not None and tuning.head_start == "fitted":
        fit_head(encoder, target, dataset, items, seed)
    if tuning is not None and tuning.head_start == "imprinted":
        imprint_head(encoder, target, dataset, items)


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
    head, vectors, labels = _read(encoder, target, dataset, items, "fitted")
    if dataset.kind == "multiclass":
        _fit_classes(head, vectors.numpy(), labels.numpy(), seed)
        return
    if dataset.kind == "regression":
        labels = (labels - target.mean.cpu()) / target.scale.cpu()
    for column in range(labels.shape[1]):
        known = ~labels[:, column].isnan()
        values = labels[known, column].double().numpy()
        _fit_column(head, column, vectors[known].numpy(), values, dataset.kind, seed)


def imprint_head(encoder: Encoder, target: Supervised, dataset: Dataset, items: Tensor) -> None:
    """Give a linear head the directions of the class means of the vectors that it reads now.

    The weights of a class are :func:`class_directions`, its bias is 0; those of a binary column are
    the difference of the directions of 1 and of 0. Classes without a sample, and columns without
    both values, keep their random start.

    Args:
        encoder: As training will find it.
        target: Its linear head is changed in place.
        dataset: Labeled data.
        items: Training items, int64 ``(k,)``.

    Raises:
        ConfigError: If the head is not linear, or the target is a regression.
    """
    if dataset.kind == "regression":
        raise ConfigError(
            "`head_start` is 'imprinted', which is for classes, and the target is a regression; "
            "use 'fitted'"
        )
    head, vectors, labels = _read(encoder, target, dataset, items, "imprinted")
    if dataset.kind == "multiclass":
        present, directions = class_directions(vectors, labels)
        _set(head, present.tolist(), directions.T.numpy(), np.zeros(len(present)))
        return
    for column in range(labels.shape[1]):
        numbers = labels[:, column].nan_to_num(-1).long()
        present, directions = class_directions(vectors, numbers)
        if len(present) == 2:
            weight = (directions[1] - directions[0]).unsqueeze(1)
            _set(head, [column], weight.numpy(), np.zeros(1))


def class_directions(vectors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean vector of each class, divided by its length (Qi et al. 2018, Eq. 5).

    Args:
        vectors: Vectors ``(b, h)``.
        labels: Classes int64 ``(b,)``; negative ones are not known.

    Returns:
        The classes that are present ``(c,)`` and their directions ``(c, h)``.
    """
    present = labels[labels >= 0].unique()
    means = [vectors[labels == number].mean(0) for number in present]
    rows = torch.stack(means) if means else vectors[:0]
    return present, rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)


def _read(
    encoder: Encoder, target: Supervised, dataset: Dataset, items: Tensor, start: str
) -> tuple[nn.Linear, Tensor, Tensor]:
    """The linear map of the head, what it reads of the items, float64, and their labels."""
    model = Model(encoder, target)
    head = model.predictor.head
    if not isinstance(head, Linear):
        raise ConfigError(
            f"`head_start` is {start!r}, which is for the head 'linear', not "
            f"{type(head).__name__}; leave it out"
        )
    assert dataset.labels is not None
    chosen = replace(dataset, split={"train": items})
    return head.map, embed(model, chosen, "train").double().cpu(), dataset.labels[items]


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
