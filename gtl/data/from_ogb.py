"""OGB's molecule sets (Hu et al. 2020) from their raw files, and OGB's choice of features.

The only door to the package ogb. Its own loaders are not used: they read pickles that recent
torch refuses, write beside the data, and ask questions on the terminal.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gtl.data.cache import cached
from gtl.data.dataset import Dataset
from gtl.data.nearest import nearest
from gtl.errors import ConfigError, DataError, MissingDependencyError
from gtl.graph import Columns, Schema
from gtl.graph.pack import PackedGraphs
from gtl.optional import without_version_check

if TYPE_CHECKING:
    import pandas as pd

_ATOM = (
    "possible_atomic_num_list",
    "possible_chirality_list",
    "possible_degree_list",
    "possible_formal_charge_list",
    "possible_numH_list",
    "possible_number_radical_e_list",
    "possible_hybridization_list",
    "possible_is_aromatic_list",
    "possible_is_in_ring_list",
)
_BOND = ("possible_bond_type_list", "possible_bond_stereo_list", "possible_is_conjugated_list")
_KINDS = {"binary classification": "binary", "regression": "regression"}
_RAW = ("num-node-list", "num-edge-list", "edge", "node-feat", "edge-feat")

logger = logging.getLogger(__name__)


def load_ogb(name: str, root: Path | None, seed: int = 0, *, download: bool = False) -> Dataset:
    """Read one of OGB's molecule sets; nothing is written beside the data.

    Args:
        name: Such as ``ogbg-molhiv``; with ``_`` or without ``ogbg-`` it is found as well.
        root: Folder that holds the data set's folder (``ogbg_molhiv``), or a folder ``ogb`` with
            it.
        seed: Not used: OGB's split is fixed.
        download: Fetch the data set from OGB into ``root`` if it is missing.

    Raises:
        DataError: If the set is not a molecule set of OGB, is missing, or its files are damaged.
        ConfigError: If no root is known.
    """
    name, facts = metadata(name)
    if root is None:
        raise ConfigError(
            f"ogb:{name} needs a folder to look in; give root (--root) or set GTL_DATA"
        )
    folder = _find(name, root)
    if folder is None:
        if not download:
            raise DataError(
                f"ogb:{name}: there is no folder {_plain(name)}/raw in {root} or {root / 'ogb'}; "
                "put OGB's raw files there, or allow a download with download=True (--download)"
            )
        folder = _download(name, facts["url"], facts["download_name"], root)
    inverse = facts["add_inverse_edge"] == "True"
    raw = [folder / "raw" / f"{file}.csv.gz" for file in _RAW]
    for file in raw:
        if not file.is_file():
            raise DataError(f"ogb:{name}: {file} is missing; copy the data set again")
    graphs = cached(name, raw, lambda: _read_graphs(raw, inverse))
    labels = _read(folder / "raw" / "graph-label.csv.gz", "float32")
    if labels.shape != (len(graphs), int(facts["num tasks"])):
        raise DataError(
            f"ogb:{name}: graph-label.csv.gz holds {labels.shape[0]} x {labels.shape[1]} labels, "
            f"expected {len(graphs)} x {facts['num tasks']}; copy the data set again"
        )
    return Dataset(
        f"ogb:{name}",
        graphs,
        labels=torch.from_numpy(labels),
        split=_read_split(folder / "split" / facts["split"]),
        kind=_KINDS[facts["task type"]],
        metric=facts["eval metric"],
        names=_read_names(folder / "mapping" / "mol.csv.gz", len(graphs)),
    )


def metadata(name: str) -> tuple[str, Mapping[str, str]]:
    """OGB's own name of a molecule set and what OGB's list says about it.

    Raises:
        DataError: If OGB has no such set, or it is not one of molecules.
    """
    import pandas as pd

    table = pd.read_csv(_ogb_folder() / "graphproppred" / "master.csv", index_col=0, dtype=str)
    table = table.loc[:, table.loc["data type"] == "mol"]
    official = name.lower().replace("_", "-")
    if official not in table.columns and f"ogbg-{official}" in table.columns:
        official = f"ogbg-{official}"
    if official not in table.columns:
        raise DataError(
            f"ogb:{name} is not one of OGB's molecule sets, which are what can be read; "
            f"{nearest(official, table.columns)}"
        )
    return official, table[official].to_dict()


def feature_choices() -> tuple[list[list[Any]], list[list[Any]]]:
    """OGB's choices for each atom column and each bond column.

    The number of a choice is the category; a value without a choice is the last one.
    """
    _ogb_folder()
    with without_version_check():
        from ogb.utils.features import allowable_features
    return [allowable_features[key] for key in _ATOM], [allowable_features[key] for key in _BOND]


def molecule_schema() -> Schema:
    """Nine categorical columns for atoms, three for bonds, with OGB's numbers of categories."""
    atom, bond = feature_choices()
    return Schema(Columns(tuple(map(len, atom))), Columns(tuple(map(len, bond))))


def _ogb_folder() -> Path:
    """Where the package lies, found without importing it."""
    found = importlib.util.find_spec("ogb")
    if found is None or found.origin is None:
        raise MissingDependencyError(
            "molecules need the package 'ogb'; install it with: pip install ogb"
        )
    return Path(found.origin).parent


# -- raw files -------------------------------------------------------------------------------------


def _read_graphs(raw: list[Path], inverse: bool) -> PackedGraphs:
    node_counts, edge_counts, edges, x, e = (
        torch.from_numpy(_read(file, dtype))
        for file, dtype in zip(raw, ("int64", "int64", "int32", "int16", "int16"))
    )
    schema = molecule_schema()
    node_counts, edge_counts = node_counts[:, 0], edge_counts[:, 0]
    assert schema.node is not None and schema.edge is not None
    for file, values, shape in (
        (raw[1], edge_counts, (len(node_counts),)),
        (raw[2], edges, (int(edge_counts.sum()), 2)),
        (raw[3], x, (int(node_counts.sum()), schema.node.width)),
        (raw[4], e, (int(edge_counts.sum()), schema.edge.width)),
    ):
        if tuple(values.shape) != shape:
            raise DataError(
                f"{file} has shape {tuple(values.shape)}, expected {shape} from the numbers of "
                "nodes and edges; copy the data set again"
            )
    _check_range(raw[2], edges, node_counts.repeat_interleave(edge_counts).unsqueeze(1))
    _check_range(raw[3], x, torch.tensor(schema.node.categories))
    _check_range(raw[4], e, torch.tensor(schema.edge.categories))
    if inverse:
        edges = torch.stack([edges, edges.flip(1)], 1).flatten(0, 1)  # (2m, 2): there and back
        e, edge_counts = e.repeat_interleave(2, 0), 2 * edge_counts
    return PackedGraphs(
        _offsets(node_counts),
        _offsets(edge_counts),
        src=edges[:, 0].contiguous(),
        dst=edges[:, 1].contiguous(),
        schema=schema,
        x=x,
        e=e,
    )


def _read(file: Path, dtype: str) -> np.ndarray:
    # A blank line is a missing label; anywhere else it is nothing.
    frame = _frame(file, dtype=dtype, header=None, skip_blank_lines=dtype != "float32")
    return frame.to_numpy(copy=True)


def _frame(file: Path, **how: Any) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(file, **how)
    except Exception as error:  # a damaged archive fails in many ways
        reason = " ".join(str(error).split())
        raise DataError(f"{file} cannot be read ({reason}); copy the data set again") from error


def _read_split(folder: Path) -> dict[str, Tensor]:
    return {
        part: torch.from_numpy(_read(folder / f"{part}.csv.gz", "int64")[:, 0])
        for part in ("train", "valid", "test")
    }


def _read_names(file: Path, items: int) -> tuple[str, ...]:
    if not file.is_file():
        return ()
    table = _frame(file, dtype=str, keep_default_na=False)
    if "smiles" not in table or len(table) != items:
        logger.warning("%s does not list %d SMILES and is left aside", file, items)
        return ()
    return tuple(table["smiles"])


def _check_range(file: Path, values: Tensor, limits: Tensor) -> None:
    bad = ((values < 0) | (values >= limits)).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        limit = int(limits.expand_as(values)[row, column])
        raise DataError(
            f"{file} row {row + 1}, column {column + 1}, is {int(values[row, column])}, expected "
            f"0..{limit - 1}; copy the data set again"
        )


def _offsets(counts: Tensor) -> Tensor:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


# -- where the folder is ---------------------------------------------------------------------------


def _plain(name: str) -> str:
    return name.replace("-", "_")


def _find(name: str, root: Path) -> Path | None:
    for folder in (root, root / "ogb"):
        for form in (_plain(name), name):
            if (folder / form / "raw").is_dir():
                return folder / form
    if root.name in (_plain(name), name) and (root / "raw").is_dir():
        return root
    return None


def _download(name: str, url: str, inside: str, root: Path) -> Path:
    """Fetch and unpack with OGB's own tools; the folder appears only when it is complete."""
    with without_version_check():
        from ogb.utils.url import download_url, extract_zip
    home = root if root.name == "ogb" else root / "ogb"
    target = home / _plain(name)
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as place:
            extract_zip(download_url(url, place, log=False), place, log=False)
            os.replace(Path(place) / inside, target)
    except (OSError, RuntimeError, zipfile.BadZipFile) as error:
        raise DataError(
            f"ogb:{name} could not be fetched from {url} into {home}: {error}; "
            f"fetch and unpack it by hand as {target}"
        ) from error
    return target
