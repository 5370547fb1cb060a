"""Evaluation and prediction: a trained model's answers for the items of a data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.errors import DataError
from gtl.graph import Graph
from gtl.train.model import Model, module_device
from gtl.train.parts import as_dataset
from gtl.train.score import queries_of, score, score_by_ogb

BATCH = 1024
PAIRS = 1 << 16


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
        name = dataset.spec.removeprefix("ogb:")
        value = score_by_ogb(name, dataset.metric, labels, outputs, queries_of(dataset, index))
    else:
        value = score(dataset.metric, labels, outputs, queries_of(dataset, index))
    return {dataset.metric: value, "items": len(index)}


def predict(model: Model, data: Any, split: str = "all", raw: bool = False) -> Tensor:
    """Predictions for items with or without labels.

    Args:
        model: A fine-tuned model.
        data: Dataset, Graph (with ``pairs`` if those are the items), packed graphs or a list of
            graphs.
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
    return _each_batch(model, data, data.items(split), model.predictor.features)


def _outputs(model: Model, data: Dataset, index: Tensor) -> Tensor:
    return _each_batch(model, data, index, model.target.predict)


def _each_batch(
    model: Model, data: Dataset, index: Tensor, answer: Callable[[Graph, Tensor], Tensor]
) -> Tensor:
    schema = getattr(model.encoder, "schema", None)
    if schema is not None:
        schema.require(data.schema, "the model")
    was_training = model.training
    model.eval()
    device = module_device(model)
    size = {"graph": BATCH, "edge": PAIRS}.get(data.level, max(len(index), 1))
    nodes, parts = None, []
    with torch.no_grad():
        for items in index.split(size):
            graph = data.batch(items, device)
            if nodes is None or data.level == "graph":  # elsewhere all items lie in one graph
                nodes = model.encoder(graph)
            parts.append(answer(graph, nodes).cpu())
    model.train(was_training)
    return torch.cat(parts)
