"""Integers of 8 bits for matrices, a scale for each row (weight-only quantization).

Symmetric, as in Jacob et al. 2018 ("Quantization and training of neural networks for efficient
integer-arithmetic-only inference", Section 2) with zero point 0: ``q = round(w / s)`` and
``s = max |w| / 127`` row by row, which are the output channels of a linear map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST = 127


@dataclass(frozen=True)
class Int8:
    """A matrix, or a stack of matrices, in 8 bits.

    Attributes:
        values: Integers ``(..., columns)``, int8.
        scale: What the integers of a row are multiplied by, ``(..., 1)``.
    """

    values: Tensor
    scale: Tensor

    @staticmethod
    def of(weights: Tensor) -> Int8:
        """The nearest integers; each weight is moved by half a scale at most.

        Args:
            weights: Floating, finite, of two dimensions or more.

        Raises:
            ValueError: If they are something else.

        Example:
            >>> Int8.of(torch.tensor([[0.5, -1.27], [0.0, 0.0]])).values.tolist()
            [[50, -127], [0, 0]]
        """
        if not weights.is_floating_point() or weights.dim() < 2:
            raise ValueError(
                f"`weights` are {weights.dtype} of shape {tuple(weights.shape)}, expected floating "
                "ones of two dimensions or more"
            )
        if not bool(weights.isfinite().all()):
            raise ValueError("`weights` are not finite; train again with a lower rate (lr)")
        top = weights.detach().abs().amax(-1, keepdim=True)
        scale = torch.where(top > 0, top / LARGEST, 1)
        values = (weights.detach() / scale).round().clamp(-LARGEST, LARGEST)
        return Int8(values.to(torch.int8), scale)

    def restored(self) -> Tensor:
        """The weights that the integers stand for, in the dtype of the scale."""
        return self.values.to(self.scale.dtype) * self.scale

    @property
    def nbytes(self) -> int:
        """Bytes of integers and scales."""
        return self.values.nbytes + self.scale.nbytes

    @staticmethod
    def pays(weights: Tensor) -> bool:
        """Whether a tensor is a matrix, or a stack of some, that takes fewer bytes so."""
        if not weights.is_floating_point() or weights.dim() < 2 or not weights.numel():
            return False
        rows = weights.numel() // weights.shape[-1]
        return weights.numel() + rows * weights.element_size() < weights.nbytes
