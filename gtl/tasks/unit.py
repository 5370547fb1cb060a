"""Unit vectors with a finite derivative at zero."""

from __future__ import annotations

from torch import Tensor

_TINY = 1e-6  # relative to entries of size 1


def unit(vectors: Tensor) -> Tensor:
    """Directions of vectors ``(..., h)``; inner products of two are their cosines.

    A vector much longer than a thousandth per entry has length 1, shorter ones have less, and a
    zero vector stays zero, with a finite gradient.
    """
    size = vectors.shape[-1]
    return vectors * (vectors.square().sum(-1, keepdim=True) + _TINY * size).rsqrt()
