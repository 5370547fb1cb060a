"""Properties of molecules: columns per graph that RDKit computes from the SMILES."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.data import cache
from gtl.data.dataset import Dataset
from gtl.data.descriptor_names import DESCRIPTORS, VERSION
from gtl.data.workers import in_order
from gtl.errors import ConfigError, DataError
from gtl.graph.tensor_file import TensorWriter, map_tensors
from gtl.optional import needs
from gtl.progress import Progress
from gtl.suggest import nearest

MORGAN_COLUMNS, MORGAN_RADIUS = 2048, 2
_CHUNK = 500  # molecules that one process computes at a time
_ESTATE: Mapping[str, Callable[[np.ndarray], float]] = {
    "MaxAbsEStateIndex": lambda values: np.abs(values).max(),
    "MaxEStateIndex": lambda values: values.max(),
    "MinAbsEStateIndex": lambda values: np.abs(values).min(),
    "MinEStateIndex": lambda values: values.min(),
}
_ESTATE_COLUMNS = [(DESCRIPTORS.index(name), name) for name in _ESTATE]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Property:
    """A block of columns per molecule.

    Attributes:
        width: Number of columns.
        dtype: How the values are stored; floating ones are NaN where they cannot be computed,
            integers 0.
        version: Part of the names of cached files, raised when the values change.
        make: Makes the function from an RDKit molecule to the values, NumPy ``(width,)``, given
            patterns of columns to leave out.
        names: What the columns are called; may be empty.
    """

    width: int
    dtype: torch.dtype
    version: str
    make: Callable[[Sequence[str]], Callable[[Any], np.ndarray]]
    names: tuple[str, ...] = ()


def with_properties(dataset: Dataset, names: Sequence[str] | str, workers: int = 1) -> Dataset:
    """A data set of molecules whose graphs carry properties.

    They are computed once for a list of SMILES and kept in the cache, memory-mapped. A molecule, or
    a single descriptor, that RDKit cannot compute has NaN (counts: 0).

    Args:
        dataset: Its graphs are molecules, its ``names`` their SMILES. Properties that the graphs
            carry already are left as they are.
        names: Keys of :data:`PROPERTIES`, or of properties that the graphs carry: a list, or names
            between commas.
        workers: Processes; scripts that use several need ``if __name__ == "__main__":``.

    Raises:
        ConfigError: If a name is unknown.
        DataError: If the items are no graphs, or have no SMILES.
        MissingDependencyError: If RDKit is not installed.

    Example:
        >>> data = with_properties(Dataset.from_graphs(["CCO", "c1ccccc1"]), ["descriptors"])
        >>> data.graphs.properties["descriptors"].shape
        torch.Size([2, 217])
    """
    graphs = dataset.graphs
    given = {} if graphs is None else graphs.properties
    missing = [name for name in dict.fromkeys(property_names(names)) if name not in given]
    if not missing:
        return dataset
    for name in missing:
        if name not in PROPERTIES:
            known = [*PROPERTIES, *given]
            raise ConfigError(f"unknown property {name!r}; {nearest(name, known)}")
    if graphs is None or not len(dataset.names):
        raise DataError(
            f"{dataset.spec}: {', '.join(missing)} are computed from SMILES, and the items have "
            "none; give them as `names`, or the values themselves as `properties`"
        )
    found = {name: _cached(dataset.names, name, workers) for name in missing}
    return replace(dataset, graphs=replace(graphs, properties={**given, **found}))


def property_names(names: Sequence[str] | str) -> list[str]:
    """Names of properties: a list, or names between commas."""
    given = names.split(",") if isinstance(names, str) else names
    return [name.strip() for name in given if name.strip()]


def compute(smiles: Sequence[str], name: str, leave_out: Sequence[str] = ()) -> Tensor:
    """A property of some molecules, ``(g, width)``, computed now.

    Args:
        smiles: One per molecule.
        name: A key of :data:`PROPERTIES`.
        leave_out: Names of columns, or patterns such as ``BCUT2D_*``, that are not computed: some
            descriptors take as long as many others.

    Raises:
        MissingDependencyError: If RDKit is not installed.
    """
    with needs("chem", "computing properties of molecules"):
        from rdkit import Chem, rdBase

    kind = PROPERTIES[name]
    floating = kind.dtype.is_floating_point
    values = np.full((len(smiles), kind.width), np.nan if floating else 0, "float64")
    row_of = kind.make(leave_out)
    with rdBase.BlockLogs():
        for i, text in enumerate(smiles):
            molecule = Chem.MolFromSmiles(text) if isinstance(text, str) else None
            if molecule is not None and molecule.GetNumAtoms():
                values[i] = row_of(molecule)
    limits = torch.finfo(kind.dtype) if floating else torch.iinfo(kind.dtype)
    return torch.from_numpy(values.clip(limits.min, limits.max)).to(kind.dtype)


def _cached(smiles: Sequence[str], name: str, workers: int) -> Tensor:
    path = _place(smiles, name)
    found = cache.opened(path, partial(_values, count=len(smiles)))
    if found is not None:
        return found
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, smiles, name, workers)
            return _values(path, len(smiles))
        except OSError as error:
            logger.warning("%s could not be kept in %s: %s", name, path.parent, error)
    with TemporaryDirectory() as folder:  # a mapped file outlives its name
        _write(Path(folder) / name, smiles, name, workers)
        return _values(Path(folder) / name, len(smiles))


def _place(smiles: Sequence[str], name: str) -> Path | None:
    with needs("chem", "computing properties of molecules"):
        from rdkit import __version__ as version

    digest = hashlib.sha256(json.dumps([name, PROPERTIES[name].version, version]).encode())
    for text in smiles:
        digest.update(f"{text}\n".encode())
    return cache.place(f"property-{name}", [], digest.hexdigest())


def _write(path: Path, smiles: Sequence[str], name: str, workers: int) -> None:
    file = TensorWriter(path)
    names = iter(smiles)
    chunks: Iterator[list[str]] = iter(lambda: list(itertools.islice(names, _CHUNK)), [])
    try:
        with Progress(name, len(smiles), unit="molecule") as bar:
            for chunk, values in in_order(partial(compute, name=name), chunks, workers):
                file.append("values", values)
                bar.update(len(chunk))
        file.close({})
    finally:
        file.discard()


def _values(path: Path, count: int) -> Tensor:
    from safetensors import SafetensorError

    try:
        values = map_tensors(path)[0]["values"]
    except (OSError, SafetensorError, KeyError) as error:
        raise DataError(f"{path} cannot be read ({error})") from error
    if len(values) != count:
        raise DataError(f"{path} does not hold values of {count} molecules")
    return values


def _descriptors(leave_out: Sequence[str]) -> Callable[[Any], np.ndarray]:
    from rdkit.Chem import Descriptors
    from rdkit.Chem.EState import EStateIndices

    functions = dict(Descriptors._descList)
    absent = [name for name in DESCRIPTORS if name not in functions]
    if absent:
        logger.warning("this RDKit lacks %d descriptors, which are NaN: %s", len(absent), absent)
    # RDKit's four functions of the same indices compute them four times.
    plain = [
        (i, functions[name])
        for i, name in enumerate(DESCRIPTORS)
        if name in functions
        and name not in _ESTATE
        and not any(fnmatch(name, p) for p in leave_out)
    ]

    def row(molecule: Any) -> np.ndarray:
        values = np.full(len(DESCRIPTORS), np.nan)
        indices = EStateIndices(molecule)
        for i, name in _ESTATE_COLUMNS:
            values[i] = _ESTATE[name](indices)
        for i, function in plain:
            try:
                values[i] = function(molecule)
            except Exception:  # descriptors fail in many ways on unusual elements
                continue
        values[~np.isfinite(values)] = np.nan
        return values

    return row


def _morgan(leave_out: Sequence[str]) -> Callable[[Any], np.ndarray]:
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

    generator = GetMorganGenerator(radius=MORGAN_RADIUS, fpSize=MORGAN_COLUMNS)

    def row(molecule: Any) -> np.ndarray:
        counts: np.ndarray = generator.GetCountFingerprintAsNumPy(molecule)
        return counts

    return row


PROPERTIES: Mapping[str, Property] = {
    "descriptors": Property(
        len(DESCRIPTORS), torch.float32, f"{VERSION}", _descriptors, DESCRIPTORS
    ),
    "morgan": Property(MORGAN_COLUMNS, torch.uint8, "1", _morgan),
}
