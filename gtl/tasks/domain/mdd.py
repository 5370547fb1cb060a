"""MDD: a classifier that disagrees on the target alone (margin disparity, Zhang et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from gtl.errors import ConfigError
from gtl.roles import Batch, View
from gtl.tasks.checks import require_positive
from gtl.tasks.domain.critic import Adversary, reversed_gradient
from gtl.tasks.domain.task import Beside, Domains, DomainTask, side_weights


class MDD(DomainTask):
    """A second classifier learns to disagree with the predictions on the target alone.

    What the model predicts, a class or a value of each binary column, serves as label ``k``. With
    the probability ``p`` that the second classifier gives it, the loss of a source item is
    ``-margin log p``, that of a target item ``-log(1 - p)``, both times a factor that makes
    the mean of all losses the sum of both means; of several columns it is the mean. The encoder
    gets the reversed gradient, as for ``dann``; the published code keeps its factor at 0.1 or
    below.

    Measured in each epoch: ``source_disparity`` and ``target_disparity``, the shares of items
    for which the second classifier predicts something else, and ``reversal``.

    Args:
        margin: Weight of the source; its logarithm is the margin of the paper.
        strength: Largest factor of the reversed gradient.
        alpha: How fast it rises; ``None`` for ``strength`` from the start.
        hidden: Columns of the hidden layers of the second classifier.
        layers: Number of its hidden layers.
        warmup: Steps over which the losses rise linearly to their full size.

    Raises:
        ConfigError: If an option is out of range, or the target is a regression or has one class.
    """

    reads_classes: ClassVar[bool] = True
    quantities: ClassVar[tuple[str, ...]] = ("source_disparity", "target_disparity", "reversal")

    def __init__(
        self,
        margin: float = 4.0,
        strength: float = 0.1,
        alpha: float | None = 10.0,
        hidden: int = 64,
        layers: int = 1,
        warmup: int = 0,
    ):
        super().__init__(warmup)
        self.margin = require_positive("margin", margin)
        self.adversary = Adversary(strength, alpha, hidden, layers)

    def make(self, beside: Beside) -> None:
        """Make the second classifier.

        Raises:
            ConfigError: If there is one class, with which no classifier can disagree.
        """
        if beside.kind == "multiclass" and beside.outputs < 2:
            raise ConfigError(
                "MDD needs a class to disagree on, and the target has "
                f"{beside.outputs} class; give labels of two classes or more, or use a task that "
                "reads vectors alone, such as dann"
            )
        self.adversary.make(beside.width, beside.outputs)

    def extras(self, batch: Batch, rng: torch.Generator) -> Mapping[str, Any]:
        """The factor of the reversed gradient."""
        return {"reversal": self.adversary.factor(self.progress)}

    def of_domains(self, domains: Domains, nodes: Tensor, view: View) -> Tensor:
        """Loss of each item, ``(b,)``."""
        kind, sources = self.target.kind, len(domains.source)
        labels = predicted(self.known_scores(nodes, view), kind)
        scores = self.adversary(reversed_gradient(domains.vectors, view))
        same, other = log_shares(scores, labels, kind)
        each = torch.cat([-self.margin * same[:sources], -other[sources:]])
        self.measure(view, lambda: self._measured(scores, labels, view))
        return 2 * side_weights(domains.source, domains.target) * each

    def _measured(self, scores: Tensor, labels: Tensor, view: View) -> list[Tensor]:
        differs = (predicted(scores, self.target.kind) != labels).to(scores)
        differs = differs if differs.dim() == 1 else differs.mean(1)
        labeled = view.targets["labeled"]
        sides = differs.split([labeled, len(differs) - labeled])
        means = [side.mean() if len(side) else side.new_zeros(()) for side in sides]
        return [*means, view.targets["reversal"].to(scores)]


def predicted(scores: Tensor, kind: str | None) -> Tensor:
    """Most likely class ``(b,)``, or value of each binary column, boolean ``(b, c)``."""
    return scores.argmax(1) if kind == "multiclass" else scores > 0


def log_shares(scores: Tensor, labels: Tensor, kind: str | None) -> tuple[Tensor, Tensor]:
    """Logarithms of the probability of a label, and of its complement, ``(b,)`` each.

    Args:
        scores: ``(b, c)``, of two classes at least.
        labels: As :func:`predicted` gives them; of several binary columns it is the mean.
        kind: ``"multiclass"`` or ``"binary"``.

    Example:
        >>> same, other = log_shares(torch.zeros(1, 4), torch.tensor([2]), "multiclass")
        >>> round(float(same.exp()), 4), round(float(other.exp()), 4)
        (0.25, 0.75)
    """
    if kind != "multiclass":
        signed = torch.where(labels, scores, -scores)
        return F.logsigmoid(signed).mean(1), F.logsigmoid(-signed).mean(1)
    chosen = F.one_hot(labels, scores.shape[1]).bool()
    whole = scores.logsumexp(1)
    others = scores.masked_fill(chosen, -torch.inf).logsumexp(1)
    return (scores.masked_fill(~chosen, 0).sum(1) - whole), others - whole
