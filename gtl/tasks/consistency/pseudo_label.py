"""Pseudo labels: the model's own certain predictions as labels (Lee 2013; Sohn et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.roles import Batch, Gate, View
from gtl.tasks.certainty import confidences, require_classes
from gtl.tasks.checks import require_share
from gtl.tasks.items import require_rates, unlabeled_inputs
from gtl.tasks.model_task import ModelTask


class PseudoLabel(ModelTask):
    """Predicts of unlabeled items what the model itself predicts of them with certainty.

    One sample is an unlabeled item. Its loss is the cross-entropy with its most likely class where
    that has a probability of ``threshold`` or more, else 0: the few certain items of the first
    steps then count little, as published. Of several binary label columns each is certain or not,
    and the loss is the mean over all columns. The labels are those of the present model, on
    a weakly perturbed graph and without dropout. With ``strong`` the losses are those of a strongly
    perturbed graph (FixMatch), else of the weakly perturbed one.

    A perturbed graph lacks some edges and features. A weak perturbation of 0, the default, leaves
    the graph as it is; at node level it then costs no encoder pass of its own.

    Args:
        strong: Shares of edges and of features that the strongly perturbed graph lacks, such as
            ``[0.4, 0.4]``; ``None`` for plain pseudo labels.
        weak: The same of the weakly perturbed graph.
        threshold: Least probability of a pseudo label, in ``(0, 1]``.
        warmup: Steps over which the losses rise linearly to their full size.

    Raises:
        ConfigError: If an option is out of range, or the target is a regression.
    """

    def __init__(
        self,
        strong: Sequence[float] | None = None,
        weak: Sequence[float] = (0.0, 0.0),
        threshold: float = 0.95,
        warmup: int = 20,
    ):
        super().__init__(warmup)
        self.strong = None if strong is None else require_rates("strong", strong)
        self.weak = require_rates("weak", weak)
        self.threshold = require_share("threshold", threshold)

    def begin(self, encoder: nn.Module) -> None:
        """Refuse a regression."""
        require_classes(self.target.kind)

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph to predict on, pseudo labels and how certain each is."""
        weak = unlabeled_inputs(batch, self.weak, rng, self.columns)
        scores = self.scores_now(weak.items, self.nodes_now(weak.graph))
        inputs = weak
        if self.strong is not None:
            inputs = unlabeled_inputs(batch, self.strong, rng, self.columns)
        several = self.target.kind == "multiclass"
        labels = scores.argmax(1) if several else (scores > 0).to(scores)
        confidence = confidences(scores, self.target.kind)
        found = {"items": inputs.items, "labels": labels, "confidence": confidence}
        return View(inputs.graph, {**found, "factor": self.factor})

    def gates(self, view: View) -> Mapping[str, Gate]:
        """The gate of confidence; of an item with several columns by the most certain one."""
        values = view.targets["confidence"]
        values = values.amax(1) if values.dim() > 1 and values.shape[1] else values.flatten()
        return {"": Gate(values, self.threshold, "confidence", at_least=True)}

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each unlabeled item, ``(b,)``; empty in a step where none is certain."""
        found = view.targets
        scores = self.target.scores(found["items"], nodes)
        certain, labels = found["confidence"] >= self.threshold, found["labels"]
        if not bool(certain.any()):
            return scores.sum(1)[:0]
        if certain.dim() == 1:
            each = F.cross_entropy(scores, labels, reduction="none") * certain
        else:
            columns = F.binary_cross_entropy_with_logits(
                scores, labels.to(scores), reduction="none"
            )
            each = (columns * certain).mean(1)
        return each * found["factor"].to(each)
