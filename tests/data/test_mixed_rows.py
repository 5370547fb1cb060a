"""Rows of SMILES, molecules and graphs: order, names of what cannot be read, and properties."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import gtl
from gtl.data import mixed_rows
from gtl.data.mixed_rows import as_rows, describe, joined, read_rows
from gtl.data.properties import compute
from gtl.errors import DataError
from gtl.graph import Graph, PackedGraphs

Chem = pytest.importorskip("rdkit.Chem", reason="needs RDKit")

PEPTIDE = "N" + "CC(=O)N" * 75 + "CC(=O)O"  # more than 300 atoms
READABLE = {
    "a salt": ("[Na+].CC(=O)[O-]", 5),
    "a single atom": ("C", 1),
    "a metal": ("[Fe+2]", 1),
    "an organometallic": ("C[Hg]C", 3),
    "a peptide": (PEPTIDE, 305),
    "atom maps": ("[CH3:1][OH:2]", 2),
    "isotopes": ("[13CH3][2H]", 2),
    "a dummy atom": ("*CC", 3),
}


def graph_of(smiles: str) -> Graph:
    return gtl.Dataset.from_graphs([smiles]).graphs[0]


def whole(rows, **options) -> mixed_rows.Piece:
    (piece,) = read_rows(rows, **options)
    return piece


@pytest.mark.parametrize("name", READABLE)
def test_unusual_molecules_are_read(name) -> None:
    smiles, atoms = READABLE[name]
    piece = whole([smiles])
    assert not piece.wrong and piece.graphs[0].num_nodes == atoms


def test_what_cannot_be_read_is_named_with_its_row() -> None:
    piece = whole(["CCO", "", " ", "C1CC", None, float("nan"), 7, object(), "CN", "F(F)(F)F"])
    assert piece.kept.tolist() == [0, 8] and piece.names == ["CCO", "CN"]
    assert sorted(piece.wrong) == [1, 2, 3, 4, 5, 6, 7, 9]
    assert piece.wrong[1] == "'' is empty" and piece.wrong[2] == "' ' is empty"
    assert piece.wrong[3] == "'C1CC' is not a molecule that RDKit can read"
    assert "expected a SMILES" in piece.wrong[4]
    shown = describe(piece.wrong)
    assert shown.startswith("row 1 ('' is empty), row 2 (") and shown.endswith("and 3 more")


def test_a_mixture_is_the_same_molecules_in_order() -> None:
    texts = ["CCO", "c1ccccc1", "CC(=O)O", "CCN"]
    mixture = [texts[0], Chem.MolFromSmiles(texts[1]), graph_of(texts[2]), texts[3]]
    found, expected = whole(mixture).graphs, whole(texts).graphs
    assert found.checksum() == expected.checksum() and found.schema == expected.schema
    assert whole(mixture).names == ["CCO", "c1ccccc1", "", "CCN"]


def test_molecules_with_hydrogens_of_their_own_are_those_of_their_smiles() -> None:
    molecule = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    assert whole([molecule]).graphs[0].num_nodes == 3


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_size_of_pieces_makes_no_difference(size, monkeypatch) -> None:
    rows = ["CCO", "", graph_of("CCN"), "CC(=O)O", graph_of("c1ccccc1"), "N"]
    expected = whole(rows)
    monkeypatch.setattr(mixed_rows, "CHUNK", size)
    pieces = list(read_rows(rows))
    assert torch.cat([piece.kept for piece in pieces]).tolist() == expected.kept.tolist()
    found = joined([piece.graphs for piece in pieces if piece.graphs is not None])
    assert found.checksum() == expected.graphs.checksum()
    assert found.schema == expected.graphs.schema


def test_several_processes_read_the_same(monkeypatch) -> None:
    rows = ["CCO", "nothing", graph_of("CCN"), "CC(=O)O"]
    expected = whole(rows, properties=[])
    monkeypatch.setattr(mixed_rows, "CHUNK", 2)
    pieces = list(read_rows(rows, workers=2))
    assert [piece.first for piece in pieces] == [0, 2]
    assert joined([p.graphs for p in pieces]).checksum() == expected.graphs.checksum()
    assert list(pieces[0].wrong) == [1]


def test_properties_are_computed_or_carried() -> None:
    carried = torch.full((1, 217), 7.0)
    graph = graph_of("CCN").replace(properties={"descriptors": carried})
    piece = whole(["CCO", graph], properties=["descriptors"])
    expected = torch.cat([compute(["CCO"], "descriptors"), carried])
    assert torch.equal(piece.properties["descriptors"], expected)
    with pytest.raises(DataError, match=r"graph of row 1 does not carry the property 'morgan'; "):
        whole(["CCO", graph], properties=["morgan"])


def test_columns_of_all_forms_are_rows() -> None:
    texts = ["CCO", "C"]
    forms = [texts, tuple(texts), np.array(texts), np.array(texts)[:, None], pd.Series(texts)]
    forms += [pd.DataFrame({"smiles": texts}), iter(texts)]
    for form in forms:
        assert list(as_rows(form)) == texts
    graphs = [graph_of(text) for text in texts]
    assert [g.num_nodes for g in as_rows(Graph.batch(graphs))] == [3, 1]
    packed = PackedGraphs.pack(graphs)
    assert whole(as_rows(packed)).graphs.checksum() == packed.checksum()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("CCO", "got one str; give a list"),
        (np.zeros((3, 2)), r"array of float64 of shape \(3, 2\); give one column"),
        (np.array([["a", "b"]]), r"shape \(1, 2\)"),
        (5, "got a int; give a list"),
    ],
)
def test_what_are_no_rows_is_refused(values, message) -> None:
    with pytest.raises(DataError, match=message):
        as_rows(values)


def test_graphs_of_another_kind_among_molecules_are_refused() -> None:
    other = Graph(torch.tensor([0]), torch.tensor([1]), 2, x=torch.zeros(2, 3))
    with pytest.raises(DataError, match="row 1 stands among SMILES and differs"):
        whole(["CCO", other])
    bare = other.replace(x=None)
    with pytest.raises(DataError, match="rows have different features"):
        whole([other, bare])


def test_a_batch_among_the_rows_is_named() -> None:
    both = Graph.batch([graph_of("C"), graph_of("CC")])
    assert whole(["CCO", both]).wrong == {1: "a batch of 2 graphs, expected one"}
