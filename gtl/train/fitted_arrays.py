"""Fitted tables of numbers: linear maps, decision trees and kernels as plain arrays.

What scikit-learn fitted is kept as arrays and not as its objects: those could be stored by a pickle
only, and fitting them again would take the time of the fit and give another model with another
version of scikit-learn. From arrays the predictions are the same everywhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array: TypeAlias = NDArray[Any]
_CELLS = 1 << 21  # pairs of a row and a tree that are followed at once


class Fitted(ABC):
    """Arrays that turn features ``(k, d)`` into outputs ``(k, c)``."""

    @abstractmethod
    def __call__(self, x: Array) -> Array:
        """Outputs, float64 ``(k, c)``, of features float32 ``(k, d)``."""

    def state(self) -> dict[str, Tensor]:
        """All arrays by name."""
        return {f.name: torch.from_numpy(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]

    @property
    def numbers(self) -> int:
        """How many numbers the arrays hold."""
        return sum(tensor.numel() for tensor in self.state().values())


@dataclass(frozen=True, eq=False)
class Constant(Fitted):
    """The same outputs for every row.

    Attributes:
        bias: Float64 ``(c,)``.
    """

    bias: Array

    def __call__(self, x: Array) -> Array:
        """See :class:`Fitted`."""
        return np.tile(self.bias, (len(x), 1))


@dataclass(frozen=True, eq=False)
class Linear(Fitted):
    """A linear map of features that are clipped to their range in training.

    Attributes:
        low: Least value of each feature, float64 ``(d,)``.
        high: Largest, likewise.
        weight: Float64 ``(d, c)``.
        bias: Float64 ``(c,)``.
    """

    low: Array
    high: Array
    weight: Array
    bias: Array

    def __call__(self, x: Array) -> Array:
        """See :class:`Fitted`."""
        found: Array = x.astype(np.float64).clip(self.low, self.high) @ self.weight + self.bias
        return found


@dataclass(frozen=True, eq=False)
class Trees(Fitted):
    """A sum of decision trees.

    A node sends a row to the left if its feature is at most the threshold; a leaf is its own child.
    Thresholds are rounded down to float32, which changes no decision about float32 features.

    Attributes:
        feature: Int32 ``(nodes,)``.
        threshold: Float32 ``(nodes,)``.
        left: Int32 ``(nodes,)``.
        right: Likewise.
        value: What a leaf adds to the outputs, float32 ``(nodes, v)``.
        root: First node of each tree, int64 ``(trees,)``.
        output: First output that each tree adds to, int64 ``(trees,)``.
        scale: Factor of the sums, float64 ``(1,)``.
        bias: Added after that, float64 ``(c,)``.
    """

    feature: Array
    threshold: Array
    left: Array
    right: Array
    value: Array
    root: Array
    output: Array
    scale: Array
    bias: Array

    @staticmethod
    def of(
        trees: Sequence[Mapping[str, Array]], outputs: Sequence[int], scale: float, bias: Array
    ) -> Trees:
        """Join trees, each with ``feature``, ``threshold``, ``left``, ``right`` and ``value``.

        Args:
            trees: Children are numbered within the tree; leaves have negative ones, or themselves.
            outputs: First output that each adds to.
            scale: Factor of the sums.
            bias: Added after that, ``(c,)``.
        """
        sizes = np.array([len(tree["left"]) for tree in trees])
        root = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        joined: dict[str, list[Array]] = {"left": [], "right": []}
        for start, tree in zip(root, trees):
            own = np.arange(len(tree["left"]))
            leaf = tree["left"] < 0
            for side, found in joined.items():
                found.append(np.where(leaf, own, tree[side]) + start)
        return Trees(
            np.concatenate([np.maximum(t["feature"], 0) for t in trees]).astype(np.int32),
            _floor(np.concatenate([t["threshold"] for t in trees])),
            np.concatenate(joined["left"]).astype(np.int32),
            np.concatenate(joined["right"]).astype(np.int32),
            np.concatenate([t["value"] for t in trees]).astype(np.float32),
            root,
            np.array(outputs, dtype=np.int64),
            np.array([scale], dtype=np.float64),
            np.asarray(bias, dtype=np.float64),
        )

    def __call__(self, x: Array) -> Array:
        """See :class:`Fitted`."""
        x = np.ascontiguousarray(x, dtype=np.float32)
        size = max(1, _CELLS // max(len(self.root), 1))
        parts = [self._sums(x[start : start + size]) for start in range(0, len(x), size)]
        sums = np.concatenate(parts) if parts else np.zeros((0, len(self.bias)))
        return sums * self.scale + self.bias

    def _sums(self, x: Array) -> Array:
        values = self.value[self._leaves(x)].astype(np.float64)  # (k, trees, v)
        found = np.zeros((len(x), len(self.bias)))
        for first in np.unique(self.output):
            own = values[:, self.output == first].sum(1)  # (k, v)
            found[:, first : first + own.shape[1]] += own
        return found

    def _leaves(self, x: Array) -> Array:
        """The leaf of each row in each tree, ``(k, trees)``."""
        rows = np.arange(len(x))[:, None]
        node = np.tile(self.root, (len(x), 1))
        while True:
            goes_left = x[rows, self.feature[node]] <= self.threshold[node]
            after = np.where(goes_left, self.left[node], self.right[node])
            if np.array_equal(after, node):
                return node
            node = after


@dataclass(frozen=True, eq=False)
class Kernel(Fitted):
    """Gaussian processes with Matern kernels (3/2) of standardized features, one per output.

    The kernel of output ``c`` is ``amplitude[c] (1 + s) exp(-s) + offset[c]``, where ``s`` is the
    distance of two rows times the square root of 3 over ``length[c]``.

    Attributes:
        low: Least value of each feature, float64 ``(d,)``; smaller ones are raised to it.
        high: Largest, likewise.
        mean: What is subtracted, float64 ``(d,)``.
        scale: What that is divided by, float64 ``(d,)``.
        rows: Standardized training rows, float64 ``(n, d)``.
        amplitude: Float64 ``(c,)``.
        length: Float64 ``(c,)``.
        offset: Float64 ``(c,)``.
        weight: Of each training row, float64 ``(c, n)``.
        bias: Float64 ``(c,)``.
        spread: What the training rows take from the prior variance of a logit, float32 ``(n, n)``;
            ``(0, 0)`` where outputs are posterior means alone.
    """

    low: Array
    high: Array
    mean: Array
    scale: Array
    rows: Array
    amplitude: Array
    length: Array
    offset: Array
    weight: Array
    bias: Array
    spread: Array

    def __call__(self, x: Array) -> Array:
        """See :class:`Fitted`."""
        scores = (x.astype(np.float64).clip(self.low, self.high) - self.mean) / self.scale
        size = max(1, _CELLS // max(len(self.rows), 1))
        parts = [self._outputs(scores[i : i + size]) for i in range(0, len(x), size)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.bias)))

    def _outputs(self, scores: Array) -> Array:
        squares = (scores**2).sum(1)[:, None] + (self.rows**2).sum(1) - 2 * scores @ self.rows.T
        distances = np.sqrt(3 * squares.clip(0))
        found = np.empty((len(scores), len(self.bias)))
        for output, (amplitude, length) in enumerate(zip(self.amplitude, self.length)):
            s = distances / length
            kernel = amplitude * (1 + s) * np.exp(-s) + self.offset[output]
            found[:, output] = kernel @ self.weight[output] + self.bias[output]
            if self.spread.size:  # the logit of the mean probability (MacKay 1992)
                known = ((kernel @ self.spread) * kernel).sum(1)
                variance = amplitude + self.offset[output] - known
                found[:, output] /= np.sqrt(1 + np.pi * variance.clip(0) / 8)
        return found


FITTED: dict[str, type[Fitted]] = {
    "constant": Constant,
    "linear": Linear,
    "trees": Trees,
    "kernel": Kernel,
}


def fitted_state(fitted: Fitted) -> dict[str, Any]:
    """Name and arrays, for a checkpoint."""
    name = next(name for name, kind in FITTED.items() if type(fitted) is kind)
    return {"name": name, "arrays": fitted.state()}


def fitted_from(state: Mapping[str, Any]) -> Fitted:
    """Undo :func:`fitted_state`."""
    arrays = {name: tensor.numpy() for name, tensor in state["arrays"].items()}
    return FITTED[state["name"]](**arrays)


def _floor(values: Array) -> Array:
    """Largest float32 at most each value, so that ``x <= value`` stays for every float32 ``x``."""
    with np.errstate(over="ignore"):
        near = values.astype(np.float32)
    above = near.astype(np.float64) > values
    found: Array = np.where(above, np.nextafter(near, np.float32(-np.inf)), near)
    return found
