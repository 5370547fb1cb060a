"""MK-MMD: a small maximum mean discrepancy of the domains (deep adaptation, Long et al. 2015)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from gtl.errors import ConfigError
from gtl.graph.sample import draw_numbers
from gtl.roles import Batch, View
from gtl.tasks.checks import require_count, require_positive
from gtl.tasks.domain.task import Domains, DomainTask, constant
from gtl.tasks.items import count
from gtl.tasks.mmd import median_widths, mmd_losses


class MKMMD(DomainTask):
    """The squared MMD of source and target vectors, with several bandwidths.

    One sample is an item; the losses are terms of the squared MMD, one a row
    (:func:`gtl.tasks.mmd.mmd_losses`), whose mean is the squared MMD. Bandwidths are the median
    squared distance times ``factors``, constants of the step. Memory grows with the number of
    items, time with its square: of larger batches ``rows`` items of each domain are drawn.

    Here it departs from the paper, whose kernel is a learned sum, as its published code does; and
    from that code, which needs batches of equal sizes and adds a constant.

    Measured in each epoch: ``mmd``, the squared MMD; the unbiased estimate may be negative.

    Args:
        factors: What the median squared distance is multiplied by, a bandwidth each.
        biased: Whether rows are compared with themselves, too.
        rows: Items of each domain at the most; ``None`` for all.
        warmup: Steps over which the losses rise linearly to their full size.

    Raises:
        ConfigError: If an option is out of range.
    """

    quantities: ClassVar[tuple[str, ...]] = ("mmd",)

    def __init__(
        self,
        factors: Sequence[float] = (0.5, 1.0, 2.0),
        biased: bool = False,
        rows: int | None = 1000,
        warmup: int = 0,
    ):
        super().__init__(warmup)
        self.factors = tuple(require_positive("factors", factor) for factor in factors)
        if not self.factors:
            raise ConfigError("`factors` is empty; give at least one")
        self.biased = biased
        self.rows = None if rows is None else require_count("rows", rows, least=2)

    def extras(self, batch: Batch, rng: torch.Generator) -> Mapping[str, Any]:
        """Which items of each domain are compared."""
        if self.rows is None or batch.own is None:
            return {}
        sides = {"of_source": count(batch.graph), "of_target": count(batch.own)}
        return {
            name: draw_numbers(items, self.rows, rng)
            for name, items in sides.items()
            if items > self.rows
        }

    def of_domains(self, domains: Domains, nodes: Tensor, view: View) -> Tensor:
        """Terms of the squared MMD, ``(b,)``."""
        x = _rows(domains.source, view.targets.get("of_source"))
        y = _rows(domains.target, view.targets.get("of_target"))
        widths = constant(
            view, "widths", lambda: median_widths(torch.cat([x, y]).detach(), self.factors)
        )
        each = mmd_losses(x, y, widths.to(x), self.biased)
        if len(each):
            self.measure(view, lambda: [each.mean()])
        return each


def _rows(vectors: Tensor, index: Tensor | None) -> Tensor:
    return vectors if index is None else vectors[index.to(vectors.device)]
