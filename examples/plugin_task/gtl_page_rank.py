"""PageRank as an auxiliary task: where in its graph a node stands (Page et al. 1999).

A few layers of message passing see a neighborhood; this asks how central that neighborhood is in
the whole graph.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.graph import Graph, Schema, ops
from gtl.roles import Batch, Task, View


class PageRank(Task):
    """Predicts how central each node is in its graph.

    A linear map of the node's vector guesses the logarithm of its rank, and the loss is the squared
    error. The view is the graph itself, which costs no encoder pass of its own beside a supervised
    task.

    Args:
        damping: Probability of following an edge, from 0 up to, not including, 1.
        rounds: Rounds of power iteration; each divides the error by at least ``1 / damping``.

    Raises:
        ConfigError: If an option is out of range.
    """

    def __init__(self, damping: float = 0.85, rounds: int = 20):
        super().__init__()
        if not 0 <= damping < 1:
            raise ConfigError(f"`damping` is {damping}, expected at least 0 and less than 1")
        if rounds < 1:
            raise ConfigError(f"`rounds` is {rounds}, expected 1 or more")
        self.damping, self.rounds = damping, rounds
        self.map: nn.Linear | None = None

    def build(self, schema: Schema, width: int) -> None:
        """Make the linear map."""
        self.map = nn.Linear(width, 1)

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph itself and the logarithm of each rank."""
        graph = batch.source
        ranks = graph.remember(
            ("page_rank", self.damping, self.rounds),
            lambda: page_rank(graph, self.damping, self.rounds),
            ("src", "dst", "num_nodes", "sizes"),
        )
        return View(graph, {"log_rank": ranks.log()})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Squared error of each node, ``(n,)``."""
        if self.map is None:
            raise ConfigError("PageRank was not set up; call `task.setup(schema, width)` first")
        guess = self.map(nodes).squeeze(1)  # (n,)
        return (guess - view.targets["log_rank"].to(guess.dtype)).square()


def page_rank(graph: Graph, damping: float = 0.85, rounds: int = 20) -> Tensor:
    """PageRank of each node times the number of nodes of its graph, ``(n,)``.

    On average over a graph it is 1, so it does not depend on the size of the graph. A node without
    an edge that leaves it sends to all nodes of its graph alike.

    Example:
        >>> star = Graph(torch.tensor([1, 2, 3]), torch.tensor([0, 0, 0]), 4)
        >>> [round(rank, 3) for rank in page_rank(star, damping=0.5).tolist()]
        [1.818, 0.727, 0.727, 0.727]
    """
    leaving = graph.reverse().in_degrees()
    sizes, owners = graph.graph_sizes(), graph.graph_ids()
    ranks = torch.ones(graph.num_nodes, device=graph.device)
    for _ in range(rounds):
        stranded = ops.segment_mean(ranks * (leaving == 0), sizes)[owners]
        sent = ops.sum_neighbors(graph, ranks / leaving.clamp(min=1))
        ranks = 1 - damping + damping * (sent + stranded)
    return ranks
