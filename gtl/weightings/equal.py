"""Equal weights: the baseline of every other weighting."""

from __future__ import annotations

from gtl.roles import Step, Weighting
from gtl.weightings.gradients import weighted_backward


class Equal(Weighting):
    """Weight 1 for every task; one backward pass."""

    def backward(self, step: Step) -> dict[str, float]:
        """Set the gradient of the sum of the mean losses; see :meth:`Weighting.backward`."""
        return weighted_backward(step, dict.fromkeys(step.losses, 1.0))
