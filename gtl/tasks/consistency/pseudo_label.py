"""Pseudo-labels of certain predictions (Lee 2013; FixMatch, Sohn et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from gtl.errors import ConfigError
from gtl.roles import Batch, View
from gtl.tasks.checks import require_share
from gtl.tasks.consistency.on_unlabeled import OnUnlabeled, certain_losses


class PseudoLabel(OnUnlabeled):
    """Trains on the model's own predictions for unlabeled items, where it is certain.

    The label is predicted for a weakly augmented copy, without dropout and gradient. The loss of
    an item is the cross-entropy of this label for a strongly augmented copy (FixMatch), or for the
    weakly augmented one if ``strong`` is 0; it is 0 where the probability of the label is below
    the threshold. Of binary label columns the mean over the certain ones counts.

    Args:
        threshold: Least probability of the predicted label.
        weak: Share of edges and features that the weakly augmented copy lacks, in ``[0, 1)``.
        strong: The same of the strongly augmented copy; 0 trains on the weakly augmented one.
        warmup: Share of the training over which the losses rise to their full size.

    Raises:
        ConfigError: If an option is out of range.
    """

    opened: Tensor
    seen: Tensor

    def __init__(
        self,
        threshold: float = 0.95,
        weak: float = 0.1,
        strong: float = 0.3,
        warmup: float = 0.0,
    ):
        super().__init__(warmup)
        self.threshold = require_share("threshold", threshold)
        for name, rate in (("weak", weak), ("strong", strong)):
            if not 0 <= rate < 1:
                raise ConfigError(f"`{name}` is {rate}, expected a share in [0, 1)")
        self.weak, self.strong = weak, strong
        self.register_buffer("opened", torch.zeros(()))
        self.register_buffer("seen", torch.zeros(()))

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The copy to train on, and the labels of its items with where they are certain."""
        graph = self.unlabeled(batch)
        weak = self.augmented(graph, self.weak, rng)
        found = self.now(weak)
        if self.target.kind == "binary":
            labels, certain = found > 0.5, torch.maximum(found, 1 - found) >= self.threshold
        else:
            top, labels = found.max(1)
            certain = top >= self.threshold
        self.opened += certain.sum()
        self.seen += certain.numel()
        shown = self.augmented(graph, self.strong, rng) if self.strong else weak
        return View(shown, {"labels": labels, "certain": certain})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each unlabeled item, ``(b,)``."""
        logits = self.target.predict(view.graph, nodes)
        labels, certain = view.targets["labels"], view.targets["certain"]
        return self.level * certain_losses(logits, labels, certain)

    def measures(self) -> dict[str, float]:
        """Share of the labels that were certain."""
        share = float(self.opened / self.seen.clamp(min=1))
        self.opened.zero_(), self.seen.zero_()
        return {"certain labels": share}
