"""Graphs of molecules: atoms and bonds with the features of OGB (Hu et al. 2020)."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.data.corpus import LeftOut
from gtl.data.readers.ogb import feature_choices, molecule_schema
from gtl.errors import ConfigError
from gtl.graph.pack import PackedGraphs
from gtl.optional import needs

COUNTED = 200  # molecules between two moves of a progress bar, a tenth of a second


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
    check_on_invalid(on_invalid)
    pile, kept = parse(smiles)
    left_out = LeftOut()
    left_out.add(len(smiles), rejected(smiles, range(len(smiles)) if rows is None else rows, kept))
    left_out.report(source, on_invalid)
    return pile.pack(), torch.tensor(kept)


def check_on_invalid(on_invalid: str) -> None:
    """Refuse what is neither ``"skip"`` nor ``"raise"``.

    Raises:
        ConfigError: If it is something else.
    """
    if on_invalid not in ("skip", "raise"):
        raise ConfigError(f"`on_invalid` is {on_invalid!r}, expected 'skip' or 'raise'")


def parse(
    smiles: Sequence[str], count: Callable[[int], None] | None = None
) -> tuple[Pile, list[int]]:
    """Atoms and bonds of molecules, and the numbers of the molecules that RDKit can read.

    Args:
        smiles: One per molecule.
        count: Called now and then with the number of molecules since the last call.

    Raises:
        MissingDependencyError: If RDKit is not installed.
    """
    with needs("chem", "reading SMILES"):
        from rdkit import Chem, rdBase

    pile, kept = Pile(), []
    with rdBase.BlockLogs():  # what is rejected is reported later, in one line
        for i, text in enumerate(smiles):
            if count is not None and (i + 1) % COUNTED == 0:
                count(COUNTED)
            molecule = Chem.MolFromSmiles(text) if isinstance(text, str) else None
            if molecule is not None and molecule.GetNumAtoms():
                pile.add(molecule)
                kept.append(i)
    if count is not None:
        count(len(smiles) % COUNTED)
    return pile, kept


def rejected(smiles: Sequence[str], rows: Sequence[int], kept: Sequence[int]) -> list[str]:
    """What to call the molecules that were not ``kept``."""
    gone = sorted(set(range(len(smiles))).difference(kept))
    return [f"row {rows[i]} ({smiles[i]!r})" for i in gone]


class Pile:
    """Numbers as RDKit gives them, atom after atom; turned into categories all at once."""

    def __init__(self) -> None:
        self.atoms = array("i")
        self.bonds = array("i")
        self.atom_counts = array("q")
        self.bond_counts = array("q")

    def add(self, molecule: Any) -> None:
        """Add the atoms and bonds of one molecule."""
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
        """The molecules as graphs."""
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
