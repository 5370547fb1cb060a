"""Fine-tuning of an encoder as a classifier and a regressor of scikit-learn."""

from __future__ import annotations

import copy
import inspect
import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.data.mixed_rows import as_rows, describe, joined, read_rows
from gtl.data.same_molecules import molecule_groups
from gtl.data.splits import random_split, stratified_split
from gtl.errors import ConfigError, DataError
from gtl.graph import PackedGraphs
from gtl.metrics import scores_by_column
from gtl.sklearn.rows import check_options, of_rows, refuse, report
from gtl.suggest import nearest
from gtl.train.evaluate import predict
from gtl.train.finetune import finetune
from gtl.train.target import check_labels

log = logging.getLogger(__name__)


class GraphEstimator(BaseEstimator):
    """Fine-tuning with scikit-learn's interface; subclasses read labels and write predictions.

    Options that are ``None`` have the defaults of :func:`gtl.finetune`. Parts that are given as
    instances are copied: ``fit`` leaves them as they were.

    Args:
        encoder: As for :func:`gtl.finetune`.
        epochs: Likewise, and so on up to ``members``.
        options: Further arguments of :func:`gtl.finetune` by name, such as ``class_weights``.
        metric: By which the epoch is selected; by default ROC-AUC for two classes or several label
            columns, accuracy for more classes, RMSE for values.
        validation_fraction: Share of the rows that select the epoch, with their share of every
            class and without a molecule of the others; 0 for none.
        random_state: Seed of training and validation split; ``None`` draws one in each ``fit``.
        on_invalid: ``"raise"`` refuses rows that cannot be read and names them; ``"nan"`` trains
            without them and predicts NaN, with a log line.
        workers: Processes that read SMILES.
        device: Where to train; by default where the encoder is.
    """

    def __init__(
        self,
        encoder: Any = "molecules",
        *,
        epochs: int | None = None,
        lr: float | None = None,
        adapter: Any = None,
        head: Any = None,
        readout: Any = None,
        properties: Any = None,
        auxiliary: Any = None,
        weighting: Any = None,
        guard: bool | None = None,
        batch_size: int | None = None,
        rates: Any = None,
        weight_decay: Any = None,
        patience: int | None = None,
        members: int | None = None,
        options: Mapping[str, Any] | None = None,
        metric: str = "",
        validation_fraction: float = 0.1,
        random_state: Any = 0,
        on_invalid: str = "raise",
        workers: int = 1,
        device: str | None = None,
    ):
        self.encoder = encoder
        self.epochs = epochs
        self.lr = lr
        self.adapter = adapter
        self.head = head
        self.readout = readout
        self.properties = properties
        self.auxiliary = auxiliary
        self.weighting = weighting
        self.guard = guard
        self.batch_size = batch_size
        self.rates = rates
        self.weight_decay = weight_decay
        self.patience = patience
        self.members = members
        self.options = options
        self.metric = metric
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.on_invalid = on_invalid
        self.workers = workers
        self.device = device

    def fit(self, X: Any, y: Any) -> Any:  # noqa: N803
        """Fine-tune the encoder on graphs and their labels.

        Args:
            X: Rows, each a SMILES, an RDKit molecule or a graph that :func:`gtl.as_graph` reads.
            y: Labels, one row each.

        Raises:
            DataError: If rows cannot be read, or the labels do not fit them.
            ConfigError: If an option is wrong.
        """
        check_options(self.on_invalid, self.workers)
        if not 0 <= self.validation_fraction < 1:
            raise ConfigError(
                f"`validation_fraction` is {self.validation_fraction}, expected a share from 0 up "
                "to, not including, 1"
            )
        rows = as_rows(X)
        labels = self._read_labels(y)
        check_consistent_length(rows, labels["labels"])
        graphs, names, kept = self._graphs(rows)
        labels["labels"] = labels["labels"][kept]
        data = Dataset("rows", graphs, metric=self.metric, names=names, **labels)
        seed = self.random_state
        if not isinstance(seed, (int, np.integer)):
            seed = check_random_state(seed).randint(2**31 - 1)
        self.model_ = finetune(
            copy.deepcopy(self.encoder),
            self._split(data, int(seed)),
            seed=int(seed),
            device=self.device,
            **self._settings(),
        )
        return self

    @abstractmethod
    def _read_labels(self, y: Any) -> dict[str, Any]:
        """Labels as fields of :class:`gtl.data.Dataset`."""

    def _settings(self) -> dict[str, Any]:
        """What was given for :func:`gtl.finetune`."""
        own = ("epochs", "lr", "adapter", "head", "readout", "auxiliary", "weighting", "guard")
        more = ("properties", "batch_size", "rates", "weight_decay", "patience", "members")
        given = {name: getattr(self, name) for name in (*own, *more)}
        given = {name: value for name, value in given.items() if value is not None}
        twice = set(given) & set(self.options or {})
        if twice:
            raise ConfigError(f"`options` repeats {', '.join(sorted(twice))}; give each once")
        own_too = ("encoder", "dataset", "seed", "device")
        known = [name for name in inspect.signature(finetune).parameters if name not in own_too]
        for name in self.options or {}:
            if name not in known:
                raise ConfigError(f"`options` has {name!r}; {nearest(name, known)}")
        return copy.deepcopy({**given, **(self.options or {})})

    def _graphs(self, rows: Sequence[Any]) -> tuple[PackedGraphs, tuple[str, ...], Tensor]:
        """Graphs of the readable rows, their SMILES if all have one, and their numbers."""
        pieces = []
        wrong: dict[int, str] = {}
        for piece in read_rows(rows, (), self.workers):
            wrong.update(piece.wrong)
            refuse(wrong, self.on_invalid)
            if piece.graphs is not None:
                pieces.append(piece)
        report(wrong, len(rows))
        if not pieces:
            raise DataError(f"none of {len(rows)} rows can be read: {describe(wrong) or 'no row'}")
        names = [name for piece in pieces for name in piece.names]
        graphs = joined([piece.graphs for piece in pieces if piece.graphs is not None])
        return graphs, tuple(names) if all(names) else (), torch.cat([p.kept for p in pieces])

    def _split(self, data: Dataset, seed: int) -> Dataset:
        """The data with a part for validation, or without if it would have too few labels."""
        assert data.labels is not None and data.graphs is not None
        whole = {"train": torch.arange(len(data.labels))}
        alone = replace(data, split=whole)
        outputs = np.zeros((len(data), data.num_outputs))
        scores_by_column(data.metric, data.labels.numpy(), outputs)  # refuses an unsuitable metric
        if not self.validation_fraction:
            return alone
        shares = (1 - self.validation_fraction, self.validation_fraction)
        groups = molecule_groups(data.names, data.graphs, "X") if len(data.names) else None
        one_of_classes = data.kind == "multiclass" or (
            data.kind == "binary" and data.labels.shape[1] == 1
        )
        try:
            if one_of_classes:
                split = stratified_split(data.labels, shares, seed, groups)
            else:
                split = random_split(len(data.labels), shares, seed, groups)
            parts = replace(data, split=split)
            check_labels(parts)
        except DataError as error:
            log.warning("no part of the data is kept for validation: %s", error)
            return alone
        return parts

    def _outputs(self, X: Any) -> np.ndarray:  # noqa: N803
        """Outputs of all rows ``(rows, c)``; NaN for those that cannot be read."""
        check_is_fitted(self)
        rows, wrong = as_rows(X), dict[int, str]()
        outputs = np.full((len(rows), self.model_.target.outputs or 1), np.nan)
        for piece in read_rows(rows, (), self.workers):
            wrong.update(piece.wrong)
            refuse(wrong, self.on_invalid)
            if piece.graphs is not None:
                names = tuple(piece.names) if all(piece.names) else ()
                values = predict(self.model_, Dataset("rows", piece.graphs, names=names))
                outputs[piece.kept.numpy()] = values.double().numpy()
        report(wrong, len(rows))
        return outputs

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        tags = of_rows(super().__sklearn_tags__())
        tags.target_tags.multi_output = True
        return tags


class _Scored:
    """The score of scikit-learn, where each row has a prediction."""

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """Accuracy of classes, coefficient of determination of values.

        Raises:
            DataError: Naming rows that cannot be read, which have no prediction.
        """
        wrong: dict[int, str] = {}
        if self.on_invalid == "nan":  # type: ignore[attr-defined]
            for piece in read_rows(as_rows(X), (), self.workers):  # type: ignore[attr-defined]
                wrong.update(piece.wrong)
        if wrong:
            raise DataError(f"{describe(wrong)}; leave out rows without a prediction to score")
        found: float = super().score(X, y, sample_weight)  # type: ignore[misc]
        return found


class GraphClassifier(_Scored, ClassifierMixin, GraphEstimator):
    """A fine-tuned encoder as a classifier of molecules, or of graphs.

    Its options are those of :class:`GraphEstimator`. Labels are classes of any type, or several
    columns of 0 and 1, with NaN for unknown.

    Attributes:
        classes_: Labels, in the order of the columns of probabilities; of several label columns
            their numbers.
        model_: The :class:`gtl.Model` that :func:`gtl.finetune` returned.
    """

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Probabilities ``(rows, c)`` of the classes; of several label columns that of 1 in each.

        Rows that cannot be read are NaN if ``on_invalid`` is ``"nan"``.
        """
        found = self._outputs(X)
        if self.model_.target.kind == "binary" and not self.multilabel_:
            return np.concatenate([1 - found, found], 1)
        return found

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Most probable labels ``(rows,)``, or 0 and 1 for several label columns.

        With unreadable rows and ``on_invalid="nan"`` the array holds objects, ``None`` for those.
        """
        found = self.predict_proba(X)
        unknown = np.isnan(found).any(1)
        if self.multilabel_:
            chosen = (found > 0.5).astype(int)
        else:
            chosen = self.classes_[np.nan_to_num(found).argmax(1)]
        if unknown.any():
            chosen = chosen.astype(object)
            chosen[unknown] = None
        return chosen

    def _read_labels(self, y: Any) -> dict[str, Any]:
        values = np.asarray(y)
        self.multilabel_ = values.ndim == 2 and values.shape[1] > 1
        if self.multilabel_:
            values = check_array(values, dtype="float32", ensure_all_finite="allow-nan")
            if not (np.isnan(values) | np.isin(values, (0, 1))).all():
                raise DataError("several columns of `y` hold 0, 1 and NaN for unknown alone")
            self.classes_ = np.arange(values.shape[1])
            return {"labels": torch.from_numpy(values), "kind": "binary"}
        values = column_or_1d(values, warn=True)
        unknown = [i for i, value in enumerate(values) if value is None or value != value]
        if unknown:
            raise DataError(
                f"`y` has no label in {len(unknown)} rows, the first of them {unknown[0]}; leave "
                "them out"
            )
        check_classification_targets(values)
        self.classes_, codes = np.unique(values, return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError(f"`y` has 1 class ({self.classes_[0]}), expected two or more")
        names = tuple(map(str, self.classes_))
        if len(names) > 2:
            return {"labels": torch.from_numpy(codes), "kind": "multiclass", "class_names": names}
        column = torch.from_numpy(codes).float().unsqueeze(1)
        return {"labels": column, "kind": "binary", "class_names": names}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class GraphRegressor(_Scored, RegressorMixin, GraphEstimator):
    """A fine-tuned encoder as a regressor of molecules, or of graphs.

    Its options are those of :class:`GraphEstimator`. Labels are one or several columns of values,
    NaN for unknown.

    Attributes:
        model_: The :class:`gtl.Model` that :func:`gtl.finetune` returned.
    """

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Values ``(rows,)``, or ``(rows, t)`` if ``y`` had ``t`` columns.

        Rows that cannot be read are NaN if ``on_invalid`` is ``"nan"``.
        """
        found = self._outputs(X)
        return found[:, 0] if self.one_column_ else found

    def _read_labels(self, y: Any) -> dict[str, Any]:
        if y is None:
            raise DataError("`y` is None, expected a label for each row")
        options = {"dtype": "float32", "ensure_2d": False, "ensure_all_finite": "allow-nan"}
        values = check_array(y, input_name="y", **options)
        self.one_column_ = values.ndim == 1
        columns = values[:, None] if self.one_column_ else values
        return {"labels": torch.from_numpy(columns.copy()), "kind": "regression"}
