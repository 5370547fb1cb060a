"""Predictions for the test split in a run folder, for reports: they read files, never a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gtl.data.dataset import KINDS, Dataset
from gtl.train.evaluate import kind_of_outputs, outputs_and_vectors, raw_outputs
from gtl.train.labels import LabelNames
from gtl.train.model import Model
from gtl.train.predicting import Predicting, probabilities

if TYPE_CHECKING:
    import pandas as pd

FILE = "predictions.csv"
LEVELS = ("graph", "node", "edge")  # of items that have labels, one or several each
LIMIT = 100_000  # labels; more are no table that somebody reads


def write_test_predictions(
    folder: Path, model: Model | Predicting, dataset: Dataset
) -> Path | None:
    """Write ``predictions.csv``: labels and predictions of the items of the test split.

    Columns are ``item`` (its name, such as a SMILES string, or its number), for each label column
    ``label NAME`` and ``predicted NAME``, of classes instead ``label``, ``predicted``,
    ``probability`` (of the predicted class) and ``probability of the label``, and of models with
    item vectors the first two principal components of these, ``component 1`` and ``component 2``.

    Args:
        folder: Run folder to write to.
        model: What predicts.
        dataset: Its target.

    Returns:
        The file, or ``None`` where there are no test items or more than :data:`LIMIT` labels.
    """
    items = dataset.split.get("test", torch.empty(0, dtype=torch.int64))
    is_known = dataset.level in LEVELS and dataset.kind in KINDS
    if dataset.labels is None or not is_known or not 0 < dataset.labels[items].numel() <= LIMIT:
        return None
    vectors = None
    if isinstance(model, Model) and dataset.level != "edge":
        outputs, vectors = outputs_and_vectors(model, dataset, items)
    else:
        outputs = raw_outputs(model, dataset, items)
    predicted = probabilities(outputs, kind_of_outputs(model))
    table = _identity(dataset, items)
    columns = _classes if dataset.kind == "multiclass" else _values
    for name, column in columns(dataset, dataset.labels[items], predicted).items():
        table[name] = column
    if vectors is not None:
        table["component 1"], table["component 2"] = principal_components(vectors).t().numpy()
    table.to_csv(folder / FILE, index=False, float_format="%.6g")
    return folder / FILE


def principal_components(vectors: Tensor) -> Tensor:
    """The first two principal components ``(items, 2)`` of vectors ``(items, h)``.

    The sign is such that the value largest in size is positive. Where there is no second
    component, of one item or one column, it is 0.

    Example:
        >>> principal_components(torch.tensor([[0.0, 2.0], [0.0, 0.0], [0.0, -2.0]])).tolist()
        [[2.0, 0.0], [0.0, 0.0], [-2.0, 0.0]]
    """
    centered = (vectors - vectors.mean(0)).double()
    u, s, _ = torch.linalg.svd(centered, full_matrices=False)
    found = torch.zeros(len(vectors), 2, dtype=torch.float64)
    count = min(2, len(s))
    found[:, :count] = u[:, :count] * s[:count] * (s[:count] > 1e-9 * s.max().clamp(min=1e-300))
    largest = found.gather(0, found.abs().argmax(0, keepdim=True))
    return (found * torch.where(largest < 0, -1.0, 1.0) + 0.0).float()


def _identity(dataset: Dataset, items: Tensor) -> pd.DataFrame:
    import pandas as pd

    numbers = items.tolist()
    names = [dataset.names[i] for i in numbers] if dataset.names else numbers
    return pd.DataFrame({"item": names, **dataset.contents.columns(items)})


def _values(dataset: Dataset, labels: Tensor, predicted: Tensor) -> dict[str, np.ndarray]:
    names = LabelNames.of(dataset).outputs_by_name()
    found = {}
    for number, name in enumerate(names):
        short = "" if name == "prediction" else f" {name}"
        found[f"label{short}"] = labels[:, number].numpy()
        found[f"predicted{short}"] = predicted[:, number].numpy()
    return found


def _classes(dataset: Dataset, labels: Tensor, predicted: Tensor) -> dict[str, np.ndarray]:
    known = dataset.class_names or tuple(map(str, range(predicted.shape[1])))
    names = np.array([*known, ""], dtype=object)  # the last one is that of no label, -1
    highest, best = predicted.max(1)
    own = predicted.gather(1, labels.clamp(min=0).unsqueeze(1)).squeeze(1)
    return {
        "label": names[labels.numpy()],
        "predicted": names[best.numpy()],
        "probability": highest.numpy(),
        "probability of the label": own.where(labels >= 0, torch.nan).numpy(),
    }
