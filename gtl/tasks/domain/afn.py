"""AFN: vectors of both domains that grow longer, step by step (Xu et al. 2019)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from gtl.checks import check_not_negative
from gtl.roles import View
from gtl.tasks.checks import require_positive
from gtl.tasks.domain.task import Domains, DomainTask, constant, side_weights


class AFN(DomainTask):
    """Raises the length of each vector by a fixed amount (stepwise adaptive feature norm).

    Vectors of a domain that the encoder does not know are short, and longer ones transfer better.
    One sample is an item; its loss is ``(|h| - |h_now| - step)^2`` with the constant length
    ``h_now`` of the vector in this step, times ``strength``. Its value is always
    ``strength step^2``, times a factor that makes the mean of all losses the mean of both
    domains; its gradient is what counts.

    Measured in each epoch: ``source_length`` and ``target_length``.

    Args:
        step: By how much a vector shall be longer.
        strength: Factor of the loss; in the published code 0.05.
        warmup: Steps over which the losses rise linearly to their full size.

    Raises:
        ConfigError: If an option is out of range.
    """

    quantities: ClassVar[tuple[str, ...]] = ("source_length", "target_length")

    def __init__(self, step: float = 1.0, strength: float = 0.05, warmup: int = 0):
        super().__init__(warmup)
        check_not_negative(strength=strength)
        self.step, self.strength = require_positive("step", step), strength

    def of_domains(self, domains: Domains, nodes: Tensor, view: View) -> Tensor:
        """Loss of each item, ``(b,)``."""
        lengths = domains.vectors.square().sum(1).clamp(min=1e-12).sqrt()
        now = constant(view, "lengths", lengths)
        sides = now.split([len(domains.source), len(domains.target)])
        if domains.both_have(1):
            self.measure(view, lambda: [side.mean() for side in sides])
        each = self.strength * (lengths - now - self.step).square()
        return each * side_weights(domains.source, domains.target)
