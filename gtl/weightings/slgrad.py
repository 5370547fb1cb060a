"""Every sample's pull on the target's held-out loss as its weight: AUX-TS at its most direct.

Grégoire et al. 2023, "Sample-Level Weighting for Multi-Task Learning with Auxiliary Tasks"
(arXiv 2306.04519), SLGrad.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gtl.roles import Step, Weighting
from gtl.weightings.gradients import require_target, set_gradients, sound_losses, weighted_backward
from gtl.weightings.look_ahead.hypergradient import meta_gradient, sample_slopes


class SLGrad(Weighting):
    """Weights ``max(0, <grad l_ki, grad L_meta>)`` of all samples of all tasks, scaled to mean 1.

    No network and no memory: a sample that would raise the held-out target loss sits this step
    out. The mean is over tasks, each represented by its mean weight, so that the weights of a
    step sum to the number of tasks; where no sample of any task helps, the target counts once
    and alone. Grégoire et al. take cosines; inner products need no gradient of a single sample
    and are what the target's loss really changes by.

    Without held-out data part of the target's samples judge. They cannot judge themselves, and
    count as much as the target's other samples do on average.
    """

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def setup(self, tasks: Sequence[str], target: str | None) -> None:
        """Check that there is a target.

        Raises:
            ConfigError: If there is none.
        """
        require_target(target, "slgrad")

    def backward(self, step: Step) -> dict[str, float]:
        """Set the gradient of the weighted losses; see :meth:`Weighting.backward`.

        A step without samples of the target, or of any other task, counts every task once.

        Raises:
            ConfigError: If there is no target.
            GtlError: If a loss is not finite, here or beside the current parameters.
        """
        target = require_target(step.target, "slgrad")
        losses = sound_losses(step.losses)
        if target not in losses or len(losses) == 1:
            return weighted_backward(step, dict.fromkeys(step.losses, 1.0))
        held = step.hold_back(self.looks)
        self.looks += 1
        here = {name: value.detach().clone() for name, value in step.parameters.items()}
        slopes = sample_slopes(step, meta_gradient(step, here, held))
        weights = _to_mean_one(useful_weights(losses, slopes, target, held), target)
        set_gradients(step, [(weights[name] * values).mean() for name, values in losses.items()])
        means = torch.stack([weights[name].mean() for name in losses]).tolist()
        return {**dict.fromkeys(step.losses, 0.0), **dict(zip(losses, means))}

    def get_extra_state(self) -> dict[str, Any]:
        """How often the target's samples were split."""
        return {"looks": self.looks}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`get_extra_state`."""
        self.looks = int(state["looks"])


def useful_weights(
    losses: Mapping[str, Tensor], slopes: Mapping[str, Tensor], target: str, held: Tensor | None
) -> dict[str, Tensor]:
    """How much each sample lowers the meta loss, zero where it raises it.

    Args:
        losses: Losses ``(b_k,)`` by task.
        slopes: ``<grad l_ki, w>``, ``(b_k,)`` by task, ``w`` being uphill for the meta loss; a
            task that is missing has zeros.
        target: The target's name.
        held: Target samples that judged; they get the mean of the target's others.

    Returns:
        Weights ``(b_k,)``, not normalized. If all of the target's samples judged, they get the
        mean of the other tasks' mean weights.
    """
    useful = {
        name: slopes[name].clamp(min=0) if name in slopes else torch.zeros_like(values).detach()
        for name, values in losses.items()
    }
    if held is not None:
        others = useful[target][~held]
        if not len(others):
            others = torch.stack([useful[name].mean() for name in useful if name != target])
        useful[target] = torch.where(held, others.mean(), useful[target])
    return useful


def _to_mean_one(useful: Mapping[str, Tensor], target: str) -> dict[str, Tensor]:
    total = torch.stack([values.mean() for values in useful.values()]).sum()
    if float(total) <= 0:
        return {n: torch.full_like(v, float(n == target)) for n, v in useful.items()}
    return {name: values * (len(useful) / total) for name, values in useful.items()}
