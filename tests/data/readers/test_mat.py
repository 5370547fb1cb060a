"""mat: a hand-made network, the citation domains, and files that are something else."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtl.data import load
from gtl.errors import ConfigError, DataError

# Five nodes: 0 - 1 in both directions, 1 -> 2 in one, a loop at 3.
NETWORK = scipy.sparse.csc_matrix(([1.0, 1, 3, 1], ([0, 1, 1, 3], [1, 0, 2, 3])), (5, 5))
WORDS = np.array([[1, 3, 0], [0, 0, 0], [2, 0, 0], [0, 0, 5], [1, 1, 2]], "uint8")
GROUP = np.array([[1, 0], [1, 1], [0, 0], [0, 1], [1, 0]], "uint8")
SPLIT = {"labels_per_class": 1, "valid": 1}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "citation-domains" / "tiny.mat"
    path.parent.mkdir()
    rewrite(path)
    return path


def rewrite(path, **changes):
    values = {"network": NETWORK, "attrb": WORDS, "group": GROUP, **changes}
    scipy.io.savemat(path, {k: v for k, v in values.items() if v is not None})


def test_edges_go_both_ways_and_features_sum_to_one(file):
    graph = load("mat:tiny", root=file.parent.parent, **SPLIT).graph.validate()
    assert list(zip(graph.src.tolist(), graph.dst.tolist())) == [(0, 1), (1, 0), (1, 2), (2, 1)]
    assert graph.x.tolist() == [[0.25, 0.75, 0], [0, 0, 0], [1, 0, 0], [0, 0, 1], [0.25, 0.25, 0.5]]
    assert load(f"mat:{file}", normalize=False, **SPLIT).graph.x.tolist() == WORDS.tolist()


def test_each_label_is_a_column_and_nodes_without_one_are_unlabeled(file):
    data = load(f"mat:{file}", **SPLIT)
    assert data.labels[[0, 1, 3, 4]].tolist() == GROUP[[0, 1, 3, 4]].tolist()
    assert data.labels[2].isnan().all()
    assert (data.level, data.kind, data.metric, data.num_outputs) == ("node", "binary", "f1", 2)


def test_labels_and_features_may_be_sparse_and_features_absent(file):
    whole = load(f"mat:{file}", **SPLIT)
    rewrite(file, attrb=scipy.sparse.csc_matrix(WORDS), group=scipy.sparse.csc_matrix(GROUP))
    assert load(f"mat:{file}", **SPLIT).checksum() == whole.checksum()
    rewrite(file, attrb=None)
    assert load(f"mat:{file}", **SPLIT).graph.x is None


def test_labeled_nodes_are_split_by_few_labels_or_by_shares(file):
    few = load(f"mat:{file}", **SPLIT)
    assert [len(index) for index in few.split.values()] == [2, 1, 1]
    assert (few.labels[few.split["train"]].sum(0) >= 1).all()
    shares = load(f"mat:{file}", fractions=(0.5, 0.25, 0.25), seed=4)
    assert sorted(torch.cat(list(shares.split.values())).tolist()) == [0, 1, 3, 4]
    with pytest.raises(ConfigError, match="two ways to split; give one"):
        load(f"mat:{file}", fractions=(0.5, 0.5), test=1)


@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(4, 10),
    ends=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20),
    group=st.lists(st.lists(st.integers(0, 1), min_size=3, max_size=3), min_size=10, max_size=10),
)
def test_what_was_written_is_read(n, ends, group):
    ends = [(a % n, b % n) for a, b in ends]
    network = np.zeros((n, n))
    for a, b in ends:
        network[a, b] = 1
    marks = np.array(group, "uint8")[:n]
    marks[:4, 0] = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.mat"
        rewrite(path, network=scipy.sparse.csc_matrix(network), attrb=None, group=marks)
        data = load(f"mat:{path}", fractions=(0.5, 0.5))
        assert [file.name for file in path.parent.iterdir()] == ["graph.mat"]
    expected = {(a, b) for pair in ends for a, b in (pair, pair[::-1]) if a != b}
    assert list(zip(data.graph.src.tolist(), data.graph.dst.tolist())) == sorted(expected)
    assert data.labels.nan_to_num(0).tolist() == marks.tolist()


# -- files that are something else -----------------------------------------------------------------


def test_a_missing_file_is_told_with_where_it_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"no acm or acm\.mat or .* here or in .*; put the file"):
        load("mat:acm", root=tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": None}, "no variable 'network', it has attrb, group"),
        ({"group": None, "labels": GROUP}, "no variable 'group', it has .*labels"),
        ({"network": NETWORK[:4]}, r"the adjacency has shape \(4, 5\)"),
        ({"attrb": WORDS[:4]}, r"features are uint8 \(4, 3\), expected .* each of 5 nodes"),
        ({"attrb": WORDS * np.nan}, "NaN or infinite"),
        ({"group": GROUP[:, :1] * 2}, "`group` holds other numbers than 0 and 1"),
        ({"group": GROUP[:3]}, r"labels in `group` are uint8 \(3, 2\)"),
        ({"group": "text"}, "labels in `group` are <U4"),
        ({"network": "text"}, r"the adjacency has shape \(1,\)"),
    ],
)
def test_variables_that_do_not_fit_are_refused(file, changes, words):
    rewrite(file, **changes)
    with pytest.raises(DataError, match=words) as caught:
        load(f"mat:{file}", **SPLIT)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 100, 200, -20])
def test_damaged_files_are_named(file, keep):
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"tiny\.mat (cannot be read as a MATLAB|has no variable)"):
        load(f"mat:{file}", **SPLIT)


def test_a_file_of_matlab_7_3_is_told_how_to_be_saved(file):
    file.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(600))
    with pytest.raises(DataError, match=r"MATLAB 7\.3, which is not read; save it again with"):
        load(f"mat:{file}")


# -- as published ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "nodes", "edges", "classes"),
    [
        ("acmv9", 9360, 15556, [1916, 2872, 2550, 818, 1785]),
        ("citationv1", 8935, 15098, [2262, 2325, 2137, 704, 1673]),
        ("dblpv7", 5484, 8117, [1188, 1808, 1307, 332, 864]),
    ],
)
def test_the_citation_domains_have_their_sizes(shared_data, name, nodes, edges, classes):
    data = load(f"mat:{name}", root=shared_data)
    assert (data.graph.num_nodes, data.graph.num_edges) == (nodes, 2 * edges)
    assert data.graph.x.shape == (nodes, 6775)
    assert data.labels.sum(0).tolist() == classes
    assert set(data.labels.sum(1).tolist()) == {1, 2}
    assert [len(index) for index in data.split.values()] == [100, 500, nodes - 600]
    assert (data.labels[data.split["train"]].sum(0) >= 20).all()
