"""Reader of graph classification sets of the TU collection (Morris et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gtl.data.dataset import Dataset
from gtl.data.find import find
from gtl.data.readers.number_file import read_numbers
from gtl.data.splits import FRACTIONS, fold_split, stratified_split
from gtl.errors import ConfigError, DataError
from gtl.graph import Columns, Schema
from gtl.graph.pack import PackedGraphs

MAX_DEGREE = 255


def load_tu(
    name: str,
    root: Path | None,
    seed: int = 0,
    *,
    attributes: bool = True,
    normalize: bool = True,
    max_degree: int = MAX_DEGREE,
    fractions: Sequence[float] | None = None,
    folds: int | None = None,
    fold: int | None = None,
) -> Dataset:
    """Read graphs with a class each; nothing is written beside the data.

    Edges are those of the file, each once and without loops. Features of nodes, and likewise of
    edges, follow from what the files hold:

    - labels alone are categorical columns, numbered in ascending order of the labels;
    - attributes alone are floating columns;
    - both are floating columns: one for each label, of 0 and 1, then the attributes. With
      ``attributes=False`` they are the labels alone, as most published results use them;
    - nodes with neither get their degree, incoming edges counted, as one categorical column of
      ``max_degree + 1`` categories. Edges with neither have no features.

    Two classes become one binary column, more become classes; the metric of both is accuracy. Class
    names are the values in the file, so that the classes of two files can be matched.

    Args:
        name: Such as ``MUTAG``; the files ``<name>_A.txt``, ... lie in ``root``, in its folder
            ``<name>`` or ``tu/<name>``, or in a folder ``raw`` there.
        root: Folder to look in.
        seed: Of the split.
        attributes: Whether to read the continuous attributes.
        normalize: Shift and scale each attribute to mean 0 and variance 1 over the whole set.
        max_degree: Degrees above it count as it.
        fractions: Shares of ``train``, ``valid`` and ``test``, drawn class by class;
            80/10/10 by default.
        folds: Cross-validation with so many folds instead; 10 are customary.
        fold: Number of the test fold, from 0; the next one validates.

    Raises:
        DataError: If files are missing, damaged or do not fit together, or a class is too small
            for the split.
        ConfigError: If no root is known, or the options describe two splits.
    """
    if max_degree < 0:
        raise ConfigError(f"`max_degree` is {max_degree}, expected 0 or more")
    prefix = _find(name, root)
    labels, class_names = _classes(read_numbers(_file(prefix, "graph_labels"), columns=1)[:, 0])
    graphs = _read_graphs(prefix, len(labels), attributes, normalize, max_degree)
    return Dataset(
        f"tu:{name}",
        graphs,
        labels=labels,
        split=_split(labels, seed, fractions, folds, fold),
        kind="binary" if labels.is_floating_point() else "multiclass",
        metric="acc",
        class_names=class_names,
    )


def _split(
    labels: Tensor,
    seed: int,
    fractions: Sequence[float] | None,
    folds: int | None,
    fold: int | None,
) -> dict[str, Tensor]:
    if folds is None and fold is not None:
        raise ConfigError(
            f"`fold` is {fold} but `folds` is not given; give their number, such as 10"
        )
    if folds is None:
        return stratified_split(labels, FRACTIONS if fractions is None else fractions, seed)
    if fractions is not None:
        raise ConfigError("`fractions` and `folds` are two ways to split; give one")
    return fold_split(labels, folds, fold or 0, seed)


def _classes(values: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """A binary column or classes, numbered in ascending order, and what the file calls them."""
    known, classes = values.unique(return_inverse=True)
    labels = classes.float().unsqueeze(1) if len(known) == 2 else classes
    return labels, tuple(str(value) for value in known.tolist())


# -- graphs ----------------------------------------------------------------------------------------


def _read_graphs(
    prefix: Path, g: int, attributes: bool, normalize: bool, max_degree: int
) -> PackedGraphs:
    owners = read_numbers(_file(prefix, "graph_indicator"), columns=1)[:, 0] - 1
    if bool((owners.diff() < 0).any()) or int(owners[0]) < 0 or int(owners[-1]) >= g:
        raise DataError(
            f"{prefix}_graph_indicator.txt must name graphs 1..{g} (those of graph_labels.txt) in "
            "ascending order; copy the data set again"
        )
    listed = read_numbers(_file(prefix, "A"), columns=2) - 1
    rows = _kept_edges(prefix, listed, owners)
    src, dst = listed[rows].unbind(1)
    x, node = _features(prefix, "node", len(owners), attributes, normalize)
    e, edge = _features(prefix, "edge", len(listed), attributes, normalize)
    if x is None:
        degrees = torch.bincount(dst, minlength=len(owners))
        x, node = degrees.clamp(max=max_degree).unsqueeze(1), Columns((max_degree + 1,))
    starts = _offsets(torch.bincount(owners, minlength=g))
    first = starts[owners[src]]  # of the edge's graph
    return PackedGraphs(
        starts,
        _offsets(torch.bincount(owners[src], minlength=g)),
        src=src - first,
        dst=dst - first,
        schema=Schema(node, edge),
        x=x,
        e=None if e is None else e[rows],
    ).compact()


def _kept_edges(prefix: Path, ends: Tensor, owners: Tensor) -> Tensor:
    """Rows of the file that become edges, int64 ``(m,)``, ordered by their nodes."""
    n = len(owners)
    bad = ((ends < 0) | (ends >= n)).any(1)
    if not bool(bad.any()):
        bad = owners[ends[:, 0]] != owners[ends[:, 1]]
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise DataError(
            f"{prefix}_A.txt row {row + 1} joins nodes {(ends[row] + 1).tolist()}, expected two "
            f"nodes of one graph out of 1..{n}; copy the data set again"
        )
    apart = (ends[:, 0] != ends[:, 1]).nonzero().flatten()
    code = ends[apart, 0] * n + ends[apart, 1]
    _, first = np.unique(code.numpy(), return_index=True)
    return apart[torch.from_numpy(first)]


def _features(
    prefix: Path, what: str, count: int, attributes: bool, normalize: bool
) -> tuple[Tensor | None, Columns | None]:
    """Features of all nodes or listed edges as :func:`load_tu` describes them."""
    labels = _optional(prefix, f"{what}_labels", "int64", count)
    values = _optional(prefix, f"{what}_attributes", "float64", count) if attributes else None
    numbered, categories = [], []
    for column in () if labels is None else labels.unbind(1):
        known, number = column.unique(return_inverse=True)
        numbered.append(number)
        categories.append(len(known))
    if values is None:
        if not numbered:
            return None, None
        return torch.stack(numbered, 1), Columns(tuple(categories))
    if normalize:
        deviation = values.std(0, correction=0)
        values = (values - values.mean(0)) / deviation.masked_fill(deviation == 0, 1)
    marks = [F.one_hot(number, count) for number, count in zip(numbered, categories)]
    floating = torch.cat([*marks, values], 1).float()
    return floating, Columns(width=floating.shape[1])


def _offsets(counts: Tensor) -> Tensor:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


# -- files -----------------------------------------------------------------------------------------


def _find(name: str, root: Path | None) -> Path:
    """What all file names of the set begin with."""
    short = Path(name).name
    folder = find(
        f"tu:{name}",
        root,
        (f"tu/{name}/raw", f"tu/{name}", f"{name}/raw", name, "raw", "."),
        f"put the files {short}_*.txt there",
        lambda path: (path / f"{short}_A.txt").is_file(),
    )
    return folder / short


def _file(prefix: Path, what: str) -> Path:
    return prefix.with_name(f"{prefix.name}_{what}.txt")


def _optional(prefix: Path, what: str, dtype: str, rows: int) -> Tensor | None:
    """A file that some sets have, with a row for each node or listed edge."""
    path = _file(prefix, what)
    if not path.is_file():
        return None
    values = read_numbers(path, dtype)
    if len(values) != rows:
        raise DataError(
            f"{path} has {len(values)} rows, expected {rows}, one for each "
            f"{what.partition('_')[0]}; copy the data set again"
        )
    return values
