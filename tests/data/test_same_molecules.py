"""Same molecules: groups are those of the canonical SMILES, and most are found without it."""

from __future__ import annotations

import random

import pytest
import torch

from gtl.data import same_molecules
from gtl.data.molecules import pack_smiles
from gtl.data.same_molecules import molecule_groups

pytest.importorskip("rdkit")


def groups(*smiles):
    return molecule_groups(smiles, pack_smiles(smiles)[0]).tolist()


def written_anew(smiles, rng):
    """The same molecule with its atoms in another order."""
    from rdkit import Chem

    molecule = Chem.MolFromSmiles(smiles)
    order = list(range(molecule.GetNumAtoms()))
    rng.shuffle(order)
    return Chem.MolToSmiles(Chem.RenumberAtoms(molecule, order), canonical=False)


def test_a_molecule_is_the_same_however_it_is_written():
    assert groups("CCO", "C", "OCC", "C(C)O", "[CH4]") == [0, 1, 0, 0, 1]
    assert groups("c1ccccc1O", "OC1=CC=CC=C1", "C[N+](=O)[O-]", "CN(=O)=O") == [0, 0, 2, 2]
    assert groups("[CH3:7][OH:1]", "CO", "[13CH3]O", "[2H]OC") == [0, 0, 2, 3]


def test_isomers_are_different_molecules():
    assert groups("CCCO", "CC(C)O", "COCC") == [0, 1, 2]
    assert groups("F/C=C/F", "F/C=C\\F", "F\\C=C\\F", "FC=CF") == [0, 1, 0, 3]
    assert groups("C[C@H](N)O", "C[C@@H](N)O", "N[C@H](C)O") == [0, 1, 1]
    assert groups("C1CCCCC1.C1CCCCC1", "C1CCCCCCCCCCC1") == [0, 1]


def test_groups_are_those_of_the_canonical_smiles(shared_data, monkeypatch):
    from rdkit import Chem

    rng = random.Random(0)
    rows = (shared_data / "moleculenet" / "clintox.csv").read_text().splitlines()[1:400]
    some = [row.split(",")[0] for row in rows]
    some = [text for text in some if Chem.MolFromSmiles(text)]
    smiles = [*some, *(written_anew(text, rng) for text in some[::3])]
    canonical = [Chem.CanonSmiles(text) for text in smiles]
    wanted = [canonical.index(text) for text in canonical]
    made = []
    make = same_molecules._canonical
    monkeypatch.setattr(same_molecules, "_canonical", lambda text: made.append(text) or make(text))
    monkeypatch.setattr(same_molecules, "CHUNK", 100)
    assert molecule_groups(smiles, pack_smiles(smiles)[0]).tolist() == wanted
    assert len(made) < 0.7 * len(smiles)  # those that are repeated, and stereoisomers
    assert torch.unique(torch.tensor(wanted)).numel() < len(smiles)
