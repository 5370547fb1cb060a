"""Reader of OGB's molecule sets (Hu et al. 2020): small graphs, several tasks, scaffold splits."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import torch

from gtl.data.cache import cached
from gtl.data.dataset import Dataset
from gtl.data.readers.ogb_files import (
    offsets,
    read,
    read_frame,
    read_split,
    require_files,
    require_range,
    require_shape,
    there_and_back,
)
from gtl.errors import DataError
from gtl.graph import Schema
from gtl.graph.pack import PackedGraphs

_KINDS = {"binary classification": "binary", "regression": "regression"}
_RAW = ("num-node-list", "num-edge-list", "edge", "node-feat", "edge-feat")

logger = logging.getLogger(__name__)


def read_molecules(name: str, facts: Mapping[str, str], folder: Path, schema: Schema) -> Dataset:
    """A molecule set.

    Args:
        name: OGB's name of it.
        facts: Entry in OGB's list.
        folder: Its folder.
        schema: Columns of atoms and bonds.

    Raises:
        DataError: If files are missing, damaged or do not belong together.
    """
    raw = [folder / "raw" / f"{file}.csv.gz" for file in _RAW]
    require_files(name, raw)
    inverse = facts["add_inverse_edge"] == "True"
    graphs = cached(name, raw, lambda: _read_graphs(raw, schema, inverse))
    labels = read(folder / "raw" / "graph-label.csv.gz", "float32", blank_is_missing=True)
    if labels.shape != (len(graphs), int(facts["num tasks"])):
        raise DataError(
            f"ogb:{name}: graph-label.csv.gz holds {labels.shape[0]} x {labels.shape[1]} labels, "
            f"expected {len(graphs)} x {facts['num tasks']}; copy the data set again"
        )
    names, label_names = _read_names(folder / "mapping" / "mol.csv.gz", *labels.shape)
    return Dataset(
        f"ogb:{name}",
        graphs,
        labels=torch.from_numpy(labels),
        split=read_split(folder / "split" / facts["split"]),
        kind=_KINDS[facts["task type"]],
        metric=facts["eval metric"],
        names=names,
        label_names=label_names,
    )


def _read_graphs(raw: list[Path], schema: Schema, inverse: bool) -> PackedGraphs:
    node_counts, edge_counts, edges, x, e = (
        torch.from_numpy(read(file, dtype))
        for file, dtype in zip(raw, ("int64", "int64", "int32", "int16", "int16"))
    )
    node_counts, edge_counts = node_counts[:, 0], edge_counts[:, 0]
    assert schema.node is not None and schema.edge is not None
    for file, values, shape in (
        (raw[1], edge_counts, (len(node_counts),)),
        (raw[2], edges, (int(edge_counts.sum()), 2)),
        (raw[3], x, (int(node_counts.sum()), schema.node.width)),
        (raw[4], e, (int(edge_counts.sum()), schema.edge.width)),
    ):
        require_shape(file, values, shape)
    require_range(raw[2], edges, node_counts.repeat_interleave(edge_counts).unsqueeze(1))
    require_range(raw[3], x, torch.tensor(schema.node.categories))
    require_range(raw[4], e, torch.tensor(schema.edge.categories))
    if inverse:
        edges, e = there_and_back(edges), e.repeat_interleave(2, 0)
        edge_counts = 2 * edge_counts
    return PackedGraphs(
        offsets(node_counts),
        offsets(edge_counts),
        src=edges[:, 0].contiguous(),
        dst=edges[:, 1].contiguous(),
        schema=schema,
        x=x,
        e=e,
    )


def _read_names(file: Path, items: int, tasks: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """SMILES of the molecules and names of the tasks; empty where the file does not tell them."""
    if not file.is_file():
        return (), ()
    table = read_frame(file, dtype=str, keep_default_na=False)
    if "smiles" not in table or len(table) != items:
        logger.warning("%s does not list %d SMILES and is not used", file, items)
        return (), ()
    label_names = tuple(name for name in table.columns if name not in ("smiles", "mol_id"))
    return tuple(table["smiles"]), label_names if len(label_names) == tasks else ()
