"""Motif: rings and functional groups that a graph contains (Rong et al. 2020, GROVER)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.graph import Graph, Schema, ops
from gtl.graph.motifs import degrees, in_rings
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import built, require_count
from gtl.tasks.self_supervised.functional_groups import GROUPS, functional_groups, is_molecular

_RINGS = (3, 4, 5, 6)
_NEIGHBORS = (1, 2, 3, 4)  # exactly so many, the last one: or more


class Motif(Task):
    """Predicts which rings, degrees or functional groups a graph, or a node, has.

    What a sample is depends on the batch: of several graphs each that is not empty, described by
    the mean vector of its nodes, and a motif is there if it is anywhere in the graph; of one graph
    each node, and a motif is there if the node is part of it. The loss is the cross-entropy of each
    motif, averaged.

    The motifs are rings of 3 to 6 nodes without chords; beside them for molecules with OGB's
    features fifteen functional groups (``GROUPS`` of
    :mod:`gtl.tasks.self_supervised.functional_groups`), for other graphs nodes with 1, 2, 3 and
    more neighbors. The paper has 85 groups from RDKit, which need the SMILES; these are read off
    the graph, so molecules from anywhere have them. They are remembered on the graph. The view is
    the graph itself, which costs no encoder pass of its own beside a supervised task.

    Args:
        max_degree: Rings through nodes with more neighbors are not looked for.

    Raises:
        ConfigError: If ``max_degree`` is below 1.
    """

    def __init__(self, max_degree: int = 8):
        super().__init__()
        self.max_degree = require_count("max_degree", max_degree)
        self.molecular = False
        self.classifier: nn.Linear | None = None

    def build(self, schema: Schema, width: int) -> None:
        """Make the classifier."""
        molecular = is_molecular(schema)
        self.molecular = molecular
        motifs = len(_RINGS) + len(GROUPS if molecular else _NEIGHBORS)
        self.classifier = nn.Linear(width, motifs)

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph itself, and which motifs are there."""
        graph = batch.source
        found = graph.remember(
            ("motifs", self.molecular, self.max_degree),
            lambda: self._of_nodes(graph),
            ("src", "dst", "num_nodes", "x", "e"),
        )
        sizes = graph.graph_sizes()
        sizes = sizes[sizes > 0]
        if len(sizes) < 2:
            return View(graph, {"motifs": found})
        return View(graph, {"motifs": ops.segment_max(found, sizes), "sizes": sizes})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each graph that is not empty, or of each node, ``(b,)``."""
        sizes = view.targets.get("sizes")
        vectors = nodes if sizes is None else ops.segment_mean(nodes, sizes)
        scores = built(self, self.classifier)(vectors)  # (b, motifs)
        truth = view.targets["motifs"].to(scores.dtype)
        return F.binary_cross_entropy_with_logits(scores, truth, reduction="none").mean(1)

    def _of_nodes(self, graph: Graph) -> Tensor:
        """Whether each node is part of each motif, as zeros and ones ``(n, motifs)``."""
        rings = in_rings(graph, _RINGS, self.max_degree)
        if self.molecular:
            return torch.cat([rings, functional_groups(graph)], 1).float()
        counts = degrees(graph).clamp(max=_NEIGHBORS[-1]).unsqueeze(1)
        return torch.cat(
            [rings, counts == torch.tensor(_NEIGHBORS, device=graph.device)], 1
        ).float()
