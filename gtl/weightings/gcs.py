"""Gradient cosine similarity (GCS): auxiliary gradients gated by their cosine with the target's.

Du et al. 2018, "Adapting Auxiliary Losses Using Gradient Similarity" (arXiv 1812.02224).
"""

from __future__ import annotations

from torch import Tensor

from gtl.errors import ConfigError
from gtl.roles import Step, Weighting
from gtl.weightings.consistency import cosine_of
from gtl.weightings.gradients import gradients, set_gradients, sound_losses
from gtl.weightings.learned import require_known

GATES = ("cosine", "sign")


class GCS(Weighting):
    """Gate each auxiliary gradient by its cosine with the target's.

    The gate acts on the shared parameters alone. A task's own parameters keep weight 1, as in Du
    et al.: they do not change the target's loss, and the gradients of a task whose decoder is not
    trained while the gate is closed would be worse when the gate opens.

    Args:
        gate: ``"cosine"`` weighs by ``max(0, cos)``, ``"sign"`` by 1 where the cosine is not
            negative, else 0.

    Raises:
        ConfigError: If the gate is neither.
    """

    needs_target = True

    def __init__(self, gate: str = "cosine"):
        super().__init__()
        if gate not in GATES:
            raise ConfigError(f"`gate` is {gate!r}, expected one of {GATES}")
        self.gate = gate

    def backward(self, step: Step) -> dict[str, float]:
        """Set the gated gradient; returns the gates. See :meth:`Weighting.backward`.

        Raises:
            ConfigError: If there is no target, or a task was not there at setup.
            GtlError: If a loss is not finite.
        """
        target = require_known(self, step)
        present = sound_losses(step.losses)
        auxiliary = [name for name in present if name != target]
        weights = dict.fromkeys(step.losses, 0.0)
        if target not in present:
            # Without a gradient of the target the gates are closed; tasks train their own
            # parameters.
            return self._private_only(step, [present[name].mean() for name in auxiliary], weights)
        weights[target] = 1.0
        means = {name: present[name].mean() for name in auxiliary}
        pulls = {name: gradients(mean, step.parameters) for name, mean in means.items()}
        set_gradients(step, [present[target].mean()])
        pull = {n: p.grad for n, p in step.parameters.items() if p.grad is not None}
        for name in auxiliary:
            cosine = float(cosine_of(pull, pulls[name], step.shared))
            self.consistency[name] = cosine
            weights[name] = max(0.0, cosine) if self.gate == "cosine" else float(cosine >= 0)
        shared = set(step.shared)
        for name, parameter in step.parameters.items():
            for task in auxiliary:
                weight = weights[task] if name in shared else 1.0
                if name in pulls[task] and weight:
                    part = weight * pulls[task][name]
                    parameter.grad = part if parameter.grad is None else parameter.grad + part
        return weights

    def _private_only(
        self, step: Step, means: list[Tensor], weights: dict[str, float]
    ) -> dict[str, float]:
        set_gradients(step, means)
        for name in step.shared:
            step.parameters[name].grad = None
        return weights
