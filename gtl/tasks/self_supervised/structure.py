"""Structure: counts and walks around nodes and in graphs, the descriptors of any graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gtl.graph import Graph, ops
from gtl.graph.motifs import degrees
from gtl.graph.structure import clustering, core_numbers, return_probabilities, simple, triangles
from gtl.tasks.checks import require_count
from gtl.tasks.self_supervised.standardized_columns import StandardizedColumns

_COUNTS = 4  # degree, triangles, clustering, core
_OF_GRAPHS = 5  # nodes, edges, largest degree, largest core, transitivity


class Structure(StandardizedColumns):
    """Predicts structural properties of each graph, or of each node, that need no features.

    What a sample is depends on the batch: of several graphs each that is not empty, of one graph
    each node. Of a node these are its degree, the triangles it is in, its clustering coefficient,
    its core number (Seidman 1983) and the probabilities that a random walk from it is back after
    several numbers of steps (Dwivedi et al. 2022); of a graph the means of those, which for the
    returns are spectral moments, and the numbers of nodes and edges, the largest degree and core
    number, and the transitivity. Counts are taken as ``log(1 + count)``.

    They are those of the undirected simple graph and are remembered on the graph. The graph is that
    of the step: with ``fan_out`` the sampled one. Columns are standardized by their quantiles in
    the training data and clipped, and the Huber loss is divided by that of predicting each median,
    as in :class:`gtl.tasks.Descriptors`. The view is the graph itself, which costs no encoder pass
    of its own beside a supervised task.

    Args:
        steps: Lengths of the walks. Beyond graphs of 256 nodes the returns are estimates, see
            :func:`gtl.graph.structure.return_probabilities`.
        max_degree: Limits the search for triangles, see :func:`gtl.graph.structure.triangles`;
            those not counted do not count in the loss.
        clip: Largest absolute standardized value.
        delta: Where the Huber loss turns from squared to absolute.

    Raises:
        ConfigError: If an option is outside its range.
    """

    def __init__(
        self,
        steps: Sequence[int] = (2, 3, 4, 6, 8),
        max_degree: int = 128,
        clip: float = 4.0,
        delta: float = 1.0,
    ):
        super().__init__(_COUNTS + len(steps) + _OF_GRAPHS, clip, delta)
        self.steps = tuple(require_count("steps", step) for step in steps)
        self.max_degree = require_count("max_degree", max_degree)

    def values_of(self, graph: Graph) -> Tensor:
        """Columns of each graph that is not empty, or of each node, ``(b, columns)``."""
        return graph.remember(
            ("structure", self.steps, self.max_degree),
            lambda: self._computed(graph).to(torch.get_default_dtype()),
            ("src", "dst", "num_nodes", "sizes"),
        )

    def sizes_of(self, graph: Graph) -> Tensor:
        """Nodes of each sample, ``(b,)``."""
        sizes = graph.graph_sizes()
        sizes = sizes[sizes > 0]
        return torch.ones_like(graph.graph_ids()) if len(sizes) < 2 else sizes

    def _computed(self, graph: Graph) -> Tensor:
        nodes = self._of_nodes(graph)
        sizes = graph.graph_sizes()
        sizes = sizes[sizes > 0]
        if len(sizes) < 2:
            return torch.cat([nodes, nodes.new_full((len(nodes), _OF_GRAPHS), torch.nan)], 1)
        means = ops.segment_mean(nodes.nan_to_num(), sizes)
        unknown = ops.segment_max(nodes.isnan().double(), sizes) > 0
        return torch.cat([means.masked_fill(unknown, torch.nan), self._of_graphs(graph, sizes)], 1)

    def _of_nodes(self, graph: Graph) -> Tensor:
        counts = [
            degrees(graph).double().log1p(),
            triangles(graph, self.max_degree).log1p(),
            clustering(graph, self.max_degree),
            core_numbers(graph).double().log1p(),
        ]
        return torch.cat([torch.stack(counts, 1), return_probabilities(graph, self.steps)], 1)

    def _of_graphs(self, graph: Graph, sizes: Tensor) -> Tensor:
        count = degrees(graph).double()
        corners = torch.stack([triangles(graph, self.max_degree), count * (count - 1) / 2], 1)
        unknown = ops.segment_max(corners.isnan().double(), sizes)[:, 0] > 0
        closed, pairs = ops.segment_sum(corners.nan_to_num(), sizes).unbind(1)
        largest = ops.segment_max(torch.stack([count, core_numbers(graph).double()], 1), sizes)
        edges = ops.segment_sum(simple(graph).in_degrees().double().unsqueeze(1), sizes) / 2
        counts = torch.cat([sizes.double().unsqueeze(1), edges, largest], 1).log1p()
        transitivity = (closed / pairs.clamp(min=1)).masked_fill(unknown, torch.nan)
        return torch.cat([counts, transitivity.unsqueeze(1)], 1)
