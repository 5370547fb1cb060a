"""Pair distance: the number of hops between two nodes (Jin et al. 2020; AutoSSL, 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.graph import Graph, Schema, ops
from gtl.graph.sample import draw_centers, some_of_each
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import built, require_count


class PairDistance(Task):
    """Classifies pairs of nodes of a graph by the number of hops between them.

    One sample is a pair. With four classes these are 1, 2, 3 and more hops; nodes without a path
    between them belong to the last. Around each center, up to ``pairs`` nodes of every class are
    drawn, so that the last class, to which almost all pairs of a large graph belong, does not drown
    the others. The loss is the cross-entropy of a linear map of ``|h_u - h_v|``. The view is the
    graph itself, which costs no encoder pass of its own beside a supervised task.

    Distances are exact: ``classes - 1`` rounds of message passing with a column for each center.
    They run along the edges, from the center.

    Args:
        classes: Classes of distance, 2 or more.
        pairs: Pairs of each class around each center at the most.
        centers: Centers drawn when there is one graph. In a batch each graph has one center.

    Raises:
        ConfigError: If an option is out of range.
    """

    def __init__(self, classes: int = 4, pairs: int = 4, centers: int = 16):
        super().__init__()
        self.classes = require_count("classes", classes, least=2)
        self.pairs = require_count("pairs", pairs)
        self.centers = require_count("centers", centers)
        self.classifier: nn.Linear | None = None

    def build(self, schema: Schema, width: int) -> None:
        """Make the classifier."""
        self.classifier = nn.Linear(width, self.classes)

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph itself, and the pairs with their classes."""
        graph = batch.source
        centers = draw_centers(graph, self.centers, rng)
        column = torch.zeros_like(centers)  # each graph of a batch has its own search anyway
        if graph.num_graphs == 1:
            column = torch.arange(len(centers), device=graph.device)
        hops = _hops(graph, centers, column, self.classes)  # (n, columns)
        columns = hops.shape[1]
        search = graph.graph_ids().unsqueeze(1) * columns
        search = search + torch.arange(columns, device=graph.device)  # (n, columns)
        start = torch.zeros(graph.num_graphs * columns, dtype=torch.int64, device=graph.device)
        start[search[centers, column]] = centers
        search, hops = search.flatten(), hops.flatten()
        rows = (hops > 0).nonzero().flatten()
        groups = (search * (self.classes + 1) + hops)[rows]
        rows = rows[some_of_each(groups, self.pairs, rng)]
        ends = {"from": start[search[rows]], "to": rows // columns}
        return View(graph, {**ends, "class": hops[rows] - 1})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each pair, ``(b,)``."""
        classifier = built(self, self.classifier)
        one = nodes.index_select(0, view.targets["from"])
        other = nodes.index_select(0, view.targets["to"])
        scores = classifier((one - other).abs())
        return F.cross_entropy(scores, view.targets["class"], reduction="none")


def _hops(graph: Graph, centers: Tensor, column: Tensor, most: int) -> Tensor:
    """Hops from the center in each column to each node, ``most`` if not fewer, ``(n, columns)``."""
    columns = int(column.max()) + 1 if len(column) else 1
    seen = torch.zeros(graph.num_nodes, columns, device=graph.device)
    seen[centers, column] = 1
    distance = most - seen.long() * most
    for hop in range(1, most):
        seen = (seen + ops.sum_neighbors(graph, seen)).clamp(max=1)
        distance = torch.where(seen > 0, distance.clamp(max=hop), distance)
    return distance
