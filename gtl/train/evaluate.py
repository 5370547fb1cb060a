"""Evaluation and prediction: the metric that a data set is judged by, OGB's own for its sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.errors import DataError
from gtl.optional import without_version_check
from gtl.train.model import Model, module_device
from gtl.train.parts import as_dataset

BATCH = 1024


def evaluate(model: Model, dataset: Dataset, split: str = "test") -> dict[str, float]:
    """Judge a model on a part of a data set.

    Args:
        model: A fine-tuned model.
        dataset: Labeled data.
        split: ``train``, ``valid``, ``test`` or ``all``.

    Returns:
        The data set's metric by name, and ``items``, how many were judged.

    Raises:
        DataError: If there are no labels, the split is empty or missing, the features differ from
            those the model was trained on, or no column has what the metric needs.
    """
    if dataset.labels is None:
        raise DataError(f"{dataset.spec} has no labels to evaluate against; use predict")
    index = dataset.items(split)
    outputs = _outputs(model, dataset, index).double().numpy()
    if not np.isfinite(outputs).all():
        raise DataError("the model's predictions are not finite; train with a lower rate (lr)")
    labels = dataset.labels[index].numpy()
    if dataset.kind == "multiclass" and outputs.shape[1] <= int(labels.max()):
        raise DataError(
            f"{dataset.spec} has class {int(labels.max())}, "
            f"the model knows {outputs.shape[1]} classes"
        )
    if dataset.spec.startswith("ogb:"):
        value = _by_ogb(dataset.spec.removeprefix("ogb:"), dataset.metric, labels, outputs)
    else:
        value = score(dataset.metric, labels, outputs)
    return {dataset.metric: value, "items": len(index)}


def predict(model: Model, data: Any, split: str = "all", raw: bool = False) -> Tensor:
    """Predictions for items with or without labels.

    Args:
        model: A fine-tuned model.
        data: Dataset, Graph, packed graphs or a list of graphs.
        split: Which items.
        raw: Logits instead of probabilities.

    Returns:
        ``(items, c)`` on the CPU: probabilities, or values in the unit of the labels.

    Raises:
        DataError: If the features differ from those the model was trained on.
    """
    data = as_dataset(data)
    outputs = _outputs(model, data, data.items(split))
    if raw or model.target.kind == "regression":
        return outputs
    return outputs.softmax(1) if model.target.kind == "multiclass" else outputs.sigmoid()


def embed(model: Model, data: Any, split: str = "all") -> Tensor:
    """Item vectors ``(items, h)`` on the CPU: what the head sees."""
    data = as_dataset(data)
    return _each_batch(model, data, data.items(split), model.embed)


def score(metric: str, labels: np.ndarray, outputs: np.ndarray) -> float:
    """A metric with OGB's conventions: per column over known labels, then the mean of columns.

    Args:
        metric: ``rocauc``, ``ap``, ``acc``, ``f1`` (macro), ``rmse`` or ``mae``.
        labels: Float ``(b, t)`` with NaN for missing, or classes ``(b,)``, -1 for missing.
        outputs: Logits or values ``(b, c)``.

    Raises:
        DataError: If no column has both classes (``rocauc``, ``ap``) or any known label.
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


def _column_score(metric: str, truth: np.ndarray, guess: np.ndarray) -> float:
    from sklearn import metrics

    if metric == "rmse":
        return float(np.sqrt(np.mean((truth - guess) ** 2)))
    if metric == "mae":
        return float(np.mean(np.abs(truth - guess)))
    hard = (guess > 0).astype(truth.dtype)
    return float(metrics.f1_score(truth, hard)) if metric == "f1" else float(np.mean(truth == hard))


def _by_ogb(name: str, metric: str, labels: np.ndarray, outputs: np.ndarray) -> float:
    with without_version_check():
        from ogb.graphproppred import Evaluator
    truth = labels if labels.ndim == 2 else labels[:, None]
    guess = outputs if labels.ndim == 2 else outputs.argmax(1)[:, None]
    try:
        return float(Evaluator(name).eval({"y_true": truth, "y_pred": guess})[metric])
    except RuntimeError as error:
        raise DataError(f"{metric} of {name} is undefined on this split: {error}") from error


def _outputs(model: Model, data: Dataset, index: Tensor) -> Tensor:
    return _each_batch(model, data, index, model)


def _each_batch(model: Model, data: Dataset, index: Tensor, function: Any) -> Tensor:
    schema = getattr(model.encoder, "schema", None)
    if schema is not None:
        schema.require(data.schema, "the model")
    was_training = model.training
    model.eval()
    device = module_device(model)
    size = BATCH if data.level == "graph" else max(len(index), 1)

    def one(items: Tensor) -> Tensor:
        return function(data.batch(items, device)).cpu()

    with torch.no_grad():
        outputs = torch.cat([one(items) for items in index.split(size)])
    model.train(was_training)
    return outputs
