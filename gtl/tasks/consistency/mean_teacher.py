"""Mean teacher: the predictions of a slow average of the model (Tarvainen and Valpola 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gtl.roles import Batch, View
from gtl.tasks.certainty import probabilities, strength_of
from gtl.tasks.checks import require_positive, require_share
from gtl.tasks.consistency.teacher import Teacher
from gtl.tasks.items import all_inputs, require_rates
from gtl.tasks.model_task import ModelTask


class MeanTeacher(ModelTask):
    """Predicts what a slow average of the model, the teacher, predicts of another perturbed copy.

    One sample is a labeled or unlabeled item. Model and teacher each read a perturbed copy of the
    graph, the model with dropout and the teacher without. The loss is the squared difference of
    their probabilities, averaged over classes or label columns; of a regression, of the
    standardized values. The teacher's predictions are constants of the loss.

    Args:
        rates: Shares of edges and of features that each copy lacks.
        decay: What the average keeps of itself in each step, in ``(0, 1)``.
        strength: Factor of the loss; by default 100 (published are 100 to 500), and 1 of
            a regression.
        warmup: Steps over which the losses rise linearly to their full size.

    Raises:
        ConfigError: If an option is out of range.
    """

    def __init__(
        self,
        rates: Sequence[float] = (0.2, 0.2),
        decay: float = 0.99,
        strength: float | None = None,
        warmup: int = 20,
    ):
        super().__init__(warmup)
        self.strength = None if strength is None else require_positive("strength", strength)
        self.rates = require_rates("rates", rates)
        self.decay = require_share("decay", decay, whole=False)
        self.teacher = Teacher(self.decay)

    def begin(self, encoder: nn.Module) -> None:
        """Make the teacher equal to the model."""
        self.teacher.follow(encoder, self.predictor, 0)

    def follow(self, encoder: nn.Module, progress: float) -> None:
        """Move the teacher."""
        self.teacher.follow(encoder, self.predictor, int(self.steps))

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """A perturbed copy, and the teacher's probabilities from another one ``(b, c)``."""
        other = all_inputs(batch, self.rates, rng, self.columns)
        scores = self.teacher.scores(self.encoder, self.predictor, other.graph, other.items)
        inputs = all_inputs(batch, self.rates, rng, self.columns)
        taught = probabilities(scores, self.target.kind)
        return View(inputs.graph, {"items": inputs.items, "taught": taught, "factor": self.factor})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each item, ``(b,)``."""
        found = view.targets
        own = probabilities(self.target.scores(found["items"], nodes), self.target.kind)
        each = (own - found["taught"].to(own)).square().mean(1)
        return strength_of(self.strength, self.target.kind) * each * found["factor"].to(each)
