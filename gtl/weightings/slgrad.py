"""SLGrad: sample weights from inner products with the gradient of the target's held-out loss.

Grégoire et al. 2023, "Sample-Level Weighting for Multi-Task Learning with Auxiliary Tasks"
(arXiv 2306.04519), SLGrad.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gtl.roles import Step, Weighting
from gtl.weightings.gradients import set_gradients, sound_losses, weighted_backward
from gtl.weightings.learned import require_known
from gtl.weightings.look_ahead.hypergradient import meta_gradient, sample_slopes


class SLGrad(Weighting):
    """Weights ``max(0, <grad l_ki, grad L_meta>)`` of all samples of all tasks, scaled to mean 1.

    A sample that would raise the held-out target loss has weight 0 in this step. The mean is over
    tasks, each represented by its mean weight, so that the weights of a step sum to the number of
    tasks. If no sample of any task lowers the held-out loss, the target has weight 1 and every
    other task 0.

    Departure from the paper, which takes cosines: inner products do not need the length of the
    gradient of each sample, and they are the first-order change of the target's loss.

    Without held-out data the held-out loss is that of a part of the target's samples (see
    :meth:`gtl.roles.Step.hold_back`). These samples get the mean weight of the target's others.
    """

    needs_target = True

    def __init__(self) -> None:
        super().__init__()
        self.folds = 0

    def prepare(self, tasks: Sequence[str], target: str | None) -> None:
        """Begin with the first fold."""
        self.folds = 0

    def backward(self, step: Step) -> dict[str, float]:
        """Set the gradient of the weighted losses; see :meth:`Weighting.backward`.

        In a step without samples of the target, or of any other task, every weight is 1.

        Raises:
            ConfigError: If there is no target, or a task was not there at setup.
            GtlError: If a loss is not finite, in this step or near the current parameters.
        """
        target = require_known(self, step)
        losses = sound_losses(step.losses)
        if target not in losses or len(losses) == 1:
            return weighted_backward(step, dict.fromkeys(step.losses, 1.0))
        held = step.hold_back(self.folds)
        self.folds += 1
        here = {name: value.detach().clone() for name, value in step.parameters.items()}
        slopes = sample_slopes(step, meta_gradient(step, here, held))
        weights = _to_mean_one(useful_weights(losses, slopes, target, held), target)
        set_gradients(step, [(weights[name] * values).mean() for name, values in losses.items()])
        means = torch.stack([weights[name].mean() for name in losses]).tolist()
        return {**dict.fromkeys(step.losses, 0.0), **dict(zip(losses, means))}

    def get_extra_state(self) -> dict[str, Any]:
        """Number of folds of the target's samples that were used."""
        return {"looks": self.folds}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`get_extra_state`."""
        self.folds = int(state["looks"])


def useful_weights(
    losses: Mapping[str, Tensor], slopes: Mapping[str, Tensor], target: str, held: Tensor | None
) -> dict[str, Tensor]:
    """First-order decrease of the meta loss by each sample, zero for a sample that raises it.

    Args:
        losses: Losses ``(b_k,)`` by task.
        slopes: ``<grad l_ki, w>``, ``(b_k,)`` by task, with ``w`` a direction of ascent of the
            meta loss; a task that is missing has zeros.
        target: The target's name.
        held: Target samples of the meta loss; they get the mean of the target's others.

    Returns:
        Weights ``(b_k,)``, not normalized. If all of the target's samples are held back, they get
        the mean of the other tasks' mean weights.
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
