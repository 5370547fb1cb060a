"""Prototypes of a source without classes: how certain it is of an item."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from gtl.tasks.distances import squared_distances

LEAST_SPREAD = 0.01  # of the mean squared distance of the vectors to their mean
_SAME = 1e-10  # of the mean squared length, below which the vectors do not differ


class Prototypes(nn.Module):
    """Centers of k-means among item vectors, and soft assignments to them.

    The assignment of a vector is the softmax of minus its squared distances to the centers, divided
    by the mean squared distance of the vectors to their own center, or a hundredth of that to
    their mean where this is larger. An item between several clusters has a large entropy.

    Args:
        most: Number of centers, if there are twice as many different vectors; else half as many as
            these, but two.
        width: Columns of the vectors.
    """

    centers: Tensor
    spread: Tensor
    found: Tensor

    def __init__(self, most: int, width: int):
        super().__init__()
        self.register_buffer("centers", torch.zeros(most, width))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("found", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def find(self, vectors: Tensor) -> None:
        """Find the centers; nothing happens if there is no vector, or all are the same."""
        from sklearn.cluster import KMeans

        points = np.unique(vectors.detach().double().cpu().numpy(), axis=0)
        if not len(points):
            return
        total = float(np.square(points - points.mean(0)).sum(1).mean())
        if total <= _SAME * float(np.square(points).sum(1).mean()):
            return
        count = min(len(self.centers), max(2, len(points) // 2))
        means = KMeans(count, random_state=0, n_init=3).fit(points)
        self.centers[:count] = torch.as_tensor(means.cluster_centers_).to(self.centers)
        self.spread.fill_(max(means.inertia_ / len(points), LEAST_SPREAD * total))
        self.found.fill_(count)

    def logits(self, vectors: Tensor) -> Tensor:
        """Logits of the assignments ``(b, k)`` of vectors ``(b, h)``."""
        centers = self.centers[: int(self.found)].to(vectors)
        return -squared_distances(vectors, centers) / self.spread.to(vectors)

    @property
    def largest_entropy(self) -> float:
        """Entropy of an item that may belong to any of the prototypes."""
        return math.log(max(int(self.found), 1))
