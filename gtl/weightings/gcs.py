"""Auxiliary gradients only where they agree with the target's (Du et al. 2018, arXiv 1812.02224).

The simplest use of gradient consistency, and the first ablation of AUX-TS: no network, no
look-ahead, a gate.
"""

from __future__ import annotations

from collections.abc import Sequence

from gtl.errors import ConfigError
from gtl.roles import Step, Weighting
from gtl.weightings.consistency import cosine_of
from gtl.weightings.gradients import gradients, require_target, set_gradients, sound_losses

GATES = ("cosine", "sign")


class GCS(Weighting):
    """Gate each auxiliary gradient by its cosine with the target's.

    The gate acts on the shared parameters alone. Parameters of an auxiliary task's own keep
    weight 1, as in Du et al.: they cannot hurt the target, and a task whose decoder stands still
    while the gate is closed would send worse gradients when it opens.

    Args:
        gate: ``"cosine"`` weighs by ``max(0, cos)``, ``"sign"`` by 1 where the cosine is not
            negative, else 0.

    Raises:
        ConfigError: If the gate is neither.
    """

    def __init__(self, gate: str = "cosine"):
        super().__init__()
        if gate not in GATES:
            raise ConfigError(f"`gate` is {gate!r}, expected one of {GATES}")
        self.gate = gate

    def setup(self, tasks: Sequence[str], target: str | None) -> None:
        """Check that there is a target.

        Raises:
            ConfigError: If there is none.
        """
        require_target(target, "gcs")

    def backward(self, step: Step) -> dict[str, float]:
        """Set the gated gradient; returns the gates. See :meth:`Weighting.backward`."""
        target = require_target(step.target, "gcs")
        present = sound_losses(step.losses)
        auxiliary = [name for name in present if name != target]
        weights = dict.fromkeys(step.losses, 0.0)
        if target not in present:
            # Nothing to agree with: gates stay shut, tasks still train what is their own.
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

    def _private_only(self, step: Step, means: list, weights: dict[str, float]) -> dict[str, float]:
        set_gradients(step, means)
        for name in step.shared:
            step.parameters[name].grad = None
        return weights
