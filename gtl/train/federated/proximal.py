"""Proximal term of FedProx (Li et al. 2020): clients stay near the global model."""

from __future__ import annotations

from torch import Tensor

from gtl.roles import Step, Weighting


class Proximal(Weighting):
    """Another weighting, and the gradient of ``mu / 2 |p - p_global|^2`` of all that is trained.

    Flower's strategy only sends ``mu`` along; the term itself is computed here.

    Args:
        inner: What weighs the losses.
        mu: Factor of the term.
        start: The global parameters by name; those that are not named have no term.
    """

    def __init__(self, inner: Weighting, mu: float, start: dict[str, Tensor]):
        super().__init__()
        self.inner, self.mu, self._start = inner, mu, start

    def backward(self, step: Step) -> dict[str, float]:
        """See :meth:`Weighting.backward`."""
        weights = self.inner.backward(step)
        for name, parameter in step.parameters.items():
            if name in self._start:
                pull = self.mu * (parameter.detach() - self._start[name])
                parameter.grad = pull if parameter.grad is None else parameter.grad + pull
        return weights
