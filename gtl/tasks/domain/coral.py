"""CORAL: equal covariances of the domains (Sun and Saenko 2016)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from gtl.roles import View
from gtl.tasks.domain.task import Domains, DomainTask


class CORAL(DomainTask):
    """The squared distance of the covariances of source and target vectors, over ``4 h^2``.

    One sample is an item; the losses are terms of that distance (:func:`coral_losses`), whose mean
    it is. thuml's code has no factor ``1 / 4`` and adds a distance of means, which the paper does
    not have.

    Measured in each epoch: ``distance``.

    Args:
        warmup: Steps over which the losses rise linearly to their full size.
    """

    quantities: ClassVar[tuple[str, ...]] = ("distance",)

    def __init__(self, warmup: int = 0):
        super().__init__(warmup)

    def of_domains(self, domains: Domains, nodes: Tensor, view: View) -> Tensor:
        """Terms of the distance, ``(b,)``."""
        each = coral_losses(domains.source, domains.target)
        if len(each):
            self.measure(view, lambda: [each.mean()])
        return each


def coral_losses(x: Tensor, y: Tensor) -> Tensor:
    """Terms of ``|C_x - C_y|^2 / (4 h^2)``, one a row, whose mean it is.

    With the difference ``D`` of the unbiased covariances and centered rows ``u`` of ``x``, whose
    covariance is the sum of ``u u^T / (n - 1)``, the squared norm is the sum of
    ``u^T D u / (n - 1)`` less the same of ``y``.

    Args:
        x: ``(n, h)``.
        y: ``(m, h)``.

    Returns:
        ``(n + m,)``, those of ``x`` first; empty if a sample has fewer than two rows.

    Example:
        >>> x, y = torch.tensor([[0.0], [2.0]]), torch.zeros(3, 1)
        >>> coral_losses(x, y).tolist()  # covariances 2 and 0: 4 / 4
        [2.5, 2.5, -0.0, -0.0, -0.0]
    """
    n, m, columns = len(x), len(y), x.shape[1]
    if min(n, m) < 2:
        return torch.cat([x, y]).sum(1)[:0]
    u, v = x - x.mean(0), y - y.mean(0)
    change = u.T @ u / (n - 1) - v.T @ v / (m - 1)  # (h, h)
    of_x = ((u @ change) * u).sum(1) / (n - 1)
    of_y = -((v @ change) * v).sum(1) / (m - 1)
    return torch.cat([of_x, of_y]) * ((n + m) / (4 * columns**2))
