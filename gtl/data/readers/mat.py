"""Reader of networks in MATLAB files, several labels a node (Shen et al. 2020).

One file is one domain; files with the same columns make a source and a target for transfer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.data.find import find
from gtl.data.readers.matrices import adjacency_edges, dense_features
from gtl.data.splits import node_split
from gtl.errors import DataError
from gtl.graph import Graph

_VARIABLES = ("network", "attrb", "group")


def load_mat(
    name: str,
    root: Path | None,
    seed: int = 0,
    *,
    normalize: bool = True,
    labels_per_class: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    fractions: Sequence[float] | None = None,
) -> Dataset:
    """Read a graph whose nodes have labels of their own number: a binary column for each label.

    The file holds ``network`` (adjacency), ``attrb`` (features; may be absent) and ``group``
    (nodes by labels, 0 or 1). Edges go both ways, once each, without loops or weights. Features
    become a dense float32 matrix. A node without any label counts as unlabeled: its row is NaN.
    The metric is the F1 of each column, averaged (macro F1).

    There is no published split. By default 20 nodes of each label train, 500 others validate and
    the rest test. A node drawn for one of its labels is not drawn again for another.

    Args:
        name: A file, here or in ``root``, with ``.mat`` or without, or in its folder
            ``citation-domains``: ``dblpv7``, ``acmv9``, ``citationv1``.
        root: Where to look if the file is not here.
        seed: Of the split.
        normalize: Divide each node's features by their sum, unless some are negative.
        labels_per_class: Training nodes of each label.
        valid: Validation nodes.
        test: Test nodes.
        fractions: Shares of ``train``, ``valid`` and ``test`` instead, drawn from labeled nodes.

    Raises:
        DataError: If the file is missing, damaged or does not fit together, or there are too few
            nodes for the split.
        ConfigError: If no root is known and the file is not here, or the options describe two
            splits.
    """
    places = (name, f"{name}.mat", f"citation-domains/{name}", f"citation-domains/{name}.mat")
    path = find(f"mat:{name}", root, places, "put the file there")
    values = _read(path)
    try:
        src, dst = adjacency_edges(values["network"])
        n = values["network"].shape[0]
        x = dense_features(values["attrb"], n, normalize) if "attrb" in values else None
        labels = _labels(values["group"], n)
    except DataError as error:
        raise DataError(f"{path}: {error}; get it again") from error
    return Dataset(
        f"mat:{name}",
        graph=Graph(src, dst, n, x),
        labels=labels,
        split=node_split(labels, seed, labels_per_class, valid, test, fractions),
        level="node",
        kind="binary",
        metric="f1",
    )


def _read(path: Path) -> Mapping[str, Any]:
    import scipy.io

    # Damage inside a compressed file (MATLAB's default) shows in its checksum; some damage inside
    # one saved without compression ends the process in SciPy's reader.
    try:
        values = scipy.io.loadmat(path, variable_names=_VARIABLES)
    except NotImplementedError as error:
        raise DataError(
            f"{path} is of MATLAB 7.3, which is not read; save it again with save(..., '-v7')"
        ) from error
    except Exception as error:  # a damaged file fails in many ways
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path} cannot be read as a MATLAB file ({reason}); get it again"
        ) from error
    for variable in ("network", "group"):
        if variable not in values:
            held = ", ".join(shape[0] for shape in scipy.io.whosmat(path)) or "nothing"
            raise DataError(
                f"{path} has no variable {variable!r}, it has {held}; rename the variable"
            )
    return values


def _labels(group: Any, n: int) -> Tensor:
    """Float ``(n, t)`` of 0 and 1; a row of NaN for a node without labels."""
    marks = dense_features(group, n, normalize=False, what="labels in `group`")
    if not bool(((marks == 0) | (marks == 1)).all()):
        raise DataError("`group` holds other numbers than 0 and 1")
    return marks.masked_fill(~marks.any(1, keepdim=True), torch.nan)
