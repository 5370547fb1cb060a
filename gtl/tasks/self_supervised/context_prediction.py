"""Context prediction: a neighborhood and the ring around it (Hu et al. 2020, 3.1.1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.errors import ConfigError
from gtl.graph import Schema, ops
from gtl.graph.sample import draw_centers, induced, neighborhoods
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import built, require_count


class ContextPrediction(Task):
    """Matches the vector of a center with the ring of nodes around its neighborhood.

    One sample is a center with a ring. Its *substructure* is all nodes within ``hops``; its
    *context* all nodes at a distance above ``inner`` and up to ``outer``; the nodes in both are
    *anchors*. The center's vector in the substructure shall go with the mean vector of the anchors
    in its own context, and not with that of other centers' contexts. The loss is half the
    cross-entropy of the right pair plus half the mean one of the wrong pairs.

    Substructures and contexts are cut out and become one disjoint graph. Here it departs from the
    paper, where a second network encodes the contexts: one encoder reads both, and a linear map of
    the context's vectors replaces the second network. That is one encoder pass without a second set
    of weights, and both kinds of pieces train the encoder.

    Centers without a context are left out. With the published sizes, which go with an encoder of
    five layers, a center needs a node five hops away: small molecules have few. For a shallower
    encoder, or a large graph in which five hops reach everything, take ``hops`` equal to the number
    of layers, ``inner = hops - 1`` and ``outer = hops + 2``.

    Args:
        hops: Radius of the substructure.
        inner: Distance that the context begins behind, below ``hops``.
        outer: Distance up to which the context reaches.
        negatives: Wrong contexts for each center; less if there are not as many other centers.
        centers: Centers drawn when there is one graph. In a batch each graph has one center.
        max_nodes: At most so many nodes at each distance from a center, drawn at random, and as
            many edges followed from each node. It bounds the view on large graphs; molecules do not
            come near it. ``None`` means no bound.

    Raises:
        ConfigError: If the sizes contradict each other.
    """

    def __init__(
        self,
        hops: int = 5,
        inner: int = 4,
        outer: int = 7,
        negatives: int = 1,
        centers: int = 64,
        max_nodes: int | None = 32,
    ):
        super().__init__()
        if not 0 <= inner < min(hops, outer):
            raise ConfigError(
                f"`inner` is {inner}, `hops` {hops} and `outer` {outer}; the context must overlap "
                "the substructure: choose 0 <= inner < hops and inner < outer"
            )
        self.hops, self.inner, self.outer = hops, inner, outer
        self.negatives = require_count("negatives", negatives)
        self.centers = require_count("centers", centers)
        self.max_nodes = max_nodes if max_nodes is None else require_count("max_nodes", max_nodes)
        self.context: nn.Linear | None = None

    def build(self, schema: Schema, width: int) -> None:
        """Make the linear map of the context's vectors."""
        self.context = nn.Linear(width, width)

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """All substructures, then all contexts, as one disjoint graph.

        With fewer than two centers that have a context there is nothing to compare: the view is
        the graph itself, without samples.
        """
        graph = batch.source
        centers = draw_centers(graph, self.centers, rng)
        owner, node, distance = neighborhoods(
            graph,
            centers,
            max(self.hops, self.outer),
            fan_out=self.max_nodes,
            max_nodes=self.max_nodes,
            rng=rng,
        )
        ring = (distance > self.inner) & (distance <= self.outer)
        usable = torch.zeros(len(centers), dtype=torch.bool, device=graph.device)
        usable[owner[ring]] = True
        b = int(usable.sum())
        if b < 2:
            none = torch.empty(0, dtype=torch.int64, device=graph.device)
            return View(graph, {"centers": none, "anchors": none, "sizes": none})
        number = usable.cumsum(0) - 1
        inside = (distance <= self.hops) & usable[owner]
        owners = torch.cat([number[owner[inside]], number[owner[ring]] + b])
        pieces = induced(graph, owners, torch.cat([node[inside], node[ring]]), 2 * b)
        overlap = distance[ring] <= self.hops
        targets = {
            "centers": (distance[inside] == 0).nonzero().flatten(),  # (b,)
            "anchors": int(inside.sum()) + overlap.nonzero().flatten(),
            "sizes": torch.bincount(number[owner[ring]][overlap], minlength=b),  # (b,)
        }
        return View(pieces, targets)

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each center that has a context, ``(b,)``."""
        context = built(self, self.context)
        targets = view.targets
        own = nodes.index_select(0, targets["centers"])  # (b, h)
        anchors = nodes.index_select(0, targets["anchors"])
        around = context(ops.segment_mean(anchors, targets["sizes"]))  # (b, h)
        if not len(own):
            return own.sum(1)
        # Divided by the root of the width, scores start near 0 whatever the width is.
        own = own / math.sqrt(own.shape[1])
        right = F.softplus(-(own * around).sum(1))
        wrong = [
            F.softplus((own * around.roll(shift, 0)).sum(1))
            for shift in range(1, 1 + min(self.negatives, len(own) - 1))
        ]
        return (right + torch.stack(wrong).mean(0)) / 2
