"""Planetoid: a hand-made citation graph, Cora as published, and pickles that want more."""

from __future__ import annotations

import collections
import os
import pickle

import numpy as np
import pytest
import scipy.sparse
import torch

from gtl.data import load
from gtl.errors import DataError


def write(folder, name, **pieces):
    folder.mkdir(parents=True, exist_ok=True)
    for piece, value in pieces.items():
        with (folder / f"ind.{name}.{piece}").open("wb") as file:
            pickle.dump(value, file, protocol=3)


@pytest.fixture
def citeseer(tmp_path):
    """Eight papers: 0..3 in allx (0, 1 train), 7 and 4 tested, 5 and 6 left out as in CiteSeer."""
    folder = tmp_path / "planetoid"
    words = np.array([[1, 1, 0], [0, 0, 2], [1, 0, 0], [0, 3, 1]], "float32")
    fields = np.array([[1, 0], [0, 1], [1, 0], [0, 1]])
    graph = collections.defaultdict(
        list, {0: [1, 2, 2], 1: [0, 1], 2: [], 3: [4], 4: [3], 7: [0], 5: [], 6: []}
    )
    write(
        folder,
        "citeseer",
        x=scipy.sparse.csr_matrix(words[:2]),
        y=fields[:2],
        allx=scipy.sparse.csr_matrix(words),
        ally=fields,
        tx=scipy.sparse.csr_matrix(np.array([[7, 0, 0], [0, 4, 4]], "float32")),
        ty=np.array([[0, 1], [1, 0]]),
        graph=graph,
    )
    (folder / "ind.citeseer.test.index").write_text("7\n4\n")
    return folder


def test_edges_go_both_ways_once_without_loops(citeseer):
    graph = load("planetoid:citeseer", root=citeseer.parent).graph
    edges = sorted(zip(graph.src.tolist(), graph.dst.tolist()))
    assert edges == [(0, 1), (0, 2), (0, 7), (1, 0), (2, 0), (3, 4), (4, 3), (7, 0)]


def test_test_papers_stand_at_their_numbers_and_missing_ones_are_empty(citeseer):
    data = load("planetoid:citeseer", root=citeseer, normalize=False)
    assert data.graph.x[7].tolist() == [7, 0, 0]
    assert data.graph.x[4].tolist() == [0, 4, 4]
    assert data.graph.x[5:7].tolist() == [[0, 0, 0]] * 2
    assert data.labels.tolist() == [0, 1, 0, 1, 0, -1, -1, 1]
    assert {part: index.tolist() for part, index in data.split.items()} == {
        "train": [0, 1],
        "valid": [2, 3],
        "test": [4, 7],
    }


def test_words_are_divided_by_their_number_unless_told_otherwise(citeseer):
    x = load("planetoid:citeseer", root=citeseer).graph.x
    assert x.dtype == torch.float32
    assert x[3].tolist() == [0, 0.75, 0.25]
    assert x[5].tolist() == [0, 0, 0]


def test_a_split_of_few_labels_is_drawn_by_seed(citeseer):
    data = load("planetoid:citeseer", root=citeseer, labels_per_class=1, seed=1)
    assert sorted(data.labels[data.split["train"]].tolist()) == [0, 1]
    used = torch.cat(list(data.split.values()))
    assert sorted(used.tolist()) == [0, 1, 2, 3, 4, 7]


def test_missing_files_and_names_are_told(tmp_path):
    with pytest.raises(DataError, match=r"no file ind\.pubmed\.graph in .*; put the files"):
        load("planetoid:pubmed", root=tmp_path)
    with pytest.raises(DataError, match="did you mean 'citeseer'"):
        load("planetoid:citesear", root=tmp_path)


class Calls:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "payload",
    [
        Calls(os.system, "touch pwned"),
        Calls(eval, "1"),
        Calls(getattr, np.ndarray, "tofile"),
        [Calls(open, "pwned", "w")],
    ],
)
def test_a_pickle_that_names_anything_but_arrays_is_refused_and_calls_nothing(
    citeseer, payload, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write(citeseer, "citeseer", allx=payload)
    with pytest.raises(DataError, match=r"ind\.citeseer\.allx is refused: it asks for \w+\.\w+"):
        load("planetoid:citeseer", root=citeseer)
    assert not (tmp_path / "pwned").exists()


def test_a_pickle_cannot_change_scipys_classes(citeseer):
    # The class itself, then BUILD with attributes to set on it.
    evil = b"cscipy.sparse.csr\ncsr_matrix\n(N}X\x07\x00\x00\x00toarrayc__builtin__\nlist\nstb."
    (citeseer / "ind.citeseer.allx").write_bytes(evil)
    with pytest.raises(DataError, match="expected a matrix"):
        load("planetoid:citeseer", root=citeseer)
    assert scipy.sparse.csr_matrix.toarray is not list


@pytest.mark.parametrize(
    ("piece", "value", "words"),
    [
        ("allx", np.zeros((3, 3)), "do not belong together"),
        ("tx", np.zeros((1, 3)), "do not belong together"),
        ("ty", np.array([["a", "b"]] * 2, dtype=object), "expected a matrix"),
        ("graph", {0: [99]}, r"papers outside 0\.\.7"),
        ("graph", {0: 1}, "not lists of numbers"),
        ("graph", [1, 2], "expected lists of neighbors"),
    ],
)
def test_files_that_do_not_fit_are_refused(citeseer, piece, value, words):
    write(citeseer, "citeseer", **{piece: value})
    with pytest.raises(DataError, match=words):
        load("planetoid:citeseer", root=citeseer)


def test_a_sparse_matrix_that_points_outside_itself_is_refused(citeseer):
    wild = scipy.sparse.csr_matrix(np.eye(4, 3))
    wild.indices[1] = 1_000_000
    write(citeseer, "citeseer", allx=wild)
    with pytest.raises(DataError, match="allx is refused: it is damaged"):
        load("planetoid:citeseer", root=citeseer)


def test_damaged_files_are_named(citeseer):
    file = citeseer / "ind.citeseer.ally"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"ind\.citeseer\.ally is refused: it is damaged"):
        load("planetoid:citeseer", root=citeseer)
    file.unlink()
    with pytest.raises(DataError, match=r"ind\.citeseer\.ally cannot be read"):
        load("planetoid:citeseer", root=citeseer)


@pytest.mark.parametrize("text", ["7\n7\n", "seven\n", ""])
def test_a_broken_test_index_is_refused(citeseer, text):
    (citeseer / "ind.citeseer.test.index").write_text(text)
    with pytest.raises(DataError, match=r"test\.index"):
        load("planetoid:citeseer", root=citeseer)


# -- Cora ------------------------------------------------------------------------------------------


def test_cora_has_its_published_sizes(shared_data):
    data = load("planetoid:cora", root=shared_data)
    graph = data.graph.validate()
    assert (graph.num_nodes, graph.num_edges, graph.x.shape[1]) == (2708, 10556, 1433)
    assert data.labels.bincount().tolist() == [351, 217, 418, 818, 426, 298, 180]
    assert [len(data.split[part]) for part in ("train", "valid", "test")] == [140, 500, 1000]
    assert data.labels[data.split["train"]].bincount().tolist() == [20] * 7
    assert data.split["test"].tolist() == list(range(1708, 2708))
    assert (data.level, data.kind, data.metric) == ("node", "multiclass", "acc")


def test_cora_is_symmetric_and_its_papers_cite_their_own_field(shared_data):
    data = load("planetoid:cora", root=shared_data)
    src, dst, n = data.graph.src, data.graph.dst, data.graph.num_nodes
    assert torch.equal((src * n + dst).sort().values, (dst * n + src).sort().values)
    assert (src != dst).all()
    # Wrong numbering of the test papers would bring this down to about a fifth for them.
    tested = torch.isin(src, data.split["test"])
    same = (data.labels[src] == data.labels[dst])[tested].float().mean()
    assert float(same) > 0.75


def test_cora_with_five_labels_per_class(shared_data):
    data = load("planetoid:cora", root=shared_data, labels_per_class=5, seed=3)
    assert data.labels[data.split["train"]].bincount().tolist() == [5] * 7
    assert (len(data.split["valid"]), len(data.split["test"])) == (500, 1000)
