"""Attribute masking: prediction of hidden node features (Hu et al. 2020, 3.1.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gtl.graph import Schema
from gtl.graph.sample import draw_rows
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import built, require_share
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
        >>> import gtl
        >>> ends = torch.tensor([0]), torch.tensor([1])
        >>> graph = gtl.Graph(*ends, 2, x=torch.tensor([[0], [1]]))
        >>> task = AttributeMasking(rate=1.0)
        >>> task.setup(Schema.of(graph), width=4)
        >>> task.view(Batch(graph), torch.Generator()).graph.x.flatten().tolist()
        [2, 2]
    """

    def __init__(self, rate: float = 0.15, columns: Sequence[int] | None = (0,)):
        super().__init__()
        self.rate = require_share("rate", rate)
        self.columns = None if columns is None else tuple(columns)
        self.features: Features | None = None
        self.decoder: nn.Linear | None = None

    def build(self, schema: Schema, width: int) -> None:
        """Make the decoder: a linear map to the categories of ``columns`` or to the features.

        Raises:
            ConfigError: If nodes have no features, or ``columns`` are not among them.
        """
        features = Features.of(schema, "attribute masking", self.columns)
        self.features = features
        self.decoder = nn.Linear(width, sum(features.outputs))

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
        hidden = x.clone()
        hidden[nodes] = features.mask(x)
        return View(graph.replace(x=hidden), {"nodes": nodes, "features": x.index_select(0, nodes)})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each masked node, ``(b,)``."""
        decoder = built(self, self.decoder)
        predicted = decoder(nodes.index_select(0, view.targets["nodes"]))  # (b, outputs)
        return built(self, self.features).errors(predicted, view.targets["features"])
