"""Reader of single graphs in the layout of gnn-benchmark (Shchur et al. 2018), or of features.

A file with the arrays ``features``, ``(items, h)``, and ``labels`` (``-1`` for missing), and
perhaps ``class_names``, becomes a graph without edges, for :func:`gtl.few_shot` and for encoders
that read single nodes. Its split is what the file has under ``train``, ``valid`` and ``test``, item
numbers each, or the one that the options describe, or none. Numbers of classes are those of the
file in either layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.data.find import find
from gtl.data.readers.matrices import adjacency_edges, dense_features
from gtl.data.splits import PARTS, node_split
from gtl.errors import DataError
from gtl.graph import Graph


def load_npz(
    name: str,
    root: Path | None,
    seed: int = 0,
    *,
    normalize: bool = False,
    labels_per_class: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    fractions: Sequence[float] | None = None,
) -> Dataset:
    """Read a graph with a class for each node, or features with a class for each row.

    Edges go both ways, once each, without loops or weights, whatever the file holds. Features
    become a dense float32 matrix (half a gigabyte for ``ms_academic_cs``). There is no published
    split: by default 20 nodes of each class train, 500 others validate and the rest test.

    A file of ``features`` and ``labels`` alone becomes a graph without edges; see the top of this
    module.

    Args:
        name: A file, here or in ``root``, or the name of one (without ``.npz``) in ``root`` or its
            folder ``npz-graphs``, such as ``amazon_electronics_photo``.
        root: Where to look if the file is not here.
        seed: Of the split.
        normalize: Divide each node's features by their sum, unless some are negative.
        labels_per_class: Training nodes of each class.
        valid: Validation nodes.
        test: Test nodes.
        fractions: Shares of ``train``, ``valid`` and ``test`` instead, drawn from all nodes.

    Raises:
        DataError: If the file is missing, damaged, holds pickles or does not fit together, or
            there are too few nodes for the split.
        ConfigError: If no root is known and the file is not here, or the options describe two
            splits.
    """
    places = (name, f"{name}.npz", f"npz-graphs/{name}.npz")
    path = find(f"npz:{name}", root, places, "put the file there")
    arrays = _read(path)
    if "features" in arrays:
        asked = seed, labels_per_class, valid, test, fractions
        return _feature_set(f"npz:{name}", path, arrays, normalize, asked)
    try:
        adjacency, features = _matrix(arrays, "adj"), _features(arrays)
        n = adjacency.shape[0]
        labels = _labels(arrays)
        src, dst = adjacency_edges(adjacency)
        x = None if features is None else dense_features(features, n, normalize)
    except DataError as error:
        raise DataError(f"{path}: {error}; get it again") from error
    return Dataset(
        f"npz:{name}",
        graph=Graph(src, dst, n, x),
        labels=labels,
        split=node_split(labels, seed, labels_per_class, valid, test, fractions),
        level="node",
        kind="multiclass",
        class_names=_class_names(arrays),
    )


def _feature_set(
    spec: str, path: Path, arrays: Mapping[str, np.ndarray], normalize: bool, asked: Sequence[Any]
) -> Dataset:
    """Items without edges, each with a row of features."""
    try:
        rows = arrays["features"]
        if rows.ndim != 2 or rows.dtype.kind not in "buif":
            raise DataError(f"`features` is {rows.dtype} {rows.shape}, expected numbers (items, h)")
        labels = _labels(arrays)
        if len(labels) != len(rows):
            raise DataError(f"there are {len(rows)} rows of `features` and {len(labels)} `labels`")
        x = dense_features(rows, len(rows), normalize)
        split = {part: _index(arrays, part) for part in PARTS if part in arrays}
    except DataError as error:
        raise DataError(f"{path}: {error}; write it again") from error
    if any(option is not None for option in asked[1:]):
        split = node_split(labels, *asked)
    none = torch.empty(0, dtype=torch.int64)
    return Dataset(
        spec,
        graph=Graph(none, none, len(x), x),
        labels=labels,
        split=split,
        level="node",
        kind="multiclass",
        class_names=_class_names(arrays),
    )


def _index(arrays: Mapping[str, np.ndarray], part: str) -> Tensor:
    index = arrays[part]
    if index.ndim != 1 or index.dtype.kind not in "iu":
        raise DataError(f"`{part}` is {index.dtype} {index.shape}, expected numbers of items")
    return torch.from_numpy(index.astype("int64"))


def _class_names(arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    names = arrays["class_names"].tolist() if "class_names" in arrays else ()
    return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except Exception as error:  # a damaged archive fails in many ways
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path} cannot be read as an npz file of plain arrays ({reason}); get it again, or "
            "save it again without pickled objects"
        ) from error


def _matrix(arrays: Mapping[str, np.ndarray], name: str) -> scipy.sparse.csr_matrix:
    parts = []
    for part in ("data", "indices", "indptr", "shape"):
        key = f"{name}_{part}"
        if key not in arrays:
            raise DataError(f"there is no array {key!r}, expected the layout of gnn-benchmark")
        if arrays[key].dtype.kind not in "buif":
            raise DataError(f"the array {key!r} is {arrays[key].dtype}, expected numbers")
        parts.append(arrays[key])
    data, indices, indptr, shape = parts
    try:
        return scipy.sparse.csr_matrix((data, indices, indptr), tuple(shape.tolist()))
    except (ValueError, TypeError, IndexError) as error:
        raise DataError(f"the arrays {name}_* are no sparse matrix ({error})") from error


def _features(arrays: Mapping[str, np.ndarray]) -> Any:
    """Sparse or, rarely, dense; some files have none."""
    if "attr_matrix" in arrays:
        return arrays["attr_matrix"]
    return _matrix(arrays, "attr") if "attr_data" in arrays else None


def _labels(arrays: Mapping[str, np.ndarray]) -> Tensor:
    labels = arrays.get("labels")
    if labels is None or labels.ndim != 1 or labels.dtype.kind not in "biu":
        came = "no array" if labels is None else f"{labels.dtype} {labels.shape}"
        raise DataError(f"`labels` is {came}, expected a class (integer) for each node")
    if len(labels) and labels.min() < -1:
        raise DataError(f"`labels` hold {labels.min()}, expected classes from 0, -1 for missing")
    return torch.from_numpy(labels.astype("int64"))
