"""Critic that tells two domains apart, and the reversal of its gradient (Ganin et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.checks import check_not_negative
from gtl.roles import View
from gtl.tasks.domain.task import Domains, constant, side_weights


class Critic(nn.Module):
    """MLP from vectors to one number each, a logit of the source domain where it classifies.

    Args:
        width: Columns of the vectors.
        hidden: Columns of each hidden layer.
        layers: Number of hidden layers.
        outputs: Numbers for each vector.
    """

    def __init__(self, width: int, hidden: int, layers: int, outputs: int = 1):
        super().__init__()
        widths = [width, *[hidden] * layers]
        maps = [nn.Linear(a, b) for a, b in zip(widths, [*widths[1:], outputs])]
        self.maps = nn.ModuleList(maps)

    def forward(self, vectors: Tensor) -> Tensor:
        """``(b, h)`` to ``(b, outputs)``, or to ``(b,)`` for a single output."""
        for layer in self.maps[:-1]:
            vectors = F.relu(layer(vectors))
        found: Tensor = self.maps[-1](vectors)
        return found.squeeze(1) if found.shape[1] == 1 else found


class Reversal:
    """Schedule of the factor of a reversed gradient (Ganin et al. 2016, section 5.2.2).

    With progress ``p`` of the whole training it is ``strength (2 / (1 + exp(-alpha p)) - 1)``.
    The published schedule of thuml's library, by counted steps, is at 0.46 of its end after 1,000
    of them, however long the training is.

    Args:
        strength: Largest factor.
        alpha: How fast it rises; ``None`` for ``strength`` from the start.

    Raises:
        ConfigError: If an option is negative.

    Example:
        >>> round(float(Reversal(1.0, 10.0).factor(torch.tensor(0.5))), 4)  # tanh(2.5)
        0.9866
    """

    def __init__(self, strength: float = 1.0, alpha: float | None = 10.0):
        check_not_negative(strength=strength, **({} if alpha is None else {"alpha": alpha}))
        self.strength, self.alpha = strength, alpha

    def factor(self, progress: Tensor) -> Tensor:
        """Factor ``()`` at some progress in ``[0, 1]``."""
        if self.alpha is None:
            return torch.full_like(progress, self.strength)
        return self.strength * (2 / (1 + torch.exp(-self.alpha * progress)) - 1)


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
