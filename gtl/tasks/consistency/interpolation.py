"""Interpolation consistency: predictions between two items (Verma et al. 2019, graph form)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.roles import Batch, View
from gtl.tasks.certainty import probabilities, strength_of
from gtl.tasks.checks import require_positive, require_share
from gtl.tasks.consistency.teacher import Teacher
from gtl.tasks.items import unlabeled_inputs
from gtl.tasks.model_task import ModelTask


class InterpolationConsistency(ModelTask):
    """Predicts between two unlabeled items what lies between the teacher's predictions of them.

    One sample is an unlabeled item ``i``, which has a partner ``j`` drawn at random. The features
    that the head reads are mixed, ``l h_i + (1 - l) h_j``, and the loss is the squared difference
    between the probabilities of the mixture and ``l p_i + (1 - l) p_j``, averaged over classes or
    label columns. ``p`` are those of a slow average of the model, and ``l`` is drawn for each item
    from a Beta distribution.

    Here it departs from the paper: two images can be mixed, two graphs cannot, so that vectors
    of items are mixed in their place (Wang et al. 2021).

    Args:
        alpha: Both parameters of the Beta distribution, above 0.
        decay: What the average keeps of itself in each step, in ``(0, 1)``.
        strength: Factor of the loss; by default 100 (published are 100 to 500), and 1 of
            a regression.
        warmup: Steps over which the losses rise linearly to their full size.

    Raises:
        ConfigError: If an option is out of range, or the predictor has no ``features`` and
            ``head`` to mix between.
    """

    def __init__(
        self,
        alpha: float = 0.75,
        decay: float = 0.99,
        strength: float | None = None,
        warmup: int = 20,
    ):
        super().__init__(warmup)
        self.strength = None if strength is None else require_positive("strength", strength)
        self.alpha = require_positive("alpha", alpha)
        self.decay = require_share("decay", decay, whole=False)
        self.teacher = Teacher(self.decay)

    def begin(self, encoder: nn.Module) -> None:
        """Make the teacher equal to the model."""
        for name in ("features", "head"):
            if not hasattr(self.predictor, name):
                raise ConfigError(
                    f"interpolation mixes what the head reads, and the predictor has no `{name}`; "
                    "use one with `features(graph, nodes)` and `head`"
                )
        self.teacher.follow(encoder, self.predictor, 0)

    def follow(self, encoder: nn.Module, progress: float) -> None:
        """Move the teacher."""
        self.teacher.follow(encoder, self.predictor, int(self.steps))

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The unlabeled items, their partners, shares and the mixed probabilities ``(b, c)``."""
        inputs = unlabeled_inputs(batch, (0.0, 0.0), rng, self.columns)
        scores = self.teacher.scores(self.encoder, self.predictor, inputs.graph, inputs.items)
        p = probabilities(scores, self.target.kind)
        partner = torch.randperm(len(p), generator=rng).to(p.device)
        seed = int(torch.randint(2**62, (), generator=rng))
        draws = np.random.default_rng(seed).beta(self.alpha, self.alpha, (len(p), 1))
        share = torch.from_numpy(draws).to(p)
        found = {"items": inputs.items, "partner": partner, "share": share}
        taught = _mixed(p, partner, share)
        return View(inputs.graph, {**found, "taught": taught, "factor": self.factor})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each unlabeled item, ``(b,)``."""
        found, predictor = view.targets, self._mixable()
        features = predictor.features(found["items"], nodes)
        mixed = _mixed(features, found["partner"], found["share"].to(features))
        own = probabilities(predictor.head(mixed), self.target.kind)
        each = (own - found["taught"].to(own)).square().mean(1)
        return strength_of(self.strength, self.target.kind) * each * found["factor"].to(each)

    def _mixable(self) -> Any:
        return self.predictor


def _mixed(rows: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    return share * rows + (1 - share) * rows[partner]
