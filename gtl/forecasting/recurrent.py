"""GRU over the vectors of an encoder at successive steps (Cho et al. 2014)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gtl.graph import Graph
from gtl.graph.time_graph import history_rows
from gtl.roles import Encoder


class Recurrent(Encoder):
    """An encoder of snapshots, and a gated recurrent unit along each node's window.

    Args:
        base: Encodes the snapshots.
        history: Steps of a window; a batch has so many snapshots of each, in a row.
    """

    def __init__(self, base: Encoder, history: int):
        super().__init__()
        self.base, self.history = base, history
        self.schema, self.width = base.schema, base.width
        self.gru = nn.GRU(base.width, base.width)

    def forward(self, graph: Graph) -> Tensor:
        """Node vectors ``(n, width)``; a step where a node is absent counts as a vector of zeros.

        Raises:
            ShapeError: If the snapshots are not whole windows.
        """
        rows = history_rows(graph, self.history)  # (w, history, k)
        order = rows.transpose(0, 1).flatten(1)  # (history, w * k)
        there = order >= 0
        vectors = self.base(graph)
        steps = vectors.new_zeros(*order.shape, self.width)
        steps[there] = vectors.index_select(0, order[there])
        states, _ = self.gru(steps)
        place = torch.empty(graph.num_nodes, dtype=torch.int64, device=graph.device)
        place[order[there]] = there.flatten().nonzero().flatten()
        return states.flatten(0, 1).index_select(0, place)
