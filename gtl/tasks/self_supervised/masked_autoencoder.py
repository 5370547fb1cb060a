"""Masked autoencoder: hidden features from the neighbors' vectors (Hou et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.graph import Schema, ops
from gtl.graph.node_groups import node_groups
from gtl.graph.sample import draw_rows
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import built, require_share
from gtl.tasks.self_supervised.features import Features

_TINY = 1e-9  # rounding may put a cosine above 1, where a power has no derivative


class MaskedAutoencoder(Task):
    """Masks many nodes and decodes their features from their neighbors' vectors.

    One sample is a masked node. The differences to attribute masking:

    - the vectors of the masked nodes are set to zero before they are decoded, and the decoder is a
      layer of message passing (the sum over a node and its neighbors, then two linear maps): so the
      encoder must describe a node in the vectors of its neighbors too;
    - of the masked nodes, ``replace`` have features of a random node of their type, not the mask;
    - the loss is the scaled cosine error ``(1 - cos) ** gamma``, in ``[0, 2 ** gamma]``, between
      prediction and features; ``gamma`` above 1 makes easy samples count less. A categorical column
      is the unit vector of its category, as published for molecules, and several are averaged.

    Here it departs from the paper in two things. Floating features are masked by zeros, not by a
    learned row; categorical ones have a learned row, the encoder's embedding of *masked*. And there
    is no linear map before the second mask, since the first map behind the sum can do its work.

    Args:
        rate: Share of the nodes of a batch that is masked, in ``(0, 1]``; at least one node.
        replace: Share of the masked nodes that get the features of another node, in ``[0, 1]``.
        gamma: Exponent of the error, at least 1.
        columns: Categorical columns to rebuild, ``None`` for all; the first is the kind of atom.

    Raises:
        ConfigError: If an option is out of range.
    """

    def __init__(
        self,
        rate: float = 0.5,
        replace: float = 0.05,
        gamma: float = 2.0,
        columns: Sequence[int] | None = (0,),
    ):
        super().__init__()
        self.rate = require_share("rate", rate)
        self.replace = require_share("replace", replace) if replace else 0.0
        if gamma < 1:
            raise ConfigError(f"`gamma` is {gamma}, expected 1 or more")
        self.gamma = gamma
        self.columns = None if columns is None else tuple(columns)
        self.features: Features | None = None
        self.decoder: nn.Sequential | None = None

    def build(self, schema: Schema, width: int) -> None:
        """Make the decoder's two linear maps.

        Raises:
            ConfigError: If nodes have no features, or ``columns`` are not among them.
        """
        features = Features.of(schema, "the masked autoencoder", self.columns)
        self.features = features
        self.decoder = nn.Sequential(
            nn.Linear(width, width), nn.ELU(), nn.Linear(width, sum(features.outputs))
        )

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph with a random share of its nodes masked; its structure is shared.

        Raises:
            ConfigError: If the task was not set up, or the graph has no features.
            ShapeError: If the features are not of the kind it was set up for.
        """
        graph = batch.source
        features = built(self, self.features)
        x = features.read(graph)
        nodes = draw_rows(graph.num_nodes, self.rate, rng).to(graph.device)
        swapped = nodes[: round(self.replace * len(nodes))]
        hidden = x.clone()
        hidden[nodes] = features.mask(x)
        hidden[swapped] = x[node_groups(graph, "batch").draw(swapped, rng)]
        return View(graph.replace(x=hidden), {"nodes": nodes, "features": x.index_select(0, nodes)})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each masked node, ``(b,)``."""
        decoder, chosen = built(self, self.decoder), view.targets["nodes"]
        h = nodes.index_fill(0, chosen, 0)  # (n, h)
        around = ops.sum_neighbors(view.graph, h).index_select(0, chosen)  # own vector is zero
        errors = built(self, self.features).directions(decoder(around), view.targets["features"])
        return errors.clamp(min=_TINY).pow(self.gamma).mean(1)
