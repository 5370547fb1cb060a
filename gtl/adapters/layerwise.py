"""The L-adapter: every layer reaches the head, which otherwise sees the last one alone.

Otake et al. 2023, "Parameter efficient transfer learning for various speech processing tasks". What
it computes for graphs is a jumping knowledge network (Xu et al. 2018) on a frozen encoder. Deep
layers smooth over neighbors; a task whose labels neighbors do not share finds its features below.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gtl.adapters.bottleneck_map import ACTIVATIONS, check_bottleneck, default_hidden
from gtl.errors import ConfigError
from gtl.roles import Adapter, Sites


class Layerwise(Adapter):
    """``sum_l softmax(a)_l p_l`` with ``p_l = norm(act(down_l(h_l)))`` of every layer ``l``.

    The input embedding is a layer too. The published adapter puts this sum in the place of the
    encoder's output, so a new one forgets what the last layer says. Here, unless ``residual`` is
    false, the sum goes through a map that starts at zero and is added to the encoder's output: so
    a new one changes nothing, and the width stays. With ``residual=False``, the published form,
    the width of the output is ``hidden``, and it says something else from the start.

    Args:
        hidden: Columns of ``p_l``; ``None`` means an eighth of the encoder's width.
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
            ConfigError: If a module from elsewhere returns anything but one tensor of vectors.
        """
        layers = [*([] if sites.embed is None else [sites.embed]), *sites.blocks]
        if not sites.width:
            raise ConfigError("layerwise needs an encoder that returns one tensor of vectors")
        hidden = default_hidden(sites.width) if self.hidden is None else self.hidden
        self.down = nn.ModuleList(nn.Linear(place.width, hidden) for place in layers)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in layers)
        self.depth = nn.Parameter(torch.full((len(layers),), 1 / len(layers)))
        self.up = nn.Linear(hidden, sites.width) if self.residual else None
        if self.up is None:
            self.width = hidden
        else:
            nn.init.zeros_(self.up.weight)
            nn.init.zeros_(self.up.bias)

    def output(self, layers: list[Tensor], out: Tensor) -> Tensor:
        """The weighted sum of what each layer says, ``(n, width)``."""
        weights = self.depth.softmax(0)
        said = [
            norm(self.activation(down(h))) for norm, down, h in zip(self.norms, self.down, layers)
        ]
        total = torch.stack(said, -1) @ weights  # (n, hidden)
        return total if self.up is None else out + self.up(total)

    def findings(self) -> dict[str, Any]:
        """Which depth the task uses: the weight of each layer, the embedding's first."""
        return {"depth": [round(weight, 4) for weight in self.depth.softmax(0).tolist()]}
