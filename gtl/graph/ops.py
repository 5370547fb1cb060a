"""Message passing along a Graph: sum, mean, max, softmax along edges and over groups of rows.

The operations that decide the speed have two kernels: DGL's where it runs, plain torch elsewhere
(``GTL_KERNELS=dgl|torch`` chooses one). Other devices than a CPU and other numbers than floats of
32 and 64 bits always use plain torch; weights on edges use :mod:`gtl.graph.kernels.sparse` with
either. Everything here is differentiable twice on both, and once in forward mode. That is why the
softmax is composed of small operations: DGL's fused softmax has silently wrong second derivatives
on a CPU, by which a look-ahead through attention would be off by a tenth.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd import forward_ad

from gtl.errors import ConfigError, ShapeError
from gtl.graph.graph import Graph, rows_of
from gtl.graph.operations import counted


class Kernels(Protocol):
    """The operations that decide the speed; a module of :mod:`gtl.graph.kernels` has them all."""

    __name__: str

    def sum_neighbors(self, graph: Graph, h: Tensor) -> Tensor:
        """See :func:`sum_neighbors`."""

    def weighted_sum_neighbors(self, graph: Graph, h: Tensor, weight: Tensor) -> Tensor:
        """See :func:`weighted_sum_neighbors`."""

    def sum_edges(self, graph: Graph, values: Tensor) -> Tensor:
        """See :func:`sum_edges`."""

    def dot_on_edges(self, graph: Graph, a: Tensor, b: Tensor) -> Tensor:
        """See :func:`dot_on_edges`."""


_active: Kernels | None = None


def kernels() -> str:
    """Name of the kernels in use, ``"dgl"`` or ``"torch"``."""
    return "dgl" if _chosen().__name__.endswith("dgl") else "torch"


@contextmanager
def use_kernels(name: str) -> Iterator[None]:
    """Use the kernels ``name`` inside the block.

    Raises:
        ConfigError: If the name is not ``"dgl"`` or ``"torch"``, or DGL cannot be imported.
    """
    global _active
    before, _active = _active, _load(name)
    try:
        yield
    finally:
        _active = before


# -- along edges ---------------------------------------------------------------------------------


def sum_neighbors(graph: Graph, h: Tensor) -> Tensor:
    """Sum of the vectors of the senders of each node's incoming edges.

    Args:
        graph: A graph of ``n`` nodes.
        h: Node values ``(n, ...)``.

    Returns:
        ``(n, ...)``; zero for a node without incoming edges.

    Example:
        >>> path = Graph(torch.tensor([0, 1]), torch.tensor([1, 2]), 3)
        >>> sum_neighbors(path, torch.tensor([[1.0], [2.0], [3.0]])).flatten().tolist()
        [0.0, 1.0, 2.0]
    """
    _require_rows("h", h, graph.num_nodes)
    return counted(
        _work(graph.num_edges, h), _linear, lambda h: _kernels(h).sum_neighbors(graph, h), h
    )


def weighted_sum_neighbors(graph: Graph, h: Tensor, weight: Tensor) -> Tensor:
    """Sum of the senders' vectors times the weight of the edge.

    Args:
        graph: A graph of ``n`` nodes and ``m`` edges.
        h: Node values ``(n, d)``, or ``(n, heads, d)``.
        weight: Edge weights ``(m,)``, or ``(m, heads)`` to go with heads.

    Returns:
        As ``h``; zero for a node without incoming edges.
    """
    _require_rows("h", h, graph.num_nodes)
    _require_rows("weight", weight, graph.num_edges)
    if h.dim() < 2 or weight.shape[1:] != h.shape[1:-1]:
        raise ShapeError(
            f"`weight` has shape {tuple(weight.shape)} and `h` {tuple(h.shape)}, expected (m,) "
            "with (n, d), or (m, heads) with (n, heads, d)"
        )
    return counted(
        2 * _work(graph.num_edges, h),
        _bilinear,
        lambda h, weight: _kernels(h, weight).weighted_sum_neighbors(graph, h, weight),
        h,
        weight,
    )


def mean_neighbors(graph: Graph, h: Tensor) -> Tensor:
    """Mean of the senders' vectors, ``(n, ...)``; zero for a node without incoming edges."""
    degree = graph.in_degrees().clamp(min=1).to(h.dtype)
    return scaled(sum_neighbors(graph, h), 1 / degree.view(-1, *[1] * (h.dim() - 1)))


def scaled(values: Tensor, factor: Tensor) -> Tensor:
    """Values times a constant tensor, to whose shape they broadcast.

    In forward mode torch computes the shape of a constant's derivative, zeros, in Python: on the
    vectors of a small graph the plain product takes ten times as long there.
    """
    return _linear(lambda values: values * factor, values)


def max_neighbors(graph: Graph, h: Tensor) -> Tensor:
    """Largest of the senders' values, column by column ``(n, ...)``; zero without incoming edges.

    Where several senders are largest the gradient goes to one of them.
    """
    _require_rows("h", h, graph.num_nodes)
    rows = h.index_select(0, graph.src)
    return counted(_work(graph.num_edges, h), _max_by, rows, graph.dst, graph.num_nodes)


def sum_edges(graph: Graph, values: Tensor) -> Tensor:
    """Sum of the values ``(m, ...)`` of each node's incoming edges, ``(n, ...)``."""
    _require_rows("values", values, graph.num_edges)
    return counted(
        values.numel(),
        _linear,
        lambda values: _kernels(values).sum_edges(graph, values),
        values,
    )


def dot_on_edges(graph: Graph, a: Tensor, b: Tensor) -> Tensor:
    """Inner product of the sender's ``a`` and the receiver's ``b`` over the last axis.

    Args:
        graph: A graph of ``n`` nodes and ``m`` edges.
        a: Node values ``(n, ..., d)``.
        b: Node values of the same shape.

    Returns:
        ``(m, ...)``.
    """
    _require_rows("a", a, graph.num_nodes)
    if a.shape != b.shape or a.dim() < 2:
        raise ShapeError(
            f"`a` has shape {tuple(a.shape)} and `b` {tuple(b.shape)}, expected both to be "
            "(n, ..., d)"
        )
    return counted(
        2 * _work(graph.num_edges, a),
        _bilinear,
        lambda a, b: _kernels(a, b).dot_on_edges(graph, a, b),
        a,
        b,
    )


def softmax_on_edges(graph: Graph, scores: Tensor) -> Tensor:
    """Softmax of the scores ``(m, ...)`` over the incoming edges of each node, same shape."""
    _require_rows("scores", scores, graph.num_edges)
    # Maximum, difference, exponential and quotient; the sum counts itself.
    return counted(4 * scores.numel(), _softmax_on_edges, graph, scores)


def _softmax_on_edges(graph: Graph, scores: Tensor) -> Tensor:
    # Softmax does not change when a constant is taken off, so the maximum needs no gradient.
    top = _max_by(scores.detach(), graph.dst, graph.num_nodes)
    exponential = (scores - top.index_select(0, graph.dst)).exp()
    return exponential / sum_edges(graph, exponential).index_select(0, graph.dst)


# -- over groups ---------------------------------------------------------------------------------


def segment_sum(values: Tensor, sizes: Tensor) -> Tensor:
    """Sum of consecutive groups of rows.

    Args:
        values: ``(n, ...)``.
        sizes: Rows of each group, int64 ``(g,)``, summing to ``n``.

    Returns:
        ``(g, ...)``; zero for an empty group.

    Raises:
        ShapeError: If the sizes do not sum to ``n``.
    """
    return counted(values.numel(), _segment_sum, values, sizes)


def _segment_sum(values: Tensor, sizes: Tensor) -> Tensor:
    owners = _owners(sizes, len(values))
    flat = rows_of(values)
    total = flat.new_zeros(len(sizes), flat.shape[1]).index_add(0, owners, flat)
    return total.reshape(len(sizes), *values.shape[1:])


def segment_mean(values: Tensor, sizes: Tensor) -> Tensor:
    """Mean of consecutive groups of rows, ``(g, ...)``; zero for an empty group."""
    count = sizes.clamp(min=1).to(values.dtype)
    return segment_sum(values, sizes) / count.view(-1, *[1] * (values.dim() - 1))


def segment_max(values: Tensor, sizes: Tensor) -> Tensor:
    """Largest value of consecutive groups of rows, ``(g, ...)``; zero for an empty group."""
    return counted(values.numel(), _max_by, values, _owners(sizes, len(values)), len(sizes))


def segment_softmax(scores: Tensor, sizes: Tensor) -> Tensor:
    """Softmax of the scores ``(n, ...)`` within consecutive groups of rows, same shape."""
    owners = _owners(sizes, len(scores))
    top = _max_by(scores.detach(), owners, len(sizes))
    exponential = (scores - top.index_select(0, owners)).exp()
    return exponential / segment_sum(exponential, sizes).index_select(0, owners)


def spread(values: Tensor, sizes: Tensor, total: int) -> Tensor:
    """Repeat each group's row for the members of the group: ``(g, ...)`` to ``(total, ...)``.

    Raises:
        ShapeError: If there is not one row per group or the sizes do not sum to ``total``.
    """
    _require_rows("values", values, len(sizes))
    return values.index_select(0, _owners(sizes, total))


def _work(edges: int, h: Tensor) -> int:
    """One operation for each edge and column of node values ``(n, ...)``."""
    return edges * (h.numel() // max(len(h), 1))


def _max_by(values: Tensor, owners: Tensor, groups: int) -> Tensor:
    """Largest row of each owner, column by column; zero for an owner without rows."""
    flat, tangent = forward_ad.unpack_dual(rows_of(values))
    top: Tensor = _MaxBy.apply(flat, owners, groups)
    if tangent is not None:
        winner = _winners(flat, owners, top)
        of_winner = tangent.gather(0, winner.clamp(min=0)) if len(flat) else torch.zeros_like(top)
        top = forward_ad.make_dual(top, of_winner.masked_fill(winner < 0, 0))
    return top.reshape(groups, *values.shape[1:])


class _MaxBy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, flat: Tensor, owners: Tensor, groups: int) -> Tensor:
        index = owners.unsqueeze(1).expand_as(flat)
        top = flat.new_zeros(groups, flat.shape[1])
        top.scatter_reduce_(0, index, flat, "amax", include_self=False)
        ctx.save_for_backward(flat, owners, top)
        return top

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # The index of the largest row is locally constant, so it needs no derivative; what follows
        # is differentiable in `grad`, so that derivatives of any order exist.
        flat, owners, top = ctx.saved_tensors
        if not len(flat):
            return grad[:0], None, None
        winner = _winners(flat, owners, top)
        grad = grad.masked_fill(winner < 0, 0)
        scattered = grad.new_zeros(flat.shape).scatter_add(0, winner.clamp(min=0), grad)
        return scattered, None, None


@torch.no_grad()
def _winners(flat: Tensor, owners: Tensor, top: Tensor) -> Tensor:
    """Number of the row that is the largest of each owner, column by column; -1 without rows."""
    index = owners.unsqueeze(1).expand_as(flat)
    lost = flat < top.index_select(0, owners)  # false for NaN, which wins
    rows = torch.arange(len(flat), device=flat.device, dtype=torch.float64)
    rows = rows.unsqueeze(1).masked_fill(lost, -1)  # float64: integers scatter slowly
    return rows.new_full(top.shape, -1).scatter_reduce_(0, index, rows, "amax").long()


def _linear(kernel: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """Apply a linear kernel; in forward mode, which no kernel has, to the tangent as well."""
    primal, tangent = forward_ad.unpack_dual(values)
    if tangent is None:
        return kernel(values)
    dual: Tensor = forward_ad.make_dual(kernel(primal), kernel(tangent))
    return dual


def _bilinear(kernel: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """Apply a kernel that is linear in each of two arguments; see :func:`_linear`."""
    primal, other = forward_ad.unpack_dual(a), forward_ad.unpack_dual(b)
    terms = []
    if primal.tangent is not None:
        terms.append(kernel(primal.tangent, other.primal))
    if other.tangent is not None:
        terms.append(kernel(primal.primal, other.tangent))
    if not terms:
        return kernel(a, b)
    tangent = terms[0] if len(terms) == 1 else terms[0] + terms[1]
    dual: Tensor = forward_ad.make_dual(kernel(primal.primal, other.primal), tangent)
    return dual


def _owners(sizes: Tensor, total: int) -> Tensor:
    if int(sizes.sum()) != total:
        raise ShapeError(f"`sizes` sums to {int(sizes.sum())}, expected {total}, the rows at hand")
    groups = torch.arange(len(sizes), device=sizes.device)
    return groups.repeat_interleave(sizes, output_size=total)


def _require_rows(name: str, values: Tensor, rows: int) -> None:
    if values.shape[:1] != (rows,):
        raise ShapeError(f"`{name}` has shape {tuple(values.shape)}, expected {rows} rows")


def _kernels(*values: Tensor) -> Kernels:
    """The kernels for these values: DGL's are made for floats of one kind on a CPU."""
    first = values[0]
    fits = first.dtype in (torch.float32, torch.float64) and first.device.type == "cpu"
    if fits and all(v.dtype == first.dtype and v.numel() for v in values):
        return _chosen()
    from gtl.graph.kernels import plain_torch as kernels_torch

    return kernels_torch


def _chosen() -> Kernels:
    global _active
    if _active is None:
        _active = _load(os.environ.get("GTL_KERNELS", ""))
    return _active


def _load(name: str) -> Kernels:
    if name not in ("", "dgl", "torch"):
        raise ConfigError(f"GTL_KERNELS is {name!r}, expected 'dgl' or 'torch' (or unset)")
    if name != "torch":
        try:
            from gtl.graph.kernels import with_dgl as kernels_dgl

            return kernels_dgl
        except ImportError as error:
            if name == "dgl":
                raise ConfigError(
                    f"GTL_KERNELS is 'dgl' but DGL cannot be imported ({error}); unset it or "
                    "install dgl==1.1.3"
                ) from error
    from gtl.graph.kernels import plain_torch as kernels_torch

    return kernels_torch
