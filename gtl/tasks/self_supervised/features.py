"""Node features, categorical or floating: their masks and prediction errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gtl.errors import ConfigError, ShapeError
from gtl.graph import Columns, Graph, Schema
from gtl.graph.augment import masked


@dataclass(frozen=True)
class Features:
    """The node features that a task was set up for, and which of them it predicts.

    Attributes:
        task: Name of the task in messages.
        columns: All features.
        predicted: Categorical columns to predict; floating features are predicted whole.
    """

    task: str
    columns: Columns
    predicted: tuple[int, ...] = ()

    @staticmethod
    def of(schema: Schema, task: str, predicted: Sequence[int] | None) -> Features:
        """Read them off a schema.

        Args:
            schema: What the graphs look like.
            task: Name of the task in messages.
            predicted: Categorical columns to predict, ``None`` for all.

        Raises:
            ConfigError: If nodes have no features or ``predicted`` are not among them.
        """
        columns = schema.node
        if columns is None or columns.width == 0:
            raise ConfigError(_no_features(task))
        if columns.categories is None:
            return Features(task, columns)
        chosen = tuple(range(columns.width) if predicted is None else predicted)
        for column in chosen:
            if not 0 <= column < columns.width:
                raise ConfigError(
                    f"`columns` names column {column}, expected columns in 0..{columns.width - 1}"
                )
        if not chosen:
            raise ConfigError("`columns` is empty; name at least one column, or None for all")
        return Features(task, columns, chosen)

    @property
    def outputs(self) -> list[int]:
        """Columns of a prediction for each predicted feature: its categories, or all floats."""
        if self.columns.categories is None:
            return [self.columns.width]
        return [self.columns.categories[column] for column in self.predicted]

    def read(self, graph: Graph) -> Tensor:
        """The features ``(n, d)`` of a graph.

        Raises:
            ConfigError: If it has none.
            ShapeError: If they are of another kind or width.
        """
        x = graph.x
        if x is None:
            raise ConfigError(_no_features(self.task))
        if x.shape[1] != self.columns.width:
            raise ShapeError(
                f"`x` has {x.shape[1]} columns, {self.task} was set up for {self.columns.width}; "
                "use data prepared in the same way"
            )
        if x.is_floating_point() != (self.columns.categories is None):
            kind = "categorical" if self.columns.categories is not None else "floating"
            raise ShapeError(
                f"`x` is {x.dtype}, {self.task} was set up for {kind} features; "
                "use data prepared in the same way"
            )
        return x

    def mask(self, x: Tensor) -> Tensor:
        """What a masked node has, ``(d,)``."""
        return masked(x, self.columns)

    def errors(self, predicted: Tensor, truth: Tensor) -> Tensor:
        """Cross-entropy averaged over the predicted columns, or one minus the cosine if floating.

        Unlike a squared error, the latter depends neither on the unit nor on the number of
        features. A row of zeros has no direction: its error is 1 and it has no gradient.

        Args:
            predicted: ``(b, sum of outputs)``.
            truth: Features ``(b, d)``.

        Returns:
            ``(b,)``.
        """
        if truth.is_floating_point():
            return 1 - F.cosine_similarity(predicted, truth.to(predicted.dtype), dim=1)
        parts = predicted.split(self.outputs, dim=1)
        errors = [
            F.cross_entropy(part, truth[:, column], reduction="none")
            for part, column in zip(parts, self.predicted)
        ]
        return torch.stack(errors).mean(0)

    def directions(self, predicted: Tensor, truth: Tensor) -> Tensor:
        """One minus the cosine with each predicted feature, ``(b, features)``.

        A category counts as the unit vector of its place; floating features are one vector.
        """
        if truth.is_floating_point():
            return self.errors(predicted, truth).unsqueeze(1)
        cosines = [
            F.cosine_similarity(part, F.one_hot(truth[:, column], size).to(part.dtype), dim=1)
            for part, column, size in zip(
                predicted.split(self.outputs, dim=1), self.predicted, self.outputs
            )
        ]
        return 1 - torch.stack(cosines, 1)


def _no_features(task: str) -> str:
    return (
        f"{task} needs node features, the graphs have none; add some (such as degrees) or leave "
        "this task out"
    )
