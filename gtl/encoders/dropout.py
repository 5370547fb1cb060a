"""Dropout of encoders, by uniform numbers on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def drop(values: Tensor, p: float) -> Tensor:
    """Values dropped with probability ``p`` below 1, the others divided by ``1 - p``.

    On a CPU uniform numbers are drawn faster than the Bernoulli ones of torch's own dropout.
    """
    return values * (torch.rand_like(values) >= p).to(values.dtype).div_(1 - p)


class Dropout(nn.Dropout):
    """The layer of torch, with :func:`drop` on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """``input`` with some values dropped in training."""
        if not self.training or input.device.type != "cpu" or self.p in (0.0, 1.0):
            return super().forward(input)
        return drop(input, self.p)
