"""Validation of an epoch on two domains: labels of the source, predictions on the target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gtl.data.dataset import Dataset
from gtl.errors import DataError
from gtl.graph.union import has_same_content
from gtl.metrics import direction, score
from gtl.train.candidates import Validation
from gtl.train.domains import Domains
from gtl.train.evaluate import each_batch
from gtl.train.labels import Aligned, LabelNames
from gtl.train.model import Model
from gtl.train.transfer_criteria import Outputs, values_of

ORACLE = "oracle"  # the target's test labels, a bound that selects nothing
_MOST_TRAINING = 500  # items of the source whose vectors a density ratio is fitted to


class DomainValidation(Validation):
    """Validation data of the source together with a criterion of the target's predictions.

    All criteria are computed, so that a report can say what each would have selected, and so is the
    metric on test labels of the target, where there are some: as a bound. One criterion decides.

    Args:
        model: The model in training.
        domains: All data.
        criterion: A key of :data:`gtl.train.transfer_criteria.CRITERIA`.
    """

    def __init__(self, model: Model, domains: Domains, criterion: str):
        self.model, self.domains, self.criterion = model, domains, criterion
        self._seen: dict[str, Any] = {}

    def value(self) -> float:
        """Value by the criterion, in the direction of the source's metric."""
        found, bound = criteria_of(self.model, self.domains)
        self._seen = {"criteria": {**found, **({} if bound is None else {ORACLE: bound})}}
        value = found[self.criterion]
        return value if direction(self.domains.source.metric) == "higher" else -value

    def seen(self) -> Mapping[str, Any]:
        """All criteria, by name, under ``criteria``; larger is better for each."""
        return self._seen


def criteria_of(model: Model, domains: Domains) -> tuple[dict[str, float], float | None]:
    """All criteria of a model by name, and the metric on test labels of the target or ``None``.

    Larger is better for all of them: metrics of errors are negative here.
    """
    outputs, scores = outputs_on(model, domains)
    return values_of(outputs), _bound(model, domains, scores)


def outputs_on(model: Model, domains: Domains) -> tuple[Outputs, Tensor]:
    """What a model gives on both domains, and the scores of the target's items ``(u, c)``."""
    source, target = domains.source, domains.unlabeled
    valid, train = source.split["valid"], source.split["train"]
    train = train[torch.linspace(0, len(train) - 1, min(len(train), _MOST_TRAINING)).long()]
    vectors, scores = vectors_and_scores(model, source, torch.cat([valid, train]))
    of_target, guess = vectors_and_scores(model, target, domains.items)
    assert source.labels is not None
    labels, here = source.labels[valid], scores[: len(valid)]
    kind = str(model.target.kind)
    known = labels >= 0 if kind == "multiclass" else ~labels.isnan().all(1)
    outputs = Outputs(
        kind,
        oriented(source.metric, labels, here),
        item_losses(kind, here, labels, model)[known],
        vectors[: len(valid)][known],
        vectors[len(valid) :],
        of_target,
        guess,
    )
    return outputs, guess


def vectors_and_scores(model: Model, data: Dataset, items: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors ``(k, h)`` and logits or values ``(k, c)`` of items, in one pass."""

    def both(graph: Any, nodes: Tensor) -> Tensor:
        features = model.features(graph, nodes)
        return torch.cat([features, model.outputs(graph, nodes)], 1)

    found = each_batch(model, data, items, both, None, None)
    width = found.shape[1] - int(model.target.outputs or 1)
    return found[:, :width], found[:, width:]


def target_labels(model: Model, domains: Domains) -> Aligned | None:
    """Labels of the target in the numbering of a model, matched by name.

    ``None`` without labels, or where they have another meaning than the model's, which the stage
    ``adapt`` may learn. A model in training has the source's meaning.
    """
    if domains.target.labels is None:
        return None
    try:
        return (model.labels or LabelNames.of(domains.source)).aligned(domains.target)
    except DataError:
        return None


def item_losses(kind: str, scores: Tensor, labels: Tensor, model: Model) -> Tensor:
    """Loss of each item, ``(b,)``; 0 for an item without a label."""
    if kind == "multiclass":
        return F.cross_entropy(scores, labels, reduction="none", ignore_index=-1)
    known = ~labels.isnan()
    y = labels.masked_fill(~known, 0).to(scores)
    if kind == "binary":
        each = F.binary_cross_entropy_with_logits(scores, y, reduction="none")
    else:
        each = ((scores - y) / model.target.scale.cpu().to(scores)).square()
    return each.masked_fill(~known, 0).sum(1) / known.sum(1).clamp(min=1)


def oriented(metric: str, labels: Tensor, scores: Tensor) -> float:
    """A metric of logits or values, negative where smaller ones are better."""
    outputs = scores.double().numpy()
    if not np.isfinite(outputs).all():
        raise DataError("the model's predictions are not finite; train with a lower rate (lr)")
    value = score(metric, labels.numpy(), outputs)
    return value if direction(metric) == "higher" else -value


def _are_of(domains: Domains, scores: Tensor) -> bool:
    """Whether scores of the unlabeled items are those of all nodes of the target, in order."""
    one, other = domains.target.graph, domains.unlabeled.graph
    if domains.target.level != "node" or one is None or other is None:
        return False
    return len(scores) == len(domains.target) and has_same_content(one, other)


def _bound(model: Model, domains: Domains, scores: Tensor) -> float | None:
    target, known = domains.target, target_labels(model, domains)
    test = target.split.get("test")
    if known is None or test is None or not len(test):
        return None
    is_known = _are_of(domains, scores)
    found = scores[test] if is_known else vectors_and_scores(model, target, test)[1]
    found = found if known.columns is None else found[:, known.columns]
    try:
        return oriented(known.metric, known.labels[test], found)
    except DataError:  # undefined, such as one class alone
        return None
