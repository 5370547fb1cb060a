"""Attribute generation: features of a node new to its graph (Hu et al. 2020b, GPT-GNN)."""

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
    """Hides the features of some nodes, and their messages, and generates these features.

    One sample is a hidden node. It receives messages along its edges and sends none, so the rest of
    the graph is encoded as if the node were not there yet, and the node as if it were added last:
    the features of a node are learned given the graph that it joins. For floating
    features the loss is ``(1 - cos) / temperature``, in ``[0, 2 / temperature]``; for categorical
    ones the cross-entropy averaged over ``columns``.

    Here it departs from the published code. That adds the node without features as a second node
    beside the original, whose features then reach it through their common neighbors, from the
    second layer on; so here it replaces the original. The published loss, ``-cos / temperature``,
    is negative when the prediction is good; one is added to it here, so that sizes of losses
    compare. And categorical features, which the code does not have, get a loss that suits them.

    Args:
        rate: Share of the nodes of a batch that is hidden, in ``(0, 1]``; at least one node.
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
        """The graph with a random share of its nodes hidden.

        A hidden node has the mean features of the others in the batch, or of those of its type
        there, zeros if all are hidden; categorical ones have the codes for *masked*.

        Raises:
            ConfigError: If the task was not set up, or the graph has no features.
            ShapeError: If the features are not of the kind it was set up for.
        """
        graph = batch.source
        features = built(self, self.features)
        x = features.read(graph)
        nodes = draw_rows(graph.num_nodes, self.rate, rng).to(graph.device)
        silent = torch.zeros(graph.num_nodes, dtype=torch.bool, device=graph.device)
        silent[nodes] = True
        blank = x.clone()
        blank[nodes] = (
            _means(graph, x, ~silent)[nodes] if x.is_floating_point() else features.mask(x)
        )
        view = graph.drop_edges(silent[graph.src]).replace(x=blank)
        return View(view, {"nodes": nodes, "features": x.index_select(0, nodes)})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each hidden node, ``(b,)``."""
        decoder, truth = built(self, self.decoder), view.targets["features"]
        predicted = decoder(nodes.index_select(0, view.targets["nodes"]))  # (b, outputs)
        errors = built(self, self.features).errors(predicted, truth)
        return errors / self.temperature if truth.is_floating_point() else errors


def _means(graph: Graph, x: Tensor, seen: Tensor) -> Tensor:
    """Mean features ``(n, d)`` of the nodes that are seen; with types, of each node's type."""
    same = node_groups(graph, "batch")
    wide = x.to(torch.promote_types(x.dtype, torch.float32))  # sums of halves overflow
    count = ops.segment_sum(seen[same.members].to(wide).unsqueeze(1), same.sizes)
    total = ops.segment_sum(wide.where(seen.unsqueeze(1), 0)[same.members], same.sizes)
    return (total / count.clamp(min=1))[same.group].to(x.dtype)
