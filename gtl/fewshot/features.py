"""Frozen features of labeled items, computed once for all few-shot methods."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.data.items import PairItems
from gtl.errors import ConfigError, DataError, ShapeError
from gtl.train.evaluate import embed
from gtl.train.model import Model, build_target
from gtl.train.resolve import as_dataset, as_encoder
from gtl.train.seed import seeded


@dataclass(frozen=True)
class Samples:
    """Frozen features with their classes.

    Attributes:
        features: Floats ``(b, h)``.
        labels: Classes from 0 on, int64 ``(b,)``.
        names: Of the classes; may be empty.
        train: Training samples, boolean ``(b,)``; ``None`` if the data has no split of its own.
        test: Query samples, likewise.
        spec: What the data was loaded from.
        num_classes: ``c``.
        numbers: Of the samples among the items of the data, int64 ``(b,)``.
        model: What encoded the data; ``None`` where the features were given.
        data: What was encoded.
    """

    features: Tensor
    labels: Tensor
    names: tuple[str, ...]
    train: Tensor | None
    test: Tensor | None
    spec: str
    num_classes: int
    numbers: Tensor
    model: Model | None = None
    data: Dataset | None = None

    def named(self, number: int) -> str:
        """A class in words."""
        return f"class {number}" + (f" ({self.names[number]})" if self.names else "")


def as_samples(
    data: Any,
    encoder: Any = None,
    readout: Any = "mean",
    column: int | None = None,
    seed: int = 0,
    device: str | None = None,
) -> Samples:
    """Features of labeled items: those of an encoder, of the nodes themselves, or given ones.

    Args:
        data: Dataset with one class an item, or features ``(b, h)`` and labels ``(b,)``, -1 for
            missing.
        encoder: What turns graphs into vectors: a run or its folder, a checkpoint, an encoder, a
            fine-tuned model, or a name. ``None``: the features of the nodes.
        readout: Node vectors to graph vectors.
        column: Of the labels, if there are several that are yes or no.
        seed: Of the weights of an encoder given by its name.
        device: Where to encode and to compute.

    Raises:
        ShapeError: If features or labels have the wrong shape or dtype.
        DataError: If there are no labels, or none that are classes, or a feature is not finite.
        ConfigError: If an encoder is missing or has nothing to encode.
    """
    if isinstance(data, (tuple, list)) and len(data) == 2:
        if encoder is not None:
            raise ConfigError("features need no encoder; leave out `encoder`, or give a Dataset")
        features, labels = (_tensor(*part) for part in zip(("features", "labels"), data))
        features = features if features.is_floating_point() else features.float()
        return _checked(features, labels, (), {}, "memory", 0, device)
    data = as_dataset(data)
    labels = _classes(data, column)
    model = _encoding(data, encoder, readout, seed, device)
    vectors = _own(data) if model is None else embed(model, data)
    outputs = 2 if data.kind == "binary" else data.num_outputs
    found = _checked(vectors, labels, data.class_names, data.split, data.spec, outputs, device)
    return replace(found, model=model, data=data)


def _classes(data: Dataset, column: int | None) -> Tensor:
    """Class of each item, -1 where it is missing."""
    if data.labels is None:
        raise DataError(f"{data.spec} has no labels; name the target column")
    if data.kind == "regression":
        raise DataError(f"{data.spec} has values for labels, not classes; few_shot needs classes")
    if data.kind == "multiclass":
        return data.labels
    columns = data.labels.shape[1]
    if columns > 1 and column is None:
        raise ConfigError(
            f"{data.spec} has {columns} columns of labels; choose one: column=0 to {columns - 1}"
        )
    number = column or 0
    if not 0 <= number < columns:
        raise ConfigError(f"`column` is {column}, expected 0 to {columns - 1}")
    return data.labels[:, number].nan_to_num(-1).long()


def _tensor(name: str, values: Any) -> Tensor:
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"`{name}` are no numbers ({error}); give features (b, h), and classes from 0 on as "
            "labels (b,): numpy.unique(names, return_inverse=True)[1]"
        ) from error


def _own(data: Dataset) -> Tensor:
    x = data.contents.node_features()
    if x is None or not x.is_floating_point():
        raise ConfigError(
            f"{data.spec} has no vectors of its own for its items; give an encoder (--encoder)"
        )
    return x


def _encoding(
    data: Dataset, encoder: Any, readout: Any, seed: int, device: str | None
) -> Model | None:
    """What encodes the data; ``None`` where no encoder was given."""
    if encoder is None:
        return None
    if isinstance(data.contents, PairItems):
        raise ConfigError(f"the items of {data.spec} are pairs; few_shot needs nodes or graphs")
    if isinstance(encoder, Model):
        return encoder
    with seeded(seed):
        built, _ = as_encoder(encoder, data.schema)
        shape = {"kind": data.kind, "outputs": data.num_outputs, "level": data.level}
        model = Model(built, build_target(built, shape, "linear", readout))
    model.train(built.training)  # which embed restores: an instance stays in the mode it was in
    return model.to(device) if device else model


def _checked(
    features: Tensor,
    labels: Tensor,
    names: tuple[str, ...],
    split: Any,
    spec: str,
    outputs: int,
    device: str | None,
) -> Samples:
    """Samples without those that have no label."""
    if features.dim() != 2:
        raise ShapeError(f"`features` has shape {tuple(features.shape)}, expected (b, h)")
    if labels.is_floating_point() or labels.shape != features.shape[:1]:
        raise ShapeError(
            f"`labels` is {labels.dtype} of shape {tuple(labels.shape)}, expected int64 classes "
            f"({len(features)},)"
        )
    labels = labels.long().cpu()
    known = labels >= 0
    wrong = ~features.isfinite().all(1).cpu() & known
    if bool(wrong.any()):
        raise DataError(
            f"features of {int(wrong.sum())} of {len(features)} samples are NaN or infinite "
            f"(the first is {int(wrong.nonzero()[0])}); leave those samples out"
        )
    if not bool(known.any()):
        raise DataError("no sample has a label (all are -1)")
    parts = {}
    for part in ("train", "test"):
        mask = torch.zeros(len(labels), dtype=torch.bool)
        mask[split.get(part, [])] = True
        parts[part] = mask[known] if bool(mask.any()) else None
    count = max(outputs, int(labels.max()) + 1)
    place = device or features.device
    kept = features.detach()[known.to(features.device)].to(place)
    numbers = known.nonzero().flatten()
    return Samples(kept, labels[known], names, parts["train"], parts["test"], spec, count, numbers)
