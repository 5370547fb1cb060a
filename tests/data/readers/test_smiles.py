"""SMILES: features equal OGB's, bad rows are reported, labels stay with their molecules."""

from __future__ import annotations

import gzip
import logging

import pytest
import torch

from gtl.data import load
from gtl.data.molecules import Pile, pack_smiles
from gtl.data.splits import random_split
from gtl.errors import ConfigError, DataError

pytest.importorskip("rdkit")

# Charges, radicals, rings, stereo of both kinds, a dummy atom, metals, isotopes, salts, hydrogen.
MOLECULES = [
    "CCO",
    "[CH4]",
    "Cl[C@H](/C=C/C)Br",
    "F/C=C\\F",
    "c1ccc2[nH]ccc2c1",
    "C[N+](=O)[O-]",
    "[CH3]",
    "*C(=O)O",
    "[Na+].[Cl-]",
    "CC#N",
    "O=S(=O)(O)O",
    "F[P-](F)(F)(F)(F)F",
    "[Fe+3]",
    "[2H]OC",
    "C[Si](C)(C)C",
    "[Cu-3]",
    "N[C@@H](C)C(=O)O",
    "C1=CC=CC=C1c1ccccc1",
    "[H][H]",
    "CC=NO",
    "Cl[Pt@SP1](Cl)(N)N",
    "[Mo]#[Mo]",
    "[OH2]->[Fe]",
    "[U+6]",
    "[B-8]",
]


@pytest.fixture
def csv(tmp_path):
    def make(text, name="molecules.csv"):
        path = tmp_path / name
        path.write_text(text)
        return f"smiles:{path}"

    return make


def test_features_equal_those_of_ogb_for_every_atom_and_bond():
    from rdkit import Chem

    from gtl.optional import without_version_check

    with without_version_check():
        from ogb.utils.features import atom_to_feature_vector, bond_to_feature_vector
    graphs, kept = pack_smiles(MOLECULES)
    assert kept.tolist() == list(range(len(MOLECULES)))
    for i, smiles in enumerate(MOLECULES):
        molecule, graph = Chem.MolFromSmiles(smiles), graphs[i]
        atoms = [atom_to_feature_vector(atom) for atom in molecule.GetAtoms()]
        assert graph.x.tolist() == atoms, smiles
        bonds = [bond_to_feature_vector(bond) for bond in molecule.GetBonds()]
        assert graph.e.tolist() == [bond for bond in bonds for _ in range(2)], smiles
        ends = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds()]
        assert graph.src.tolist() == [i for pair in ends for i in pair], smiles
        assert graph.dst.tolist() == [i for a, b in ends for i in (b, a)], smiles


@pytest.mark.parametrize("name", ["molbace", "molbbbp"])
def test_published_graphs_are_reproduced_from_their_smiles(name, shared_data):
    data = load(f"ogb:{name}", root=shared_data)
    graphs, kept = pack_smiles(data.names[::3])
    published = data.graphs.subset(torch.arange(0, len(data), 3))
    assert graphs.schema == published.schema
    assert len(kept) == len(published)
    assert graphs.checksum() == published.checksum()


def test_stereo_that_ogb_does_not_know_counts_as_any():
    from rdkit import Chem

    molecule = Chem.MolFromSmiles("c1ccccc1-c1ccccc1")
    axis = next(bond for bond in molecule.GetBonds() if not bond.GetIsAromatic())
    axis.SetStereo(Chem.BondStereo.STEREOATROPCW)
    pile = Pile()
    pile.add(molecule)
    stereo = pile.pack().e[:, 1].reshape(-1, 2)[:, 0].tolist()
    assert stereo == [5 if i == axis.GetIdx() else 0 for i in range(molecule.GetNumBonds())]


def test_an_atom_alone_has_no_edges_and_three_edge_columns():
    graphs, _ = pack_smiles(["[CH4]", "[Na+]"])
    assert graphs[0].num_edges == 0
    assert graphs.batch(torch.tensor([0, 1])).e.shape == (0, 3)


def test_unreadable_molecules_are_left_out_with_one_warning_naming_rows(csv, caplog):
    spec = csv("smiles,y\nCCO,1\nC1CC,2\n,3\nCC,4\nnot a molecule,5\n")
    with caplog.at_level(logging.WARNING):
        data = load(spec, target="y", split=None)
    assert data.names == ("CCO", "CC")
    assert data.labels.tolist() == [[1], [4]]
    (record,) = caplog.records
    text = record.getMessage()
    assert "3 of 5 molecules left out" in text
    assert all(part in text for part in ("row 3 ('C1CC')", "row 4 ('')", "row 6 ('not a mol"))


def test_unreadable_molecules_are_refused_if_asked(csv):
    with pytest.raises(DataError, match=r"row 3 \('C1CC'\) is not a molecule"):
        load(csv("smiles\nCCO\nC1CC\n"), on_invalid="raise")
    with pytest.raises(ConfigError, match="`on_invalid` is 'drop'"):
        load(csv("smiles\nCCO\n"), on_invalid="drop")


def test_a_column_without_any_molecule_is_refused(csv):
    with pytest.raises(DataError, match="none of 2 SMILES can be read"):
        load(csv("name,smiles\nethanol,CCO\nmethane,C\n"), smiles_column="name")


def test_a_missing_file_names_the_folders_that_were_looked_in(tmp_path):
    with pytest.raises(DataError, match=r"no file nowhere\.csv here or in .*"):
        load("smiles:nowhere.csv", root=tmp_path)


def test_a_missing_smiles_column_offers_the_nearest(csv):
    with pytest.raises(DataError, match="no column 'smile'; did you mean 'smiles'"):
        load(csv("smiles,y\nCCO,1\n"), smiles_column="smile")


@pytest.mark.parametrize("name", ["SMILES", "Canonical_Smiles"])
def test_smiles_are_found_whatever_the_letters_of_their_column(csv, name):
    for mark in ",;\t":
        data = load(
            csv(f"id,{name},y\n1,CCO,2.5\n2,C,1\n".replace(",", mark)), target="y", split=None
        )
        assert data.names == ("CCO", "C") and data.labels.tolist() == [[2.5], [1]]


def test_unlabeled_molecules_have_neither_labels_nor_split(csv):
    data = load(csv("smiles\nCCO\n"))
    assert data.labels is None and not data.split
    assert data.names == ("CCO",)


def test_labels_are_read_before_molecules_so_that_mistakes_show_at_once(csv, monkeypatch):
    monkeypatch.setattr("gtl.data.readers.smiles._read", None)
    with pytest.raises(DataError, match="row 3: 'y' is 'bad'"):
        load(csv("smiles,y\nCCO,1\nC,bad\n"), target="y")
    with pytest.raises(DataError, match="no split or column 'scafold'; did you mean 'scaffold'"):
        load(csv("smiles,y\nCCO,1\nC,2\n"), target="y", split="scafold")


def test_a_random_split_follows_the_seed(csv):
    spec = csv("smiles,y\n" + "".join(f"{'C' * n},{n}\n" for n in range(1, 31)))
    one, same, other = (load(spec, target="y", seed=seed).split for seed in (1, 1, 2))
    assert [len(index) for index in one.values()] == [24, 3, 3]
    assert torch.equal(one["train"], same["train"])
    assert not torch.equal(one["train"], other["train"])


def test_too_few_molecules_for_a_split_are_refused(csv):
    with pytest.raises(DataError, match="2 items cannot be split"):
        load(csv("smiles,y\nCCO,1\nC,0\n"), target="y")
    with pytest.raises(DataError, match=r"2 distinct items \(of 3\) cannot be split"):
        load(csv("smiles,y\nCCO,1\nC,0\nOCC,0\n"), target="y")


def table_of(molecules):
    return "smiles,y\n" + "".join(f"{text},{i % 2}\n" for i, text in enumerate(molecules))


CHAINS = ["C" * n for n in range(1, 41)]
ETHERS = [f"{'C' * n}OC" for n in range(1, 41)]
AGAIN = [f"CO{'C' * n}" for n in range(1, 41)]  # the same molecules, written from the other end


@pytest.mark.parametrize(
    "options", [{}, {"stratify": True}, {"folds": 4}, {"fractions": (0.5, 0.5)}]
)
def test_copies_of_a_molecule_are_in_one_part_of_a_random_split(csv, options, caplog):
    molecules = ETHERS + AGAIN
    with caplog.at_level(logging.INFO):
        data = load(csv(table_of(molecules)), target="y", **options)
    part = {i: name for name, index in data.split.items() for i in index.tolist()}
    assert sorted(part) == list(range(80))
    assert all(part[i] == part[i + 40] for i in range(40))
    assert "40 of 80 items repeat a molecule and are in the same part" in caplog.text


@pytest.mark.parametrize(("again", "count"), [("OCC", 1), ("CCCO", 0)])
def test_copies_of_a_molecule_in_two_parts_of_a_given_split_are_told(csv, again, count, caplog):
    table = f"smiles,y,part\nCCO,1,train\nOCC,2,train\nC,3,valid\n{again},4,test\n"
    load(csv(table), target="y", split="part")
    assert ("1 molecules are in several parts of the split" in caplog.text) == bool(count)


def test_without_copies_a_random_split_is_that_of_the_items(csv, caplog):
    with caplog.at_level(logging.INFO):
        data = load(csv(table_of(CHAINS + ETHERS)), target="y", seed=3)
    for part, index in random_split(80, seed=3).items():
        assert torch.equal(data.split[part], index)
    assert "repeat a molecule" not in caplog.text


def test_fractions_classes_and_folds_decide_a_random_split(csv):
    spec = csv(table_of(CHAINS))
    sizes = [len(i) for i in load(spec, target="y", fractions=(0.5, 0.25, 0.25)).split.values()]
    assert sizes == [20, 10, 10]
    stratified = load(spec, target="y", stratify=True, fractions=(0.5, 0.25, 0.25), seed=1)
    for index in stratified.split.values():
        assert stratified.labels[index].mean() == 0.5
    turns = [load(spec, target="y", folds=4, fold=fold).split["test"] for fold in range(4)]
    assert torch.cat(turns).sort().values.tolist() == list(range(40))
    assert torch.equal(load(spec, target="y", folds=4).split["test"], turns[0])
    values = csv(
        "smiles,y\n" + "".join(f"{text},{i}.5\n" for i, text in enumerate(CHAINS)), "b.csv"
    )
    turns = [load(values, target="y", folds=5, fold=fold).split["test"] for fold in range(5)]
    assert torch.cat(turns).sort().values.tolist() == list(range(40))
    with pytest.raises(ConfigError, match="`stratify` needs one column of classes"):
        load(values, target="y", stratify=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fold": 1}, "`fold` is 1 without `folds`"),
        ({"folds": 5, "fractions": (0.5, 0.5)}, "`folds` and `fractions` are two ways"),
        ({"split": "scaffold", "folds": 5}, "`folds` does not go with split='scaffold'"),
        ({"split": None, "fractions": (0.5, 0.5)}, "`fractions` does not go with split=None"),
        ({"split": "y", "stratify": True}, "`stratify` does not go with split='y'"),
        ({"target": None, "folds": 5}, "molecules without labels are not split at random"),
        ({"fractions": (0.5, 0.6)}, "positive shares that sum to 1"),
    ],
)
def test_options_of_a_split_that_contradict_each_other_are_refused(csv, options, words):
    with pytest.raises(ConfigError, match=words):
        load(csv(table_of(CHAINS)), **{"target": "y", **options})


def test_the_sizes_of_a_scaffold_split_can_be_chosen(csv):
    rings = "".join(f"C1{'C' * n}C1,{n % 2}\n" for n in range(1, 11))
    spec = csv("smiles,y\n" + rings)
    data = load(spec, target="y", split="scaffold", fractions=(0.4, 0.3, 0.3))
    assert [len(index) for index in data.split.values()] == [4, 3, 3]


def test_a_split_column_speaks_of_the_molecules_that_remain(csv):
    spec = csv("smiles,y,part\nC1CC,0,train\nCCO,1,test\nC,0,train\nCC,1,valid\n")
    data = load(spec, target="y", split="part")
    assert {part: index.tolist() for part, index in data.split.items()} == {
        "train": [1],
        "valid": [2],
        "test": [0],
    }


@pytest.mark.parametrize("chunk", [3, 5000])
def test_a_scaffold_split_keeps_rings_apart(csv, monkeypatch, chunk):
    monkeypatch.setattr("gtl.data.readers.smiles.CHUNK", chunk)
    chains = "".join(f"{'C' * n},{n % 2}\n" for n in range(1, 9))
    data = load(csv("smiles,y\n" + chains + "C1CC1,1\nC1CCC1,0\n"), target="y", split="scaffold")
    assert data.split["train"].tolist() == list(range(8))
    assert data.split["valid"].tolist() == [9] and data.split["test"].tolist() == [8]


def test_words_become_classes_with_their_names(csv):
    spec = csv("smiles,y\nC,low\nCC,high\nCCC,\nCCCC,medium\n")
    data = load(spec, target="y", split=None)
    assert (data.kind, data.metric) == ("multiclass", "acc")
    assert (data.class_names, data.label_names) == (("high", "low", "medium"), ("y",))
    assert data.labels.tolist() == [1, 0, -1, 2]
    data = load(spec, target="y", split=None, classes=["low", "medium", "high"])
    assert data.labels.tolist() == [0, 2, -1, 1]


def test_two_words_are_binary_and_scored_by_rocauc(csv):
    data = load(csv("smiles,y\nC,Yes\nCC,No\nCCC,\n"), target="y", split=None)
    assert (data.kind, data.metric, data.class_names) == ("binary", "rocauc", ("No", "Yes"))
    assert data.labels.nan_to_num(-1).tolist() == [[1], [0], [-1]]


def test_a_label_column_is_not_that_of_the_smiles(csv):
    with pytest.raises(ConfigError, match="`target` names 'SMILES', which has the SMILES"):
        load(csv("SMILES,y\nC,1\nCC,0\n"), target="SMILES")


def test_kind_and_metric_can_be_chosen(csv):
    spec = csv("smiles,y\nC,0\nCC,1\nCCC,1\n")
    assert load(spec, target="y", split=None).kind == "binary"
    data = load(spec, target="y", split=None, kind="regression", metric="mae")
    assert (data.kind, data.metric) == ("regression", "mae")
    with pytest.raises(DataError, match="`metric` is 'auc'"):
        load(spec, target="y", metric="auc")


def test_a_column_without_labels_is_refused(csv):
    with pytest.raises(DataError, match="every label is missing"):
        load(csv("smiles,y\nC,\nCC,\nCCC,\n"), target="y")


def test_tox21_is_read_as_published(shared_data, tmp_path):
    lines = (shared_data / "moleculenet" / "tox21.csv").read_text().splitlines()[:201]
    path = tmp_path / "tox21.csv.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    data = load(f"smiles:{path}", target="NR-AR, SR-p53")
    published = load("ogb:ogbg-moltox21", root=shared_data)
    assert data.kind == "binary" and data.num_outputs == 2
    assert torch.equal(data.labels.nan_to_num(-1), published.labels[:200, [0, 11]].nan_to_num(-1))
    mine = data.graphs.batch(torch.arange(200))
    theirs = published.graphs.batch(torch.arange(200))
    assert torch.equal(mine.src, theirs.src) and torch.equal(mine.e, theirs.e)
    # The number of radical electrons (column 5) of a metal depends on the version of RDKit.
    columns = [0, 1, 2, 3, 4, 6, 7, 8]
    assert torch.equal(mine.x[:, columns], theirs.x[:, columns])


def test_all_tasks_of_tox21_are_found(shared_data, tmp_path):
    lines = (shared_data / "moleculenet" / "tox21.csv").read_text().splitlines()
    (tmp_path / "tox21.csv").write_text("\n".join(lines[:61]))
    data = load("smiles:tox21.csv", root=tmp_path, target="all")
    assert data.label_names == tuple(lines[0].split(",")[:12])
    assert data.kind == "binary" and data.labels.shape == (60, 12)
    assert data.labels.isnan().any() and data.rows.tolist() == list(range(2, 62))
