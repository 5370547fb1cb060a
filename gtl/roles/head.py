"""Head: features to predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from gtl.roles.recorded import Recorded


class Head(Recorded, ABC, nn.Module):
    """Turns features ``(b, h)`` into predictions ``(b, c)``."""

    def penalty(self) -> Tensor | None:
        """What training adds to the mean loss, ``()``; the default is nothing."""
        return None

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Predictions ``(b, c)``: logits, or values for a regression."""
