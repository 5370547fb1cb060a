"""Molecules from a column of SMILES: atoms and bonds with the features of OGB (Hu et al. 2020)."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.data.from_ogb import feature_choices, molecule_schema
from gtl.data.nearest import nearest
from gtl.data.splits import random_split, scaffold_split
from gtl.data.table import Table
from gtl.errors import ConfigError, DataError
from gtl.graph.pack import PackedGraphs
from gtl.optional import needs

LARGE = 5000  # molecules; from here on a progress bar is worth its line

logger = logging.getLogger(__name__)


def load_smiles(
    name: str,
    root: Path | None = None,
    seed: int = 0,
    *,
    smiles_column: str = "smiles",
    target: Sequence[str] | str | None = None,
    split: str | None = "random",
    on_invalid: str = "skip",
    kind: str | None = None,
    metric: str | None = None,
) -> Dataset:
    """Read molecules, and labels if there are any, from a CSV file.

    Args:
        name: The file, possibly compressed (``.csv.gz``), here or in ``root``.
        root: Where to look if the file is not here.
        seed: Of the random split.
        smiles_column: Column of the SMILES.
        target: Columns of the labels: a name, a list, or names between commas; ``None`` for
            unlabeled molecules. Empty cells are missing labels; a single column of words is
            a class each.
        split: ``"random"`` or ``"scaffold"`` (80/10/10), a column that says train, valid or test,
            or ``None``. Unlabeled molecules are not split at random.
        on_invalid: ``"skip"`` leaves out molecules that RDKit cannot read and warns of each,
            ``"raise"`` refuses the file.
        kind: ``"binary"``, ``"multiclass"`` or ``"regression"``; read off the labels if not given.
        metric: Judges predictions; chosen by ``kind`` if not given.

    Raises:
        DataError: If the file, a column or a cell cannot be used, or the split leaves a part empty.
        ConfigError: If an option is out of range.
        MissingDependencyError: If RDKit is not installed.
    """
    path = Path(name).expanduser()
    if root is not None and not path.is_file():
        if not (root / path).is_file():
            raise DataError(f"there is no file {name} here or in {root}; check the path")
        path = root / path
    table = Table.read(path)
    smiles = table.column(smiles_column).fillna("").str.strip()
    targets = table.target_names(target)
    by_column = split not in (None, "random", "scaffold")
    if by_column and split not in table.cells.columns:
        known = ["random", "scaffold", *table.cells.columns]
        raise DataError(
            f"{path}: there is no split or column {split!r}; {nearest(str(split), known)}"
        )
    labels, class_names = table.labels(targets, kind) if targets else (None, ())
    parts = table.split(str(split)) if by_column else None
    graphs, kept = pack_smiles(smiles.tolist(), on_invalid, table.rows, str(path))
    names = tuple(smiles.iloc[kept.numpy()])
    if parts is not None:
        parts = _renumber(parts, kept, len(smiles))
    elif split == "scaffold":
        parts = scaffold_split(names)
    elif split == "random" and labels is not None:
        parts = random_split(len(names), seed=seed)
    return Dataset(
        f"smiles:{name}",
        graphs,
        labels=None if labels is None else labels[kept],
        split=parts or {},
        kind=kind or "",
        metric=metric or "",
        names=names,
        class_names=class_names,
    )


def pack_smiles(
    smiles: Sequence[str],
    on_invalid: str = "skip",
    rows: Sequence[int] | None = None,
    source: str = "SMILES",
) -> tuple[PackedGraphs, Tensor]:
    """Graphs of molecules: a node per heavy atom, each bond in both directions.

    Args:
        smiles: One per molecule.
        on_invalid: ``"skip"`` leaves out what RDKit cannot read, with one warning; ``"raise"``
            refuses.
        rows: What to call each molecule in messages; counted from 0 if not given.
        source: Where the molecules come from, for messages.

    Returns:
        The graphs, and the numbers of the molecules that became one, int64, ascending.

    Raises:
        DataError: If a molecule cannot be read and ``on_invalid`` is ``"raise"``, or none can.
        ConfigError: If ``on_invalid`` is something else.
        MissingDependencyError: If RDKit is not installed.

    Example:
        >>> graphs, kept = pack_smiles(["CCO", "[CH4]"])
        >>> [(graph.num_nodes, graph.num_edges) for graph in (graphs[0], graphs[1])]
        [(3, 4), (1, 0)]
    """
    if on_invalid not in ("skip", "raise"):
        raise ConfigError(f"`on_invalid` is {on_invalid!r}, expected 'skip' or 'raise'")
    with needs("chem", "reading SMILES"):
        from rdkit import Chem, rdBase
    from tqdm import tqdm

    pile = _Pile()
    kept, rejected = [], []
    with rdBase.BlockLogs():  # each rejected molecule is reported below, in one line
        hide = None if len(smiles) >= LARGE else True  # None: shown on a terminal only
        for i, text in enumerate(tqdm(smiles, desc="molecules", disable=hide, leave=False)):
            molecule = Chem.MolFromSmiles(text) if isinstance(text, str) else None
            if molecule is None or not molecule.GetNumAtoms():
                rejected.append(f"row {rows[i] if rows is not None else i} ({text!r})")
                if on_invalid == "raise":
                    raise DataError(
                        f"{source} {rejected[0]} is not a molecule that RDKit can read; "
                        "mend it, or leave such rows out with on_invalid='skip'"
                    )
                continue
            pile.add(molecule)
            kept.append(i)
    if not kept:
        raise DataError(
            f"{source}: none of {len(smiles)} SMILES can be read by RDKit; "
            "check that the right column was named"
        )
    if rejected:
        logger.warning(
            "%s: %d of %d molecules left out, RDKit cannot read them: %s",
            source,
            len(rejected),
            len(smiles),
            ", ".join(rejected),
        )
    return pile.pack(), torch.tensor(kept)


class _Pile:
    """Numbers as RDKit gives them, atom after atom; turned into categories all at once."""

    def __init__(self) -> None:
        self.atoms = array("i")
        self.bonds = array("i")
        self.atom_counts = array("q")
        self.bond_counts = array("q")

    def add(self, molecule: Any) -> None:
        get, put = molecule.GetAtomWithIdx, self.atoms.extend
        atoms, bonds = molecule.GetNumAtoms(), molecule.GetNumBonds()
        for i in range(atoms):
            atom = get(i)
            put(
                (
                    atom.GetAtomicNum(),
                    atom.GetChiralTag(),
                    atom.GetTotalDegree(),
                    atom.GetFormalCharge(),
                    atom.GetTotalNumHs(),
                    atom.GetNumRadicalElectrons(),
                    atom.GetHybridization(),
                    atom.GetIsAromatic(),
                    atom.IsInRing(),
                )
            )
        get, put = molecule.GetBondWithIdx, self.bonds.extend
        for i in range(bonds):
            bond = get(i)
            put(
                (
                    bond.GetBeginAtomIdx(),
                    bond.GetEndAtomIdx(),
                    bond.GetBondType(),
                    bond.GetStereo(),
                    bond.GetIsConjugated(),
                )
            )
        self.atom_counts.append(atoms)
        self.bond_counts.append(bonds)

    def pack(self) -> PackedGraphs:
        from rdkit import Chem

        atom_choices, bond_choices = feature_choices()
        atoms = np.frombuffer(self.atoms, "int32").reshape(-1, len(atom_choices))
        bonds = np.frombuffer(self.bonds, "int32").reshape(-1, 2 + len(bond_choices))
        chirality, hybridization = Chem.ChiralType.names, Chem.HybridizationType.names
        kinds, stereo = Chem.BondType.names, Chem.BondStereo.names
        x = _categories(atoms, atom_choices, {1: chirality, 6: hybridization})
        e = _categories(bonds[:, 2:], bond_choices, {0: kinds, 1: stereo})
        ends = torch.from_numpy(bonds[:, :2].copy())
        ends = torch.stack([ends, ends.flip(1)], 1).flatten(0, 1)  # (2m, 2): there and back
        return PackedGraphs(
            _offsets(self.atom_counts, 1),
            _offsets(self.bond_counts, 2),
            src=ends[:, 0].contiguous(),
            dst=ends[:, 1].contiguous(),
            schema=molecule_schema(),
            x=x,
            e=e.repeat_interleave(2, 0),
        ).compact()


def _categories(
    raw: np.ndarray, choices: Sequence[Sequence[Any]], names: Mapping[int, Mapping[str, Any]]
) -> Tensor:
    """Number of each value's choice, column by column, the last one for a value without choice.

    Columns that RDKit gives as an enumeration have its ``names``. Bond stereo that OGB does not
    know (atropisomers, in RDKit since 2023) counts as the last, any; OGB's own function fails.
    """
    columns = []
    for i, options in enumerate(choices):
        table = np.full(512, len(options) - 1, "uint8")  # values -256..255
        for number, option in enumerate(options):
            value = names[i].get(option) if i in names else option
            if isinstance(value, int):
                table[256 + int(value)] = number
        columns.append(table[256 + raw[:, i].clip(-256, 255)])
    return torch.from_numpy(np.stack(columns, 1))


def _offsets(counts: array[int], times: int) -> Tensor:
    ends = torch.tensor(counts, dtype=torch.int64).cumsum(0) * times
    return torch.cat([ends.new_zeros(1), ends])


def _renumber(parts: Mapping[str, Tensor], kept: Tensor, items: int) -> dict[str, Tensor]:
    """The split of all rows as a split of those that were kept."""
    new = torch.full((items,), -1)
    new[kept] = torch.arange(len(kept))
    return {part: new[index][new[index] >= 0] for part, index in parts.items()}
