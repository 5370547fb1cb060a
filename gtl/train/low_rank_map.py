"""A linear map as a product of two smaller ones, and models that have some.

Where the matrix ``(o, d)`` has rank ``r``, the product costs ``r (o + d)`` in place of ``o d``
(Denil et al. 2013, "Predicting parameters in deep learning").
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LowRankMap(nn.Linear):
    """A linear map ``up (down h) + b``; it can stand wherever an ``nn.Linear`` does.

    Args:
        inputs: Columns ``d`` of the input.
        outputs: Columns ``o`` of the output.
        rank: Columns ``r`` between both.
        bias: Whether there is a bias.
    """

    def __init__(self, inputs: int, outputs: int, rank: int, bias: bool = True):
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.rank = inputs, outputs, rank
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        self.down = nn.Parameter(torch.zeros(rank, inputs))
        self.register_parameter("bias", nn.Parameter(torch.zeros(outputs)) if bias else None)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The matrix ``(o, d)``, for whoever reads it."""
        return self.up @ self.down

    def forward(self, h: Tensor) -> Tensor:
        """Rows ``(..., o)`` of ``(..., d)``."""
        return F.linear(F.linear(h, self.down), self.up, self.bias)


def ranks_of(model: nn.Module, prefix: str = "") -> dict[str, int]:
    """Rank of each factored map by its path, for ``config.json``.

    Args:
        model: Where they are.
        prefix: Put before the paths.
    """
    return {
        prefix + path: part.rank
        for path, part in model.named_modules()
        if isinstance(part, LowRankMap)
    }


def put_low_rank_maps(model: nn.Module, ranks: Mapping[str, int], prefix: str = "") -> None:
    """Replace linear maps by factored ones of zeros, to load weights into.

    Args:
        model: Changed in place.
        ranks: As :func:`ranks_of` gives them; those of other prefixes are left out.
        prefix: As for :func:`ranks_of`.
    """
    for path, rank in ranks.items():
        if path.startswith(prefix):
            place = path.removeprefix(prefix)
            old = model.get_submodule(place)
            assert isinstance(old, nn.Linear)
            new = LowRankMap(old.in_features, old.out_features, rank, old.bias is not None)
            replace_part(model, place, new.to(old.weight).train(old.training))


def replace_part(model: nn.Module, path: str, part: nn.Module) -> None:
    """Put another module in the place of one inside a model."""
    owner, _, name = path.rpartition(".")
    setattr(model.get_submodule(owner), name, part)
