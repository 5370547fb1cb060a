"""Linear maps of a model as products of two smaller ones, by the energy of singular values.

The nearest matrix of a rank, in the Frobenius norm, keeps the largest singular values (Eckart and
Young 1936); Denton et al. 2014 ("Exploiting linear structure within convolutional networks") use
it for trained networks.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from gtl.adapters import Adapted
from gtl.checks import check_positive
from gtl.errors import ConfigError
from gtl.train.ensemble import Ensemble
from gtl.train.low_rank_map import LowRankMap, replace_part
from gtl.train.model import Model


def factored(model: Model, energy: float = 0.9) -> Model:
    """A copy of a model whose linear maps are products where that is smaller.

    Args:
        model: Stays as it is.
        energy: Share of the sum of squared singular values that each map keeps, in ``(0, 1]``. With
            1 it keeps all of its rank, and computes what it did before.

    Raises:
        ConfigError: If the energy is out of range, the encoder has adapters, or a weight is not
            finite.
    """
    check_positive(energy=energy)
    if energy > 1:
        raise ConfigError(f"`energy` is {energy}, expected a share above 0 and up to 1")
    require_single(model, "low_rank")
    done = copy.deepcopy(model)
    for path, part in list(done.named_modules()):
        # Exactly this class: a part that derives from it computes something else.
        if type(part) is nn.Linear and _has_own_weight(part, done):
            if not bool(part.weight.isfinite().all()):
                raise ConfigError(
                    f"{path}.weight is not finite; train again with a lower rate (lr)"
                )
            rank = rank_for(part.weight, energy)
            if rank * (part.in_features + part.out_features) < part.weight.numel():
                replace_part(done, path, _product(part, rank))
    return done


def rank_for(weight: Tensor, energy: float) -> int:
    """Smallest rank that keeps a share of the squared singular values, at least 1.

    Args:
        weight: Matrix ``(o, d)``.
        energy: The share.

    Example:
        >>> rank_for(torch.diag(torch.tensor([3.0, 1.0, 0.0])), 0.9), rank_for(torch.eye(3), 1.0)
        (1, 3)
    """
    values = torch.linalg.svdvals(weight.detach().double())
    squares = values.square()
    if energy >= 1:
        # What is smaller than the rounding of the weights is not rank.
        floor = values.max() * max(weight.shape) * torch.finfo(weight.dtype).eps
        return max(int((values > floor).sum()), 1)
    before = int((squares.cumsum(0) < energy * squares.sum()).sum())
    return min(before + 1, len(squares))  # a sum in another order may be larger by rounding


def require_single(model: Model, method: str) -> None:
    """Refuse ensembles, and encoders with adapters.

    Raises:
        ConfigError: If the model is one of them.
    """
    if isinstance(model, Ensemble):
        raise ConfigError(
            f"{method} is for one model, and this is an ensemble of {len(model.models)}; distill "
            "it into one: method=distill"
        )
    if isinstance(model.encoder, Adapted):
        raise ConfigError(
            f"{method} changes the layers that the encoder's adapters act on; use int8, or distill "
            "it into a model without adapters: method=distill"
        )


@torch.no_grad()
def _product(linear: nn.Linear, rank: int) -> LowRankMap:
    has_bias = linear.bias is not None
    made = LowRankMap(linear.in_features, linear.out_features, rank, has_bias).to(linear.weight)
    left, values, right = torch.linalg.svd(linear.weight.double(), full_matrices=False)
    root = values[:rank].sqrt()
    made.up.copy_(left[:, :rank] * root)
    made.down.copy_(root.unsqueeze(1) * right[:rank])
    if has_bias:
        made.bias.copy_(linear.bias)
    return made.train(linear.training)


def _has_own_weight(part: nn.Linear, model: nn.Module) -> bool:
    """Whether no other module uses the same parameter."""
    owners = [m for m in model.modules() if m._parameters.get("weight") is part.weight]
    return len(owners) == 1
