"""Averages of changes of low rank, which are products: the mean of products, not of factors.

With ``W + up down`` at each client, the mean of ``up`` times the mean of ``down`` is not the mean
of the products. Either ``down`` is frozen at a start that all clients share, and the mean of ``up``
is exact (Sun et al. 2024, "Improving LoRA in privacy-preserving federated learning"), or products
are averaged and written as factors again, by their leading singular vectors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def mean_of_products(ups: Tensor, downs: Tensor, weights: Sequence[float]) -> Tensor:
    """Weighted mean of the products of factors.

    Args:
        ups: Left factors of ``k`` clients, ``(k, ..., n, r)``.
        downs: Right factors, ``(k, ..., r, d)``.
        weights: Weights of the clients; only their ratios count.

    Returns:
        The mean ``(..., n, d)``, in float64.

    Example:
        >>> ups, downs = torch.tensor([[[1.0]], [[3.0]]]), torch.tensor([[[1.0]], [[3.0]]])
        >>> mean_of_products(ups, downs, [1, 1]).item()  # the product of means would be 4
        5.0
    """
    shares = torch.tensor(list(weights), dtype=torch.float64)
    return torch.einsum("k,k...ij->...ij", shares / shares.sum(), ups.double() @ downs.double())


def factors_of(product: Tensor, rank: int) -> tuple[Tensor, Tensor, float]:
    """The factors of rank ``rank`` whose product is nearest to a matrix.

    The right factor has orthonormal rows, also where the matrix has lower rank: with a zero row on
    both sides, a column would never be trained again.

    Args:
        product: Matrices ``(..., n, d)``.
        rank: At most the shorter side.

    Returns:
        ``up`` ``(..., n, rank)``, ``down`` ``(..., rank, d)``, and the share of the norm that is
        lost, 0 where the rank suffices.
    """
    left, values, right = torch.linalg.svd(product, full_matrices=False)
    up = left[..., :rank] * values[..., None, :rank]
    norm, lost = values.norm(), values[..., rank:].norm()
    return up, right[..., :rank, :], float(lost / norm) if norm else 0.0
