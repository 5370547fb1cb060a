"""Prompts: trained vectors that are added to the embedded features of every node.

Fang et al. 2023, "Universal prompt tuning for graph neural networks" (GPF, and GPF-plus).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.roles import Adapter, Sites


class Prompt(Adapter):
    """A vector added to the embedded features of each node, or a mixture of several.

    The paper adds it to the features themselves. After a linear embedding this is equivalent to
    another vector; and to categories, which most molecules have as features, nothing can be added
    before they are embedded.

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
                "prompt adds to the embedded features, and where a module embeds is known only if "
                "it derives from gtl.roles.Encoder; derive it, or use another adapter"
            )
        self.path, width = sites.embed.path, sites.embed.width
        self.vectors = nn.Parameter(torch.zeros(self.count, width))
        # The name is part of saved states.
        self.ask = nn.Linear(width, self.count, bias=False) if self.count > 1 else None

    def wraps(self) -> Mapping[str, Callable[..., Tensor]]:
        """Add to the embedding."""
        return {self.path: self._add}

    def _add(self, call: Callable[..., Tensor], *inputs: object) -> Tensor:
        h = call(*inputs)
        if self.ask is None:
            return h + self.vectors
        return h + self.ask(h).softmax(1) @ self.vectors
