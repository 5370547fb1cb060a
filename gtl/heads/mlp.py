"""A multi-layer perceptron as head.

The predictor of OGB's link-level baselines (Hu et al. 2020) is one of three layers.
"""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.roles import Head


class MLP(Head):
    """A multi-layer perceptron: linear maps with ReLU and dropout between them.

    Args:
        width: Columns of the features.
        outputs: Columns of the predictions.
        depth: Number of linear maps; with 1 it is the linear head.
        hidden: Columns between them; ``width`` by default.
        dropout: Probability of dropping a value after each ReLU.

    Raises:
        ConfigError: If an option is outside its range.
    """

    def __init__(
        self,
        width: int,
        outputs: int,
        depth: int = 2,
        hidden: int | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        if depth < 1:
            raise ConfigError(f"`depth` is {depth}, expected at least 1")
        if hidden is not None and hidden < 1:
            raise ConfigError(f"`hidden` is {hidden}, expected at least 1, or None for the width")
        if not 0 <= dropout < 1:
            raise ConfigError(f"`dropout` is {dropout}, expected at least 0 and below 1")
        sizes = [width, *[hidden or width] * (depth - 1)]
        parts: list[nn.Module] = []
        for before, after in itertools.pairwise(sizes):
            parts += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
        self.maps = nn.Sequential(*parts, nn.Linear(sizes[-1], outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Predictions ``(b, outputs)`` of features ``(b, width)``."""
        return self.maps(features)
