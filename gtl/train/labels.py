"""Meaning of a model's outputs: kind of labels, names of columns and classes, and their matching.

Numbers of classes and orders of columns are those of one file. A data set from another file is
matched by name: a subset of the names is enough, anything unknown is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.errors import DataError

_SHOWN = 8  # names in an error message


@dataclass(frozen=True)
class Aligned:
    """Labels of a data set in the numbering of a model.

    Attributes:
        labels: Float ``(items, t)`` with NaN for missing, or int64 ``(items,)``, -1 for missing.
        columns: The model's outputs that the columns of ``labels`` belong to, int64 ``(t,)``;
            ``None`` for all of them, in order.
        metric: Metric to evaluate.
    """

    labels: Tensor
    columns: Tensor | None
    metric: str


@dataclass(frozen=True)
class LabelNames:
    """What the outputs of a model stand for.

    Attributes:
        kind: ``"binary"``, ``"multiclass"`` or ``"regression"``.
        outputs: Number of outputs.
        metric: Metric of the data it was trained on.
        label_names: Names of the label columns; may be empty.
        class_names: Names of the classes, of a binary column that of 0 first; may be empty.
    """

    kind: str
    outputs: int
    metric: str
    label_names: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()

    @staticmethod
    def of(dataset: Dataset) -> LabelNames:
        """Those of a labeled data set."""
        names = tuple(dataset.label_names), tuple(dataset.class_names)
        return LabelNames(dataset.kind, dataset.num_outputs, dataset.metric, *names)

    def to_json(self) -> dict[str, Any]:
        """All fields, for ``config.json``."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @staticmethod
    def from_json(fields: Mapping[str, Any]) -> LabelNames:
        """Undo :meth:`to_json`."""
        known: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()
        }
        return LabelNames(**known)

    def outputs_by_name(self) -> list[str]:
        """A name for each output, ``prediction`` or numbers where there are none."""
        if self.kind == "multiclass" and len(self.class_names) == self.outputs:
            return list(self.class_names)
        if self.kind != "multiclass" and len(self.label_names) == self.outputs:
            return list(self.label_names)
        if self.outputs == 1:
            return ["prediction"]
        return [f"prediction_{number}" for number in range(self.outputs)]

    def aligned(self, dataset: Dataset) -> Aligned:
        """The labels of a data set, matched by name.

        Raises:
            DataError: If there are none, they are of another kind, or a class or column has a name
                that the model does not know.
        """
        if dataset.labels is None:
            raise DataError(
                f"{dataset.spec} has no labels to evaluate against; name the target column "
                "(target=..., --data.target), or use predict"
            )
        if self.kind == "multiclass":
            return self._classes(dataset)
        if dataset.kind == self.kind:
            return self._columns(dataset)
        if self.kind == "binary" and dataset.kind == "multiclass" and len(self.class_names) == 2:
            numbers = self._renumbered(dataset, dataset.labels, dataset.class_names)
            labels = numbers.float().masked_fill(numbers < 0, torch.nan).unsqueeze(1)
            return Aligned(labels, None, self.metric)
        raise self._other_kind(dataset)

    def _classes(self, dataset: Dataset) -> Aligned:
        labels = dataset.labels
        assert labels is not None
        if dataset.kind == "multiclass":
            return Aligned(
                self._renumbered(dataset, labels, dataset.class_names), None, dataset.metric
            )
        if dataset.kind != "binary" or labels.shape[1] != 1:
            raise self._other_kind(dataset)
        numbers = labels[:, 0].nan_to_num(-1).long()
        names = dataset.class_names or ("0", "1")
        return Aligned(self._renumbered(dataset, numbers, names), None, self.metric)

    def _renumbered(self, dataset: Dataset, labels: Tensor, names: Sequence[str]) -> Tensor:
        """Classes in the model's numbering; by number where either side has no names."""
        used = labels[labels >= 0].unique().tolist()
        known = self.class_names
        if all(name.isdecimal() for name in (*names, *known)):  # no names: numbers are the names
            known = known or tuple(map(str, range(self.outputs)))
            names = names or tuple(map(str, range(max(used, default=0) + 1)))
        if not names or not known:
            classes = max(self.outputs, len(self.class_names))
            if used and max(used) >= classes:
                raise DataError(
                    f"{dataset.spec} has class {max(used)}, the model knows {classes} classes"
                )
            return labels
        unknown = [names[number] for number in used if names[number] not in known]
        if unknown:
            raise DataError(
                f"{dataset.spec} has the classes {_listed(unknown)}, which the model was not "
                f"trained on; it knows {_listed(known)}: leave those items out"
            )
        table = torch.full((len(names) + 1,), -1)
        for number in used:
            table[number] = known.index(names[number])
        return table[labels]

    def _columns(self, dataset: Dataset) -> Aligned:
        labels, columns = dataset.labels, None
        assert labels is not None
        if dataset.label_names and self.label_names:
            unknown = [name for name in dataset.label_names if name not in self.label_names]
            if unknown:
                raise DataError(
                    f"{dataset.spec} has the label columns {_listed(unknown)}, which the model was "
                    f"not trained on; it predicts {_listed(self.label_names)}: name those that "
                    "match (target)"
                )
            columns = torch.tensor([self.label_names.index(n) for n in dataset.label_names])
        elif labels.shape[1] != self.outputs:
            raise DataError(
                f"{dataset.spec} has {labels.shape[1]} columns of labels, the model has "
                f"{self.outputs} outputs; give the columns it was trained on"
            )
        if self._is_reversed(dataset):
            labels = 1 - labels
        return Aligned(labels, columns, dataset.metric)

    def _is_reversed(self, dataset: Dataset) -> bool:
        """Whether the class that is 1 in the data is 0 for the model, by name."""
        if self.kind != "binary" or not self.class_names or not dataset.class_names:
            return False
        unknown = [name for name in dataset.class_names if name not in self.class_names]
        if unknown:
            raise DataError(
                f"{dataset.spec} has the classes {_listed(unknown)}, which the model was not "
                f"trained on; it knows {_listed(self.class_names)}"
            )
        return dataset.class_names[0] != self.class_names[0]

    def _other_kind(self, dataset: Dataset) -> DataError:
        return DataError(
            f"{dataset.spec} has {dataset.kind} labels, the model was trained on {self.kind} ones; "
            f"load the data with kind={self.kind!r}, or use another model"
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(str(name)) for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
