"""Few-shot method: recognition of classes that have few samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor

from gtl.roles.recorded import Recorded

Scorer = Callable[[Tensor], Tensor]


class FewShotMethod(Recorded, ABC):
    """A way to recognize classes of which there are few samples."""

    @abstractmethod
    def fit(self, problem: Any) -> Scorer:
        """Learn from training samples.

        Args:
            problem: A :class:`gtl.fewshot.problem.Problem`.

        Returns:
            What gives queries ``(q, h)`` their scores ``(q, c)``, logits where the method has
            them; the best class has the highest.
        """
