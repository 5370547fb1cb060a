"""Attribute masking: tell hidden features from their surroundings (Hu et al. 2020, 3.1.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gtl.graph import Graph, Schema
from gtl.graph.sample import draw_rows
from gtl.roles import Task, View
from gtl.tasks.ready import first_setup, made, require_share
from gtl.tasks.self_supervised.features import Features


class AttributeMasking(Task):
    """Hides the features of some nodes and predicts them from the vectors of these nodes.

    One sample is a masked node. All its columns are hidden: a categorical one by its code for
    *masked*, floating ones by zeros. For categorical features the loss is the mean cross-entropy
    over ``columns``. For floating features it is one minus the cosine between prediction and
    truth, in ``[0, 2]``: unlike a squared error it depends neither on the unit nor on the number of
    features, so its size compares with that of a cross-entropy, and unlike minus the cosine
    (Hu et al. 2020b, GPT-GNN) it is never negative, which a weighting that reads losses needs. A
    node whose features are all zero has no direction: its loss is 1 and it has no gradient.

    Args:
        rate: Share of the nodes of a batch that is masked, in ``(0, 1]``; at least one node.
        columns: Categorical columns to predict, ``None`` for all. The default is the first, as
            published, where it is the kind of atom. Floating features are predicted whole.

    Raises:
        ConfigError: If ``rate`` is out of range.

    Example:
        >>> graph = Graph(torch.tensor([0]), torch.tensor([1]), 2, x=torch.tensor([[0], [1]]))
        >>> task = AttributeMasking(rate=1.0)
        >>> task.setup(Schema.of(graph), width=4)
        >>> task.view(graph, torch.Generator()).graph.x.flatten().tolist()
        [2, 2]
    """

    def __init__(self, rate: float = 0.15, columns: Sequence[int] | None = (0,)):
        super().__init__()
        self.rate = require_share("rate", rate)
        self.columns = None if columns is None else tuple(columns)
        self.features: Features | None = None
        self.decoder: nn.Linear | None = None

    def setup(self, schema: Schema, width: int) -> None:
        """Make the decoder: a linear map to the categories of ``columns`` or to the features.

        Raises:
            ConfigError: If nodes have no features, ``columns`` are not among them, or the task was
                set up before for other sizes.
        """
        features = Features.of(schema, "attribute masking", self.columns)
        if first_setup(self, features=features.columns, width=width):
            self.features = features
            self.decoder = nn.Linear(width, sum(features.outputs))

    def view(self, graph: Graph, rng: torch.Generator) -> View:
        """The graph with a random share of its nodes masked; its structure is shared.

        Raises:
            ConfigError: If the task was not set up, or the graph has no features.
            ShapeError: If the features are not of the kind it was set up for.
        """
        features = made(self, self.features)
        x = features.read(graph)
        nodes = draw_rows(graph.num_nodes, self.rate, rng).to(graph.device)
        hidden = x.clone()
        hidden[nodes] = features.mask(x)
        return View(graph.replace(x=hidden), {"nodes": nodes, "features": x.index_select(0, nodes)})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each masked node, ``(b,)``."""
        decoder = made(self, self.decoder)
        predicted = decoder(nodes.index_select(0, view.targets["nodes"]))  # (b, outputs)
        return made(self, self.features).errors(predicted, view.targets["features"])
