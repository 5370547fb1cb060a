"""Table of predictions: a row for each item or row of a file, a column for each output."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.train.evaluate import kind_of_outputs
from gtl.train.labels import LabelNames
from gtl.train.model import Model
from gtl.train.predicting import Predicting
from gtl.train.ranker import Ranker

if TYPE_CHECKING:
    import pandas as pd


def prediction_table(
    model: Model | Predicting | Ranker,
    dataset: Dataset,
    values: Tensor,
    items: Tensor,
    whole: bool = False,
    spread: Tensor | None = None,
) -> pd.DataFrame:
    """Predictions with the names of items, labels and classes.

    Args:
        model: What predicted.
        dataset: The items.
        values: Predictions ``(k, c)``, as :func:`gtl.predict` returns them.
        items: Numbers of the items, int64 ``(k,)``.
        whole: Whether the items are all that the data set has: rows of its file that could not be
            read as molecules then have a row, too, with empty predictions.
        spread: Standard deviations of the predictions ``(k, c)``, if there are some.

    Returns:
        The columns of the file, if the data set is from a table or list; elsewhere ``item`` (name
        or number) and what else identifies the items. Then a column for each output: the value, or
        the probability of the class; ``predicted NAME`` where the file has a column ``NAME``, and
        ``predicted NAME 2`` where it has both. Then a column ``spread of NAME`` for each output,
        where there are spreads.
    """
    import pandas as pd

    names = ["probability"]
    if not isinstance(model, Ranker):
        known = model.labels or LabelNames(kind_of_outputs(model), values.shape[1], "")
        names = list(known.outputs_by_name())
    predictions = pd.DataFrame(values.numpy(), columns=names)
    if spread is not None:
        predictions[[f"spread of {name}" for name in names]] = spread.numpy()
    table = _given(dataset, items, whole)
    if dataset.rows is not None and dataset.file:
        predictions.index = pd.Index(dataset.rows[items].numpy())
    return table.join(predictions.set_axis(_titles(predictions.columns, table.columns), axis=1))


def _titles(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """A title for each output: its name, with ``predicted`` and a number where that is taken."""
    used, titles = set(taken), list[str]()
    for name in names:
        counted = (f"predicted {name} {number}" for number in itertools.count(2))
        tries = itertools.chain((name, f"predicted {name}"), counted)
        titles.append(next(title for title in tries if title not in used))
        used.add(titles[-1])
    return titles


def _given(dataset: Dataset, items: Tensor, whole: bool) -> pd.DataFrame:
    """What identifies the items; indexed by the row of the file, if they are rows of one."""
    import pandas as pd

    from gtl.data.readers.table import read_rows

    if dataset.rows is not None and dataset.file:
        rows = read_rows(dataset)
        return rows if whole else rows.loc[dataset.rows[items].numpy()]
    numbers = items.tolist()
    names = [dataset.names[i] for i in numbers] if dataset.names else numbers
    columns = dataset.contents.columns(items)
    if dataset.vocabulary is not None:
        columns = dataset.vocabulary.named(columns)
    return pd.DataFrame({"item": names, **columns})
