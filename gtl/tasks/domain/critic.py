"""Critic that tells two domains apart, and the reversal of its gradient (Ganin et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.checks import check_not_negative
from gtl.errors import ConfigError
from gtl.roles import View
from gtl.tasks.checks import require_count
from gtl.tasks.domain.task import Domains, constant, side_weights


class Critic(nn.Module):
    """MLP from vectors to one number each or to several.

    Args:
        width: Columns of the vectors.
        hidden: Columns of each hidden layer.
        layers: Number of hidden layers.
        outputs: Numbers for each vector, in columns; ``None`` for a single one.
    """

    def __init__(self, width: int, hidden: int, layers: int, outputs: int | None = None):
        super().__init__()
        self.is_single = outputs is None
        outputs = outputs or 1
        widths = [width, *[hidden] * layers]
        maps = [nn.Linear(a, b) for a, b in zip(widths, [*widths[1:], outputs])]
        self.maps = nn.ModuleList(maps)

    def forward(self, vectors: Tensor) -> Tensor:
        """``(b, h)`` to ``(b, outputs)``, or to ``(b,)``."""
        for layer in self.maps[:-1]:
            vectors = F.relu(layer(vectors))
        found: Tensor = self.maps[-1](vectors)
        return found.squeeze(1) if self.is_single else found


class Adversary(nn.Module):
    """Critic whose gradient reaches the encoder reversed, by a factor that follows a schedule.

    With progress ``p`` of the whole training the factor is
    ``strength (2 / (1 + exp(-alpha p)) - 1)`` (Ganin et al. 2016, section 5.2.2). The schedule of
    thuml's library counts steps: it is at 0.46 of its end after 1,000 of them, however long the
    training is.

    Args:
        strength: Largest factor.
        alpha: How fast it rises; ``None`` for ``strength`` from the start.
        hidden: Columns of each hidden layer of the critic.
        layers: Number of hidden layers.

    Raises:
        ConfigError: If an option is out of range.

    Example:
        >>> round(float(Adversary(1.0, 10.0, 64, 1).factor(torch.tensor(0.5))), 4)  # tanh(2.5)
        0.9866
    """

    def __init__(self, strength: float, alpha: float | None, hidden: int, layers: int):
        super().__init__()
        check_not_negative(strength=strength, **({} if alpha is None else {"alpha": alpha}))
        self.strength, self.alpha = strength, alpha
        self.hidden = require_count("hidden", hidden)
        self.layers = require_count("layers", layers, least=0)
        self.critic: Critic | None = None

    def make(self, width: int, outputs: int | None = None) -> None:
        """Make the critic of vectors with ``width`` columns."""
        self.critic = Critic(width, self.hidden, self.layers, outputs)

    def factor(self, progress: Tensor) -> Tensor:
        """Factor ``()`` at some progress in ``[0, 1]``."""
        if self.alpha is None:
            return torch.full_like(progress, self.strength)
        return self.strength * (2 / (1 + torch.exp(-self.alpha * progress)) - 1)

    def forward(self, vectors: Tensor) -> Tensor:
        """What the critic gives."""
        if self.critic is None:
            raise ConfigError(
                "the critic was not made, since the task has not met a labeled target; put both "
                "into a gtl.TaskModel, with the target under the name `supervised`"
            )
        found: Tensor = self.critic(vectors)
        return found


def reversed_gradient(vectors: Tensor, view: View, name: str = "vectors") -> Tensor:
    """The vectors themselves, whose gradient is multiplied by minus ``view.targets["reversal"]``.

    They are ``x + r (x - v)`` with the constant ``x``, the vectors ``v`` in the first evaluation of
    the view, and the factor ``r``: in a replay at other parameters they move the opposite way. So
    differences of losses agree with the gradient, as a look-ahead needs; those of a function that
    reverses the gradient alone do not.

    Args:
        vectors: ``(b, h)``.
        view: What they belong to.
        name: Under which they are kept.
    """
    still = constant(view, name, vectors)
    return still + view.targets["reversal"].to(vectors) * (still - vectors)


def domain_losses(logits: Tensor, domains: Domains) -> Tensor:
    """Cross-entropy of each item's domain, ``(b,)``; its mean is that of both domain means.

    Args:
        logits: Of the source domain ``(b,)``, the source first.
        domains: The items.
    """
    labels = torch.zeros_like(logits)
    labels[: len(domains.source)] = 1
    each = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return each * side_weights(domains.source, domains.target)


def accuracy(logits: Tensor, domains: Domains) -> Tensor:
    """Share of the items whose domain a critic finds, the mean over both domains, ``()``."""
    source, target = logits.detach().split([len(domains.source), len(domains.target)])
    sides = [(source > 0).to(logits), (target <= 0).to(logits)]
    means = [side.mean() for side in sides if len(side)]
    return torch.stack(means).mean() if means else logits.new_zeros(())
