"""Target entropy: certain predictions on the target (Grandvalet and Bengio 2005)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from gtl.checks import check_not_negative
from gtl.errors import ConfigError
from gtl.roles import Batch, View
from gtl.tasks.certainty import entropies
from gtl.tasks.domain.task import Domains, DomainTask


class TargetEntropy(DomainTask):
    """The entropy of the predictions on the target, as part of UDAGCN (Wu et al. 2020).

    One sample is a target item; its loss is the entropy of its prediction, the mean over several
    binary columns, times ``strength``. It rises linearly from 0 over a share of the training: the
    model shall not be certain before it knows anything.

    Measured in each epoch: ``entropy``, without the factors.

    Args:
        strength: Factor of the entropy; in UDAGCN 0.01.
        rise: Share of the training over which it rises, in ``[0, 1]``; 0 for the whole from the
            start.
        warmup: Steps over which the losses rise linearly to their full size, in addition.

    Raises:
        ConfigError: If an option is out of range, or the target is a regression.
    """

    reads_classes: ClassVar[bool] = True
    quantities: ClassVar[tuple[str, ...]] = ("entropy",)

    def __init__(self, strength: float = 0.1, rise: float = 1.0, warmup: int = 0):
        super().__init__(warmup)
        check_not_negative(strength=strength, rise=rise)
        if rise > 1:
            raise ConfigError(f"`rise` is {rise}, expected a share of the training from 0 to 1")
        self.strength, self.rise = strength, rise

    def extras(self, batch: Batch, rng: torch.Generator) -> Mapping[str, Any]:
        """The factor of this step."""
        risen = (self.progress / self.rise).clamp(max=1) if self.rise else torch.ones(())
        return {"strength": self.strength * risen.to(self.progress)}

    def of_domains(self, domains: Domains, nodes: Tensor, view: View) -> Tensor:
        """Entropy of each target item, ``(b_t,)``."""
        _, scores = self.scores(nodes, view)
        each = entropies(scores, self.target.kind)
        if len(each):
            self.measure(view, lambda: [each.mean()])
        return each * view.targets["strength"].to(each)
