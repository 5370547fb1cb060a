"""The linear head, the baseline of all others."""

from __future__ import annotations

from torch import Tensor, nn

from gtl.roles import Head


class Linear(Head):
    """Linear map from features to predictions.

    Args:
        width: Columns of the features.
        outputs: Columns of the predictions.
    """

    def __init__(self, width: int, outputs: int):
        super().__init__()
        self.map = nn.Linear(width, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Predictions ``(b, outputs)`` of features ``(b, width)``."""
        return self.map(features)
