"""Reader of OGB's link sets (Hu et al. 2020): one graph, links and other pairs of its nodes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.data.readers.ogb_files import read_edges
from gtl.data.readers.pickled import read_saved_arrays
from gtl.errors import DataError
from gtl.graph import Graph

logger = logging.getLogger(__name__)


def read_links(name: str, facts: Mapping[str, str], folder: Path, graph: Graph) -> Dataset:
    """A link set: links to train on, links and other pairs to validate and test on.

    A folder without ``train.pt`` is read as well: the graph of OGB's link sets is that of the
    training links, one row of ``raw/edge.csv.gz`` each.

    Args:
        name: OGB's name of it.
        facts: Entry in OGB's list.
        folder: Its folder.
        graph: Its graph.

    Raises:
        DataError: If files are missing, damaged, or name anything but arrays.
    """
    place = folder / "split" / facts["split"]
    parts: dict[str, tuple[Tensor, Tensor]] = {}
    if (place / "train.pt").is_file():
        parts["train"] = _read_pairs(place / "train.pt", negatives=False)
    else:
        logger.info("%s has no train.pt; its training links are those of its graph", place)
        edges = read_edges(folder)
        parts["train"] = edges, edges[:0]
    for part in ("valid", "test"):
        parts[part] = _read_pairs(place / f"{part}.pt", negatives=True)
    sizes = [len(links) + len(others) for links, others in parts.values()]
    split = dict(zip(parts, torch.arange(sum(sizes)).split(sizes)))
    labels = [torch.tensor([[1.0], [0.0]]).repeat_interleave(_counts(p), 0) for p in parts.values()]
    return Dataset(
        f"ogb:{name}",
        graph=graph,
        labels=torch.cat(labels),
        split=split,
        level="edge",
        kind="binary",
        metric=facts["eval metric"],
        pairs=torch.cat([pairs for both in parts.values() for pairs in both]),
    )


def _counts(both: tuple[Tensor, Tensor]) -> Tensor:
    return torch.tensor([len(pairs) for pairs in both])


def _read_pairs(file: Path, negatives: bool) -> tuple[Tensor, Tensor]:
    """Links and other pairs ``(k, 2)`` of one part; the others of a link share its first node."""
    held = read_saved_arrays(file)
    if not isinstance(held, dict):
        raise DataError(f"{file} holds a {type(held).__name__}, expected named arrays")
    if "source_node" not in held:
        links = _numbers(file, held, "edge", 2)
        others = _numbers(file, held, "edge_neg", 2) if negatives else links[:0]
        for name, pairs in (("edge", links), ("edge_neg", others)):
            if pairs.shape[1] != 2:
                raise DataError(f"{file}: `{name}` has {pairs.shape[1]} columns, expected 2")
        return links, others
    source, target = (_numbers(file, held, name, 1) for name in ("source_node", "target_node"))
    if len(source) != len(target):
        raise DataError(f"{file} has {len(source)} sources and {len(target)} targets")
    links = torch.stack([source, target], 1)
    if not negatives:
        return links, links[:0]
    wrong = _numbers(file, held, "target_node_neg", 2)
    if len(wrong) != len(source):
        raise DataError(f"{file} has {len(source)} sources and others for {len(wrong)} of them")
    sources = source.repeat_interleave(wrong.shape[1])
    return links, torch.stack([sources, wrong.flatten()], 1)


def _numbers(file: Path, held: Mapping[str, Any], name: str, dims: int) -> Tensor:
    value = held.get(name)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iu" or value.ndim != dims:
        form = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value)
        raise DataError(
            f"{file}: `{name}` is {form}, expected node numbers in {dims} dimensions; copy the "
            "data set again"
        )
    return torch.from_numpy(value.astype("int64"))
