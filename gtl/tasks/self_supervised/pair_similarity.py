"""Pair similarity: the similarity of two nodes' features (Jin et al. 2020; AutoSSL, 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.graph import Schema
from gtl.graph.node_groups import node_groups
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import built, require_count
from gtl.tasks.self_supervised.features import Features


class PairSimilarity(Task):
    """Predicts the similarity of the features of two nodes of a graph from their vectors.

    One sample is a pair. For each of at most ``nodes`` drawn nodes, ``candidates`` others of its
    graph and type are compared with it, and the most and the least similar of them become two
    pairs: most random pairs are about equally similar, so that only the mean would be learned. The
    similarity of floating features is their cosine, that of categorical ones the share of the
    columns that agree. The loss is the squared error of a linear map of ``|h_u - h_v|``. The view
    is the graph itself, which costs no encoder pass of its own beside a supervised task.

    Here it departs from the paper, which searches all pairs of the graph for the extremes.

    Args:
        nodes: Nodes drawn from the whole batch at the most.
        candidates: Nodes that each of them is compared with, 2 or more.

    Raises:
        ConfigError: If an option is out of range.
    """

    def __init__(self, nodes: int = 512, candidates: int = 8):
        super().__init__()
        self.nodes = require_count("nodes", nodes)
        self.candidates = require_count("candidates", candidates, least=2)
        self.features: Features | None = None
        self.predictor: nn.Linear | None = None

    def build(self, schema: Schema, width: int) -> None:
        """Make the predictor.

        Raises:
            ConfigError: If nodes have no features.
        """
        features = Features.of(schema, "pair similarity", None)
        self.features = features
        self.predictor = nn.Linear(width, 1)

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph itself, and the pairs with their similarities.

        Raises:
            ConfigError: If the task was not set up, or the graph has no features.
            ShapeError: If the features are not of the kind it was set up for.
        """
        graph = batch.source
        x = built(self, self.features).read(graph)
        same = node_groups(graph)
        drawn = torch.randperm(graph.num_nodes, generator=rng)[: self.nodes].to(graph.device)
        drawn = drawn[same.sizes[same.group[drawn]] > 1]
        others = same.draw_others(drawn, self.candidates, rng)  # (k, candidates)
        similarity = _similarity(x[drawn].unsqueeze(1), x[others])
        places = torch.stack([similarity.argmax(1), similarity.argmin(1)], 1)  # (k, 2)
        targets = {
            "from": drawn.repeat_interleave(2),
            "to": others.gather(1, places).flatten(),
            "similarity": similarity.gather(1, places).flatten(),
        }
        return View(graph, targets)

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each pair, ``(b,)``."""
        predictor = built(self, self.predictor)
        one = nodes.index_select(0, view.targets["from"])
        other = nodes.index_select(0, view.targets["to"])
        predicted = predictor((one - other).abs()).squeeze(1)
        return (predicted - view.targets["similarity"].to(predicted.dtype)).square()


def _similarity(one: Tensor, other: Tensor) -> Tensor:
    """Of features ``(k, 1, d)`` and ``(k, candidates, d)``: ``(k, candidates)``."""
    if one.is_floating_point():
        return F.cosine_similarity(one, other, dim=2)
    return (one == other).float().mean(2)
