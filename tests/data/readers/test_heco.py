"""typed: a hand-made graph of papers, authors and venues, HeCo's, and folders that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gtl.data import load
from gtl.errors import DataError
from gtl.graph import Columns, Schema

AUTHORS = np.array([[1.0, -1, 0, 2], [0, 0, 0, 0]])
PAPERS = np.array([[1, 3], [0, 0], [2, 2], [0, 5], [1, 0]])


@pytest.fixture
def folder(tmp_path):
    """Five papers with classes, two authors, three venues; papers are written and appear."""
    home = tmp_path / "hetero" / "tiny"
    home.mkdir(parents=True)
    (home / "pa.txt").write_text("0\t1\n1\t0\n4\t1\n0\t1\n")
    (home / "pv.txt").write_text("0\t2\n3\t0\n")
    scipy.sparse.save_npz(home / "p_feat.npz", scipy.sparse.csr_matrix(PAPERS))
    with (home / "a_feat.npz").open("wb") as file:  # a plain array, in spite of its name
        np.save(file, AUTHORS)
    np.save(home / "labels.npy", np.array([0.0, 2, 1, 2, 0]))
    for part, items in (("train", [4, 2]), ("val", [0]), ("test", [3, 1])):
        np.save(home / f"{part}_20.npy", np.array(items))
    (home / "readme.txt").write_text("not edges\n")
    return home


def edges(graph, kind):
    return {
        (a, b)
        for a, b, c in zip(graph.src.tolist(), graph.dst.tolist(), graph.edge_type.tolist())
        if c == kind
    }


def test_the_labeled_type_comes_first_and_reverses_are_types_of_their_own(folder):
    data = load("typed:tiny", root=folder.parent.parent)
    graph = data.graph.validate()
    assert graph.node_type.tolist() == [0] * 5 + [1] * 2 + [2] * 3  # papers, authors, venues
    assert data.names == ("p0", "p1", "p2", "p3", "p4", "a0", "a1", "v0", "v1", "v2")
    assert edges(graph, 0) == {(0, 6), (1, 5), (4, 6)}
    assert edges(graph, 1) == {(b, a) for a, b in edges(graph, 0)}
    assert edges(graph, 2) == {(0, 9), (3, 7)}
    assert edges(graph, 3) == {(b, a) for a, b in edges(graph, 2)}
    assert graph.num_edges == 10
    assert data.schema == Schema(Columns(width=6), None, node_types=3, edge_types=4)


def test_only_nodes_of_the_labeled_type_have_classes_and_splits(folder):
    data = load(f"typed:{folder}")
    assert data.labels.tolist() == [0, 2, 1, 2, 0, -1, -1, -1, -1, -1]
    assert {part: index.tolist() for part, index in data.split.items()} == {
        "train": [2, 4],
        "valid": [0],
        "test": [1, 3],
    }
    assert (data.level, data.kind, data.metric, data.num_outputs) == (
        "node",
        "multiclass",
        "acc",
        3,
    )


def test_features_stand_side_by_side_and_counts_sum_to_one(folder):
    x = load(f"typed:{folder}").graph.x
    assert x.dtype == torch.float32
    assert x[:5, :2].tolist() == [[0.25, 0.75], [0, 0], [0.5, 0.5], [0, 1], [1, 0]]
    assert x[5:7, 2:].tolist() == AUTHORS.tolist()  # negative values: no counts
    assert not x[:5, 2:].any() and not x[5:7, :2].any() and not x[7:].any()
    assert load(f"typed:{folder}", normalize=False).graph.x[:5, :2].tolist() == PAPERS.tolist()


def test_features_of_equal_width_share_their_columns(folder):
    with (folder / "a_feat.npz").open("wb") as file:
        np.save(file, AUTHORS[:, 2:])
    x = load(f"typed:{folder}", normalize=False).graph.x
    assert x.tolist() == [*PAPERS.tolist(), [0, 2], [0, 0], *[[0, 0]] * 3]


def test_features_are_read_of_the_types_that_were_asked_for(folder):
    for features in ("a", ["a"]):
        assert load(f"typed:{folder}", features=features).graph.x.shape == (10, 4)
    assert load(f"typed:{folder}", features="p, a").graph.x.shape == (10, 6)
    assert load(f"typed:{folder}", features=[]).graph.x is None
    with pytest.raises(DataError, match="has no features of 'v'; known: a, p"):
        load(f"typed:{folder}", features="p,v")


def test_a_type_without_features_can_be_the_labeled_one(folder):
    (folder / "p_feat.npz").unlink()
    np.save(folder / "labels.npy", np.arange(6) % 3)  # the last paper has no edges
    data = load(f"typed:{folder}", labeled="p")
    assert data.graph.node_type.bincount().tolist() == [6, 2, 3]


def test_edges_within_a_type_have_a_reverse_and_given_reverses_are_taken(folder):
    (folder / "pp.txt").write_text("0 1\n2 3\n")
    (folder / "vp.txt").write_text("0 3\n")
    graph = load(f"typed:{folder}").graph
    assert [len(edges(graph, kind)) for kind in range(6)] == [3, 3, 2, 2, 2, 1]
    assert edges(graph, 2) == {(0, 1), (2, 3)} and edges(graph, 3) == {(1, 0), (3, 2)}
    assert edges(graph, 5) == {(7, 3)}


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1)), min_size=1, max_size=20))
def test_what_was_written_is_read(folder, pairs):
    (folder / "pa.txt").write_text("".join(f"{a}\t{b}\n" for a, b in pairs))
    before = {path.name for path in folder.iterdir()}
    graph = load(f"typed:{folder}").graph
    assert edges(graph, 0) == {(a, 5 + b) for a, b in pairs}
    assert {path.name for path in folder.iterdir()} == before


# -- folders that do not fit -----------------------------------------------------------------------


def test_a_missing_folder_is_told_with_where_it_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"no imdb or hetero/imdb here or in .*; put the folder"):
        load("typed:imdb", root=tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("pa.txt", "0\t7\n", "edges name node 7 of type 'a', which has 2 nodes"),
        ("pa.txt", "0\t-1\n", r"pa\.txt names node -1, expected 0 or more"),
        ("pa.txt", "0\tx\n", r"pa\.txt cannot be read"),
        ("pa.txt", "0\t1\t2\n", r"pa\.txt has 3 columns, expected 2"),
        ("a_feat.npz", "no archive", r"a_feat\.npz cannot be read"),
        ("labels.npy", "no array", r"labels\.npy cannot be read"),
        ("val_20.npy", "", r"val_20\.npy cannot be read"),
    ],
)
def test_files_that_do_not_fit_are_named_in_one_line(folder, file, text, words):
    (folder / file).write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        load(f"typed:{folder}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "values", "words"),
    [
        (
            "labels.npy",
            [0, 1, 2, 0],
            "4 labels fit 0 types .there are 2 of 'a', 5 of 'p', 3 of 'v'",
        ),
        ("labels.npy", [0.5] * 5, r"labels\.npy is no list of whole numbers"),
        ("labels.npy", [[0, 1, 2, 0, 1]], r"labels\.npy is no list of whole numbers"),
        ("test_20.npy", [3, 5], r"test_20\.npy names nodes outside 0\.\.4"),
        ("test_20.npy", [-1], r"test_20\.npy names nodes outside 0\.\.4"),
        ("test_20.npy", [4], "item 4 is named more than once"),
        ("a_feat.npz", [[np.nan], [1.0]], r"a_feat\.npz: the features hold NaN"),
        ("a_feat.npz", [["a"], ["b"]], r"a_feat\.npz: the features are <U1 \(2, 1\), expected num"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(folder, file, values, words):
    with (folder / file).open("wb") as stream:
        np.save(stream, np.array(values))
    with pytest.raises(DataError, match=words) as caught:
        load(f"typed:{folder}")
    assert "\n" not in str(caught.value)


def test_pickled_objects_are_refused(folder):
    np.save(folder / "labels.npy", np.array([0, None, 1, 2, 0], dtype=object))
    with pytest.raises(DataError, match=r"labels\.npy cannot be read .*allow_pickle"):
        load(f"typed:{folder}")


def test_which_type_is_labeled_must_be_clear(folder):
    (folder / "pa.txt").write_text("0 1\n")
    (folder / "pq.txt").write_text("0 4\n")
    with pytest.raises(DataError, match=r"5 labels fit 2 types .*labeled=\.\.\. \(--labeled\)"):
        load(f"typed:{folder}")
    assert load(f"typed:{folder}", labeled="q").names[0] == "q0"
    with pytest.raises(DataError, match="5 labels for 2 nodes of type 'a'; name another"):
        load(f"typed:{folder}", labeled="a")
    with pytest.raises(DataError, match="has no type 'z'; known: a, p, q, v"):
        load(f"typed:{folder}", labeled="z")


def test_a_split_that_was_not_published_is_refused(folder):
    with pytest.raises(DataError, match="no split with 30 labels per class; known: 20"):
        load(f"typed:{folder}", labels_per_class=30)
    (folder / "val_20.npy").unlink()
    with pytest.raises(DataError, match=r"val_20\.npy cannot be read"):
        load(f"typed:{folder}")


# -- as published ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "features", "nodes", "edges", "width", "classes"),
    [
        ("acm", None, [4019, 7167, 60], [13407, 4019], 1902, [1993, 965, 1061]),
        # Without the papers' words, to save memory; their number of nodes is read all the same.
        (
            "dblp",
            "a, t",
            [4057, 20, 14328, 7723],
            [19645, 14328, 85810],
            334 + 50,
            [1197, 745, 1109, 1006],
        ),
    ],
)
def test_the_published_graphs_have_their_sizes(
    shared_data, name, features, nodes, edges, width, classes
):
    data = load(f"typed:{name}", root=shared_data, features=features)
    graph = data.graph.validate()
    assert graph.node_type.bincount().tolist() == nodes
    assert graph.edge_type.bincount().tolist() == [m for m in edges for _ in range(2)]
    assert graph.x.shape == (sum(nodes), width)
    assert data.labels[: nodes[0]].bincount().tolist() == classes
    assert (data.labels[nodes[0] :] == -1).all()


@pytest.mark.parametrize("count", [20, 40, 60])
def test_the_published_splits_have_as_many_labels_a_class(shared_data, count):
    data = load("typed:acm", root=shared_data, features=(), labels_per_class=count)
    assert data.labels[data.split["train"]].bincount().tolist() == [count] * 3
    assert [len(data.split[part]) for part in ("valid", "test")] == [1000, 1000]


def test_papers_of_one_subject_are_of_one_class(shared_data):
    graph = (data := load("typed:acm", root=shared_data, features=())).graph
    papers, subjects = (end[graph.edge_type == 2] for end in (graph.src, graph.dst))
    assert set(graph.node_type[subjects].tolist()) == {2}
    table = torch.zeros(60, 3)
    table.index_put_((subjects - 4019 - 7167, data.labels[papers]), torch.ones(1), accumulate=True)
    # Each subject's commonest class; 0.5 is what always answering with the largest class gives.
    assert float(table.amax(1).sum() / table.sum()) > 0.6
