"""Interpolation consistency (Verma et al. 2019, ICT), on the vectors of items."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gtl.errors import ConfigError
from gtl.roles import Batch, View
from gtl.tasks.checks import require_positive
from gtl.tasks.consistency.mean_teacher import Teacher


class InterpolationConsistency(Teacher):
    """Makes predictions between two unlabeled items lie between those of a teacher.

    Graphs have no mean, so what is mixed are the vectors that the head reads:
    ``u = w x_i + (1 - w) x_j`` with ``w`` from a Beta distribution for each pair. The loss of an
    item is the squared difference between the probabilities of ``u`` and the same mixture of the
    teacher's probabilities, averaged over classes. The teacher is a slow average of the model, see
    :class:`gtl.tasks.consistency.mean_teacher.Teacher`.

    Args:
        alpha: Both parameters of the Beta distribution, above 0; small ones seldom mix.
        decay: What the teacher keeps of itself, in ``(0, 1)``.
        warmup: Share of the training over which the losses rise to their full size.

    Raises:
        ConfigError: If an option is out of range.
    """

    def __init__(self, alpha: float = 0.75, decay: float = 0.99, warmup: float = 0.1):
        super().__init__(decay, warmup)
        self.alpha = require_positive("alpha", alpha)

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The unlabeled graph itself, the teacher's probabilities, and who is mixed with whom."""
        graph = self.unlabeled(batch)
        taught = self.taught(graph)
        order = torch.randperm(len(taught), generator=rng).to(taught.device)
        # Beta(a, a) by two gamma draws, from the generator handed in.
        draws = torch._standard_gamma(torch.full((2, len(taught)), self.alpha), rng)
        weight = (draws[0] / draws.sum(0).clamp(min=1e-12)).to(taught).unsqueeze(1)
        mixed = weight * taught + (1 - weight) * taught[order]
        return View(graph, {"taught": mixed, "order": order, "weight": weight})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each unlabeled item, ``(b,)``.

        Raises:
            ConfigError: If the target's predictor has no vectors of items.
        """
        predictor: Any = self.target.predictor
        if not hasattr(predictor, "features"):
            raise ConfigError(
                "interpolation consistency mixes what a head reads; the target's predictor is a "
                f"{type(predictor).__name__}, which has no `features` and `head`"
            )
        weight, order = view.targets["weight"], view.targets["order"]
        x = predictor.features(view.graph, nodes)
        logits = predictor.head(weight * x + (1 - weight) * x[order])
        gap = self.as_probabilities(logits) - view.targets["taught"]
        return self.level * gap.square().mean(1)
