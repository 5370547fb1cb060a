"""Bootstrap: a node's target vector in the other augmented copy (Thakoor et al. 2022, BGRL)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema
from gtl.graph.augment import perturbed
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import built, require_count, require_share
from gtl.tasks.slow_average import SlowAverage
from gtl.tasks.unit import unit


class Bootstrap(Task):
    """Predicts a node's vector in one augmented copy from its vector in the other.

    One sample is a node. Edges of each copy are dropped and features masked; both copies are one
    disjoint graph. The encoder that is trained (the online network) and a predictor map a node of
    one copy to the vector that a second encoder, the target network, gives the same node in the
    other copy. The loss is 2 minus the cosine of either direction, in ``[0, 4]``.

    The target network is a slow average of the encoder. After a step at progress ``p`` its weights
    are ``d`` times themselves plus ``1 - d`` times those of the encoder, where ``d`` goes from
    ``decay`` to 1: ``d = 1 - (1 - decay) (1 + cos(pi p)) / 2``. No gradient goes through it; its
    vectors are computed in :meth:`view` and are constants of the loss.

    Look-aheads that compare losses at other parameters are exact all the same: the target network
    has weights of its own, so no trained parameter, and no replay, moves it. What a replay cannot
    see is the average of later steps, which has no derivative here.

    Here it departs from the published code in three things. The target network starts with the
    encoder's weights, not with other random ones. Both networks read both copies in one batch, so a
    batch norm sees them together. And the target network has no dropout.

    Only the weights that are trained are averaged; an encoder's frozen weights are shared.

    Nothing but the norm of the encoder and the predictor keeps all vectors from becoming one. With
    ``norm=None`` on features that are never negative they may: measured on word counts of Cora, a
    linear probe of such an encoder was no better than chance. Compare :func:`gtl.probe`.

    Args:
        edge_rates: Share of the edges that each of the two copies lacks, in ``[0, 1)``.
        feature_rates: Share of the features that each of them lacks, in ``[0, 1)``.
        hidden: Hidden columns of the predictor.
        decay: What the average keeps of itself in the first step, in ``(0, 1)``.

    Raises:
        ConfigError: If an option is out of range.
    """

    def __init__(
        self,
        edge_rates: Sequence[float] = (0.2, 0.3),
        feature_rates: Sequence[float] = (0.2, 0.1),
        hidden: int = 512,
        decay: float = 0.99,
    ):
        super().__init__()
        self.edge_rates = _two_rates("edge_rates", edge_rates)
        self.feature_rates = _two_rates("feature_rates", feature_rates)
        self.hidden = require_count("hidden", hidden)
        self.decay = require_share("decay", decay, whole=False)
        self.columns: Columns | None = None
        self.predictor: nn.Sequential | None = None
        self.average = SlowAverage()
        # In a tuple, so that the encoder is no part of this module.
        self._online: tuple[nn.Module, ...] = ()

    def build(self, schema: Schema, width: int) -> None:
        """Make the predictor, two linear maps."""
        self.columns = schema.node
        self.predictor = nn.Sequential(
            nn.Linear(width, self.hidden), nn.PReLU(), nn.Linear(self.hidden, width)
        )

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """Both copies as one disjoint graph, and the target network's vectors ``(2 n, width)``.

        Raises:
            ConfigError: If the task has no target network yet.
        """
        built(self, self.predictor)
        if not self._online:
            raise ConfigError(
                "the task `bootstrap` has no target network yet; call `task.after_step(model, 0.0)`"
                " before the first step"
            )
        copies = []
        for edges, features in zip(self.edge_rates, self.feature_rates):
            copies.append(perturbed(batch.source.unlabeled(), edges, features, rng, self.columns))
        pair = Graph.batch(copies)
        return View(pair, {"target": self.average.of(self._online[0], pair)})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each node, ``(n,)``."""
        one, two = unit(built(self, self.predictor)(nodes)).chunk(2)
        first, second = unit(view.targets["target"].to(nodes.dtype)).chunk(2)
        return 2 - (one * second).sum(1) - (two * first).sum(1)

    def after_step(self, model: nn.Module, progress: float) -> None:
        """Move the target network towards the encoder; with progress 0 make them equal."""
        encoder = model.encoder
        assert isinstance(encoder, nn.Module)
        self._online = (encoder,)
        decay = 1 - (1 - self.decay) * (1 + math.cos(math.pi * progress)) / 2
        self.average.follow(encoder, decay if progress else 0.0)


def _two_rates(name: str, rates: Sequence[float]) -> tuple[float, float]:
    if len(rates) != 2 or not all(0 <= rate < 1 for rate in rates):
        raise ConfigError(
            f"`{name}` is {list(rates)}, expected two shares from 0 up to, not including, 1"
        )
    return rates[0], rates[1]
