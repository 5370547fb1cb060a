"""Reader of Planetoid's citation graphs (Yang et al. 2016), with a restricted unpickler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.data.readers.matrices import undirected
from gtl.data.readers.pickled import read_arrays
from gtl.data.splits import few_labels_split
from gtl.errors import ConfigError, DataError
from gtl.graph import Graph
from gtl.suggest import nearest

NAMES = ("cora", "citeseer", "pubmed")
_VALID = 500
_PIECES = ("x", "y", "tx", "ty", "allx", "ally", "graph", "test.index")


def load_planetoid(
    name: str,
    root: Path | None,
    seed: int = 0,
    *,
    normalize: bool = True,
    labels_per_class: int | None = None,
) -> Dataset:
    """Read a citation graph: papers with bags of words, in one of a few fields each.

    Edges go both ways, once each, without loops. Papers missing in the files (CiteSeer has some)
    have no words, no edges and no label.

    Args:
        name: ``cora``, ``citeseer`` or ``pubmed``.
        root: Folder with the files ``ind.<name>.*``, or one with a folder ``planetoid`` of them.
        seed: Of the split, with ``labels_per_class``.
        normalize: Divide each paper's words by their number (Kipf & Welling 2017).
        labels_per_class: Draw a split with so many training labels of each class instead of the
            public one (20 of each); validation and test stay as large as there.

    Raises:
        DataError: If files are missing, damaged or name anything but arrays.
        ConfigError: If no root is known.
    """
    name = name.lower()
    if name not in NAMES:
        raise DataError(f"planetoid:{name} is unknown; {nearest(name, NAMES)}")
    if root is None:
        raise ConfigError(
            f"planetoid:{name} needs a folder to look in; give root (--root) or set GTL_DATA"
        )
    folder = _find(name, root)
    pieces = {piece: _read(folder / f"ind.{name}.{piece}") for piece in _PIECES[:-1]}
    test = _read_test(folder / f"ind.{name}.test.index")
    where = f"planetoid:{name} in {folder}"
    x, labels = _rows(pieces, test, where)
    graph = Graph(
        *_edges(pieces["graph"], len(x), where), len(x), _normalized(x) if normalize else x
    )
    known = len(pieces["y"])
    split = {
        "train": torch.arange(known),
        "valid": torch.arange(known, min(known + _VALID, len(pieces["ally"]))),
        "test": test.sort().values,
    }
    if labels_per_class is not None:
        sizes = {part: len(split[part]) for part in ("valid", "test")}
        split = few_labels_split(labels, labels_per_class, **sizes, seed=seed)
    return Dataset(
        f"planetoid:{name}",
        graph=graph,
        labels=labels,
        split=split,
        level="node",
        kind="multiclass",
    )


def _find(name: str, root: Path) -> Path:
    for folder in (root / "planetoid", root):
        if (folder / f"ind.{name}.graph").is_file():
            return folder
    raise DataError(
        f"planetoid:{name}: there is no file ind.{name}.graph in {root / 'planetoid'} or {root}; "
        f"put the files ind.{name}.* of kimiyoung/planetoid there"
    )


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            value = read_arrays(file)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; get it again") from error
    except DataError as error:
        raise DataError(f"{path} is refused: {error}") from error
    if path.suffix == ".graph":
        if not isinstance(value, dict):
            raise DataError(f"{path} holds a {type(value).__name__}, expected lists of neighbors")
        return value
    if scipy.sparse.issparse(value):
        value = value.toarray()
    if isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in "buif":
        return torch.from_numpy(value.astype("float32"))
    raise DataError(f"{path} holds a {type(value).__name__}, expected a matrix of numbers")


def _read_test(path: Path) -> Tensor:
    try:
        test = torch.tensor([int(line) for line in path.read_text().split()])
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); get it again") from error
    if not len(test) or len(test.unique()) != len(test):
        raise DataError(f"{path} must name each test paper once; get it again")
    return test


def _rows(pieces: Mapping[str, Tensor], test: Tensor, where: str) -> tuple[Tensor, Tensor]:
    """Words and labels of all papers: those of ``allx`` first, test papers by their numbers."""
    first, known = len(pieces["allx"]), len(pieces["y"])
    pairs = (("x", "y"), ("tx", "ty"), ("allx", "ally"))
    agree = all(len(pieces[words]) == len(pieces[fields]) for words, fields in pairs)
    if not agree or len(pieces["tx"]) != len(test) or int(test.min()) < first or known > first:
        sizes = ", ".join(f"{piece} {len(value)}" for piece, value in pieces.items())
        raise DataError(
            f"{where}: the files do not belong together ({sizes}, test.index {len(test)} "
            f"from {int(test.min())}); get them again"
        )
    n = int(test.max()) + 1
    x = pieces["allx"].new_zeros(n, pieces["allx"].shape[1])
    fields = pieces["ally"].new_zeros(n, pieces["ally"].shape[1])
    x[:first], fields[:first] = pieces["allx"], pieces["ally"]
    x[test], fields[test] = pieces["tx"], pieces["ty"]
    labels = fields.argmax(1).masked_fill(fields.sum(1) == 0, -1)
    return x, labels


def _edges(neighbors: Mapping[int, Sequence[int]], n: int, where: str) -> tuple[Tensor, Tensor]:
    """Both directions of every citation, each once, sorted by the sending paper."""
    try:
        pairs = [(int(a), int(b)) for a, others in neighbors.items() for b in others]
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: the graph is not lists of numbers; get it again") from error
    ends = torch.tensor(pairs, dtype=torch.int64).view(-1, 2)
    if len(ends) and (int(ends.min()) < 0 or int(ends.max()) >= n):
        raise DataError(f"{where}: the graph names papers outside 0..{n - 1}; get it again")
    return undirected(ends[:, 0], ends[:, 1], n)


def _normalized(x: Tensor) -> Tensor:
    total = x.sum(1, keepdim=True)
    return x / total.masked_fill(total == 0, 1)
