"""Infomax: a node and the summary of its graph (Velickovic et al. 2019; Sun et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.errors import ConfigError
from gtl.graph import Graph, Schema, ops
from gtl.graph.node_groups import node_groups
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import built


class Infomax(Task):
    """Classifies pairs of a node and a summary: of the node's own graph, or of another.

    One sample is a node. The summary of a graph is the sigmoid of its mean node vector; a bilinear
    form scores a node with a summary; the loss is the mean of two cross-entropies, of the right
    pair and of a wrong one. The wrong pair depends on the batch:

    - several graphs: the node goes with the summary of its own graph and not with that of the
      next one (the last one's next is the first; empty graphs do not count). The view is the graph
      itself, which costs no encoder pass of its own beside a supervised task;
    - one graph: its nodes go with its summary, and nodes of a copy whose feature rows were
      shuffled, within each type if there are several, do not (deep graph infomax). The view is
      the graph and its copy, and without features there is nothing to shuffle.
    """

    def __init__(self) -> None:
        super().__init__()
        self.discriminator: nn.Linear | None = None

    def build(self, schema: Schema, width: int) -> None:
        """Make the bilinear form."""
        self.discriminator = nn.Linear(width, width, bias=False)

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph itself, or for a single graph the disjoint union with its shuffled copy.

        Raises:
            ConfigError: If there is one graph and it has no features.
        """
        graph = batch.source
        sizes = graph.graph_sizes()
        if int((sizes > 0).sum()) > 1 or not graph.num_nodes:
            return View(graph, {"sizes": sizes[sizes > 0], "shuffled": False})
        if graph.x is None:
            raise ConfigError(
                "infomax on a single graph shuffles node features and there are none; add some, "
                "give batches of several graphs, or leave this task out"
            )
        order = node_groups(graph, "batch").shuffle(rng)
        pair = _twice(graph).replace(x=torch.cat([graph.x, graph.x[order]]))
        return View(pair, {"sizes": pair.sizes, "shuffled": True})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each node of the original graphs, ``(b,)``."""
        discriminator = built(self, self.discriminator)
        sizes = view.targets["sizes"]
        summaries = discriminator(torch.sigmoid(ops.segment_mean(nodes, sizes)))  # (g, h)
        if view.targets["shuffled"]:
            right, wrong = (nodes @ summaries[0]).chunk(2)
        else:
            right = _scores(nodes, summaries, sizes)
            wrong = _scores(nodes, summaries.roll(-1, 0), sizes)
        return (F.softplus(-right) + F.softplus(wrong)) / 2


def _scores(nodes: Tensor, summaries: Tensor, sizes: Tensor) -> Tensor:
    return (nodes * ops.spread(summaries, sizes, len(nodes))).sum(1)


def _twice(graph: Graph) -> Graph:
    """The graph and a copy, disjoint, without features of nodes; the structure is made once."""

    def make() -> Graph:
        bare = Graph(graph.src, graph.dst, graph.num_nodes)
        return Graph.batch([bare, bare])

    def both(values: Tensor | None) -> Tensor | None:
        return None if values is None else torch.cat([values, values])

    names = ("e", "node_type", "edge_type", "time", "origin", "undrawn")
    return graph.remember("twice", make).replace(
        **{name: both(getattr(graph, name)) for name in names}
    )
