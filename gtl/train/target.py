"""Labeled target of a training: its items, its checks, and its supervised task."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.data.items import PairItems
from gtl.errors import ConfigError, DataError, GtlWarning
from gtl.graph.pairs import without_pairs
from gtl.metrics import score
from gtl.roles import Encoder
from gtl.tasks import Supervised
from gtl.tasks.links import Links
from gtl.train.model import build_target
from gtl.train.property_input import columns_of

log = logging.getLogger(__name__)
_SHOWN = 5  # names in a warning


class TrainingItems(NamedTuple):
    """Items of the training split.

    Attributes:
        train: Those that the loss is computed on, int64 ``(k,)``.
        meta: Those set aside for the meta loss of look-aheads; may be empty.
    """

    train: Tensor
    meta: Tensor


def check_labels(dataset: Dataset) -> None:
    """Refuse a data set that nothing can be learned from, or no epoch be chosen on.

    Raises:
        DataError: If there are no labels, the training split has none, or the metric is undefined
            on the validation split.
    """
    if dataset.labels is None:
        raise DataError(f"{dataset.spec} has no labels; name the target column, or use pretrain")
    labels = dataset.labels[dataset.items("train")]
    known = ~labels.isnan() if labels.is_floating_point() else labels >= 0
    if not bool(known.any()):
        raise DataError(
            f"{dataset.spec}: no item of the training split has a label; choose another split"
        )
    _warn_of_unseen(dataset, labels, known)
    if len(dataset.split.get("valid", ())):
        _require_defined_metric(dataset)


def set_aside(dataset: Dataset, share: float, rng: torch.Generator) -> TrainingItems:
    """The training split, divided at random into training and meta items.

    Args:
        dataset: Its split ``train`` is divided.
        share: Share of the meta items.
        rng: Generator for the division.
    """
    train = dataset.items("train")
    if not 0 <= share < 1:
        raise ConfigError(
            f"`meta_share` is {share}, expected a share from 0 up to, not including, 1"
        )
    count = round(share * len(train))
    if len(train) and count == len(train):
        raise ConfigError(
            f"`meta_share` is {share}, which leaves none of {count} training items to train on; "
            "use a smaller one"
        )
    order = train[torch.randperm(len(train), generator=rng)]
    return TrainingItems(order[count:].sort().values, order[:count].sort().values)


def link_options(
    options: Mapping[str, Any] | None, dataset: Dataset, train: Tensor, batch_size: int
) -> dict[str, Any] | None:
    """All options of :class:`gtl.tasks.links.Links`, completed to suit the data.

    Returns:
        The options; ``None`` where items are no pairs.

    Raises:
        ConfigError: If options are given where items are no pairs, no negatives are to be drawn
            though the data has none, or a step would remove every edge of the graph.
    """
    contents = dataset.contents
    if not isinstance(contents, PairItems):
        if options:
            raise ConfigError(f"`links` are for link-level data; {dataset.spec} has other items")
        return None
    assert dataset.labels is not None
    positive = dataset.labels[train, 0] == 1
    links = Links.of({"negatives": int(positive.all()), **(options or {})})
    if not links.negatives and bool(positive.all()):
        raise ConfigError(
            f"{dataset.spec}: the training split has links only; draw at least 1 of `negatives`"
        )
    at_once = links.remove and not 0 < batch_size < len(train)
    if at_once and not without_pairs(contents.graph, contents.pairs[train[positive]]).num_edges:
        raise ConfigError(
            "a batch of all links leaves no edge in the graph to learn from; use a smaller "
            "`batch_size`, or leave them in with links={'remove': False}"
        )
    return asdict(links)


def target_task(
    encoder: Encoder,
    dataset: Dataset,
    train: Tensor,
    head: Any,
    readout: Any,
    links: Mapping[str, Any] | None,
    class_weights: Any = None,
    properties: Sequence[str] = (),
) -> Supervised:
    """The supervised task with its predictor; scale and weights are those of the training items."""
    assert dataset.labels is not None
    beside = columns_of(dataset, properties)
    how = (head, readout, links, class_weights, beside)
    target = build_target(encoder, shape_of(dataset), *how)
    if beside:
        target.predictor.properties.fit(dataset, train)  # type: ignore[union-attr, operator]
    target.standardize(dataset.labels[train]).balance(dataset.labels[train])
    target.setup(dataset.schema, encoder.width)
    return target


def shape_of(dataset: Dataset) -> dict[str, Any]:
    """What sizes the predictor: ``kind``, ``outputs`` and ``level``."""
    return {"kind": dataset.kind, "outputs": dataset.num_outputs, "level": dataset.level}


def _warn_of_unseen(dataset: Dataset, labels: Tensor, known: Tensor) -> None:
    """Warn of classes or label columns that the training split does not have."""
    assert dataset.labels is not None
    if dataset.kind == "multiclass":
        present = dataset.labels[dataset.labels >= 0].unique().tolist()
        missing = sorted(set(present) - set(labels[known].unique().tolist()))
        what, names = "class", dataset.class_names
    else:
        missing = (~known.any(0)).nonzero().flatten().tolist()
        what, names = "label column", dataset.label_names
    if missing:
        shown = [repr(names[i]) if names else str(i) for i in missing[:_SHOWN]]
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        warnings.warn(
            f"{dataset.spec}: no training item has the {what} {', '.join(shown)}{more}, which "
            "cannot be learned; choose another split",
            GtlWarning,
            stacklevel=4,
        )


def _require_defined_metric(dataset: Dataset) -> None:
    assert dataset.labels is not None
    valid = dataset.split["valid"]
    labels = dataset.labels[valid].numpy()
    try:
        zeros = np.zeros((len(labels), dataset.num_outputs))
        score(dataset.metric, labels, zeros, dataset.contents.queries(valid))
    except DataError as error:
        raise DataError(
            f"{dataset.spec}: no epoch could be chosen on the validation split, since {error}; "
            "use another metric or split, or check the labels"
        ) from error
