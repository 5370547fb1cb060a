"""The L-adapter: a trained weighted sum of all layers, added to the output of the last one.

Otake et al. 2023, "Parameter efficient transfer learning for various speech processing tasks". What
it computes for graphs is a jumping knowledge network (Xu et al. 2018) on a frozen encoder. Deep
layers smooth over neighbors; where neighbors have different labels, lower layers are the better
features.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gtl.adapters.bottleneck_map import ACTIVATIONS, check_bottleneck, default_hidden
from gtl.errors import ConfigError
from gtl.roles import Adapter, Sites


class Layerwise(Adapter):
    """A weighted sum of maps of every layer, ``sum_l softmax(a)_l norm(act(down_l(h_l)))``.

    The input embedding is a layer too. The published adapter puts this sum in the place of the
    encoder's output, so an untrained one loses the output of the last layer. Here, unless
    ``residual`` is false, the sum goes through a map that starts at zero and is added to the
    encoder's output: an untrained one changes nothing, and the width stays. With
    ``residual=False``, the published form, the output has ``hidden`` columns and differs from that
    of the encoder from the start.

    Args:
        hidden: Columns of the maps; ``None`` means an eighth of the encoder's width.
        activation: ``"relu"``, ``"gelu"`` or ``"none"``.
        residual: Whether the sum is added to the encoder's output.

    Raises:
        ConfigError: If an option is outside its range.
    """

    def __init__(self, hidden: int | None = None, activation: str = "relu", residual: bool = True):
        super().__init__()
        check_bottleneck(hidden, activation)
        self.hidden, self.residual = hidden, residual
        self.activation = ACTIVATIONS[activation]()

    def setup(self, sites: Sites) -> None:
        """Make a map for each layer.

        Raises:
            ConfigError: If the module does not return one tensor of vectors.
        """
        layers = [*([] if sites.embed is None else [sites.embed]), *sites.blocks]
        if not sites.width:
            raise ConfigError("layerwise needs an encoder that returns one tensor of vectors")
        hidden = default_hidden(sites.width) if self.hidden is None else self.hidden
        self.down = nn.ModuleList(nn.Linear(site.width, hidden) for site in layers)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in layers)
        self.depth = nn.Parameter(torch.full((len(layers),), 1 / len(layers)))
        self.up = nn.Linear(hidden, sites.width) if self.residual else None
        if self.up is None:
            self.width = hidden
        else:
            nn.init.zeros_(self.up.weight)
            nn.init.zeros_(self.up.bias)

    def output(self, layers: list[Tensor], out: Tensor) -> Tensor:
        """The output with the weighted sum of all layers, ``(n, width)``."""
        weights = self.depth.softmax(0)
        mapped = [
            norm(self.activation(down(h))) for norm, down, h in zip(self.norms, self.down, layers)
        ]
        total = torch.stack(mapped, -1) @ weights  # (n, hidden)
        return total if self.up is None else out + self.up(total)

    def findings(self) -> dict[str, Any]:
        """The weight of each layer, the embedding's first: which depth the task uses."""
        return {"depth": [round(weight, 4) for weight in self.depth.softmax(0).tolist()]}
