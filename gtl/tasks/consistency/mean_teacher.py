"""Mean teacher: agreement with a slow average of the model (Tarvainen & Valpola 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.graph import Graph
from gtl.roles import Batch, View
from gtl.tasks.checks import require_share
from gtl.tasks.consistency.on_unlabeled import OnUnlabeled, Predictions
from gtl.tasks.slow_average import SlowAverage


class Teacher(OnUnlabeled):
    """A task with a teacher: a slow average of the encoder and the target's head.

    After step ``t`` the teacher's weights are ``d`` times themselves plus ``1 - d`` times those of
    the model, ``d = min(decay, 1 - 1 / (t + 1))``: at first it is the plain average of all steps.

    Args:
        decay: What the average keeps of itself, in ``(0, 1)``.
        warmup: Share of the training over which the losses rise to their full size.

    Raises:
        ConfigError: If an option is out of range.
    """

    steps: Tensor

    def __init__(self, decay: float, warmup: float):
        super().__init__(warmup)
        self.decay = require_share("decay", decay, whole=False)
        self.encoder_average, self.target_average = SlowAverage(), SlowAverage()
        self.register_buffer("steps", torch.tensor(0))

    def after_step(self, model: nn.Module, progress: float) -> None:
        """Move the teacher towards the model; with progress 0 make them equal."""
        super().after_step(model, progress)
        self.steps.copy_(self.steps + 1 if progress else torch.zeros_like(self.steps))
        decay = min(self.decay, 1 - 1 / (int(self.steps) + 1)) if progress else 0.0
        self.encoder_average.follow(self.encoder, decay)
        self.target_average.follow(Predictions(self.target), decay)

    def taught(self, graph: Graph) -> Tensor:
        """The teacher's probabilities of the items of a graph, ``(b, c)``."""
        nodes = self.encoder_average.outputs(self.encoder, graph)
        logits = self.target_average.outputs(Predictions(self.target), graph, nodes)
        return self.as_probabilities(logits)


class MeanTeacher(Teacher):
    """Makes the probabilities of unlabeled items those of a slow average of the model.

    The teacher predicts one augmented copy, the model another. The loss of an item is the squared
    difference of both, averaged over classes; no gradient goes through the teacher, which has no
    dropout.

    Args:
        decay: What the average keeps of itself, in ``(0, 1)``.
        rate: Share of edges and features that each copy lacks, in ``[0, 1)``.
        warmup: Share of the training over which the losses rise to their full size.

    Raises:
        ConfigError: If an option is out of range.
    """

    def __init__(self, decay: float = 0.99, rate: float = 0.1, warmup: float = 0.1):
        super().__init__(decay, warmup)
        if not 0 <= rate < 1:
            raise ConfigError(f"`rate` is {rate}, expected a share in [0, 1)")
        self.rate = rate

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The model's copy, and the teacher's probabilities of the other."""
        graph = self.unlabeled(batch)
        taught = self.taught(self.augmented(graph, self.rate, rng))
        return View(self.augmented(graph, self.rate, rng), {"taught": taught})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each unlabeled item, ``(b,)``."""
        gap = self.probabilities(view.graph, nodes) - view.targets["taught"]
        return self.level * gap.square().mean(1)
