"""Functional groups, against RDKit's substructure search."""

from __future__ import annotations

import pytest
import torch

from gtl.data.readers.ogb import molecule_schema
from gtl.graph import Columns, Schema
from gtl.tasks.self_supervised.functional_groups import GROUPS, functional_groups, is_molecular

PATTERNS = {
    "carbonyl": "[#6]=[#8]",
    "carboxyl": "[#6](=[#8])-[OX2H1,OX1-]",
    "ester": "[#6](=[#8])-[O;X2;H0]-[#6]",
    "amide": "[#6](=[#8])-[#7]",
    "hydroxyl": "[OX2H1]-[#6]",
    "ether": "[O;X2;H0](-[#6;!$([#6]=[#8])])-[#6;!$([#6]=[#8])]",
    "amine": "[N;+0;!$(N=*);!$(N#*);!$(N-[*]=[#8])]",
    "nitrile": "[#6]#[#7]",
    "nitro": "[#7+](=[#8])-[OX1-]",
    "sulfonyl": "[#16](=[#8])=[#8]",
    "sulfide": "[S;+0;!$(S=*)]",
    "halogen": "[F,Cl,Br,I]",
    "aromatic": "[a]",
    "aromatic nitrogen": "[n]",
    "charge": "[!+0]",
}
MOLECULES = [
    "CC(=O)Oc1ccccc1C(=O)O",
    "CC(=O)Nc1ccc(O)cc1",
    "CN1C=NC2=C1C(=O)N(C)C(=O)N2C",
    "CCO",
    "CCOCC",
    "CC(=O)[O-]",
    "CC(C)Cc1ccc(cc1)C(C)C(=O)O",
    "O=C1CCCN1",
    "O=c1cccc[nH]1",
    "c1ccncc1",
    "c1ccc2[nH]ccc2c1",
    "C[N+](C)(C)C",
    "CS(=O)(=O)Nc1ccccc1",
    "CSC",
    "CS",
    "CS(C)=O",
    "O=[N+]([O-])c1ccccc1",
    "N#Cc1ccccc1",
    "FC(F)(F)c1ccc(Cl)cc1Br",
    "NCC(=O)O",
    "NC(=O)N",
    "CC(=O)OC(C)=O",
    "COC(=O)C",
    "O=C1OCCC1",
    "c1ccoc1",
    "c1ccsc1",
    "C1CCOC1",
    "CC=NO",
    "C=O",
    "CC#N",
    "CNC",
    "CN(C)C=O",
    "Nc1ccccc1",
    "OC1CCCCC1",
    "CCOP(=O)(OCC)OCC",
    "O=S(=O)(O)O",
    "N=C(N)N",
    "CI",
    "[Na+].[Cl-]",
    "O=C(O)c1ccccc1O",
    "CC1(C)SC2C(NC(=O)Cc3ccccc3)C(=O)N2C1C(=O)O",
    "CN1CCC23C4Oc5c2c(CC1C3C=CC4O)ccc5O",
]


def test_every_group_is_where_rdkit_finds_it() -> None:
    chem = pytest.importorskip("rdkit.Chem", reason="needs RDKit")
    from gtl.data.readers.smiles import pack_smiles

    graphs = pack_smiles(MOLECULES)[0]
    assert set(PATTERNS) == set(GROUPS)
    seen = set()
    for smiles, graph in zip(MOLECULES, graphs):
        molecule = chem.MolFromSmiles(smiles)
        found = functional_groups(graph)
        for column, name in enumerate(GROUPS):
            pattern = chem.MolFromSmarts(PATTERNS[name])
            matches = molecule.GetSubstructMatches(pattern, maxMatches=9999)
            expected = torch.zeros(graph.num_nodes, dtype=torch.bool)
            expected[[match[0] for match in matches]] = True
            assert torch.equal(found[:, column], expected), f"{name} in {smiles}"
            seen.update([name] if expected.any() else [])
    assert seen == set(GROUPS)


def test_molecules_are_told_by_their_categories() -> None:
    assert is_molecular(molecule_schema())
    assert not is_molecular(Schema(Columns((119,)), Columns((5,))))
    assert not is_molecular(Schema(Columns(width=9))) and not is_molecular(Schema())
