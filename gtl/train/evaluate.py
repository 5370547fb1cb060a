"""Evaluation, prediction and embedding of the items of a data set with a trained model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.checkpoint import read_json
from gtl.checks import check_positive, check_whole
from gtl.data.dataset import Dataset
from gtl.data.properties import with_properties
from gtl.errors import ConfigError, DataError
from gtl.graph import Graph
from gtl.metrics import check_metric, score, score_by_ogb, scores_by_column
from gtl.roles import Encoder
from gtl.run_kinds import kind_of, load_run
from gtl.train.device import module_device
from gtl.train.ensemble import Ensemble, Predictions, mean_output
from gtl.train.labels import Aligned, LabelNames
from gtl.train.model import Model, build_target
from gtl.train.predicting import Predicting, probabilities
from gtl.train.ranker import Ranker
from gtl.train.resolve import as_dataset, check_fan_out
from gtl.train.run import Run
from gtl.train.shipped import SHIPPED, load_shipped

log = logging.getLogger(__name__)
UNNAMED = ("memory",)  # specs that do not identify a data set


def evaluate(
    model: Any,
    dataset: Any,
    split: str = "test",
    *,
    metrics: Sequence[str] = (),
    per_task: bool = False,
    allow_changed: bool = False,
    fan_out: Sequence[int | None] | None = None,
    batch_size: int | None = None,
) -> dict[str, Any]:
    """Evaluate a model on a part of a data set.

    Classes and label columns are matched with those of the training data by name; see
    :mod:`gtl.train.labels`.

    Vectors of nodes are exact unless ``fan_out`` is given. By default a graph is read whole; after
    training with ``fan_out`` only up to ten million edges, and beyond that as the neighborhoods of
    a batch of nodes after the other.

    Args:
        model: A fine-tuned model or its run folder.
        dataset: Labeled data: a Dataset, or graphs with labels as
            :func:`gtl.data.in_memory.as_dataset_in_memory` takes them.
        split: ``train``, ``valid``, ``test`` or ``all``.
        metrics: Metrics to add to the data set's own, keys of :data:`gtl.metrics.METRICS`.
        per_task: Add the data set's metric of each label column.
        allow_changed: Evaluate also on data of the name that the model was trained on which is not
            the same any more: some items of its test split may have been trained on.
        fan_out: Of nodes, sample so many neighbors at each hop instead of reading all of them; the
            same ones in every call.
        batch_size: Graphs at a time, or nodes with their neighborhoods.

    Returns:
        The data set's metric by name, then those of ``metrics``, ``items``, how many were
        evaluated, and, if wanted, ``tasks``: the metric by the name of the column, ``None`` where
        it is undefined. Of a model of a knowledge graph see
        :meth:`gtl.train.ranker.Ranker.evaluate`.

    Raises:
        DataError: If there are no labels, the split is empty or missing, labels or features are
            not those that the model was trained on, the data changed, or no column has what the
            metric needs.
    """
    model, dataset = as_model(model), as_dataset(dataset)
    if not allow_changed:
        require_unchanged(model, dataset)
    if isinstance(model, Ranker):
        return model.evaluate(dataset, split, metrics, batch_size)
    aligned = _aligned(model, dataset)
    for name in metrics:
        check_metric(name, dataset.kind)
    index = dataset.items(split)
    raw = raw_outputs(model, dataset, index, fan_out=fan_out, batch_size=batch_size)
    outputs = (raw if aligned.columns is None else raw[:, aligned.columns]).double().numpy()
    if not np.isfinite(outputs).all():
        raise DataError("the model's predictions are not finite; train with a lower rate (lr)")
    labels, queries = aligned.labels[index].numpy(), dataset.contents.queries(index)
    values = {name: score(name, labels, outputs, queries) for name in metrics}
    if dataset.spec.startswith("ogb:"):
        name = dataset.spec.removeprefix("ogb:")
        value = score_by_ogb(name, aligned.metric, labels, outputs, queries)
    else:
        value = score(aligned.metric, labels, outputs, queries)
    found: dict[str, Any] = {aligned.metric: value, **values, "items": len(index)}
    if per_task:
        scores = scores_by_column(aligned.metric, labels, outputs, queries)
        names = dataset.label_names or [str(number) for number in range(len(scores))]
        found["tasks"] = dict(zip(names, scores))
    return found


def value_on(model: Model | Predicting | Ranker, dataset: Dataset, split: str) -> float | None:
    """The data set's metric on a split; ``None`` without one, or where the metric is undefined.

    It is the model's metric where two of its classes were read as a binary column.
    """
    if not len(dataset.split.get(split, ())):
        return None
    try:
        found = evaluate(model, dataset, split)
    except DataError as error:  # the training is not lost because a tiny test split has one class
        log.warning("no %s result: %s", split, error)
        return None
    metric = dataset.metric if dataset.metric in found else next(iter(found))
    return float(found[metric])


def predict(
    model: Any,
    data: Any,
    split: str = "all",
    raw: bool = False,
    *,
    spread: bool = False,
    fan_out: Sequence[int | None] | None = None,
    batch_size: int | None = None,
) -> Any:
    """Predictions for items with or without labels.

    Args:
        model: A fine-tuned model or its run folder.
        data: Dataset, Graph (with ``pairs`` if those are the items), packed graphs or a list of
            graphs.
        split: Which items.
        raw: Logits instead of probabilities.
        spread: Also the standard deviation over the members of an ensemble.
        fan_out: See :func:`evaluate`.
        batch_size: Likewise.

    Returns:
        ``(items, c)`` on the CPU: probabilities, or values in the unit of the labels. With
        ``spread`` a :class:`gtl.train.ensemble.Predictions`: ``mean`` and ``std``.

    Raises:
        DataError: If the features differ from those the model was trained on.
        ConfigError: If the spread of a single model is asked for, or the one of logits.
    """
    model, data = as_model(model), as_dataset(data)
    if isinstance(model, Ranker):
        scores = model.scores(data, split, batch_size).unsqueeze(1)
        return scores if raw else scores.sigmoid()
    index, kind = data.items(split), kind_of_outputs(model)
    if not spread:
        outputs = raw_outputs(model, data, index, fan_out=fan_out, batch_size=batch_size)
        return outputs if raw else probabilities(outputs, kind)
    if raw or not isinstance(model, Ensemble):
        why = "is of probabilities, not of `raw` outputs" if raw else "needs several models"
        raise ConfigError(f"`spread` {why}; leave it out, or train with members=5 (--members 5)")
    each = each_batch(model, data, index, model.each, fan_out, batch_size)  # (items, k, c)
    return Predictions(
        probabilities(mean_output(each, kind), kind), probabilities(each, kind).std(1)
    )


def embed(
    model: Any,
    data: Any,
    split: str = "all",
    *,
    readout: Any = "mean",
    fan_out: Sequence[int | None] | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """Item vectors ``(items, h)`` on the CPU: of a model what the head gets.

    Args:
        model: A fine-tuned model, a pre-training run, the folder of either, an encoder, or the name
            of one that comes with gtl.
        data: As for :func:`predict`.
        split: Which items.
        readout: Node vectors to graph vectors, where the model has none of its own.
        fan_out: See :func:`evaluate`.
        batch_size: Likewise.
    """
    data = as_dataset(data)
    if isinstance(model, str) and model in SHIPPED:
        model = load_shipped(model)
    model = load_run(model) if isinstance(model, (str, Path)) else model
    if isinstance(model, (Run, Encoder)):
        model = _vectors_of(model, data, readout)
    model = as_model(model)
    if not isinstance(model, Model):
        raise ConfigError(
            f"a {type(model).__name__} has no item vectors of its own; give its encoder"
        )
    return each_batch(model, data, data.items(split), model.features, fan_out, batch_size)


def raw_outputs(
    model: Model | Predicting,
    data: Dataset,
    items: Tensor,
    *,
    fan_out: Sequence[int | None] | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """Logits or values ``(k, c)`` of some items, on the CPU.

    Args:
        model: What predicts.
        data: The items.
        items: Their numbers, int64 ``(k,)``.
        fan_out: See :func:`evaluate`.
        batch_size: Likewise.

    Raises:
        ConfigError: If ``fan_out`` is given to what does not sample.
    """
    if isinstance(model, Model):
        return each_batch(model, data, items, model.outputs, fan_out, batch_size)
    if fan_out is not None:
        raise ConfigError(
            f"a {type(model).__name__} does not sample neighbors; leave out `fan_out`"
        )
    return model.outputs(data, items)


def outputs_and_vectors(model: Model, data: Dataset, items: Tensor) -> tuple[Tensor, Tensor]:
    """Logits or values ``(k, c)`` and item vectors ``(k, h)``, from one pass of the encoder.

    Args:
        model: A fine-tuned model.
        data: The items.
        items: Their numbers, int64 ``(k,)``.
    """
    widths: list[int] = []

    def both(graph: Graph, nodes: Tensor) -> Tensor:
        parts = [model.outputs(graph, nodes), model.features(graph, nodes)]
        widths[:] = (part.shape[1] for part in parts)
        return torch.cat(parts, 1)

    outputs, vectors = each_batch(model, data, items, both, None, None).split(widths, 1)
    return outputs, vectors


def kind_of_outputs(model: Model | Predicting) -> str:
    """``"binary"``, ``"multiclass"`` or ``"regression"``."""
    return str(model.target.kind) if isinstance(model, Model) else model.labels.kind


def as_model(model: Any) -> Any:
    """A model, or that of a run folder.

    Raises:
        ConfigError: If it is neither.
        CheckpointError: If it is a folder of another kind of run.
    """
    if isinstance(model, (str, Path)):
        folder = Path(model)
        kind = kind_of(read_json(folder / "config.json"), folder)
        loaded: Model | Predicting | Ranker = (kind.load if kind.predicts else Model.load)(folder)
        return loaded
    if not isinstance(model, (Model, Predicting, Ranker)):
        raise ConfigError(
            f"`model` is a {type(model).__name__}, expected a gtl.Model, as gtl.finetune returns, "
            "a probe, a blend, or the folder of such a run"
        )
    return model


def require_unchanged(model: Model | Predicting | Ranker, dataset: Dataset) -> None:
    """Refuse data of the name that a model was trained on with other items, or another split.

    Raises:
        DataError: If it is such data.
    """
    known = model.trained_on
    if known is None or known["spec"] != dataset.spec or dataset.spec in UNNAMED:
        return
    if known["checksum"] == dataset.checksum():
        return
    if known.get("items_checksum") != dataset.checksum(labels=False):  # other columns may be asked
        raise DataError(
            f"{dataset.spec} is not as it was when the model was trained (its checksum differs: "
            "items or the split have changed), so items of this part may have been trained on; "
            "load it with the options and the seed of the training, or allow it "
            "(allow_changed=True, --allow_changed)"
        )


def _vectors_of(start: Run | Encoder, data: Dataset, readout: Any) -> Model:
    """A model whose item vectors are those of an encoder; its head is not used."""
    encoder = start.encoder if isinstance(start, Run) else start
    shape = {"kind": "binary", "outputs": 1, "level": data.level}
    model = Model(encoder, build_target(encoder, shape, "linear", readout))
    return model.to(module_device(encoder)).train(encoder.training)


def _aligned(model: Model | Predicting, dataset: Dataset) -> Aligned:
    """Labels in the model's numbering; unchanged where a model has no names of labels."""
    known = model.labels
    if known is None:
        assert isinstance(model, Model)
        known = LabelNames(str(model.target.kind), model.target.outputs or 1, "")
    aligned = known.aligned(dataset)
    return aligned if aligned.metric else replace(aligned, metric=dataset.metric)


def each_batch(
    model: Model,
    data: Dataset,
    index: Tensor,
    outputs: Callable[[Graph, Tensor], Tensor],
    fan_out: Sequence[int | None] | None,
    batch_size: int | None,
) -> Tensor:
    """What ``outputs(graph, node vectors)`` gives of some items, without dropout, on the CPU.

    Args:
        model: Encodes the graphs.
        data: The items.
        index: Their numbers, int64 ``(k,)``.
        outputs: From a batch and its node vectors to ``(b, c)``.
        fan_out: See :func:`evaluate`.
        batch_size: Likewise.

    Returns:
        ``(k, c)``.
    """
    data = with_properties(data, model.properties)
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
            if nodes is None or not data.contents.one_graph or fan_out is not None:
                nodes = model.encoder(graph)
            parts.append(outputs(graph, nodes).cpu())
    model.train(was_training)
    return torch.cat(parts)


def _portions(
    model: Model, data: Dataset, fan_out: Sequence[int | None] | None, batch_size: int | None
) -> tuple[Sequence[int | None] | None, int]:
    """What to read of a graph (``None``: the whole) and how many items at a time (0: all)."""
    if batch_size is not None:
        check_positive(batch_size=batch_size)
        check_whole(batch_size=batch_size)
    given = check_fan_out(fan_out, data, model.encoder)
    depth, sampled = len(model.encoder.blocks), model.fan_out is not None
    return data.contents.portions(depth, given, batch_size, sampled)
