"""Reader of OGB's node sets (Hu et al. 2020): one graph, one label or several for each node."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.data.readers.ogb_files import read, read_split
from gtl.errors import DataError
from gtl.graph import Graph

_KINDS = {"binary classification": "binary", "multiclass classification": "multiclass"}


def read_nodes(name: str, facts: Mapping[str, str], folder: Path, graph: Graph) -> Dataset:
    """A node set.

    Args:
        name: OGB's name of it.
        facts: Entry in OGB's list.
        folder: Its folder.
        graph: Its graph.

    Raises:
        DataError: If files are missing, damaged or do not belong together.
    """
    kind = _KINDS[facts["task type"]]
    file = folder / "raw" / "node-label.csv.gz"
    labels = torch.from_numpy(read(file, "float32", blank_is_missing=True))
    expected = graph.num_nodes, int(facts["num tasks"])
    if tuple(labels.shape) != expected:
        raise DataError(
            f"ogb:{name}: node-label.csv.gz holds {labels.shape[0]} x {labels.shape[1]} labels, "
            f"expected {expected[0]} x {expected[1]}; copy the data set again"
        )
    if kind == "multiclass":
        labels = _classes(labels[:, 0], int(facts["num classes"]), file)
    return Dataset(
        f"ogb:{name}",
        graph=graph,
        labels=labels,
        split=read_split(folder / "split" / facts["split"]),
        level="node",
        kind=kind,
        metric=facts["eval metric"],
    )


def _classes(labels: Tensor, count: int, file: Path) -> Tensor:
    classes = labels.nan_to_num(-1).long()
    if bool((classes != labels)[~labels.isnan()].any()) or int(classes.max()) >= count:
        raise DataError(f"{file} must name classes 0..{count - 1}; copy the data set again")
    return classes
