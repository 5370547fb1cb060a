"""L2-SP: weights stay near those before training (Li et al. 2018)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from gtl.checks import check_not_negative
from gtl.roles import Batch, View
from gtl.tasks.model_task import ModelTask
from gtl.tasks.slow_average import SlowAverage


class L2SP(ModelTask):
    """Half the squared distance of the encoder's weights to those before training.

    It has one loss a step, no samples: ``strength / 2`` times the squared distance. Only weights
    that are trained count. The weights of the target's predictor, which have no such start, are
    held near zero by ``head / 2`` times their squared length.

    Args:
        strength: Factor of the encoder's distance; the paper tries 0.001 to 1.
        head: Factor of the predictor's squared length, a tenth of it in the paper.

    Raises:
        ConfigError: If a factor is negative.
    """

    uses_unlabeled: ClassVar[bool] = False
    compares_distributions: ClassVar[bool] = True

    def __init__(self, strength: float = 0.01, head: float = 0.001):
        super().__init__(warmup=0)
        check_not_negative(strength=strength, head=head)
        self.strength, self.head = strength, head
        self.start = SlowAverage()

    def begin(self, encoder: nn.Module) -> None:
        """Keep the weights."""
        self.start.follow(encoder, 0.0)

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph itself, which costs no encoder pass of its own."""
        return View(batch.graph, {})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """The one loss, ``(1,)``."""
        total = nodes.new_zeros(())
        present = dict(self.encoder.named_parameters())
        names = [name.replace("/", ".") for name, _ in self.start.named_buffers()]
        for name, before in self.start.values(names).items():
            total = total + self.strength * (present[name] - before).square().sum()
        for parameter in self.predictor.parameters() if self.head else ():
            total = total + self.head * parameter.square().sum()
        return total.unsqueeze(0) / 2
