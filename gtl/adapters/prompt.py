"""Prompts: a learned vector added to every node's features, the only change a task may ask for.

Fang et al. 2023, "Universal prompt tuning for graph neural networks" (GPF, and GPF-plus).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.roles import Adapter, Sites


class Prompt(Adapter):
    """Adds a vector to the embedded features of each node, or a mixture of several.

    The paper adds it to the features themselves. After an embedding that is linear this is the
    same with another vector; and categories, which most molecules have, can be moved only there.

    With ``count`` above 1 each node adds ``sum_j softmax_j(<a_j, h>) p_j`` of its own embedding
    ``h`` (GPF-plus).

    Args:
        count: Number of vectors.

    Raises:
        ConfigError: If it is below 1.
    """

    def __init__(self, count: int = 1):
        super().__init__()
        if count < 1:
            raise ConfigError(f"`count` is {count}, expected at least 1")
        self.count = count

    def setup(self, sites: Sites) -> None:
        """Make the vectors.

        Raises:
            ConfigError: If the encoder has no embedding to add to.
        """
        if sites.embed is None:
            raise ConfigError(
                "prompt adds to the embedded features, and a module from elsewhere does not say "
                "where it embeds; use another adapter, or derive it from gtl.roles.Encoder"
            )
        self.path, width = sites.embed.path, sites.embed.width
        self.vectors = nn.Parameter(torch.zeros(self.count, width))
        self.ask = nn.Linear(width, self.count, bias=False) if self.count > 1 else None

    def wraps(self) -> Mapping[str, Callable[..., Tensor]]:
        """Add to the embedding."""
        return {self.path: self._add}

    def _add(self, call: Callable[..., Tensor], *inputs: object) -> Tensor:
        h = call(*inputs)
        if self.ask is None:
            return h + self.vectors
        return h + self.ask(h).softmax(1) @ self.vectors
