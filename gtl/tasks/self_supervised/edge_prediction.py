"""Edge prediction: removed edges against other pairs (Hamilton et al. 2017; Hu et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.graph import Schema
from gtl.graph.pairs import draw_unjoined_nodes, remove_pairs
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import built, require_count, require_share

_SHARPNESS = 5.0
_TINY = 1e-6  # keeps the derivatives of zero vectors finite


class EdgePrediction(Task):
    """Classifies pairs of nodes: ends of a removed edge, or never joined.

    One sample is a removed pair of nodes: both directions and parallel edges go, with their
    features; self-loops stay and are never sampled. The loss is half the cross-entropy of the pair
    plus half the mean one of its negatives.

    A negative keeps one end, drawn by a coin, and replaces the other by a random node of the same
    graph, and of the same type, that is neither the kept end nor joined to it. Where sixteen draws
    find none (a complete graph has none) the node comes from the whole batch, and where sixteen
    more find none either the pair has fewer negatives, at worst none.

    Args:
        rate: Share of the pairs of a batch that is removed, in ``(0, 1]``; at least one pair.
        negatives: Negatives of each pair.

    Raises:
        ConfigError: If an option is out of range.
    """

    def __init__(self, rate: float = 0.15, negatives: int = 1):
        super().__init__()
        self.rate = require_share("rate", rate)
        self.negatives = require_count("negatives", negatives)
        self.score: _PairScore | None = None

    def build(self, schema: Schema, width: int) -> None:
        """Make the score of a pair."""
        self.score = _PairScore(width)

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph without a random share of its edges."""
        graph = batch.source
        rest, kept, other = remove_pairs(graph, self.rate, rng)
        strangers = draw_unjoined_nodes(
            graph, kept, self.negatives, rng, like=other
        )  # (b, negatives)
        targets = {"kept": kept, "other": other, "strangers": strangers}
        return View(rest, targets)

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each removed pair, ``(b,)``."""
        score = built(self, self.score)
        strangers = view.targets["strangers"]  # (b, negatives)
        kept = score.project(nodes.index_select(0, view.targets["kept"]))  # (b, h)
        other = score.project(nodes.index_select(0, view.targets["other"]))
        far = score.project(nodes.index_select(0, strangers.clamp(min=0).flatten()))
        far = far.unflatten(0, tuple(strangers.shape))  # (b, negatives, h)
        found = strangers >= 0
        right = F.softplus(-score(kept, other))
        wrong = F.softplus(score(kept.unsqueeze(1), far)).masked_fill(~found, 0)
        return (right + wrong.sum(1) / found.sum(1).clamp(min=1)) / 2


class _PairScore(nn.Module):
    """A signed cosine of projected vectors, with a learned threshold.

    Here gtl departs from the published code, whose score is the plain inner product of the node
    vectors. That grows with the square of their size: vectors of a deep encoder with batch norm
    start with losses of many nats, small ones with scores near zero that learn nothing for long.
    Projected vectors are divided by their root mean square, so the score does not depend on the
    scale of the encoder. It starts as a cosine, which favors similar nodes; weights of
    the columns may become negative, since neighboring atoms often differ.
    """

    def __init__(self, width: int):
        super().__init__()
        self.projection = nn.Linear(width, width, bias=False)
        self.columns = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.tensor(-_SHARPNESS / 2))  # half way between 0 and 1

    def project(self, nodes: Tensor) -> Tensor:
        """Vectors ``(..., h)`` whose entries have mean square 1."""
        z = self.projection(nodes)
        return z * (z.square().mean(-1, keepdim=True) + _TINY).rsqrt()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Logits ``(...)`` of projected pairs ``(..., h)``."""
        return _SHARPNESS * (self.columns * a * b).mean(-1) + self.bias
