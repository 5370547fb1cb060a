"""Molecules without the marks of their atoms: map numbers of reactions, and isotopes."""

from __future__ import annotations

from typing import Any


def without_marks(molecule: Any, isotopes: bool = False) -> Any:
    """The same molecule without atom map numbers; itself if it has none.

    Written and read again, since a marked atom is kept apart: ``[CH3:1]`` has its hydrogens
    written out and stays so, ``[2H]`` is an atom of its own where hydrogen is not.

    Args:
        molecule: Of RDKit; left as it is.
        isotopes: Take away isotopes as well.
    """
    from rdkit import Chem

    atoms = list(molecule.GetAtoms())
    if not any(atom.GetAtomMapNum() or (isotopes and atom.GetIsotope()) for atom in atoms):
        return molecule
    plain = Chem.Mol(molecule)
    for atom in plain.GetAtoms():
        atom.SetAtomMapNum(0)
        if isotopes:
            atom.SetIsotope(0)
    again = Chem.MolFromSmiles(Chem.MolToSmiles(plain))
    return molecule if again is None else again
