"""Edge generation: a removed edge's other end among many nodes (Hu et al. 2020b, GPT-GNN)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gtl.graph import Schema
from gtl.graph.pairs import draw_unjoined_nodes, remove_pairs
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import built, require_count, require_positive, require_share
from gtl.tasks.unit import unit

_TURNS = 4  # a step fills at most this part of the queue


class EdgeGeneration(Task):
    """Finds the other end of a removed edge among nodes that are not joined to the first.

    One sample is a removed pair of nodes; both directions and parallel edges go. From one end
    ``u``, chosen by a coin, a node ``v`` scores ``cos(W h_u, h_v) / temperature``. The loss is the
    cross-entropy of the true other end among ``negatives`` nodes of its graph and type that are not
    joined to ``u`` and the vectors in a queue: other ends of earlier steps, which make the choice
    hard where graphs are small. Where a graph has too few unjoined nodes they repeat, or come from
    the batch; see :func:`gtl.graph.pairs.draw_unjoined_nodes`.

    Here it departs from the published code: the queue has its full size as soon as it is filled,
    instead of growing with the epoch; relations with few removed edges are not left out; and there
    is no dropout before the comparison, which the encoder has already.

    Args:
        rate: Share of the pairs of a batch that is removed, in ``(0, 1]``; at least one pair.
        negatives: Negatives of each pair from its own graph.
        queue: Vectors of earlier steps that are negatives of every pair; 0 for none.
        temperature: What cosines are divided by, above 0.

    Raises:
        ConfigError: If an option is out of range.
    """

    queue: Tensor
    seen: Tensor

    def __init__(
        self, rate: float = 0.15, negatives: int = 16, queue: int = 256, temperature: float = 0.1
    ):
        super().__init__()
        self.rate = require_share("rate", rate)
        self.negatives = require_count("negatives", negatives)
        self.length = require_count("queue", queue, least=0)
        self.temperature = require_positive("temperature", temperature)
        self.matcher: nn.Linear | None = None

    def build(self, schema: Schema, width: int) -> None:
        """Make the map of the first end, and an empty queue."""
        self.matcher = nn.Linear(width, width)
        self.register_buffer("queue", torch.zeros(self.length, width))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph without a random share of its edges."""
        graph = batch.source
        rest, one, other = remove_pairs(graph, self.rate, rng)
        strangers = draw_unjoined_nodes(
            graph, one, self.negatives, rng, like=other
        )  # (b, negatives)
        return View(rest, {"from": one, "to": other, "strangers": strangers})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each removed pair, ``(b,)``."""
        matcher = built(self, self.matcher)
        to, strangers = view.targets["to"], view.targets["strangers"]
        picks = unit(matcher(nodes.index_select(0, view.targets["from"])))  # (b, h)
        choices = torch.cat([to.unsqueeze(1), strangers], 1)  # (b, 1 + negatives)
        directions = unit(nodes)
        offered = directions.index_select(0, choices.clamp(min=0).flatten())
        near = torch.einsum("bh,bkh->bk", picks, offered.unflatten(0, tuple(choices.shape)))
        old = picks @ self.queue.to(picks.dtype).clone().T  # cloned: it changes below
        absent = torch.arange(self.length, device=old.device) >= self.seen
        near = near.masked_fill(choices < 0, -torch.inf)
        scores = torch.cat([near, old.masked_fill(absent, -torch.inf)], 1)
        if self.training:
            self._remember(directions.detach().index_select(0, to))
        return -(scores / self.temperature).log_softmax(1)[:, 0]

    def _remember(self, vectors: Tensor) -> None:
        """Write over the oldest vectors of the queue, in place."""
        vectors = vectors[: -(-self.length // _TURNS)].to(self.queue.dtype)
        places = torch.arange(len(vectors), device=vectors.device) + self.seen
        self.queue.index_copy_(0, places % max(self.length, 1), vectors)
        self.seen.add_(len(vectors))
