"""ADDA: a target encoder whose vectors look like those of the source (Tzeng et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.errors import ConfigError
from gtl.graph import Graph
from gtl.graph.union import has_same_content
from gtl.roles import Batch, View
from gtl.tasks.checks import built, require_count, require_positive
from gtl.tasks.domain.critic import Critic, accuracy
from gtl.tasks.domain.own_steps import OwnSteps
from gtl.tasks.domain.task import Beside, Domains, DomainTask, constant
from gtl.tasks.slow_average import SlowAverage, without_trace


class ADDA(DomainTask):
    """The encoder learns to give target items vectors like those of the encoder before it.

    The source vectors come from a copy of the encoder, frozen at the start and without dropout. One
    sample is a target item: its loss is the cross-entropy of the wrong answer, that it is of the
    source (inverted labels). The critic takes ``steps`` steps of its own after each step of the
    loop, on the vectors of that step.

    The paper has two stages: encoder and classifier are trained on the source; then the encoder
    alone against the critic. Start from a model that was trained on the source, or let
    ``after=0.5`` keep the task still for the first half of the training and freeze the copy then.
    In a fine-tuning the target's loss goes on beside this task in the second stage, which keeps
    vectors and head together; the weighting ``{"name": "fixed", "weights": {"supervised": 0}}``
    gives the paper's second stage.

    Measured in each epoch: ``critic_accuracy``, 0.5 where the critic finds no difference.

    Args:
        after: Share of the training before the copy is made and the task begins, in ``[0, 1)``.
        steps: Steps of the critic after each step of the loop.
        lr: Learning rate of the critic.
        hidden: Columns of the critic's hidden layers.
        layers: Number of its hidden layers.
        warmup: Steps over which the losses rise linearly to their full size, from the start of
            the training.

    Raises:
        ConfigError: If an option is out of range.
    """

    quantities: ClassVar[tuple[str, ...]] = ("critic_accuracy",)
    divisible: ClassVar[bool] = False  # the critic takes steps on the batch
    begun: Tensor

    def __init__(
        self,
        after: float = 0.0,
        steps: int = 1,
        lr: float = 1e-3,
        hidden: int = 64,
        layers: int = 1,
        warmup: int = 0,
    ):
        super().__init__(warmup)
        if not 0 <= after < 1:
            raise ConfigError(
                f"`after` is {after}, expected a share from 0 up to, not including, 1"
            )
        self.after = after
        self.critic_steps = require_count("steps", steps)
        self.lr = require_positive("lr", lr)
        self.hidden = require_count("hidden", hidden)
        self.layers = require_count("layers", layers, least=0)
        self.critic: OwnSteps | None = None
        self.frozen = SlowAverage(statistics=True)
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))
        self._known: tuple[Graph, Tensor] | None = None

    def make(self, beside: Beside) -> None:
        """Make the critic."""
        self.critic = OwnSteps(Critic(beside.width, self.hidden, self.layers), self.lr)

    def start(self, encoder: nn.Module) -> None:
        """Keep the encoder as it is now."""
        self.frozen.follow(encoder, 0.0)
        self.begun.fill_(self.after == 0)
        self._known = None

    def waits(self) -> bool:
        """Whether the encoder is still trained on the source alone."""
        return not self.begun

    def advance(self, encoder: nn.Module, progress: float) -> None:
        """Freeze the copy when the second stage begins."""
        if not self.begun and progress >= self.after:
            self.frozen.restart(encoder)
            self.begun.fill_(True)
            self._known = None

    def extras(self, batch: Batch, rng: torch.Generator) -> Mapping[str, Any]:
        """Vectors of the source items by the frozen copy, ``(b_s, h)``."""
        nodes = self._frozen_nodes(batch.graph)
        items = batch.graph.replace(y=None)
        readout = getattr(self.predictor, "readout", None)
        if items.seeds is not None or readout is None:
            return {"known": self.vectors(items, nodes)}
        return {"known": without_trace(readout, items, nodes)}

    def of_domains(self, domains: Domains, nodes: Tensor, view: View) -> Tensor:
        """Cross-entropy of the source for each target item, ``(b_t,)``."""
        constant(view, "target", domains.target)
        found = built(self, self.critic)(domains.target)
        self.measure(view, lambda: [self._accuracy(view)])
        return F.softplus(-found)

    def learn(self, view: View) -> None:
        """Let the critic take its steps."""
        known, target = view.targets["known"], view.targets["constants"]["target"]
        if len(known) and len(target):
            for _ in range(self.critic_steps):
                built(self, self.critic).step(lambda critic: _critic_loss(critic, known, target))

    def _accuracy(self, view: View) -> Tensor:
        sides = Domains(view.targets["known"], view.targets["constants"]["target"])
        return accuracy(built(self, self.critic)(sides.vectors), sides)

    def _frozen_nodes(self, graph: Graph) -> Tensor:
        """Vectors of the frozen copy, computed once for a graph that is seen whole."""
        if self._known is None or not has_same_content(self._known[0], graph):
            self._known = graph.unlabeled(), self.frozen.of(self.encoder, graph)
        return self._known[1]


def _critic_loss(critic: Callable[[Tensor], Tensor], source: Tensor, target: Tensor) -> Tensor:
    return (F.softplus(-critic(source)).mean() + F.softplus(critic(target)).mean()) / 2
