"""Batch norms that normalize by the joined batch of several processes.

``torch.nn.SyncBatchNorm`` runs on graphics cards alone, and has no forward-mode derivative, which
look-aheads use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from gtl.train.distributed.processes import Processes


@contextmanager
def joint_statistics(module: nn.Module, processes: Processes) -> Iterator[None]:
    """Inside the block, batch norms in training mode see the batches of all processes.

    Mean, variance and running statistics are those of the joined batch, as in one process; so are
    the gradients. Every process must reach every batch norm equally often, with a batch without
    rows, too.

    Args:
        module: What contains the batch norms.
        processes: The processes of the training.
    """
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    for norm in norms:
        # A block of an encoder reads `is_joint`.
        vars(norm).update(is_joint=True, forward=partial(_normalized, norm, processes))
    try:
        yield
    finally:
        for norm in norms:
            del vars(norm)["forward"], vars(norm)["is_joint"]


def _normalized(norm: _BatchNorm, processes: Processes, x: Tensor) -> Tensor:
    if not (norm.training or norm.running_mean is None):
        return type(norm).forward(norm, x)
    h = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    count, mean, variance = _moments(h, processes)  # (), (h,), (h,)
    if count < 2:  # no variance: as at prediction time
        running = norm.running_mean, norm.running_var
        return F.batch_norm(h, *running, norm.weight, norm.bias, eps=norm.eps).to(x.dtype)
    _follow(norm, count, mean, variance)
    scale = (variance + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -mean * scale if norm.bias is None else norm.bias - mean * scale
    return torch.addcmul(shift, h, scale).to(x.dtype)


def _moments(h: Tensor, processes: Processes) -> tuple[int, Tensor, Tensor]:
    """Rows, mean and biased variance of the joined batch, from those of the parts.

    Squared deviations from the means of the parts add up without cancellation (Chan et al. 1979).
    """
    rows = len(h)
    mean = h.sum(0) / max(rows, 1)
    squares = (h - mean).square().sum(0)  # torch.var_mean is slower
    known = [forward_ad.unpack_dual(value).primal.detach() for value in (mean, squares)]
    parts = processes.gathered(torch.cat([h.new_tensor([float(rows)]), *known]))
    counts, means, deviations = parts.split([1, h.shape[1], h.shape[1]], dim=1)
    count = max(int(counts.sum()), 1)
    joint = (counts * means).sum(0) / count
    variance = (deviations + counts * (means - joint).square()).sum(0) / count
    found: tuple[Tensor, Tensor] = _Linked.apply(
        mean, squares, joint, variance, known[0] - joint, rows, count, processes
    )
    return count, *found


@torch.no_grad()
def _follow(norm: _BatchNorm, count: int, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics as torch does, by the unbiased variance."""
    if norm.running_mean is None or norm.running_var is None:
        return
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    share = norm.momentum
    if share is None:
        share = 1 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean.detach().to(norm.running_mean), share)
    unbiased = variance.detach() * (count / (count - 1))
    norm.running_var.lerp_(unbiased.to(norm.running_var), share)


class _Linked(torch.autograd.Function):
    """Joint mean and variance, as functions of the mean and the squares of this process's rows.

    With ``r`` rows of ``n``, of mean ``m`` and squared deviations ``q``, their derivatives are
    ``dmean = r / n dm`` and ``dvariance = (dq + 2 r (m - mean) dm) / n``. Every process has losses
    of its own that depend on them, so gradients are summed.
    """

    @staticmethod
    def forward(
        ctx: Any,
        mean: Tensor,
        squares: Tensor,
        joint: Tensor,
        variance: Tensor,
        shift: Tensor,
        rows: int,
        count: int,
        processes: Processes,
    ) -> tuple[Tensor, Tensor]:
        ctx.shift, ctx.rows, ctx.count, ctx.processes = shift, rows, count, processes
        return joint.clone(), variance.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_mean: Tensor, by_variance: Tensor) -> tuple[Tensor | None, ...]:
        sums = ctx.processes.total(torch.cat([by_mean, by_variance])) / ctx.count
        by_mean, by_variance = sums.chunk(2)
        return ctx.rows * (by_mean + 2 * ctx.shift * by_variance), by_variance, *[None] * 6

    @staticmethod
    def jvp(ctx: Any, mean: Tensor, squares: Tensor, *_: Any) -> tuple[Tensor, ...]:
        moved = ctx.rows * mean
        sums = ctx.processes.total(torch.cat([moved, squares + 2 * ctx.shift * moved]))
        by_mean, by_variance = (sums / ctx.count).chunk(2)
        return by_mean, by_variance
