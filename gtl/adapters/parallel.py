"""Parallel adapters: a trained map beside each frozen one, linear so that it can be averaged.

Rebuffi et al. 2018 ("Efficient parametrization of multi-domain deep neural networks"); their use in
federated learning, where adapters of many clients are averaged, is that of "Adaptive
parameterization of deep learning models for federated learning" (Elvebakken et al. 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from gtl.adapters.bottleneck_map import BottleneckMap, check_bottleneck
from gtl.adapters.module_views import Call
from gtl.adapters.sites import vectors_of
from gtl.adapters.weights import all_matrices, call_changed, merge_matrices
from gtl.errors import ConfigError
from gtl.roles import Adapter, Choice, Sites

KINDS = ("linear", "bottleneck")


class Parallel(Adapter):
    """A linear map beside every linear map, or a bottleneck beside every block; zero at first.

    ``kind="linear"``: each matrix ``W`` that is a parameter called ``weight`` (not the bases of
    ``rgcn`` or the relations of ``hgt``) becomes ``W + scale A``. Like the paper's 1x1 convolution
    beside a 3x3 one, ``A`` is as wide as ``W`` and has fewer parameters: it is zero outside
    ``groups`` blocks on its diagonal (fewer if that number does not divide its sides). Its rank may
    be full and it is linear in its parameters, so it can be merged, and the mean of the parameters
    of several adapters gives the mean of their changes.

    ``kind="bottleneck"``: ``block(graph, h) + scale up(act(down(h)))`` of the block's input.

    Args:
        kind: ``"linear"`` or ``"bottleneck"``.
        groups: For ``"linear"``: blocks on the diagonal. With 8, ``A`` has an eighth of the
            parameters of ``W``.
        hidden: For ``"bottleneck"``: its columns; ``None`` means an eighth of those of the block.
        activation: For ``"bottleneck"``: ``"relu"``, ``"gelu"`` or ``"none"``.
        scale: Factor of what is added.

    Raises:
        ConfigError: If an option is outside its range.
    """

    search_space = {"groups": Choice((2, 4, 8, 16))}

    def __init__(
        self,
        kind: str = "linear",
        groups: int = 8,
        hidden: int | None = None,
        activation: str = "relu",
        scale: float = 1.0,
    ):
        super().__init__()
        check_bottleneck(hidden, activation)
        if kind not in KINDS:
            raise ConfigError(f"`kind` is {kind!r}, expected one of {KINDS}")
        if groups < 1:
            raise ConfigError(f"`groups` is {groups}, expected at least 1")
        self.kind, self.groups, self.scale = kind, groups, scale
        self.hidden, self.activation = hidden, activation
        self.mergeable = kind == "linear"

    def setup(self, sites: Sites) -> None:
        """Make the maps beside each block.

        Raises:
            ConfigError: If there are no matrices, or a block has no input for its bottleneck.
        """
        self.paths = [block.path for block in sites.blocks]
        if self.kind == "linear":
            matrices = all_matrices(sites, "parallel")
            self.maps = nn.ModuleList(
                nn.ParameterList(self._zeros(weight) for weight in weights) for weights in matrices
            )
            return
        if not all(block.inputs for block in sites.blocks):
            raise ConfigError(
                "a block takes no node vectors by position that an adapter could read; pass them "
                "by position, or use 'bottleneck'"
            )
        self.maps = nn.ModuleList(
            BottleneckMap(block.inputs, block.width, self.hidden, self.activation, norm=None)
            for block in sites.blocks
        )

    def wraps(self) -> Mapping[str, Callable[..., Tensor]]:
        """Add to the matrices of each block, or to its output."""
        around = self._linear if self.kind == "linear" else self._bottleneck
        return {path: partial(around, i) for i, path in enumerate(self.paths)}

    def merge(self, sites: Sites) -> None:
        """Add the maps to the matrices."""
        if not self.mergeable:
            super().merge(sites)
        merge_matrices(sites, {i: self._changes(i) for i in range(len(self.paths))})

    def _linear(self, i: int, call: Call, *inputs: object) -> Tensor:
        return call_changed(call, self._changes(i), *inputs)

    def _bottleneck(self, i: int, call: Call, *inputs: object) -> Tensor:
        h = vectors_of(inputs)
        return call(*inputs) + self.scale * self.maps[i](h)

    def _changes(self, i: int) -> list[Tensor]:
        return [self.scale * _block_diagonal(blocks) for blocks in self.maps[i]]  # type: ignore[attr-defined]

    def _zeros(self, weight: Tensor) -> nn.Parameter:
        *types, n, d = weight.shape
        groups = max(g for g in range(1, self.groups + 1) if n % g == 0 and d % g == 0)
        return nn.Parameter(torch.zeros(*types, groups, n // groups, d // groups))


def _block_diagonal(blocks: Tensor) -> Tensor:
    """Matrices ``(..., g n, g d)`` with blocks ``(..., g, n, d)`` on their diagonals.

    Example:
        >>> _block_diagonal(torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]]))
        tensor([[1., 2., 0., 0.],
                [0., 0., 3., 4.]])
    """
    groups = blocks.shape[-3]
    apart = torch.eye(groups, dtype=blocks.dtype, device=blocks.device)
    spread = torch.einsum("...gnd,gk->...gnkd", blocks, apart)
    return spread.flatten(-2).flatten(-3, -2)
