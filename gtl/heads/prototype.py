"""Prototypes: each class is represented by the mean of its samples, without training.

The classifier of prototypical networks (Snell et al. 2017).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.heads.class_statistics import ClassMemory, squared_distances
from gtl.heads.closed_form import ClosedForm, classes_of_binary, of_one_against_zero
from gtl.heads.cosine import unit_rows

SIMILARITIES = ("euclidean", "cosine")


class Prototype(ClosedForm):
    """Similarity to the mean of each class.

    Until :meth:`fit` the prototypes are parameters, trained like those of any head; after it they
    are fixed. With one output, for a binary label, the score is never above 0 unless it is a
    cosine: it ranks samples, but its sigmoid is no probability; with ``binary`` it is.

    Args:
        width: Columns of the features.
        outputs: Number of classes.
        similarity: ``"euclidean"``, minus the squared distance, or ``"cosine"``, times a learned
            scale.
        scale: Initial factor of cosines.
        binary: Whether the one output of a binary label is the difference between the scores of
            two classes, 1 and 0, to which the head is fitted.

    Raises:
        ConfigError: If ``similarity`` is unknown, or ``binary`` has several outputs.

    Example:
        >>> head = Prototype(2, 2).fit(torch.tensor([[0.0, 0], [2, 0], [9, 9]]),
        ...                            torch.tensor([0, 0, 1]))
        >>> head(torch.tensor([[1.0, 3.0]])).detach()
        tensor([[  -9., -100.]])
    """

    def __init__(
        self,
        width: int,
        outputs: int,
        similarity: str = "euclidean",
        scale: float = 10.0,
        binary: bool = False,
    ):
        super().__init__()
        if similarity not in SIMILARITIES:
            raise ConfigError(
                f"`similarity` is {similarity!r}, expected one of: {', '.join(SIMILARITIES)}"
            )
        self.similarity, self.binary = similarity, binary
        self.classes = ClassMemory(width, classes_of_binary(outputs) if binary else outputs)
        if similarity == "cosine":
            self.scale = nn.Parameter(torch.tensor(float(scale)))

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``(b, c)`` of features ``(b, width)``."""
        means = self.classes.means()
        if self.similarity == "cosine":
            scores = self.scale * unit_rows(features) @ unit_rows(means).T
        else:
            scores = -squared_distances(features, means)
        return of_one_against_zero(scores) if self.binary else scores
