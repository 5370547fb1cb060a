"""Squared distances of rows, exact for close ones, without a tensor of all differences."""

from __future__ import annotations

import torch
from torch import Tensor

AT_ONCE = 1 << 22  # differences that may be held at once
_CLOSE = 1e-2  # below this share of the squared lengths a product has lost two digits and more


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances of all rows of ``x`` to all rows of ``y``, ``(n, m)``.

    Up to :data:`AT_ONCE` differences are taken directly. Above, ``|x|^2 + |y|^2 - 2 x y`` of
    centered rows has no tensor ``(n, m, h)``, but loses digits where rows are close to one another;
    the values of these pairs are replaced by those of their differences. The derivative is that
    of the products, which is the same function; its rounding error is relative to the spread of the
    rows.

    Args:
        x: ``(n, h)``.
        y: ``(m, h)``.
    """
    if fits_at_once(x, y):
        # Differences, not products: exact for close rows, and zero has a derivative.
        return (x.unsqueeze(1) - y.unsqueeze(0)).square().sum(2)
    center = y.detach().mean(0)
    a, b = x - center, y - center
    lengths = a.square().sum(1).unsqueeze(1) + b.square().sum(1)
    products = lengths - 2 * (a @ b.T)
    with torch.no_grad():
        close = products.detach() < _CLOSE * lengths.detach()
        # Of the rows as they are: centered ones are rounded once more.
        correction = _correction(x.detach(), y.detach(), products.detach(), close)
    return products if correction is None else products + correction


def fits_at_once(x: Tensor, y: Tensor) -> bool:
    """Whether all differences of two sets of rows may be held at once."""
    return len(x) * len(y) * x.shape[1] <= AT_ONCE


def _correction(x: Tensor, y: Tensor, products: Tensor, close: Tensor) -> Tensor | None:
    """What the close pairs lack; ``None`` if there are none."""
    rows, columns = close.nonzero(as_tuple=True)
    if not len(rows):
        return None
    correction = torch.zeros_like(products)
    portion = max(1, AT_ONCE // (4 * x.shape[1]))
    for i, j in zip(rows.split(portion), columns.split(portion)):
        exact = (x[i] - y[j]).square().sum(1)
        correction[i, j] = exact - products[i, j]
    return correction
