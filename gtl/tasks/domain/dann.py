"""DANN: domain-adversarial training by gradient reversal (Ganin et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from gtl.roles import Batch, View
from gtl.tasks.domain.critic import Adversary, accuracy, domain_losses, reversed_gradient
from gtl.tasks.domain.task import Beside, Domains, DomainTask


class DANN(DomainTask):
    """A critic learns to tell the domains apart, and the encoder to make that impossible.

    One sample is an item of either domain; its loss is the cross-entropy of its domain. The critic
    is trained with the loop's optimizer. Its gradient reaches the encoder reversed, multiplied by
    a factor that rises with the progress of the whole training
    (:class:`~gtl.tasks.domain.critic.Adversary`). The box of the paper, one step of both players
    on one batch, is one step of the loop.

    Measured in each epoch: ``critic_accuracy``, 0.5 where the critic finds no difference, and
    ``reversal``, the factor.

    Args:
        strength: Largest factor of the reversed gradient.
        alpha: How fast it rises; ``None`` for ``strength`` from the start.
        hidden: Columns of the critic's hidden layers.
        layers: Number of its hidden layers.
        warmup: Steps over which the losses rise linearly to their full size.

    Raises:
        ConfigError: If an option is out of range.
    """

    quantities: ClassVar[tuple[str, ...]] = ("critic_accuracy", "reversal")

    def __init__(
        self,
        strength: float = 1.0,
        alpha: float | None = 10.0,
        hidden: int = 64,
        layers: int = 1,
        warmup: int = 0,
    ):
        super().__init__(warmup)
        self.adversary = Adversary(strength, alpha, hidden, layers)

    def make(self, beside: Beside) -> None:
        """Make the critic."""
        self.adversary.make(beside.width)

    def extras(self, batch: Batch, rng: torch.Generator) -> Mapping[str, Any]:
        """The factor of the reversed gradient."""
        return {"reversal": self.adversary.factor(self.progress)}

    def of_domains(self, domains: Domains, nodes: Tensor, view: View) -> Tensor:
        """Cross-entropy of the domain of each item, ``(b,)``."""
        logits = self.adversary(reversed_gradient(domains.vectors, view))
        self.measure(view, lambda: [accuracy(logits, domains), view.targets["reversal"]])
        return domain_losses(logits, domains)
