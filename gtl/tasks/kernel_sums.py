"""Sums of a Gaussian kernel over the rows of two samples, in memory linear in the rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from gtl.tasks.distances import fits_at_once, squared_distances

BLOCK = 1 << 19  # kernel values that are held at once


def kernel_sums(
    x: Tensor, y: Tensor, widths: Tensor, diagonal: bool = True
) -> tuple[Tensor, Tensor]:
    """Sums of the kernel over the rows of ``y`` ``(n,)``, and over those of ``x`` ``(m,)``.

    The kernel is the mean over ``w`` bandwidths of ``exp(-|a - b|^2 / width)``. Large samples are
    compared in blocks of rows, of which nothing is kept: a derivative computes the kernels again.
    Second derivatives are right but keep all kernels.

    Args:
        x: ``(n, h)``.
        y: ``(m, h)``.
        widths: Bandwidths ``(w,)``, above 0; constants.
        diagonal: Whether rows of one number are compared.

    Example:
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> [s.tolist() for s in kernel_sums(x, x, torch.ones(1), diagonal=False)]
        [[0.3678794503211975, 0.3678794503211975], [0.3678794503211975, 0.3678794503211975]]
    """
    if fits_at_once(x, y):
        return _composed(x, y, widths, diagonal)
    found: tuple[Tensor, Tensor] = _InBlocks.apply(x, y, widths, diagonal)
    return found


class _InBlocks(torch.autograd.Function):
    """The sums of :func:`_composed`, block by block."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, widths: Tensor, diagonal: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, y, widths)
        ctx.save_for_forward(x, y, widths)
        ctx.diagonal = diagonal
        sums, back = x.new_empty(len(x)), y.new_zeros(len(y))
        for rows, kernel, _ in _blocks(x, y, widths, diagonal):
            sums[rows] = kernel.sum(1)
            back += kernel.sum(0)
        return sums, back

    @staticmethod
    def backward(
        ctx: Any, of_x: Tensor, of_y: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, y, widths = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted
            return *_composed_pull(x, y, widths, ctx.diagonal, of_x, of_y), None, None
        return *_pulled(x, y, widths, ctx.diagonal, of_x, of_y), None, None

    @staticmethod
    def jvp(ctx: Any, of_x: Tensor | None, of_y: Tensor | None, *_: None) -> tuple[Tensor, Tensor]:
        x, y, widths = ctx.saved_tensors
        of_x = torch.zeros_like(x) if of_x is None else of_x
        of_y = torch.zeros_like(y) if of_y is None else of_y
        return _pushed(x, y, widths, ctx.diagonal, of_x, of_y)


def _pulled(
    x: Tensor, y: Tensor, widths: Tensor, diagonal: bool, of_x: Tensor, of_y: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of both sums, weighted by ``of_x (n,)`` and ``of_y (m,)``."""
    # The derivative of |a - b|^2 is 2 (a - b): centered rows lose fewer digits in its sums.
    center = y.mean(0)
    a, b = x - center, y - center
    pull_x, pull_y = torch.empty_like(x), torch.zeros_like(y)
    for rows, _, slope in _blocks(x, y, widths, diagonal):
        slope = slope.mul_(of_x[rows].unsqueeze(1) + of_y).mul_(2)
        pull_x[rows] = slope.sum(1).unsqueeze(1) * a[rows] - slope @ b
        pull_y += slope.sum(0).unsqueeze(1) * b - slope.T @ a[rows]
    return pull_x, pull_y


def _composed_pull(
    x: Tensor, y: Tensor, widths: Tensor, diagonal: bool, of_x: Tensor, of_y: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """The same by differentiable operations."""
    # Views, since both may be one tensor, which has two derivatives here.
    x, y = x.view_as(x), y.view_as(y)
    moved = [value for value in (x, y) if value.requires_grad]
    sums = _composed(x, y, widths, diagonal)
    pulls = iter(torch.autograd.grad(sums, moved, (of_x, of_y), create_graph=True))
    pull_x, pull_y = (next(pulls) if value.requires_grad else None for value in (x, y))
    return pull_x, pull_y


def _pushed(
    x: Tensor, y: Tensor, widths: Tensor, diagonal: bool, of_x: Tensor, of_y: Tensor
) -> tuple[Tensor, Tensor]:
    """Derivatives of both sums in the direction ``of_x (n, h)``, ``of_y (m, h)``."""
    center = y.mean(0)
    a, b = x - center, y - center
    along_x, along_y = (a * of_x).sum(1), (b * of_y).sum(1)
    push_x, push_y = torch.empty_like(along_x), torch.zeros_like(along_y)
    for rows, _, slope in _blocks(x, y, widths, diagonal):
        moves = along_x[rows].unsqueeze(1) + along_y - a[rows] @ of_y.T - of_x[rows] @ b.T
        slope = slope.mul_(moves).mul_(2)
        push_x[rows] = slope.sum(1)
        push_y += slope.sum(0)
    return push_x, push_y


def _blocks(
    x: Tensor, y: Tensor, widths: Tensor, diagonal: bool
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows of each block, its kernels ``(k, m)`` and their derivatives by squared distance."""
    size = max(1, BLOCK // max(len(y), 1))
    for start in range(0, len(x), size):
        rows = slice(start, min(start + size, len(x)))
        distances = squared_distances(x[rows], y)
        kernel, slope = torch.zeros_like(distances), torch.zeros_like(distances)
        for width in widths.tolist():
            part = torch.exp(distances / -width).div_(len(widths))
            kernel += part
            slope -= part.div_(width)
        if not diagonal:
            own = torch.arange(rows.start, min(rows.stop, len(y)), device=x.device)
            kernel[own - rows.start, own] = 0
            slope[own - rows.start, own] = 0
        yield rows, kernel, slope


def _composed(x: Tensor, y: Tensor, widths: Tensor, diagonal: bool) -> tuple[Tensor, Tensor]:
    """The sums from all kernels at once, by differentiable operations."""
    distances = squared_distances(x, y).unsqueeze(0)
    kernel = torch.exp(-distances / widths.view(-1, 1, 1)).mean(0)  # (n, m)
    if not diagonal:
        rows, columns = (torch.arange(len(part), device=x.device) for part in (x, y))
        kernel = kernel.masked_fill(rows.unsqueeze(1) == columns, 0)
    return kernel.sum(1), kernel.sum(0)
