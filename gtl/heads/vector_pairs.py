"""Comparisons of queries with vectors: inner products, and distances without large tensors.

A query has hundreds of negative entities. Their differences are ``b x k x h`` numbers, which are
written to memory and read again several times if they are one tensor, forward and backward. Here
they are computed a few queries at a time, so that they stay in the processor's cache, and computed
anew for the gradient; nothing of that size is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_CACHE, _MEMORY = 1 << 18, 1 << 26  # numbers of a block on a processor, on a graphics card
_TINY = 1e-30  # keeps the derivative at distance 0 finite
_MATRIX = 32  # a matrix product costs so many times less per number than gathered rows


def inner_products(queries: Tensor, vectors: Tensor, candidates: Tensor) -> Tensor:
    """Inner products ``(b, k)`` of each query with candidates of its own.

    Args:
        queries: ``(b, h)``.
        vectors: ``(n, h)``.
        candidates: Rows of ``vectors``, int64 ``(b, k)``.
    """
    if len(vectors) <= _MATRIX * candidates.shape[1]:
        return (queries @ vectors.t()).gather(1, candidates)
    chosen = vectors.index_select(0, candidates.flatten()).unflatten(0, tuple(candidates.shape))
    return torch.bmm(chosen, queries.unsqueeze(2)).squeeze(2)


def distances(queries: Tensor, vectors: Tensor, candidates: Tensor, pairs: bool) -> Tensor:
    """Distances ``(b, k)`` of each query from candidates of its own.

    Args:
        queries: ``(b, h)``.
        vectors: ``(n, h)``.
        candidates: Rows of ``vectors``, int64 ``(b, k)``.
        pairs: Whether columns ``i`` and ``h / 2 + i`` are the two parts of a complex number, whose
            absolute values are summed; otherwise the absolute values of the columns are.
    """
    if len(vectors) <= candidates.shape[1]:
        return all_distances(queries, vectors, pairs).gather(1, candidates)
    found: Tensor = _Distances.apply(queries, vectors, candidates, pairs)
    return found


def all_distances(queries: Tensor, vectors: Tensor, pairs: bool) -> Tensor:
    """Distances ``(b, n)`` of each query ``(b, h)`` from all vectors ``(n, h)``; see above."""
    found: Tensor = _Distances.apply(queries, vectors, None, pairs)
    return found


class _Distances(torch.autograd.Function):
    """Distances block by block; without candidates those from all vectors."""

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, vectors: Tensor, candidates: Tensor | None, pairs: bool
    ) -> Tensor:
        ctx.save_for_backward(queries, vectors, candidates)
        ctx.save_for_forward(queries, vectors, candidates)
        ctx.pairs = pairs
        if candidates is None:
            return _from_all(queries, vectors, pairs)
        out = queries.new_empty(candidates.shape)

        def block(rows: slice, part: slice, difference: Tensor) -> None:
            torch.sum(_absolute(difference, pairs), -1, out=out[rows, part])

        _each_block(queries, vectors, candidates, block)
        return out

    @staticmethod
    def jvp(ctx: Any, of_queries: Tensor | None, of_vectors: Tensor | None, *_: Any) -> Tensor:
        queries, vectors, candidates = ctx.saved_tensors
        moved = torch.zeros_like(queries) if of_queries is None else of_queries
        others = torch.zeros_like(vectors) if of_vectors is None else of_vectors
        columns = len(vectors) if candidates is None else candidates.shape[1]
        out = queries.new_empty(len(queries), columns)

        def block(rows: slice, part: slice, difference: Tensor) -> None:
            ends = others[part] if candidates is None else others[candidates[rows]]
            change = ends - moved[rows].unsqueeze(1)
            out[rows, part] = (_slopes(difference, ctx.pairs) * change).sum(-1)

        _each_block(queries, vectors, candidates, block)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        queries, vectors, candidates = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted
            return (*_plain_gradients(queries, vectors, candidates, ctx.pairs, grad), None, None)
        to_queries, to_vectors = torch.zeros_like(queries), torch.zeros_like(vectors)

        def block(rows: slice, part: slice, difference: Tensor) -> None:
            slopes = _slopes(difference, ctx.pairs).mul_(grad[rows, part].unsqueeze(2))
            to_queries[rows] -= slopes.sum(1)
            if candidates is None:
                to_vectors[part] += slopes.sum(0)
            else:
                to_vectors.index_add_(0, candidates[rows].flatten(), slopes.flatten(0, 1))

        _each_block(queries, vectors, candidates, block)
        return to_queries, to_vectors, None, None


def _from_all(queries: Tensor, vectors: Tensor, pairs: bool) -> Tensor:
    """Distances ``(b, n)``; a block of vectors stays in the cache while all queries meet it."""
    out = queries.new_empty(len(queries), len(vectors))
    room = (_MEMORY if queries.is_cuda else _CACHE) // max(queries.shape[1], 1)
    step = max(1, min(len(vectors), room))
    high = max(1, room // step)  # queries at once, where there are few vectors
    for column in range(0, len(vectors), step):
        parts = vectors[column : column + step].chunk(2 if pairs else 1, 1)
        one, *other = (part.contiguous() for part in parts)
        for row in range(0, len(queries), high):
            some, *rest = queries[row : row + high].unsqueeze(1).chunk(2 if pairs else 1, 2)
            size = one - some  # (q, k, h) or (q, k, h / 2)
            if pairs:
                more = other[0] - rest[0]
                size.mul_(size).addcmul_(more, more).sqrt_()
            else:
                size.abs_()
            torch.sum(size, 2, out=out[row : row + high, column : column + step])
    return out


def _each_block(
    queries: Tensor,
    vectors: Tensor,
    candidates: Tensor | None,
    use: Callable[[slice, slice, Tensor], None],
) -> None:
    """Call ``use`` with some rows, some columns and their differences, vector minus query."""
    room = (_MEMORY if queries.is_cuda else _CACHE) // max(queries.shape[1], 1)
    columns = len(vectors) if candidates is None else candidates.shape[1]
    if not len(queries) or not columns:
        return
    step = max(1, min(columns, room)) if candidates is None else columns
    high = max(1, room // step)
    for row in range(0, len(queries), high):
        rows = slice(row, row + high)
        some = queries[rows].unsqueeze(1)
        if candidates is not None:
            chosen = vectors.index_select(0, candidates[rows].flatten())
            difference = chosen.unflatten(0, (len(some), columns)).sub_(some)
            use(rows, slice(None), difference)
            continue
        for column in range(0, columns, step):
            part = slice(column, column + step)
            use(rows, part, vectors[part] - some)


def _absolute(difference: Tensor, pairs: bool) -> Tensor:
    """Absolute values ``(..., h)`` or ``(..., h / 2)``; overwrites the differences."""
    if not pairs:
        return difference.abs_()
    one, other = difference.mul_(difference).chunk(2, -1)
    return one.add_(other).sqrt_()


def _slopes(difference: Tensor, pairs: bool) -> Tensor:
    """Derivatives of the distance with respect to the differences, in their place."""
    if not pairs:
        return difference.sign_()
    one, other = difference.chunk(2, -1)
    size = (one * one).addcmul_(other, other).add_(_TINY).rsqrt_()
    one *= size
    other *= size
    return difference


def _plain_gradients(
    queries: Tensor, vectors: Tensor, candidates: Tensor | None, pairs: bool, grad: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients at queries and vectors, by operations that have derivatives themselves."""
    chosen = vectors.unsqueeze(0) if candidates is None else vectors[candidates]
    difference = chosen - queries.unsqueeze(1)  # (b, k, h)
    if pairs:
        one, other = difference.chunk(2, -1)
        size = (one * one + other * other + _TINY).rsqrt()
        slopes = torch.cat([one * size, other * size], -1) * grad.unsqueeze(2)
    else:
        slopes = difference.sign() * grad.unsqueeze(2)
    if candidates is None:
        return -slopes.sum(1), slopes.sum(0)
    rows = slopes.flatten(0, 1)
    return -slopes.sum(1), torch.zeros_like(vectors).index_add(0, candidates.flatten(), rows)
