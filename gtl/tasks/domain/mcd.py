"""MCD: two classifiers that agree on the target domain (Saito et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gtl.roles import Batch, View
from gtl.tasks.checks import built, require_count, require_positive
from gtl.tasks.domain.classes import label_losses, labels_of
from gtl.tasks.domain.critic import Critic
from gtl.tasks.domain.own_steps import OwnSteps
from gtl.tasks.domain.task import Beside, Domains, DomainTask, constant

Scores = tuple[Tensor, Tensor]


class MCD(DomainTask):
    """Two classifiers seek target items on which they differ; the encoder makes them agree.

    The classifiers are the task's own, beside the head that predicts, and take steps of their own
    after each step of the loop, on the vectors of that step. One sample is a target item: its loss
    is the discrepancy, the mean over classes of the absolute difference of both probabilities.

    The box of the paper has three steps, found here as follows. A, encoder and classifiers on the
    source labels: the encoder by the target's loss of the loop, the classifiers in a step of their
    own after each step. B, the classifiers keep the source labels and raise the discrepancy: in
    another step of their own after every ``num_k``-th step. C, the encoder lowers the
    discrepancy, ``num_k`` times: in each step of the loop, by this loss, so that ``num_k`` of them
    follow one of B.

    Here it departs from the published code: it has a head beside the two classifiers, which are
    random at first and differ, and no term for balanced classes, which harms where the classes of
    the target are not balanced. Of binary columns each has probabilities of its own.

    Measured in each epoch: ``discrepancy``.

    Args:
        num_k: Steps of the encoder for each one that raises the discrepancy.
        lr: Learning rate of the classifiers.
        hidden: Columns of their hidden layers.
        layers: Number of their hidden layers.
        warmup: Steps over which the losses rise linearly to their full size.

    Raises:
        ConfigError: If an option is out of range, the target is a regression, or the batch of the
            loop has no labels.
    """

    reads_classes: ClassVar[bool] = True
    quantities: ClassVar[tuple[str, ...]] = ("discrepancy",)
    divisible: ClassVar[bool] = False  # the classifiers take steps on the batch

    def __init__(
        self,
        num_k: int = 4,
        lr: float = 1e-2,
        hidden: int = 64,
        layers: int = 1,
        warmup: int = 0,
    ):
        super().__init__(warmup)
        self.num_k = require_count("num_k", num_k)
        self.lr = require_positive("lr", lr)
        self.hidden = require_count("hidden", hidden)
        self.layers = require_count("layers", layers, least=0)
        self.classifiers: OwnSteps | None = None

    def make(self, beside: Beside) -> None:
        """Make both classifiers."""
        sizes = beside.width, self.hidden, self.layers, beside.outputs
        self.classifiers = OwnSteps(_Two(*sizes), self.lr)

    def extras(self, batch: Batch, rng: torch.Generator) -> Mapping[str, Any]:
        """The labels of the source items."""
        return {"y": labels_of(batch)}

    def of_domains(self, domains: Domains, nodes: Tensor, view: View) -> Tensor:
        """Discrepancy of each target item, ``(b_t,)``."""
        constant(view, "source", domains.source)
        constant(view, "target", domains.target)
        each = discrepancy(built(self, self.classifiers)(domains.target), self.target.kind)
        if len(each):
            self.measure(view, lambda: [each.mean()])
        return each

    def learn(self, view: View) -> None:
        """Steps A and B of the classifiers."""
        classifiers, y, kind = built(self, self.classifiers), view.targets["y"], self.target.kind
        source, target = (view.targets["constants"][side] for side in ("source", "target"))

        def on_labels(both: Callable[[Tensor], Scores]) -> Tensor:
            sides = [label_losses(scores, y, kind) for scores in both(source)]
            return torch.cat(sides).sum() / max(len(sides[0]), 1)

        def on_both(both: Callable[[Tensor], Scores]) -> Tensor:
            return on_labels(both) - discrepancy(both(target), kind).mean()

        classifiers.step(on_labels)
        if int(self.steps) % self.num_k == 0 and len(target):
            classifiers.step(on_both)


class _Two(nn.Module):
    """Two classifiers of the same form."""

    def __init__(self, width: int, hidden: int, layers: int, outputs: int):
        super().__init__()
        self.one = Critic(width, hidden, layers, outputs)
        self.other = Critic(width, hidden, layers, outputs)

    def forward(self, vectors: Tensor) -> Scores:
        return self.one(vectors), self.other(vectors)


def discrepancy(scores: Scores, kind: str | None) -> Tensor:
    """Mean absolute difference of the probabilities of two classifiers, ``(b,)`` in ``[0, 1]``.

    Args:
        scores: Of either classifier ``(b, c)``.
        kind: ``"multiclass"`` or ``"binary"``.

    Example:
        >>> scores = torch.tensor([[100.0, 0.0]]), torch.tensor([[0.0, 100.0]])
        >>> discrepancy(scores, "multiclass").tolist()
        [1.0]
    """
    one, other = (s.softmax(1) if kind == "multiclass" else s.sigmoid() for s in scores)
    return (one - other).abs().mean(1)
