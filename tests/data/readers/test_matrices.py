"""Matrices of published files: symmetric edges, features of one scale, and damage that is seen."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch

from gtl.data.readers.matrices import adjacency_edges, dense_features, undirected
from gtl.errors import DataError


def test_edges_are_where_the_matrix_is_not_zero_in_any_format():
    dense = np.array([[0, 2.0, 0], [0, 7, 0], [0, 0, 0]])
    for form in ("csr", "csc", "coo", "lil"):
        src, dst = adjacency_edges(scipy.sparse.csr_matrix(dense).asformat(form))
        assert (src.tolist(), dst.tolist()) == ([0, 1], [1, 0])
    src, dst = adjacency_edges(dense)
    assert (src.tolist(), dst.tolist()) == ([0, 1], [1, 0])


def test_no_edges_are_no_trouble():
    none = torch.empty(0, dtype=torch.int64)
    assert [len(end) for end in undirected(none, none, 5)] == [0, 0]


def test_rows_sum_to_one_where_they_are_counts():
    counts = np.array([[1, 3, 0], [0, 0, 0]], "uint8")
    assert dense_features(counts, 2, True).tolist() == [[0.25, 0.75, 0], [0, 0, 0]]
    assert dense_features(counts, 2, False).tolist() == counts.tolist()
    assert dense_features(counts - 1.0, 2, True).tolist() == [[0, 2, -1], [-1, -1, -1]]
    assert dense_features(scipy.sparse.csc_matrix(counts), 2, True).dtype == torch.float32


def test_a_matrix_that_points_outside_itself_is_refused_in_any_format():
    for form in (scipy.sparse.csr_matrix, scipy.sparse.csc_matrix):
        wild = form(np.eye(3))
        wild.indices[1] = 1_000_000
        with pytest.raises(DataError, match="a sparse matrix is damaged"):
            dense_features(wild, 3, False)
        with pytest.raises(DataError, match="a sparse matrix is damaged"):
            adjacency_edges(wild)
