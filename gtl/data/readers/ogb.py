"""Reader of OGB's data sets (Hu et al. 2020) from raw files, and OGB's molecule features.

The only module that reads with the package ogb. OGB's own loaders are not used: they read pickles
that recent torch refuses, write beside the data, and prompt on the terminal.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from gtl.data.dataset import Dataset
from gtl.data.properties import with_properties
from gtl.data.readers.ogb_files import read_graph
from gtl.data.readers.ogb_links import read_links
from gtl.data.readers.ogb_molecules import read_molecules
from gtl.data.readers.ogb_nodes import read_nodes
from gtl.errors import ConfigError, DataError, MissingDependencyError
from gtl.graph import Columns, Schema
from gtl.optional import without_version_check
from gtl.suggest import nearest

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
_LISTS = {"ogbg": "graphproppred", "ogbn": "nodeproppred", "ogbl": "linkproppred"}


def load_ogb(
    name: str,
    root: Path | None,
    seed: int = 0,
    *,
    download: bool = False,
    undirected: bool = False,
    identity: bool | None = None,
    properties: Sequence[str] | str = (),
    workers: int = 1,
) -> Dataset:
    """Read one of OGB's data sets; nothing is written beside the data.

    Its molecule sets are read, and its node and link sets of one kind of node that come as CSV.

    Args:
        name: Such as ``ogbg-molhiv``, ``ogbn-arxiv`` or ``ogbl-ddi``; with ``_`` or without the
            first part it is found as well.
        root: Folder that holds the data set's folder (``ogbg_molhiv``), or a folder ``ogb`` with
            it.
        seed: Not used: OGB's split is fixed.
        download: Fetch the data set from OGB into ``root`` if it is missing.
        undirected: Whether edges go both ways where OGB's do not (``ogbn-arxiv``,
            ``ogbl-citation2``), as its own baselines have it. Not for molecules, whose bonds do.
        identity: Whether the only feature of a node is its own number, so that an encoder learns
            a vector for each. By default true for link sets without features (``ogbl-ddi``), whose
            nodes are otherwise the same.
        properties: Columns per molecule that RDKit computes from the SMILES in ``mapping``,
            ``descriptors`` or ``morgan``; see :data:`gtl.data.properties.PROPERTIES`.
        workers: Processes that compute properties.

    Raises:
        DataError: If OGB has no such set, it is of another form or missing, or its files are
            damaged.
        ConfigError: If no root is known, or an option is not for this set.
    """
    name, facts = metadata(name)
    if root is None:
        raise ConfigError(
            f"ogb:{name} needs a folder to look in; give root (--root) or set GTL_DATA"
        )
    kind = name[:4]
    if kind == "ogbg" and (undirected or identity):
        raise ConfigError("`undirected` and `identity` are for node and link sets")
    folder = _find(name, root)
    if folder is None:
        if not download:
            raise DataError(
                f"ogb:{name}: there is no folder {_plain(name)}/raw in {root} or {root / 'ogb'}; "
                "put OGB's raw files there, or allow a download with download=True (--download)"
            )
        folder = _download(name, facts["url"], facts["download_name"], root)
    if kind == "ogbg":
        molecules = read_molecules(name, facts, folder, molecule_schema())
        return with_properties(molecules, properties, workers)
    if properties:
        raise ConfigError(f"ogb:{name} has no molecules; leave out `properties`")
    graph = read_graph(name, facts, folder, undirected)
    if identity or (identity is None and kind == "ogbl" and graph.x is None):
        if graph.x is not None:
            raise ConfigError(f"nodes of ogb:{name} have features; leave out `identity`")
        graph = graph.replace(x=torch.arange(graph.num_nodes).unsqueeze(1))
    reader = read_nodes if kind == "ogbn" else read_links
    return reader(name, facts, folder, graph)


def metadata(name: str) -> tuple[str, Mapping[str, str]]:
    """OGB's own name of a data set and its row in OGB's list.

    Raises:
        DataError: If OGB has no such set, or it is of a form that is not read.
    """
    known = {n.lower(): (n, facts) for kind in _LISTS for n, facts in _list_of(kind).items()}
    asked = name.lower().replace("_", "-")
    for form in (asked, *(f"{kind}-{asked}" for kind in _LISTS)):
        if form in known and not _obstacle(known[form][1]):
            return known[form]
    readable = [n for n, facts in known.values() if not _obstacle(facts)]
    if asked in known:
        official, facts = known[asked]
        raise DataError(
            f"ogb:{official} {_obstacle(facts)}; of its kind these are read: "
            f"{', '.join(n for n in readable if n[:4] == asked[:4])}"
        )
    raise DataError(f"ogb:{name} is not one of OGB's data sets; {nearest(asked, readable)}")


def _list_of(kind: str) -> dict[str, dict[str, str]]:
    import pandas as pd

    file = _ogb_folder() / _LISTS[kind] / "master.csv"
    return pd.read_csv(file, index_col=0, dtype=str, keep_default_na=False).to_dict()


def _obstacle(facts: Mapping[str, str]) -> str:
    """Why a data set is not read; empty if it is."""
    if facts.get("is hetero") == "True":
        return "has several types of nodes, which are not read"
    if facts.get("binary") == "True":
        return "comes in a binary format, which is not read"
    if facts.get("data type", "mol") != "mol":
        return "has graphs that are no molecules, which are not read"
    if facts["task type"] == "KG completion":
        return "is a knowledge graph, which is not read"
    return ""


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
            "OGB's sets and molecules need the package 'ogb'; install it with: pip install ogb"
        )
    return Path(found.origin).parent


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
