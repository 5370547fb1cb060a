"""Attribute generation: features of a node that is new to its graph (Hu et al. 2020b, GPT-GNN)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gtl.graph import Graph, Schema, ops
from gtl.graph.node_groups import node_groups
from gtl.graph.sample import draw_rows
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import built, require_positive, require_share
from gtl.tasks.self_supervised.features import Features


class AttributeGeneration(Task):
    """Puts a twin without features in the place of some nodes and generates what it lacks.

    One sample is a replaced node. Its twin receives along the node's edges and sends nothing, so
    the rest of the graph is encoded as if the node had not come yet, and the twin as if it came
    last: what is learned is the features of a node given the graph that it joins. For floating
    features the loss is ``(1 - cos) / temperature``, in ``[0, 2 / temperature]``; for categorical
    ones the cross-entropy averaged over ``columns``.

    Here it departs from the published code. That adds the twin beside the node, and then the node's
    own features come back to the twin through their common neighbors, from the second layer on; so
    here the twin replaces it. Its loss is ``-cos / temperature``, which is negative when the
    prediction is good; one is added to the cosine's place, so that sizes of losses compare. And
    categorical features, which it does not have, get a loss that suits them.

    Args:
        rate: Share of the nodes of a batch that is replaced, in ``(0, 1]``; at least one node.
        columns: Categorical columns to generate, ``None`` for all.
        temperature: What the cosine error of floating features is divided by, above 0.

    Raises:
        ConfigError: If an option is out of range.
    """

    def __init__(
        self, rate: float = 0.15, columns: Sequence[int] | None = None, temperature: float = 0.1
    ):
        super().__init__()
        self.rate = require_share("rate", rate)
        self.columns = None if columns is None else tuple(columns)
        self.temperature = require_positive("temperature", temperature)
        self.features: Features | None = None
        self.decoder: nn.Linear | None = None

    def build(self, schema: Schema, width: int) -> None:
        """Make the decoder: a linear map to the categories of ``columns`` or to the features.

        Raises:
            ConfigError: If nodes have no features, or ``columns`` are not among them.
        """
        features = Features.of(schema, "attribute generation", self.columns)
        self.features = features
        self.decoder = nn.Linear(width, sum(features.outputs))

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph with twins in the place of a random share of its nodes.

        A twin has the mean features of the batch, or of its type there, or the codes for *masked*
        where they are categorical.

        Raises:
            ConfigError: If the task was not set up, or the graph has no features.
            ShapeError: If the features are not of the kind it was set up for.
        """
        graph = batch.source
        features = built(self, self.features)
        x = features.read(graph)
        nodes = draw_rows(graph.num_nodes, self.rate, rng).to(graph.device)
        blank = x.clone()
        blank[nodes] = _means(graph, x, nodes) if x.is_floating_point() else features.mask(x)
        silent = torch.zeros(graph.num_nodes, dtype=torch.bool, device=graph.device)
        silent[nodes] = True
        view = graph.drop_edges(silent[graph.src]).replace(x=blank)
        return View(view, {"nodes": nodes, "features": x.index_select(0, nodes)})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each replaced node, ``(b,)``."""
        decoder, truth = built(self, self.decoder), view.targets["features"]
        predicted = decoder(nodes.index_select(0, view.targets["nodes"]))  # (b, outputs)
        errors = built(self, self.features).errors(predicted, truth)
        return errors / self.temperature if truth.is_floating_point() else errors


def _means(graph: Graph, x: Tensor, nodes: Tensor) -> Tensor:
    """Mean features of the batch ``(d,)``; with types, of the type of each of ``nodes``."""
    if graph.node_type is None:
        return x.mean(0)
    same = node_groups(graph, "batch")
    return ops.segment_mean(x[same.members], same.sizes)[same.group[nodes]]
