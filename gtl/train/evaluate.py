"""Evaluation and prediction: a trained model's answers for the items of a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.errors import DataError
from gtl.graph import Graph
from gtl.metrics import score, score_by_ogb
from gtl.train.model import Model, module_device
from gtl.train.resolve import as_dataset, check_fan_out, check_positive

BATCH = 1024
PAIRS = 1 << 16
WHOLE = 10_000_000  # edges of the largest graph that is read at once after training on samples


def evaluate(
    model: Model,
    dataset: Dataset,
    split: str = "test",
    *,
    fan_out: Sequence[int | None] | None = None,
    batch_size: int | None = None,
) -> dict[str, float]:
    """Judge a model on a part of a data set.

    Vectors of nodes are exact unless ``fan_out`` is given. By default a graph is read whole; after
    training with ``fan_out`` only up to ten million edges, and beyond that as the neighborhoods of
    a batch of nodes after the other.

    Args:
        model: A fine-tuned model.
        dataset: Labeled data.
        split: ``train``, ``valid``, ``test`` or ``all``.
        fan_out: Of nodes, sample so many neighbors at each hop instead of reading all of them; the
            same ones in every call.
        batch_size: Graphs at a time, or nodes with their neighborhoods.

    Returns:
        The data set's metric by name, and ``items``, how many were judged.

    Raises:
        DataError: If there are no labels, the split is empty or missing, the features differ from
            those the model was trained on, or no column has what the metric needs.
    """
    if dataset.labels is None:
        raise DataError(f"{dataset.spec} has no labels to evaluate against; use predict")
    index = dataset.items(split)
    outputs = (
        _each_batch(model, dataset, index, model.target.predict, fan_out, batch_size)
        .double()
        .numpy()
    )
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
        value = score_by_ogb(name, dataset.metric, labels, outputs, dataset.queries(index))
    else:
        value = score(dataset.metric, labels, outputs, dataset.queries(index))
    return {dataset.metric: value, "items": len(index)}


def predict(
    model: Model,
    data: Any,
    split: str = "all",
    raw: bool = False,
    *,
    fan_out: Sequence[int | None] | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """Predictions for items with or without labels.

    Args:
        model: A fine-tuned model.
        data: Dataset, Graph (with ``pairs`` if those are the items), packed graphs or a list of
            graphs.
        split: Which items.
        raw: Logits instead of probabilities.
        fan_out: See :func:`evaluate`.
        batch_size: Likewise.

    Returns:
        ``(items, c)`` on the CPU: probabilities, or values in the unit of the labels.

    Raises:
        DataError: If the features differ from those the model was trained on.
    """
    data = as_dataset(data)
    outputs = _each_batch(model, data, data.items(split), model.target.predict, fan_out, batch_size)
    if raw or model.target.kind == "regression":
        return outputs
    return outputs.softmax(1) if model.target.kind == "multiclass" else outputs.sigmoid()


def embed(
    model: Model,
    data: Any,
    split: str = "all",
    *,
    fan_out: Sequence[int | None] | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """Item vectors ``(items, h)`` on the CPU: what the head sees; options as in :func:`predict`."""
    data = as_dataset(data)
    features = model.predictor.features
    return _each_batch(model, data, data.items(split), features, fan_out, batch_size)


def _each_batch(
    model: Model,
    data: Dataset,
    index: Tensor,
    answer: Callable[[Graph, Tensor], Tensor],
    fan_out: Sequence[int | None] | None,
    batch_size: int | None,
) -> Tensor:
    schema = getattr(model.encoder, "schema", None)
    if schema is not None:
        schema.require(data.schema, "the model")
    fan_out, size = _portions(model, data, fan_out, batch_size)
    rng = torch.Generator().manual_seed(0)
    was_training = model.training
    model.eval()
    device = module_device(model)
    nodes, parts = None, []
    with torch.no_grad():
        for items in index.split(size or max(len(index), 1)):
            graph = data.batch(items, device, fan_out, rng)
            if nodes is None or data.level == "graph" or fan_out is not None:
                nodes = model.encoder(graph)  # elsewhere all items lie in one graph
            parts.append(answer(graph, nodes).cpu())
    model.train(was_training)
    return torch.cat(parts)


def _portions(
    model: Model, data: Dataset, fan_out: Sequence[int | None] | None, batch_size: int | None
) -> tuple[Sequence[int | None] | None, int]:
    """What to read of a graph (``None``: the whole) and how many items at a time (0: all)."""
    if batch_size is not None:
        check_positive(batch_size=batch_size)
    given = check_fan_out(fan_out, data, model.encoder)
    if data.graph is None or data.level != "node":
        return None, batch_size or (PAIRS if data.level == "edge" else BATCH)
    large = model.fan_out is not None and data.graph.num_edges > WHOLE
    if given is None and batch_size is None and not large:
        return None, 0
    return given or [None] * len(model.encoder.blocks), batch_size or BATCH
