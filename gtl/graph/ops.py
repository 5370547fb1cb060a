"""Message passing along a Graph: sum, mean, max, softmax along edges and over groups of rows.

Two kernels do the few things that decide the speed: DGL's where it runs, plain torch elsewhere
(``GTL_KERNELS=dgl|torch`` forces one). Everything here is differentiable twice on both. That is
why the softmax is composed of small pieces: DGL's fused one returns wrong second derivatives on a
CPU without saying so, and a look-ahead through attention would be off by a tenth.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch
from torch import Tensor

from gtl.errors import ConfigError, ShapeError
from gtl.graph.graph import Graph, rows_of

_active: ModuleType | None = None


def kernels() -> str:
    """Name of the kernels in use, ``"dgl"`` or ``"torch"``."""
    return "dgl" if _kernels().__name__.endswith("dgl") else "torch"


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
    return _kernels().sum_neighbors(graph, h)


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
    if weight.shape[1:] != h.shape[1:-1]:
        raise ShapeError(
            f"`weight` has shape {tuple(weight.shape)}, expected "
            f"{(graph.num_edges, *h.shape[1:-1])} to go with `h` {tuple(h.shape)}"
        )
    return _kernels().weighted_sum_neighbors(graph, h, weight)


def mean_neighbors(graph: Graph, h: Tensor) -> Tensor:
    """Mean of the senders' vectors, ``(n, ...)``; zero for a node without incoming edges."""
    degree = graph.in_degrees().clamp(min=1).to(h.dtype)
    return sum_neighbors(graph, h) / degree.view(-1, *[1] * (h.dim() - 1))


def max_neighbors(graph: Graph, h: Tensor) -> Tensor:
    """Largest of the senders' values, column by column ``(n, ...)``; zero without incoming edges.

    Where several senders are largest the gradient goes to one of them.
    """
    _require_rows("h", h, graph.num_nodes)
    return _max_by(h[graph.src], graph.dst, graph.num_nodes)


def sum_edges(graph: Graph, values: Tensor) -> Tensor:
    """Sum of the values ``(m, ...)`` of each node's incoming edges, ``(n, ...)``."""
    _require_rows("values", values, graph.num_edges)
    return _kernels().sum_edges(graph, values)


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
    _require_rows("b", b, graph.num_nodes)
    return _kernels().dot_on_edges(graph, a, b)


def softmax_on_edges(graph: Graph, scores: Tensor) -> Tensor:
    """Softmax of the scores ``(m, ...)`` over the incoming edges of each node, same shape."""
    _require_rows("scores", scores, graph.num_edges)
    # Softmax does not change when a constant is taken off, so the maximum needs no gradient.
    top = _max_by(scores.detach(), graph.dst, graph.num_nodes)
    exponential = (scores - top[graph.dst]).exp()
    return exponential / sum_edges(graph, exponential)[graph.dst]


# -- over groups ---------------------------------------------------------------------------------


def segment_sum(values: Tensor, sizes: Tensor) -> Tensor:
    """Sum of consecutive groups of rows.

    Args:
        values: ``(n, ...)``.
        sizes: Rows of each group, int64 ``(g,)``, summing to ``n``.

    Returns:
        ``(g, ...)``; zero for an empty group.
    """
    return _SegmentSum.apply(values, sizes)


def segment_mean(values: Tensor, sizes: Tensor) -> Tensor:
    """Mean of consecutive groups of rows, ``(g, ...)``; zero for an empty group."""
    count = sizes.clamp(min=1).to(values.dtype)
    return segment_sum(values, sizes) / count.view(-1, *[1] * (values.dim() - 1))


def segment_max(values: Tensor, sizes: Tensor) -> Tensor:
    """Largest value of consecutive groups of rows, ``(g, ...)``; zero for an empty group."""
    return _max_by(values, _owners(sizes, len(values)), len(sizes))


def segment_softmax(scores: Tensor, sizes: Tensor) -> Tensor:
    """Softmax of the scores ``(n, ...)`` within consecutive groups of rows, same shape."""
    owners = _owners(sizes, len(scores))
    top = _max_by(scores.detach(), owners, len(sizes))
    exponential = (scores - top[owners]).exp()
    return exponential / spread(segment_sum(exponential, sizes), sizes, len(scores))


def spread(values: Tensor, sizes: Tensor, total: int) -> Tensor:
    """Repeat each group's row for the members of the group: ``(g, ...)`` to ``(total, ...)``."""
    return _Spread.apply(values, sizes, total)


class _SegmentSum(torch.autograd.Function):
    # Its derivative is `_Spread` and the other way round, so any order of derivative exists and
    # none falls back on a scattered addition, which is ten times slower on a CPU.
    @staticmethod
    def forward(ctx, values: Tensor, sizes: Tensor) -> Tensor:
        ctx.save_for_backward(sizes)
        ctx.total = len(values)
        flat = rows_of(values)
        if not values.is_floating_point() or not len(values) or not len(sizes):
            result = flat.new_zeros(len(sizes), flat.shape[1])
            result.index_add_(0, _owners(sizes, len(values)), flat)
        else:
            result = torch.segment_reduce(flat, "sum", lengths=sizes, axis=0, initial=0)
        return result.reshape(len(sizes), *values.shape[1:])

    @staticmethod
    def backward(ctx, grad):  # type: ignore[override]
        (sizes,) = ctx.saved_tensors
        return _Spread.apply(grad, sizes, ctx.total), None


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, sizes: Tensor, total: int) -> Tensor:
        ctx.save_for_backward(sizes)
        return values.repeat_interleave(sizes, dim=0, output_size=total)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[override]
        (sizes,) = ctx.saved_tensors
        return _SegmentSum.apply(grad, sizes), None, None


def _max_by(values: Tensor, owners: Tensor, groups: int) -> Tensor:
    """Largest row of each owner, column by column; differentiable through a gather."""
    flat = rows_of(values)
    index = owners.unsqueeze(1).expand_as(flat)
    with torch.no_grad():
        top = flat.new_full((groups, flat.shape[1]), -torch.inf).scatter_reduce_(
            0, index, flat, "amax"
        )
    if not values.requires_grad:
        result = top.masked_fill(top == -torch.inf, 0)
    else:
        rows = torch.arange(len(flat), device=flat.device).unsqueeze(1).expand_as(flat)
        winner = rows.new_full(top.shape, -1)
        is_top = flat.detach() == top[owners]
        winner.scatter_reduce_(0, index, rows.masked_fill(~is_top, -1), "amax")
        result = flat.gather(0, winner.clamp(min=0)) if len(flat) else torch.zeros_like(top)
        result = result.masked_fill(winner < 0, 0)
    return result.reshape(groups, *values.shape[1:])


def _owners(sizes: Tensor, total: int) -> Tensor:
    groups = torch.arange(len(sizes), device=sizes.device)
    return groups.repeat_interleave(sizes, output_size=total)


def _require_rows(name: str, values: Tensor, rows: int) -> None:
    if values.shape[:1] != (rows,):
        raise ShapeError(f"`{name}` has shape {tuple(values.shape)}, expected {rows} rows")


def _kernels() -> ModuleType:
    global _active
    if _active is None:
        _active = _load(os.environ.get("GTL_KERNELS", ""))
    return _active


def _load(name: str) -> ModuleType:
    if name not in ("", "dgl", "torch"):
        raise ConfigError(f"GTL_KERNELS is {name!r}, expected 'dgl' or 'torch' (or unset)")
    if name != "torch":
        try:
            from gtl.graph import kernels_dgl

            return kernels_dgl
        except ImportError as error:
            if name == "dgl":
                raise ConfigError(
                    f"GTL_KERNELS is 'dgl' but DGL cannot be imported ({error}); unset it or install dgl==1.1.3"
                ) from error
    from gtl.graph import kernels_torch

    return kernels_torch
