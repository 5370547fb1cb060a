"""The mean teacher: slow averages of the encoder and of the target's predictor."""

from __future__ import annotations

from torch import Tensor, nn

from gtl.graph import Graph
from gtl.tasks.slow_average import SlowAverage


class Teacher(nn.Module):
    """Slow averages of an encoder and of a predictor (Tarvainen and Valpola 2017).

    In the first steps the average forgets faster: after step ``i``, counted from 1, it keeps
    ``min(decay, 1 - 1 / (i + 1))`` of itself.

    Args:
        decay: What the average keeps of itself in each step, in ``(0, 1)``.
    """

    def __init__(self, decay: float):
        super().__init__()
        self.decay = decay
        self.encoder, self.predictor = SlowAverage(), SlowAverage()

    def follow(self, encoder: nn.Module, predictor: nn.Module, steps: int) -> None:
        """Move the averages after step ``steps``; with 0 make them equal to the model."""
        decay = min(self.decay, 1 - 1 / (steps + 1))
        self.encoder.follow(encoder, decay)
        self.predictor.follow(predictor, decay)

    def scores(
        self, encoder: nn.Module, predictor: nn.Module, graph: Graph, items: Graph
    ) -> Tensor:
        """Scores of the teacher for the items of a graph, constant ``(b, c)``."""
        return self.predictor.of(predictor, items, self.encoder.of(encoder, graph))
