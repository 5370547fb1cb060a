"""LoRA: changes of low rank to the weights of a frozen encoder (Hu et al. 2022)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from gtl.adapters.module_views import Call
from gtl.adapters.weights import all_matrices, call_changed, merge_matrices
from gtl.errors import ConfigError
from gtl.roles import Adapter, Choice, Sites


class LoRA(Adapter):
    """Changes of low rank to each matrix of a block, ``W + (alpha / rank) up down``.

    ``up`` is zero at first. Matrices are all parameters called ``weight``: not the bases of
    ``rgcn`` or the relations of ``hgt``. ``down`` has ``rank`` rows and ``up`` as many columns;
    where a layer has a matrix for each type, each gets its own. The mean of the parameters of
    several such adapters is not the mean of their changes: in federated learning, average the
    products, or use ``parallel``.

    Args:
        rank: Rank of the changes; lower for matrices with fewer rows or columns.
        alpha: Factor of the changes times ``rank``; ``None`` means ``rank``, a factor of 1.

    Raises:
        ConfigError: If an option is outside its range.
    """

    search_space = {"rank": Choice((1, 2, 4, 8, 16))}

    mergeable = True

    def __init__(self, rank: int = 4, alpha: float | None = None):
        super().__init__()
        if rank < 1:
            raise ConfigError(f"`rank` is {rank}, expected at least 1")
        self.rank = rank
        self.scale = 1.0 if alpha is None else alpha / rank

    def setup(self, sites: Sites) -> None:
        """Make two matrices of low rank for each one in the blocks.

        Raises:
            ConfigError: If the blocks have no matrices.
        """
        matrices = all_matrices(sites, "lora")
        self.paths = [block.path for block in sites.blocks]
        self.down = nn.ModuleList(self._factors(weights, rows=False) for weights in matrices)
        self.up = nn.ModuleList(self._factors(weights, rows=True) for weights in matrices)

    def wraps(self) -> Mapping[str, Callable[..., Tensor]]:
        """Call each block with changed matrices."""
        return {path: partial(self._around, i) for i, path in enumerate(self.paths)}

    def merge(self, sites: Sites) -> None:
        """Add the changes to the matrices."""
        merge_matrices(sites, {i: self._changes(i) for i in range(len(self.paths))})

    def _around(self, i: int, call: Call, *inputs: object) -> Tensor:
        return call_changed(call, self._changes(i), *inputs)

    def _changes(self, i: int) -> list[Tensor]:
        up, down = self.up[i], self.down[i]
        return [self.scale * (left @ right) for left, right in zip(up, down)]  # type: ignore[call-overload]

    def _factors(self, weights: list[Tensor], rows: bool) -> nn.ParameterList:
        """The left factors, zero, or the right ones, random as PyTorch starts a linear map."""
        made = nn.ParameterList()
        for weight in weights:
            *types, n, d = weight.shape
            rank = min(self.rank, n, d)
            if rows:
                made.append(nn.Parameter(torch.zeros(*types, n, rank)))
            else:
                bound = 1 / math.sqrt(d)
                made.append(nn.Parameter(torch.empty(*types, rank, d).uniform_(-bound, bound)))
        return made
