"""Conversion of published matrices to edges and features, with checks and normalization."""

from __future__ import annotations

from typing import Any

import scipy.sparse
import torch
from torch import Tensor

from gtl.errors import DataError


def undirected(src: Tensor, dst: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Both directions of every edge, each once, without loops, sorted by the sending node.

    Args:
        src: One end of each edge, int64 ``(m,)``, in ``0..n-1``.
        dst: The other, likewise.
        n: Number of nodes.

    Example:
        >>> src, dst = undirected(torch.tensor([2, 0, 1]), torch.tensor([0, 2, 1]), 3)
        >>> src.tolist(), dst.tolist()
        ([0, 2], [2, 0])
    """
    apart = src != dst
    src, dst = src[apart], dst[apart]
    code = torch.cat([src * n + dst, dst * n + src]).unique()
    return code // n, code % n


def adjacency_edges(matrix: Any) -> tuple[Tensor, Tensor]:
    """The :func:`undirected` edges where a sparse square matrix is not zero; weights are dropped.

    Raises:
        DataError: If the matrix is not square, or is damaged.
    """
    if len(matrix.shape) != 2 or matrix.shape[0] != matrix.shape[1]:
        raise DataError(f"the adjacency has shape {tuple(matrix.shape)}, expected a square")
    matrix = _rows(matrix).tocoo()
    stored = matrix.data != 0
    src, dst = (torch.from_numpy(end[stored].astype("int64")) for end in (matrix.row, matrix.col))
    return undirected(src, dst, matrix.shape[0])


def dense_features(matrix: Any, n: int, normalize: bool, what: str = "features") -> Tensor:
    """A sparse or dense matrix of node features as float32 ``(n, d)``.

    Args:
        matrix: One row per node.
        n: Number of nodes.
        normalize: Divide each row by its sum, so that it sums to 1; rows of zeros stay, and so do
            all rows if some value is negative: those are no counts.
        what: What they are, for messages.

    Raises:
        DataError: If there are more or fewer rows, a value is not a finite number, or the matrix
            is damaged.
    """
    if len(matrix.shape) != 2 or matrix.shape[0] != n or matrix.dtype.kind not in "buif":
        raise DataError(
            f"the {what} are {matrix.dtype} {tuple(matrix.shape)}, expected numbers, one row for "
            f"each of {n} nodes"
        )
    if scipy.sparse.issparse(matrix):
        x = torch.from_numpy(_rows(matrix).astype("float32").toarray())
    else:
        x = torch.from_numpy(matrix.astype("float32"))
    total = x.sum(1, keepdim=True)
    if not bool(total.isfinite().all()):
        raise DataError(f"the {what} hold NaN or infinite numbers")
    if normalize and x.numel() and float(x.min()) >= 0:
        x /= total.masked_fill(total == 0, 1)
    return x


def _rows(matrix: Any) -> scipy.sparse.csr_matrix:
    """Compressed by row, after a check that no stored index points outside the matrix."""
    try:
        if hasattr(matrix, "check_format"):
            matrix.check_format(full_check=True)
        return scipy.sparse.csr_matrix(matrix)
    except (ValueError, TypeError) as error:
        raise DataError(f"a sparse matrix is damaged ({error})") from error
