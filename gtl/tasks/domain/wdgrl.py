"""WDGRL: a small Wasserstein distance between the domains (Shen et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from gtl.checks import check_not_negative
from gtl.roles import Batch, View
from gtl.tasks.checks import built, require_count, require_positive
from gtl.tasks.domain.critic import Critic
from gtl.tasks.domain.own_steps import OwnSteps
from gtl.tasks.domain.task import Beside, Domains, DomainTask, constant, side_weights


class WDGRL(DomainTask):
    """A critic estimates the Wasserstein distance of the domains, and the encoder makes it small.

    The critic ``D`` has one number for each vector and no sigmoid; the estimate is the mean of
    ``D`` over the source less that over the target. One sample is an item: its loss is ``D`` of its
    vector, minus that in the target, times a factor that makes the mean of all losses the estimate.
    It may be negative.

    The critic maximizes the estimate less ``penalty`` times the mean of ``(|dD/dh| - 1)^2`` at the
    source vectors, the target vectors and random points between pairs of them. As in the paper's
    box it takes ``steps`` steps of its own in each step of the loop before the losses of that step
    are computed. The vectors are constants there: second derivatives stay inside the MLP, and no
    encoder pass is made for them. A replay of the step has the critic that the step had.

    A critic that lags behind moves the domains apart. The defaults suit an encoder at a rate of
    1e-2: in three trainings of 100 epochs on nodes the domain means came nearer with 10 steps at
    1e-2; at 1e-3 they came apart, and with 5 steps at 3e-3 or 1e-2 vectors grew without bound in
    some of them.

    Here it departs from the graph version in pygda, whose critic ends in a sigmoid and trains the
    encoder in its own steps, too.

    Measured in each epoch: ``distance``, the estimate.

    Args:
        steps: Steps of the critic in each step of the loop.
        penalty: Weight of the gradient penalty.
        lr: Learning rate of the critic.
        hidden: Columns of the critic's hidden layers.
        layers: Number of its hidden layers.
        warmup: Steps over which the losses rise linearly to their full size.

    Raises:
        ConfigError: If an option is out of range.
    """

    quantities: ClassVar[tuple[str, ...]] = ("distance",)
    divisible: ClassVar[bool] = False  # the critic takes steps on the batch

    def __init__(
        self,
        steps: int = 10,
        penalty: float = 10.0,
        lr: float = 1e-2,
        hidden: int = 64,
        layers: int = 1,
        warmup: int = 0,
    ):
        super().__init__(warmup)
        check_not_negative(penalty=penalty)
        self.critic_steps = require_count("steps", steps)
        self.penalty = penalty
        self.lr = require_positive("lr", lr)
        self.hidden = require_count("hidden", hidden)
        self.layers = require_count("layers", layers, least=0)
        self.critic: OwnSteps | None = None

    def make(self, beside: Beside) -> None:
        """Make the critic."""
        self.critic = OwnSteps(Critic(beside.width, self.hidden, self.layers), self.lr)

    def extras(self, batch: Batch, rng: torch.Generator) -> Mapping[str, Any]:
        """Seed of the points of the gradient penalty."""
        return {"seed": torch.randint(2**62, (), generator=rng)}

    def of_domains(self, domains: Domains, nodes: Tensor, view: View) -> Tensor:
        """The critic's number of each item, ``(b,)``."""
        if not domains.both_have(1):
            return domains.vectors.sum(1)[:0]
        found = self._critic(domains, view)(domains.vectors)
        found = torch.cat([found[: len(domains.source)], -found[len(domains.source) :]])
        each = 2 * side_weights(domains.source, domains.target) * found
        self.measure(view, lambda: [each.mean()])
        return each

    def _critic(self, domains: Domains, view: View) -> Callable[[Tensor], Tensor]:
        """The critic after its steps of this view, which it takes when the view is first read."""
        critic, known = built(self, self.critic), view.targets["constants"]
        if "source" not in known:
            constant(view, "source", domains.source)
            constant(view, "target", domains.target)
            self._take_steps(known, int(view.targets["seed"]))
        # Copies: a replay is given the buffers as they were before the steps.
        return critic.at(
            {n: constant(view, f"critic:{n}", w.clone) for n, w in critic.weights().items()}
        )

    def _take_steps(self, known: Mapping[str, Tensor], seed: int) -> None:
        draws = torch.Generator().manual_seed(seed)
        for _ in range(self.critic_steps):
            between = points_between(known["source"], known["target"], draws)
            points = torch.cat([known["source"], known["target"], between])
            built(self, self.critic).step(partial(self._loss, known, points))

    def _loss(
        self, known: Mapping[str, Tensor], points: Tensor, critic: Callable[[Tensor], Tensor]
    ) -> Tensor:
        distance = critic(known["source"]).mean() - critic(known["target"]).mean()
        return self.penalty * gradient_penalty(critic, points) - distance


def points_between(source: Tensor, target: Tensor, rng: torch.Generator) -> Tensor:
    """Random points on the lines between random pairs of rows, as many as the larger side has.

    Args:
        source: ``(b_s, h)``.
        target: ``(b_t, h)``.
        rng: Generator for pairs and places.
    """
    count = max(len(source), len(target))
    pairs = [torch.randint(len(rows), (count,), generator=rng) for rows in (source, target)]
    share = torch.rand(count, 1, generator=rng, dtype=torch.float64).to(source)
    one, other = (rows[pair.to(rows.device)] for rows, pair in zip((source, target), pairs))
    return one + share * (other - one)


def gradient_penalty(critic: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """Mean of ``(|dD/dh| - 1)^2`` over points ``(k, h)`` (Gulrajani et al. 2017)."""
    points = points.detach().requires_grad_()
    (slopes,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    lengths = slopes.square().sum(1).clamp(min=1e-12).sqrt()
    return (lengths - 1).square().mean()
