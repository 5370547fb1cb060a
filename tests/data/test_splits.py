"""Splits: disjoint, complete, repeatable, and OGB's own where OGB has one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtl.data import load
from gtl.data.splits import (
    few_labels_split,
    fold_split,
    node_split,
    random_split,
    scaffold_split,
    scaffolds,
    stratified_split,
)
from gtl.errors import ConfigError, DataError


def together(split):
    return torch.cat(list(split.values())).sort().values.tolist()


@settings(max_examples=60, deadline=None)
@given(
    items=st.integers(3, 400),
    shares=st.lists(st.integers(1, 20), min_size=2, max_size=3),
    seed=st.integers(0, 2**31),
)
def test_a_random_split_is_disjoint_complete_sorted_and_nowhere_empty(items, shares, seed):
    split = random_split(items, [share / sum(shares) for share in shares], seed)
    assert list(split) == ["train", "valid", "test"][: len(shares)]
    assert together(split) == list(range(items))
    for index in split.values():
        assert len(index) and index.dtype == torch.int64
        assert index.tolist() == sorted(index.tolist())


def test_a_random_split_has_the_sizes_that_were_asked_for():
    split = random_split(101, (0.5, 0.3, 0.2))
    assert [len(index) for index in split.values()] == [51, 30, 20]


def test_the_seed_decides_a_random_split():
    assert torch.equal(random_split(50, seed=3)["train"], random_split(50, seed=3)["train"])
    assert not torch.equal(random_split(50, seed=3)["train"], random_split(50, seed=4)["train"])


def test_too_few_items_for_a_random_split_are_refused():
    with pytest.raises(DataError, match="2 items cannot be split into 3 parts"):
        random_split(2)


@pytest.mark.parametrize("fractions", [(0.8, 0.1), (1.0,), (0.5, 0.5, 0.0), (1.2, -0.1, -0.1)])
def test_fractions_that_are_no_shares_are_refused(fractions):
    with pytest.raises(ConfigError, match="positive shares that sum to 1"):
        random_split(100, fractions)


# -- class by class --------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    counts=st.lists(st.integers(10, 40), min_size=2, max_size=4),
    shares=st.sampled_from([(0.8, 0.1, 0.1), (0.6, 0.2, 0.2), (0.5, 0.5)]),
    seed=st.integers(0, 2**40),
)
def test_each_part_of_a_stratified_split_has_its_share_of_every_class(counts, shares, seed):
    labels = torch.repeat_interleave(torch.tensor(counts))
    split = stratified_split(labels, shares, seed)
    assert together(split) == list(range(len(labels)))
    for index, share in zip(split.values(), shares):
        taken = labels[index].bincount(minlength=len(counts))
        assert ((taken - share * torch.tensor(counts)).abs() <= 2).all()
        assert index.tolist() == sorted(index.tolist())


def test_a_stratified_split_has_the_sizes_that_were_asked_for():
    split = stratified_split(torch.arange(900) % 2, (0.7, 0.1, 0.2))
    assert [len(index) for index in split.values()] == [630, 90, 180]


def test_a_stratified_split_leaves_out_missing_labels_and_reads_binary_columns():
    labels = torch.tensor([[0.0], [1.0], [torch.nan]] * 20)
    split = stratified_split(labels, (0.5, 0.25, 0.25))
    assert [len(index) for index in split.values()] == [20, 10, 10]
    for index in split.values():
        assert labels[index].mean() == 0.5


def test_a_class_too_small_to_be_in_every_part_is_refused():
    with pytest.raises(DataError, match=r"split by class into 3 parts .*give more data"):
        stratified_split(torch.tensor([0] * 30 + [1]))


@settings(max_examples=30, deadline=None)
@given(
    counts=st.lists(st.integers(5, 20), min_size=2, max_size=3),
    folds=st.integers(3, 5),
    seed=st.integers(0, 2**40),
)
def test_every_item_tests_in_one_fold_and_validates_in_the_one_before(counts, folds, seed):
    labels = torch.repeat_interleave(torch.tensor([*counts]))
    turns = [fold_split(labels, folds, fold, seed) for fold in range(folds)]
    assert sorted(torch.cat([turn["test"] for turn in turns]).tolist()) == list(range(len(labels)))
    for turn, after in zip(turns, turns[1:] + turns[:1]):
        assert together(turn) == list(range(len(labels)))
        assert torch.equal(turn["valid"], after["test"])
        share = labels[turn["test"]].bincount(minlength=len(counts)) * folds
        assert ((share - torch.tensor(counts)).abs() < folds).all()


def test_folds_are_those_of_scikit_learn():
    from sklearn.model_selection import StratifiedKFold

    labels = torch.tensor([1, 0, 0, 1, 1, 0, 0, 1, 0, 1, 0])
    cutter = StratifiedKFold(3, shuffle=True, random_state=7)
    for fold, (_, held) in enumerate(cutter.split(labels, labels)):
        assert fold_split(labels, 3, fold, seed=7)["test"].tolist() == held.tolist()


def test_folds_that_cannot_be_are_refused():
    labels = torch.tensor([0, 1] * 4)
    for folds, fold in ((2, 0), (4, 4), (4, -1)):
        with pytest.raises(ConfigError, match=f"`folds` is {folds} and `fold` {fold}"):
            fold_split(labels, folds, fold)
    with pytest.raises(DataError, match="a class has 4 items, too few for 5 folds"):
        fold_split(labels, 5, 0)


# -- groups ----------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    drawn=st.lists(st.integers(0, 30), min_size=1, max_size=90),
    way=st.sampled_from(["random", "stratified", "folds"]),
    seed=st.integers(0, 2**31),
)
def test_a_group_stays_together_and_all_items_are_used(drawn, way, seed):
    groups = torch.tensor([*range(31), *drawn])
    labels = groups % 2
    labels[:2] = -1
    if way == "random":
        split = random_split(len(groups), (0.6, 0.2, 0.2), seed, groups)
    elif way == "stratified":
        split = stratified_split(labels, (0.6, 0.2, 0.2), seed, groups)
    else:
        split = fold_split(labels, 3, 1, seed, groups)
    known = torch.arange(len(groups)) if way == "random" else (labels >= 0).nonzero().flatten()
    assert together(split) == known.tolist()
    owners = [set(groups[index].tolist()) for index in split.values()]
    assert all(owners) and sum(map(len, owners)) == len(set.union(*owners))
    for index in split.values():
        assert index.tolist() == sorted(index.tolist())


@settings(max_examples=30, deadline=None)
@given(items=st.integers(30, 90), seed=st.integers(0, 2**31))
def test_groups_of_one_item_change_nothing(items, seed):
    groups = torch.randperm(items, generator=torch.Generator().manual_seed(seed)) + 5
    labels = torch.arange(items) % 2
    for plain, grouped in (
        (random_split(items, seed=seed), random_split(items, seed=seed, groups=groups)),
        (stratified_split(labels, seed=seed), stratified_split(labels, seed=seed, groups=groups)),
        (fold_split(labels, 4, 2, seed), fold_split(labels, 4, 2, seed, groups)),
    ):
        assert all(torch.equal(plain[part], grouped[part]) for part in plain)


def test_the_shares_of_a_split_are_those_of_groups():
    groups = torch.arange(40) // 2
    split = random_split(40, (0.5, 0.25, 0.25), groups=groups)
    assert [len(index) for index in split.values()] == [20, 10, 10]
    with pytest.raises(DataError, match=r"2 distinct items \(of 40\) cannot be split into 3 parts"):
        random_split(40, groups=torch.arange(40) % 2)


# -- scaffolds -------------------------------------------------------------------------------------


def test_scaffold_groups_stay_together_and_the_largest_train():
    pytest.importorskip("rdkit")
    benzenes = ["c1ccccc1", "Cc1ccccc1", "CCc1ccccc1", "Oc1ccccc1", "Nc1ccccc1", "Clc1ccccc1"]
    smiles = ["C1CC1", *benzenes[:3], "C1CCCC1", *benzenes[3:], "CC1CC1", "C1CCC1"]
    split = scaffold_split(smiles, (0.6, 0.2, 0.2))
    # 6 benzenes fill train; 2 cyclopropanes fill valid; the others are singles, for test.
    assert split["train"].tolist() == [1, 2, 3, 5, 6, 7]
    assert split["valid"].tolist() == [0, 8]
    assert split["test"].tolist() == [4, 9]


def test_one_scaffold_for_all_leaves_a_part_empty_and_is_refused():
    pytest.importorskip("rdkit")
    with pytest.raises(DataError, match="leaves 'train' empty: 4 molecules have only 1 scaffolds"):
        scaffold_split(["CC", "CCC", "CCCC", "CCO"])


def test_a_scaffold_split_names_the_molecule_that_cannot_be_read():
    pytest.importorskip("rdkit")
    with pytest.raises(DataError, match="molecule 1, 'C1CC', has no scaffold"):
        scaffold_split(["CC", "C1CC"])


def test_atom_maps_and_isotopes_do_not_change_the_scaffold():
    pytest.importorskip("rdkit")
    from rdkit import Chem

    plain = ["c1ccccc1", "Cc1ccccc1C(=O)O", "Oc1ccccc1", "C[C@H]1CCCO1", "CC1CC1", "C1CCC1"]
    mapped, heavy = [], []
    for text in plain:
        molecule = Chem.MolFromSmiles(text)
        for atom in molecule.GetAtoms():
            atom.SetAtomMapNum(atom.GetIdx() + 1)
        mapped.append(Chem.MolToSmiles(molecule, canonical=False))
        molecule = Chem.MolFromSmiles(text)
        molecule.GetAtomWithIdx(molecule.GetNumAtoms() - 1).SetIsotope(13)
        heavy.append(Chem.MolToSmiles(molecule, canonical=False))
    wanted = scaffolds(plain)
    assert wanted[0] == "c1ccccc1" and any(":1]" in text for text in mapped)
    assert scaffolds(mapped) == wanted
    assert scaffolds(heavy) == wanted
    assert scaffolds(["[2H]c1ccccc1", "C1CC1"]) == ["c1ccccc1", "C1CC1"]


@pytest.mark.parametrize("name", ["molbace", "molbbbp"])
def test_the_scaffold_split_of_ogb_is_reproduced(name, shared_data):
    pytest.importorskip("rdkit")
    data = load(f"ogb:{name}", root=shared_data)
    split = scaffold_split(data.names)
    for part in ("train", "valid", "test"):
        assert torch.equal(split[part], data.split[part].sort().values)


# -- few labels ------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    labels=st.lists(st.integers(-1, 2), min_size=40, max_size=80),
    per_class=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_few_labels_are_as_many_per_class_and_never_missing_ones(labels, per_class, seed):
    labels = torch.tensor(labels)
    counts = labels[labels >= 0].bincount(minlength=3)
    if bool((counts < per_class).any()) or int(counts.sum()) < 3 * per_class + 12:
        with pytest.raises(DataError):
            few_labels_split(torch.cat([labels, torch.tensor([0, 1, 2])[counts == 0]]), 90, 5, 7)
        return
    split = few_labels_split(labels, per_class, valid=5, test=7, seed=seed)
    assert labels[split["train"]].bincount(minlength=3).tolist() == [per_class] * 3
    assert (len(split["valid"]), len(split["test"])) == (5, 7)
    used = together(split)
    assert len(set(used)) == len(used)
    assert (labels[used] >= 0).all()


def test_few_labels_of_a_binary_column_leave_out_missing_ones():
    labels = torch.tensor([[0.0], [torch.nan], [1.0], [1.0], [0.0]])
    split = few_labels_split(labels, 1, valid=1, test=1)
    assert together(split) == [0, 2, 3, 4]
    assert sorted(labels[split["train"], 0].tolist()) == [0.0, 1.0]


def test_a_class_with_too_few_labels_is_named():
    with pytest.raises(DataError, match="class 1 has 1 labeled items to draw, 2 per class"):
        few_labels_split(torch.tensor([0, 0, 0, 1]), 2, valid=1, test=1)


def test_too_few_items_left_to_judge_are_refused():
    with pytest.raises(DataError, match="leave 2 labeled ones, 500 to validate and 1000 to test"):
        few_labels_split(torch.tensor([0, 0, 1, 1]), 1)


def test_a_part_of_no_items_is_refused():
    with pytest.raises(ConfigError, match="`per_class` is 0"):
        few_labels_split(torch.tensor([0, 1]), 0)


def test_all_that_is_left_may_test():
    split = few_labels_split(torch.arange(40) % 2, 3, valid=4, test=None)
    assert [len(index) for index in split.values()] == [6, 4, 30]
    with pytest.raises(DataError, match="leave 34 labeled ones, 34 to validate and 1 to test"):
        few_labels_split(torch.arange(40) % 2, 3, valid=34, test=None)


def test_nodes_are_split_by_few_labels_or_by_shares_of_the_labeled():
    labels = torch.cat([torch.full((10,), -1), torch.arange(600) % 3])
    split = node_split(labels)
    assert [len(index) for index in split.values()] == [60, 500, 40]
    assert [len(i) for i in node_split(labels, 0, 5, 7, 9).values()] == [15, 7, 9]
    shares = node_split(labels, seed=2, fractions=(0.5, 0.25, 0.25))
    assert together(shares) == list(range(10, 610))
    with pytest.raises(ConfigError, match="two ways to split; give one"):
        node_split(labels, test=9, fractions=(0.5, 0.25, 0.25))


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.sets(st.integers(0, 2)), min_size=30, max_size=60), seed=st.integers(0, 99))
def test_items_of_several_classes_train_once_and_each_class_has_enough(rows, seed):
    labels = torch.zeros(len(rows), 3)
    for item, classes in enumerate(rows):
        labels[item, list(classes)] = 1
    labels[~labels.any(1)] = torch.nan
    labels[:9] = torch.eye(3).repeat(3, 1)
    split = few_labels_split(labels, 2, valid=1, test=None, seed=seed)
    assert len(split["train"]) == 6
    assert (labels[split["train"]].sum(0) >= 2).all()
    assert together(split) == (~labels[:, 0].isnan()).nonzero().flatten().tolist()


def test_no_items_at_all_are_too_few():
    with pytest.raises(DataError, match="leave 0 labeled ones"):
        few_labels_split(torch.empty(0, dtype=torch.int64), 1)
