"""npz: a hand-made graph, the published ones, and files that are something else."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtl.data import load
from gtl.errors import ConfigError, DataError

# Five nodes: 0 -> 1, 1 -> 0, 1 -> 2, a loop at 3, an explicit zero 4 -> 0.
ADJACENCY = scipy.sparse.csr_matrix(([1.0, 1, 1, 1, 0], ([0, 1, 1, 3, 4], [1, 0, 2, 3, 0])), (5, 5))
WORDS = scipy.sparse.csr_matrix(
    np.array([[1, 3, 0], [0, 0, 0], [2, 0, 0], [0, 0, 5], [1, 1, 2]], "float32")
)
LABELS = np.array([0, 1, 1, 0, 1])
SPLIT = {"labels_per_class": 1, "valid": 1, "test": 1}


def arrays(adjacency=ADJACENCY, words=WORDS, labels=LABELS, **more):
    parts = {}
    for name, matrix in (("adj", adjacency), ("attr", words)):
        for part in ("data", "indices", "indptr", "shape"):
            parts[f"{name}_{part}"] = getattr(matrix, part)
    return {**parts, "labels": labels, **more}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "npz-graphs" / "shop.npz"
    path.parent.mkdir()
    np.savez(path, **arrays(class_names=np.array(["lens", "flash"])))
    return path


def rewrite(path, **changes):
    np.savez(path, **{k: v for k, v in {**arrays(), **changes}.items() if v is not None})


def test_edges_go_both_ways_once_without_loops_and_zeros(file):
    graph = load("npz:shop", root=file.parent.parent, **SPLIT).graph.validate()
    assert graph.num_nodes == 5
    assert list(zip(graph.src.tolist(), graph.dst.tolist())) == [(0, 1), (1, 0), (1, 2), (2, 1)]


def test_a_file_is_found_by_path_by_name_in_the_root_and_in_its_folder(file, monkeypatch):
    by_path = load(f"npz:{file}", **SPLIT).checksum()
    assert load("npz:shop", root=file.parent, **SPLIT).checksum() == by_path
    assert load("npz:shop.npz", root=file.parent, **SPLIT).checksum() == by_path
    monkeypatch.setenv("GTL_DATA", str(file.parent.parent))
    assert load("npz:shop", **SPLIT).checksum() == by_path


def test_features_sum_to_one_if_told_so(file):
    x = load(f"npz:{file}", normalize=True, **SPLIT).graph.x
    assert x.dtype == torch.float32
    assert x.tolist() == [[0.25, 0.75, 0], [0, 0, 0], [1, 0, 0], [0, 0, 1], [0.25, 0.25, 0.5]]
    assert load(f"npz:{file}", **SPLIT).graph.x.tolist() == WORDS.todense().tolist()


def test_features_with_negative_values_are_no_counts_and_stay(file):
    rewrite(file, attr_data=-WORDS.data)
    x = load(f"npz:{file}", normalize=True, **SPLIT).graph.x
    assert x[4].tolist() == [-1, -1, -2]


def test_features_may_be_dense_or_absent(file):
    none = {f"attr_{part}": None for part in ("data", "indices", "indptr", "shape")}
    rewrite(file, **none)
    assert load(f"npz:{file}", **SPLIT).graph.x is None
    rewrite(file, **none, attr_matrix=WORDS.toarray())
    assert load(f"npz:{file}", **SPLIT).graph.x[2].tolist() == [2, 0, 0]


def test_classes_keep_their_names(file):
    data = load(f"npz:{file}", **SPLIT)
    assert data.labels.tolist() == LABELS.tolist()
    assert data.class_names == ("lens", "flash")
    assert (data.level, data.kind, data.metric) == ("node", "multiclass", "acc")


def test_names_of_classes_may_be_bytes_or_numbers(file):
    for names in (np.array([b"lens", b"flash"]), np.array([3, 7])):
        rewrite(file, class_names=names)
        assert load(f"npz:{file}", **SPLIT).class_names in (("lens", "flash"), ("3", "7"))


def test_by_default_20_a_class_train_500_validate_and_the_rest_test(tmp_path):
    n = 600
    eye = scipy.sparse.identity(n, format="csr")
    np.savez(tmp_path / "many.npz", **arrays(eye, eye[:, :2], np.arange(n) % 3))
    data = load("npz:many", root=tmp_path)
    assert data.labels[data.split["train"]].bincount().tolist() == [20] * 3
    assert [len(data.split[part]) for part in ("valid", "test")] == [500, 40]
    shares = load("npz:many", root=tmp_path, fractions=[0.5, 0.3, 0.2], seed=1)
    assert [len(index) for index in shares.split.values()] == [300, 180, 120]


def test_a_split_asked_for_in_two_ways_or_too_large_is_refused(file):
    with pytest.raises(ConfigError, match="two ways to split; give one"):
        load(f"npz:{file}", fractions=[0.6, 0.2, 0.2], valid=1)
    with pytest.raises(DataError, match="class 0 has 2 labeled items to draw, 20 per class"):
        load(f"npz:{file}")


ROWS = {"features": np.arange(10.0).reshape(5, 2), "labels": np.array([0, 1, 1, -1, 0])}


def test_features_with_labels_are_nodes_that_nothing_joins(tmp_path):
    np.savez(tmp_path / "rows.npz", **ROWS, class_names=np.array(["lens", "flash"]))
    data = load("npz:rows", root=tmp_path)
    assert data.graph.num_edges == 0
    assert data.graph.x.dtype == torch.float32
    assert data.graph.x.tolist() == ROWS["features"].tolist()
    assert data.labels.tolist() == [0, 1, 1, -1, 0]
    assert data.class_names == ("lens", "flash")
    assert not data.split
    drawn = load("npz:rows", root=tmp_path, **SPLIT).split
    assert [len(drawn[part]) for part in ("train", "valid", "test")] == [2, 1, 1]


def test_features_may_bring_their_split(tmp_path):
    np.savez(tmp_path / "rows.npz", **ROWS, train=np.array([4, 1]), test=np.array([2]))
    split = load("npz:rows", root=tmp_path).split
    assert {part: index.tolist() for part, index in split.items()} == {"train": [4, 1], "test": [2]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"features": np.zeros(5)}, r"expected numbers \(items, h\)"),
        ({"features": np.zeros((4, 2))}, "4 rows of `features` and 5 `labels`"),
        ({"features": np.full((5, 2), np.nan)}, "NaN"),
        ({"labels": np.zeros(5)}, "expected a class"),
        ({"train": np.zeros(5, dtype=bool)}, "expected numbers of items"),
    ],
)
def test_features_that_do_not_fit_are_refused_by_the_name_of_the_file(tmp_path, change, words):
    np.savez(tmp_path / "rows.npz", **{**ROWS, **change})
    with pytest.raises(DataError, match=rf"rows.npz: .*{words}"):
        load("npz:rows", root=tmp_path)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(3, 12),
    ends=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=30),
    d=st.integers(1, 5),
)
def test_what_was_written_is_read(n, ends, d):
    ends = [(a % n, b % n) for a, b in ends]
    adjacency = scipy.sparse.csr_matrix(
        (np.ones(len(ends)), ([a for a, _ in ends], [b for _, b in ends])), (n, n)
    )
    words = np.arange(n * d, dtype="float32").reshape(n, d)
    written = arrays(adjacency, scipy.sparse.csr_matrix(words), np.arange(n) % 2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.npz"
        np.savez(path, **written)
        data = load(f"npz:{path}", fractions=(0.5, 0.5))
        assert [file.name for file in path.parent.iterdir()] == ["graph.npz"]
    expected = {(a, b) for pair in ends for a, b in (pair, pair[::-1]) if a != b}
    pairs = list(zip(data.graph.src.tolist(), data.graph.dst.tolist()))
    assert pairs == sorted(expected)
    assert data.graph.x.tolist() == words.tolist()


# -- files that are something else -----------------------------------------------------------------


def test_a_missing_file_is_told_with_where_it_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"no shop or shop\.npz or .* here or in .*; put the file"):
        load("npz:shop", root=tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"adj_indptr": None}, "no array 'adj_indptr', expected the layout"),
        ({"attr_data": np.array(["a"] * 8)}, "'attr_data' is <U1, expected numbers"),
        ({"adj_indices": np.array([0, 1, 2, 3, 99])}, "sparse matrix is damaged"),
        ({"adj_indptr": ADJACENCY.indptr[:-2]}, r"adj_\* are no sparse matrix"),
        ({"adj_shape": np.array([5, 6])}, r"shape \(5, 6\), expected a square"),
        ({"attr_data": None, "attr_matrix": np.eye(4)}, "each of 5 nodes"),
        ({"attr_data": WORDS.data * np.nan}, "NaN or infinite"),
        ({"labels": LABELS[:4]}, "4 labels for 5 items"),
        ({"labels": LABELS.astype(float)}, "`labels` is float64 .*expected a class"),
        ({"labels": None}, "`labels` is no array"),
        ({"labels": LABELS - 2}, "`labels` hold -2, expected classes from 0, -1 for missing"),
        ({"class_names": np.array(["one"])}, "a class 1 but only 1 `class_names`"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(file, changes, words):
    rewrite(file, **changes)
    with pytest.raises(DataError, match=words) as caught:
        load(f"npz:{file}", **SPLIT)
    assert "\n" not in str(caught.value)


def test_pickled_objects_are_refused(file):
    rewrite(file, class_names=np.array(["lens", None], dtype=object))
    with pytest.raises(DataError, match="without pickled objects"):
        load(f"npz:{file}", **SPLIT)


@pytest.mark.parametrize("keep", [0, 10, -30])
def test_damaged_files_are_named(file, keep):
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"shop\.npz cannot be read as an npz file.*get it again"):
        load(f"npz:{file}", **SPLIT)


def test_another_kind_of_file_is_named(file):
    file.write_text("x,y\n1,2\n")
    with pytest.raises(DataError, match="cannot be read as an npz file"):
        load(f"npz:{file}", **SPLIT)
    with file.open("wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(DataError, match="cannot be read as an npz file"):
        load(f"npz:{file}", **SPLIT)


# -- as published ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "nodes", "edges", "columns", "classes"),
    [
        # Undirected edges without loops (the file of Photo has one).
        ("amazon_electronics_photo", 7650, 119081, 745, 8),
        ("citation_dblp", 17716, 52867, 1639, 4),
        ("ms_academic_cs", 18333, 81894, 6805, 15),
    ],
)
def test_the_published_graphs_have_their_sizes(shared_data, name, nodes, edges, columns, classes):
    data = load(f"npz:{name}", root=shared_data)
    graph = data.graph
    assert (graph.num_nodes, graph.num_edges) == (nodes, 2 * edges)
    assert graph.x.shape == (nodes, columns)
    assert data.num_outputs == classes and int(data.labels.min()) == 0
    assert data.labels[data.split["train"]].bincount().tolist() == [20] * classes
    assert len(data.split["test"]) == nodes - 20 * classes - 500


def test_neighbors_in_the_photo_shop_are_of_one_class(shared_data):
    data = load("npz:amazon_electronics_photo", root=shared_data)
    same = data.labels[data.graph.src] == data.labels[data.graph.dst]
    assert float(same.float().mean()) > 0.8  # 0.83; 0.17 if labels were shuffled
    assert data.class_names[1] == "Digital Cameras"
