"""Bootstrap: a node's target vector in the other augmented copy (Thakoor et al. 2022, BGRL)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema
from gtl.graph.augment import augment
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import built, require_count, require_share
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
        self.average = _Average()
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
            copy = augment("drop_edges", batch.source.unlabeled(), edges, rng)
            copies.append(augment("mask_features", copy, features, rng, self.columns))
        pair = Graph.batch(copies)
        return View(pair, {"target": self.average.encode(self._online[0], pair)})

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


class _Average(nn.Module):
    """Slow average of the trained parameters of an encoder, in buffers named after them.

    A state that is loaded makes the buffers that it has, so that a trained task can be loaded
    before it has met an encoder.
    """

    def follow(self, encoder: nn.Module, decay: float) -> None:
        """Keep ``decay`` of each average and take the rest from the encoder."""
        trained = {n: p.detach() for n, p in encoder.named_parameters() if p.requires_grad}
        if not decay:
            self._buffers.clear()
            for name, value in trained.items():
                self.register_buffer(_key(name), value.clone())
            return
        for name, value in trained.items():
            self.get_buffer(_key(name)).lerp_(value, 1 - decay)

    @torch.no_grad()
    def encode(self, encoder: nn.Module, graph: Graph) -> Tensor:
        """Node vectors ``(n, width)`` of the encoder with averaged parameters, without dropout.

        A batch norm that follows its batches normalizes by this one; its statistics stay.
        """
        names = {n for n, p in encoder.named_parameters() if p.requires_grad}
        averages = {name: self.get_buffer(_key(name)) for name in names}
        buffers = {name: value.clone() for name, value in encoder.named_buffers()}
        with _without_dropout(encoder):
            return functional_call(encoder, {**buffers, **averages}, (graph,))

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        for key, value in state_dict.items():
            name = key.removeprefix(prefix)
            if key.startswith(prefix) and name not in self._buffers:
                self.register_buffer(name, value.clone())
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _key(name: str) -> str:
    return name.replace(".", "/")  # names of buffers have no dots


@contextmanager
def _without_dropout(encoder: nn.Module) -> Iterator[None]:
    """Put everything but batch norms in eval mode for a while."""
    modes = {module: module.training for module in encoder.modules()}
    for module in modes:
        if not isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.training = False
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _two_rates(name: str, rates: Sequence[float]) -> tuple[float, float]:
    if len(rates) != 2 or not all(0 <= rate < 1 for rate in rates):
        raise ConfigError(
            f"`{name}` is {list(rates)}, expected two shares from 0 up to, not including, 1"
        )
    return rates[0], rates[1]
