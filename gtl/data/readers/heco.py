"""Reader of heterogeneous graphs in the folders of HeCo (Wang et al. 2021).

A type is a letter. ``pa.txt`` lists edges from nodes of type ``p`` to nodes of type ``a``; their
reverses ``ap`` are a type of their own, unless there is a file ``ap.txt``. Other files (paths of
several steps, lists of neighbors) follow from these and are not read.

Nodes are numbered type by type, the labeled type first, then by letter, and named by both (``p0``,
``p1``, ...). Edge types are numbered by the names of their files, each before its reverse.
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
from gtl.data.readers.matrices import dense_features
from gtl.data.readers.number_file import read_numbers
from gtl.errors import DataError
from gtl.graph.heterogeneous import EdgesOfType, NodesOfType, join
from gtl.suggest import nearest

_MAGIC = b"\x93NUMPY"


def load_typed(
    name: str,
    root: Path | None,
    seed: int = 0,
    *,
    labels_per_class: int = 20,
    normalize: bool = True,
    features: Sequence[str] | str | None = None,
    labeled: str | None = None,
) -> Dataset:
    """Read one graph with types of nodes and edges and a class for each node of one type.

    Items are all nodes; those of other types have no label. How nodes and edges are numbered is
    described at the top of this module.

    Features become dense float32 columns, the same for all types if they are equally many, else
    side by side, 0 where a type has none: 86 MB for ``acm``, 482 MB for ``dblp``, or 40 MB without
    the features of its papers (``features``).

    Args:
        name: A folder, here, in ``root`` or in its folder ``hetero``.
        root: Where to look if the folder is not here.
        seed: Not used: the splits are published.
        labels_per_class: Which published split to take, 20, 40 or 60 in HeCo's folders.
        normalize: Divide each node's features by their sum, in types without negative ones.
        features: Letters of types, as a list or between commas; by default all with features.
        labeled: Letter of the labeled type; by default the one with as many nodes as labels.

    Raises:
        DataError: If files are missing, damaged or do not fit together, or the labeled type or a
            type of ``features`` cannot be told.
        ConfigError: If no root is known and the folder is not here.
    """
    folder = find(
        f"typed:{name}",
        root,
        (name, f"hetero/{name}"),
        "put the folder there, with labels.npy and edges such as pa.txt",
        lambda path: (path / "labels.npy").is_file(),
    )
    edges = _read_edges(folder)
    matrices = {path.name[0]: _stored(path) for path in sorted(folder.glob("?_feat.npz"))}
    labels = _whole_numbers(folder / "labels.npy")
    counts = _counts(folder, edges, matrices, labels, labeled)
    chosen = _chosen(features, list(matrices), folder)
    nodes = [
        NodesOfType(n, {"x": _dense(folder, t, matrices, n, normalize) if t in chosen else None})
        for t, n in counts.items()
    ]
    graph = join(nodes, _edge_parts(edges, list(counts)), typed=True)
    others = labels.new_full((graph.num_nodes - len(labels),), -1)
    return Dataset(
        f"typed:{name}",
        graph=graph,
        labels=torch.cat([labels, others]),
        split=_split(folder, labels_per_class, len(labels)),
        level="node",
        kind="multiclass",
        names=tuple(f"{letter}{i}" for letter, count in counts.items() for i in range(count)),
    )


# -- nodes -----------------------------------------------------------------------------------------


def _counts(
    folder: Path,
    edges: Mapping[str, Tensor],
    matrices: Mapping[str, Any],
    labels: Tensor,
    labeled: str | None,
) -> dict[str, int]:
    """Nodes of each type, the labeled one first: rows of its features, or the last one in use."""
    used = dict.fromkeys(sorted({*"".join(edges), *matrices}), 0)
    for pair, ends in edges.items():
        for letter, column in zip(pair, ends.unbind(1)):
            used[letter] = max(used[letter], int(column.max()) + 1)
    counts = {**used, **{letter: matrix.shape[0] for letter, matrix in matrices.items()}}
    if labeled is None:
        labeled = _labeled_type(folder, counts, len(labels))
    elif labeled not in counts:
        raise DataError(f"{folder} has no type {labeled!r}; {nearest(labeled, counts)}")
    if labeled not in matrices:
        counts[labeled] = len(labels)
    _check_counts(folder, counts, used, labeled, len(labels))
    return {labeled: counts.pop(labeled), **counts}


def _labeled_type(folder: Path, counts: Mapping[str, int], labels: int) -> str:
    fitting = [letter for letter, count in counts.items() if count == labels]
    if len(fitting) != 1:
        sizes = ", ".join(f"{count} of {letter!r}" for letter, count in counts.items())
        raise DataError(
            f"{folder}: {labels} labels fit {len(fitting)} types (there are {sizes} nodes); name "
            "the labeled type with labeled=... (--labeled)"
        )
    return fitting[0]


def _check_counts(
    folder: Path, counts: Mapping[str, int], used: Mapping[str, int], labeled: str, labels: int
) -> None:
    if counts[labeled] != labels:
        raise DataError(
            f"{folder} has {labels} labels for {counts[labeled]} nodes of type {labeled!r}; name "
            "another type with labeled=... (--labeled), or copy the data set again"
        )
    for letter, most in used.items():
        if most > counts[letter]:
            raise DataError(
                f"{folder}: edges name node {most - 1} of type {letter!r}, which has "
                f"{counts[letter]} nodes; copy the data set again"
            )


def _chosen(features: Sequence[str] | str | None, known: Sequence[str], folder: Path) -> list[str]:
    """Types whose features are read."""
    if features is None:
        return list(known)
    if isinstance(features, str):
        features = [letter.strip() for letter in features.split(",")]
    for letter in features:
        if letter not in known:
            raise DataError(f"{folder} has no features of {letter!r}; {nearest(letter, known)}")
    return list(features)


# -- edges -----------------------------------------------------------------------------------------


def _read_edges(folder: Path) -> dict[str, Tensor]:
    """Ends ``(m, 2)``, each pair once, by the two letters of the file."""
    files = [path for path in sorted(folder.glob("??.txt")) if path.stem.isalpha()]
    if not files:
        raise DataError(f"{folder} has no edges such as pa.txt; copy the data set again")
    edges = {}
    for path in files:
        ends = read_numbers(path, columns=2, separator=r"\s+").unique(dim=0)
        if int(ends.min()) < 0:
            raise DataError(
                f"{path} names node {int(ends.min())}, expected 0 or more; count from 0"
            )
        edges[path.stem] = ends
    return edges


def _edge_parts(edges: Mapping[str, Tensor], letters: Sequence[str]) -> list[EdgesOfType]:
    """Each type of edges and, unless it has a file of its own, its reverse."""
    parts = []
    for pair, ends in edges.items():
        types = letters.index(pair[0]), letters.index(pair[1])
        parts.append(EdgesOfType(ends[:, 0], ends[:, 1], {}, types))
        if pair[0] == pair[1] or pair[::-1] not in edges:
            parts.append(EdgesOfType(ends[:, 1], ends[:, 0], {}, types[::-1]))
    return parts


# -- files -----------------------------------------------------------------------------------------


def _stored(path: Path) -> Any:
    """An array or a sparse matrix; HeCo's folders call both ``.npz``."""
    try:
        with path.open("rb") as file:
            plain = file.read(len(_MAGIC)) == _MAGIC
        if plain:
            return np.load(path, allow_pickle=False)
        return scipy.sparse.load_npz(path)  # which refuses pickles, too
    except Exception as error:  # a damaged archive fails in many ways
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read ({reason}); copy the data set again") from error


def _whole_numbers(path: Path) -> Tensor:
    values = _stored(path)
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "biuf":
        whole = values.astype("int64")
        if (whole == values).all():
            return torch.from_numpy(whole)
    raise DataError(f"{path} is no list of whole numbers; copy the data set again")


def _dense(
    folder: Path, letter: str, matrices: Mapping[str, Any], count: int, normalize: bool
) -> Tensor:
    try:
        return dense_features(matrices[letter], count, normalize)
    except DataError as error:
        path = folder / f"{letter}_feat.npz"
        raise DataError(f"{path}: {error}; copy the data set again") from error


def _split(folder: Path, labels_per_class: int, labels: int) -> dict[str, Tensor]:
    if not (folder / f"train_{labels_per_class}.npy").is_file():
        known = [path.stem.partition("_")[2] for path in sorted(folder.glob("train_*.npy"))]
        raise DataError(
            f"{folder} has no split with {labels_per_class} labels per class; known: "
            f"{', '.join(known) or 'none'}"
        )
    split = {}
    for part, stem in (("train", "train"), ("valid", "val"), ("test", "test")):
        path = folder / f"{stem}_{labels_per_class}.npy"
        split[part] = _whole_numbers(path).sort().values
        if len(split[part]) and not 0 <= int(split[part][0]) <= int(split[part][-1]) < labels:
            raise DataError(
                f"{path} names nodes outside 0..{labels - 1}, the labeled type; copy the data set "
                "again"
            )
    return split
