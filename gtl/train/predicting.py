"""Base of what predicts without being one network: probes, blends, comparisons."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.run_folder import RunFolder
from gtl.train.labels import LabelNames


class Predicting(ABC):
    """Base of what :func:`gtl.evaluate` and :func:`gtl.predict` take beside a :class:`gtl.Model`.

    Attributes:
        labels: What the outputs stand for.
        results: What ``results.json`` holds.
        folder: The run folder, or ``None``.
        trained_on: ``spec``, ``checksum`` and ``items_checksum`` of the training data, or ``None``.
    """

    labels: LabelNames

    def __init__(self, labels: LabelNames):
        self.labels = labels
        self.results: dict[str, Any] = {}
        self.folder: RunFolder | None = None
        self.trained_on: Mapping[str, Any] | None = None

    @abstractmethod
    def outputs(self, data: Dataset, items: Tensor) -> Tensor:
        """Logits or values ``(k, c)`` of items, on the CPU."""

    @abstractmethod
    def save(self, folder: Path | str) -> RunFolder:
        """Write it as a run folder.

        Raises:
            CheckpointError: If the folder holds a run already.
        """


def trained_on(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a ``config.json`` says of the training data; ``None`` if nothing."""
    if "data" not in config:
        return None
    return {
        "spec": config["data"],
        "checksum": config["data_checksum"],
        "items_checksum": config.get("items_checksum"),
    }


def probabilities(outputs: Tensor, kind: str) -> Tensor:
    """Logits as probabilities; values of a regression as they are.

    Args:
        outputs: ``(..., c)``.
        kind: ``"binary"``, ``"multiclass"`` or ``"regression"``.
    """
    if kind == "regression":
        return outputs
    return outputs.softmax(-1) if kind == "multiclass" else outputs.sigmoid()


def logits(chances: Tensor, kind: str) -> Tensor:
    """Undo :func:`probabilities`; 0 and 1 become the most extreme finite values of float64.

    Example:
        >>> logits(torch.tensor([[0.5, 1.0]]), "binary")[0].tolist()[0]
        0.0
    """
    if kind == "regression":
        return chances
    inside = chances.double().clamp(1e-12, 1 - 1e-12)
    return inside.log() if kind == "multiclass" else torch.logit(inside)
