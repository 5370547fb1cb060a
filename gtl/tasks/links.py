"""Training graph and negative pairs of a step at link level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from gtl.errors import ConfigError
from gtl.graph import Graph
from gtl.graph.pairs import PAIR_FEATURES, draw_unjoined, draw_unjoined_nodes, without_pairs

CORRUPT = ("both", "one", "second")


@dataclass(frozen=True)
class Links:
    """Options of training on pairs of nodes.

    Attributes:
        negatives: Unjoined pairs drawn for each link of a batch; 0 where the training data has
            negatives of its own.
        corrupt: How they are drawn: ``"both"`` ends anew (Kipf and Welling 2016), or ``"one"`` end
            of the link, by a coin, or its ``"second"`` end, for links with a direction (Bordes et
            al. 2013).
        remove: Whether the links of a batch are taken out of the graph that is encoded, in both
            directions. If not, every training link is an edge of the graph, while the links to
            be predicted later are not (Zhang and Chen 2018); published baselines leave them in.
        features: The vector of a pair: ``"product"``, ``"mean"``, ``"l1"`` or ``"l2"`` of its
            nodes' vectors.

    Raises:
        ConfigError: If a value is not one of these.
    """

    negatives: int = 1
    corrupt: str = "both"
    remove: bool = True
    features: str = "product"

    def __post_init__(self) -> None:
        if self.negatives < 0:
            raise ConfigError(f"`negatives` is {self.negatives}, expected 0 or more")
        for name, known in (("corrupt", CORRUPT), ("features", tuple(PAIR_FEATURES))):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"`{name}` is {getattr(self, name)!r}, expected one of {', '.join(known)}"
                )

    @staticmethod
    def of(options: Mapping[str, Any] | None) -> Links:
        """Links with the options that a user gave.

        Raises:
            ConfigError: If there is no such option.
        """
        known = [field.name for field in fields(Links)]
        for name in options or {}:
            if name not in known:
                raise ConfigError(f"links have no option {name!r}; they have: {', '.join(known)}")
        return Links(**(options or {}))

    def training_graph(self, graph: Graph, rng: torch.Generator) -> Graph:
        """The graph to encode in a training step, with negatives after the pairs that it had.

        Args:
            graph: A graph with ``pairs`` and their labels ``y``, float ``(b, 1)``.
            rng: Generator for the negatives.
        """
        assert graph.pairs is not None and graph.y is not None
        links = graph.pairs[graph.y[:, 0] == 1]
        drawn = self._negatives(graph, links, rng)
        zeros = graph.y.new_zeros(len(drawn), 1)
        rest = without_pairs(graph, links) if self.remove else graph
        return rest.replace(pairs=torch.cat([graph.pairs, drawn]), y=torch.cat([graph.y, zeros]))

    def _negatives(self, graph: Graph, links: Tensor, rng: torch.Generator) -> Tensor:
        if self.corrupt == "both":
            return draw_unjoined(graph, self.negatives * len(links), rng)
        kept = links[:, 0]
        if self.corrupt == "one":
            coin = torch.randint(2, (len(links), 1), generator=rng).to(graph.device)
            kept = links.gather(1, coin).squeeze(1)
        strangers = draw_unjoined_nodes(graph, kept, self.negatives, rng)  # (links, negatives)
        drawn = torch.stack([kept.repeat_interleave(self.negatives), strangers.flatten()], 1)
        return drawn[drawn[:, 1] >= 0]
