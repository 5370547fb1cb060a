"""Contrast: the other augmented copy of an item (You et al. 2020; Zhu et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema, ops
from gtl.graph.augment import AUGMENTATIONS, augment
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import built, require_count, require_positive, require_share
from gtl.tasks.unit import unit

_SAME_NODES = ("drop_edges", "mask_features")


class Contrast(Task):
    """Finds the other augmented copy of a graph, or of a node, among those of many.

    Both copies are one disjoint graph. Projected vectors are compared by their cosine divided by
    ``temperature``; the loss of an item is the cross-entropy of finding its other copy among all
    other items of both copies, averaged over its two copies (NT-Xent). What an item is depends on
    the batch:

    - several graphs: a graph that is not empty, by the mean vector of its nodes. Each copy of the
      batch gets one of ``augmentations``, drawn at random (GraphCL);
    - one graph: a node, at most ``nodes`` of them, drawn at random. Both copies keep all nodes:
      edges are dropped, then features masked, as far as these two are named (GRACE).

    Args:
        rate: Share that an augmentation takes away, in ``(0, 1)``.
        temperature: What cosines are divided by, above 0.
        augmentations: Of ``drop_nodes``, ``drop_edges``, ``mask_features`` and ``subgraph``.
        nodes: Most items compared when there is one graph.

    Raises:
        ConfigError: If an option is out of range.
    """

    def __init__(
        self,
        rate: float = 0.2,
        temperature: float = 0.2,
        augmentations: Sequence[str] = AUGMENTATIONS,
        nodes: int = 512,
    ):
        super().__init__()
        self.rate = require_share("rate", rate, whole=False)
        self.temperature = require_positive("temperature", temperature)
        unknown = [name for name in augmentations if name not in AUGMENTATIONS]
        if unknown or not augmentations:
            raise ConfigError(
                f"`augmentations` is {list(augmentations)}, expected some of {AUGMENTATIONS}"
            )
        self.augmentations = tuple(augmentations)
        self.nodes = require_count("nodes", nodes)
        self.columns: Columns | None = None
        self.projection: nn.Sequential | None = None

    def build(self, schema: Schema, width: int) -> None:
        """Make the projection, two linear maps."""
        self.columns = schema.node
        self.projection = nn.Sequential(nn.Linear(width, width), nn.ELU(), nn.Linear(width, width))

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """Both copies as one disjoint graph.

        Raises:
            ConfigError: If there is one graph and no augmentation keeps its nodes.
        """
        graph = batch.source
        built(self, self.projection)
        sizes = graph.graph_sizes()
        if int((sizes > 0).sum()) > 1:
            pair = Graph.batch([self._copy_of_batch(graph, rng) for _ in range(2)])
            items = (sizes > 0).nonzero().flatten()
            return View(pair, {"sizes": pair.sizes, "items": _both(items, len(sizes))})
        pair = Graph.batch([self._copy_of_graph(graph, rng) for _ in range(2)])
        items = torch.randperm(graph.num_nodes, generator=rng)[: self.nodes].to(graph.device)
        return View(pair, {"items": _both(items, graph.num_nodes)})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each graph that is not empty, or of each drawn node, ``(b,)``."""
        projection = built(self, self.projection)
        sizes = view.targets.get("sizes")
        vectors = nodes if sizes is None else ops.segment_mean(nodes, sizes)
        z = unit(projection(vectors.index_select(0, view.targets["items"])))  # (2 b, h)
        itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
        scores = (z @ z.T / self.temperature).masked_fill(itself, -torch.inf)
        other = torch.arange(len(z), device=z.device).roll(len(z) // 2)
        return F.cross_entropy(scores, other, reduction="none").view(2, -1).mean(0)

    def _copy_of_batch(self, graph: Graph, rng: torch.Generator) -> Graph:
        drawn = int(torch.randint(len(self.augmentations), (), generator=rng))
        name = self.augmentations[drawn]
        return augment(name, _bare(graph), self.rate, rng, self.columns)

    def _copy_of_graph(self, graph: Graph, rng: torch.Generator) -> Graph:
        names = [name for name in _SAME_NODES if name in self.augmentations]
        if not names:
            raise ConfigError(
                f"contrast of the nodes of one graph needs one of {_SAME_NODES} among "
                f"`augmentations`, which is {self.augmentations}"
            )
        copy = _bare(graph)
        for name in names:
            copy = augment(name, copy, self.rate, rng, self.columns)
        return copy


def _bare(graph: Graph) -> Graph:
    return graph.unlabeled()


def _both(items: Tensor, shift: int) -> Tensor:
    return torch.cat([items, items + shift])
