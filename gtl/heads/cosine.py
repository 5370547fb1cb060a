"""The scaled cosine classifier, whose scores do not depend on the length of class vectors.

Gidaris & Komodakis 2018, Qi et al. 2018; the classifier of KGTN (Chen et al. 2020). The weights of
a linear classifier are longer for classes with many samples, which are then predicted too often.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gtl.roles import Head


class Cosine(Head):
    """Cosine of each row with a vector per class, times a learned scale.

    Args:
        width: Columns of the features.
        outputs: Columns of the predictions.
        scale: Initial factor of the cosines, trained with the rest; 10 in Gidaris & Komodakis.
    """

    def __init__(self, width: int, outputs: int, scale: float = 10.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, width) * width**-0.5)
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def forward(self, features: Tensor) -> Tensor:
        """Predictions ``(b, outputs)`` in ``[-scale, scale]`` of features ``(b, width)``."""
        return self.scale * unit_rows(features) @ unit_rows(self.weight).T


def unit_rows(x: Tensor) -> Tensor:
    """Rows of length 1, ``(b, h)``; a row of zeros stays as it is, and so does its gradient.

    A small constant under the root would shorten short rows and make the gradient at zero huge.

    >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    squares = x.square().sum(1, keepdim=True)  # (b, 1)
    return x * torch.where(squares > 0, squares, torch.ones_like(squares)).rsqrt()
