"""Table of predictions: a row for each item, a column for each label or class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.train.labels import LabelNames
from gtl.train.model import Model

if TYPE_CHECKING:
    import pandas as pd


def prediction_table(model: Model, dataset: Dataset, values: Tensor, items: Tensor) -> pd.DataFrame:
    """Predictions with the names of items, labels and classes.

    Args:
        model: What predicted.
        dataset: The items.
        values: Predictions ``(k, c)``, as :func:`gtl.predict` returns them.
        items: Numbers of the items, int64 ``(k,)``.

    Returns:
        ``item`` (name or number), what else identifies the items, and a column for each output: the
        value, or the probability of the class.
    """
    import pandas as pd

    numbers = items.tolist()
    names = [dataset.names[i] for i in numbers] if dataset.names else numbers
    table = pd.DataFrame({"item": names})
    for title, column in dataset.contents.columns(items).items():
        table[title] = column
    known = model.labels or LabelNames(str(model.target.kind), values.shape[1], "")
    for number, title in enumerate(known.outputs_by_name()):
        taken = title in table.columns
        table[f"predicted {title}" if taken else title] = values[:, number].numpy()
    return table
