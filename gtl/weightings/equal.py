"""Equal weights: the baseline that every other weighting has to beat."""

from __future__ import annotations

from gtl.roles import Step, Weighting
from gtl.weightings.gradients import weighted_backward


class Equal(Weighting):
    """Every task's mean loss counts once; one backward pass."""

    def backward(self, step: Step) -> dict[str, float]:
        """Set the gradient of the sum of the mean losses; see :meth:`Weighting.backward`."""
        return weighted_backward(step, dict.fromkeys(step.losses, 1.0))
