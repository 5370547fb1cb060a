"""Pair distance: how many hops lie between two nodes (Jin et al. 2020; AutoSSL, 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.graph import Graph, Schema
from gtl.graph.pairs import draw_others
from gtl.graph.sample import draw_centers, neighborhoods, some_of_each
from gtl.roles import Task, View
from gtl.tasks.ready import first_setup, made, require_count


class PairDistance(Task):
    """Classifies pairs of nodes of a graph by the number of hops between them.

    One sample is a pair. With four classes these are 1, 2, 3 and more hops; nodes without a path
    between them belong to the last. Around each center, up to ``pairs`` nodes of every class are
    drawn, so that the last class, to which almost all pairs of a large graph belong, does not drown
    the others. The loss is the cross-entropy of a linear map of ``|h_u - h_v|``. The view is the
    graph itself, which costs no encoder pass of its own beside a supervised task.

    Distances are exact. The search reads all edges within ``classes - 1`` hops of the centers; on
    large graphs with many edges choose fewer centers or classes.

    Args:
        classes: Classes of distance, 2 or more.
        pairs: Pairs of each class around each center at the most.
        centers: Centers drawn when there is one graph. In a batch each graph has one center.

    Raises:
        ConfigError: If an option is out of range.
    """

    def __init__(self, classes: int = 4, pairs: int = 4, centers: int = 64):
        super().__init__()
        self.classes = require_count("classes", classes, least=2)
        self.pairs = require_count("pairs", pairs)
        self.centers = require_count("centers", centers)
        self.classifier: nn.Linear | None = None

    def setup(self, schema: Schema, width: int) -> None:
        """Make the classifier.

        Raises:
            ConfigError: If the task was set up before for another width.
        """
        if first_setup(self, width=width):
            self.classifier = nn.Linear(width, self.classes)

    def view(self, graph: Graph, rng: torch.Generator) -> View:
        """The graph itself, and the pairs with their classes."""
        centers = draw_centers(graph, self.centers, rng)
        owner, node, distance = neighborhoods(graph, centers, self.classes - 1)
        far = draw_others(graph, centers, self.pairs, rng)  # (c, pairs)
        mine = torch.arange(len(centers), device=graph.device).unsqueeze(1).expand_as(far)
        n = max(graph.num_nodes, 1)
        reached = torch.isin(mine * n + far, owner * n + node)
        near = distance > 0
        owner = torch.cat([owner[near], mine[~reached]])
        node = torch.cat([node[near], far[~reached]])
        last = torch.full_like(far[~reached], self.classes)
        distance = torch.cat([distance[near], last])
        rows = some_of_each(owner * (self.classes + 1) + distance, self.pairs, rng)
        targets = {"from": centers[owner[rows]], "to": node[rows], "class": distance[rows] - 1}
        return View(graph, targets)

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each pair, ``(b,)``."""
        classifier = made(self, self.classifier)
        one = nodes.index_select(0, view.targets["from"])
        other = nodes.index_select(0, view.targets["to"])
        scores = classifier((one - other).abs())
        return F.cross_entropy(scores, view.targets["class"], reduction="none")
