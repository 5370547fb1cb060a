"""Statistics of classes (counts, means, scatter) that can be computed in parts and added.

Counts, means and centered outer products are equivalent to counts, sums and outer products, but
lose no digits where features lie far from zero; the sum is exact (Chan, Golub & LeVeque 1979).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gtl.errors import DataError, ShapeError


@dataclass(frozen=True)
class ClassStatistics:
    """Statistics of ``c`` classes; ``+`` gives those of both sets of samples together.

    Attributes:
        counts: Samples of each class, ``(c,)``, in the dtype of the features.
        means: Mean of each class, ``(c, h)``; zeros for a class without samples.
        scatter: Sums of outer products of features less the mean of their class: ``(c, h, h)``
            by class, ``(1, h, h)`` of all classes together, or ``(0, h, h)`` if it is not computed.
    """

    counts: Tensor
    means: Tensor
    scatter: Tensor

    @classmethod
    def of(
        cls, features: Tensor, labels: Tensor, classes: int, scatter: int = 0
    ) -> ClassStatistics:
        """Statistics of samples, differentiable with respect to the features.

        Args:
            features: Floats ``(b, h)``.
            labels: Classes ``(b,)``, int64 from 0 on.
            classes: Number of classes ``c``; some may have no sample here.
            scatter: Number of scatter matrices: 0, 1 for all classes together, or ``c``.

        Raises:
            ShapeError: If a shape or dtype is another.
            DataError: If a label is out of range or a feature is no finite number.
        """
        _require_samples(features, labels, classes)
        member = nn.functional.one_hot(labels, classes).T.to(features)  # (c, b)
        counts = member.sum(1)
        means = member @ features / counts.clamp(min=1).unsqueeze(1)
        rest = features - means[labels]
        parts = [rest] if scatter == 1 else [rest[labels == i] for i in range(scatter)]
        width = features.shape[1]
        empty = features.new_zeros(0, width, width)
        return cls(counts, means, torch.stack([x.T @ x for x in parts]) if parts else empty)

    def __add__(self, other: ClassStatistics) -> ClassStatistics:
        """Statistics of the samples of both together."""
        for name in ("means", "scatter"):
            one, two = getattr(self, name).shape, getattr(other, name).shape
            if one != two:
                raise ShapeError(
                    f"statistics with `{name}` {tuple(one)} and {tuple(two)} cannot be added; "
                    "compute both for the same classes, features and kind of head"
                )
        counts = self.counts + other.counts
        share = other.counts / counts.clamp(min=1)  # (c,)
        apart = other.means - self.means
        between = torch.einsum("c,ci,cj->cij", self.counts * share, apart, apart)
        if len(self.scatter) != len(between):
            between = between.sum(0, keepdim=True)[: len(self.scatter)]
        means = self.means + share.unsqueeze(1) * apart
        return ClassStatistics(counts, means, self.scatter + other.scatter + between)

    def within(self) -> Tensor:
        """Scatter about the means of the classes, ``(h, h)``."""
        return self.scatter.sum(0)

    def total(self) -> Tensor:
        """Scatter about the mean of all samples, ``(h, h)``."""
        mean = self.counts @ self.means / self.counts.sum().clamp(min=1)
        apart = self.means - mean
        return self.within() + (self.counts.unsqueeze(1) * apart).T @ apart


class ClassMemory(nn.Module):
    """The statistics that a head was fitted to; before that, centers that are trained.

    Args:
        width: Columns of the features.
        classes: Number of classes.
        scatter: Number of scatter matrices, as for :meth:`ClassStatistics.of`.
    """

    counts: Tensor
    fitted_means: Tensor
    scatter: Tensor

    def __init__(self, width: int, classes: int, scatter: int = 0):
        super().__init__()
        self.centers = nn.Parameter(torch.randn(classes, width) * width**-0.5)
        self.register_buffer("counts", torch.zeros(classes))
        self.register_buffer("fitted_means", torch.zeros(classes, width))
        self.register_buffer("scatter", torch.zeros(scatter, width, width))

    def means(self) -> Tensor:
        """Means of the classes ``(c, h)``: the fitted ones, or the centers if there are none."""
        return torch.where(self.counts.sum() > 0, self.fitted_means, self.centers)

    def read(self) -> ClassStatistics:
        """The statistics of the fit; all zeros before."""
        return ClassStatistics(self.counts, self.fitted_means, self.scatter)

    def measure(self, features: Tensor, labels: Tensor) -> ClassStatistics:
        """Statistics of samples, with as many scatter matrices as this memory has."""
        classes, width = self.centers.shape
        if features.dim() == 2 and features.shape[1] != width:
            raise ShapeError(
                f"`features` has {features.shape[1]} columns, expected {width}: the head's width"
            )
        return ClassStatistics.of(features, labels, classes, len(self.scatter))

    def write(self, statistics: ClassStatistics) -> None:
        """Store statistics, on the device and in the dtype of the head.

        Raises:
            ShapeError: If they are for other classes or features, or another kind of head.
            DataError: If a class has no samples; names the classes.
        """
        for name, own in (("means", self.fitted_means), ("scatter", self.scatter)):
            came = getattr(statistics, name).shape
            if came != own.shape:
                raise ShapeError(
                    f"`{name}` is {tuple(came)}, expected {tuple(own.shape)} for this head"
                )
        missing = (statistics.counts == 0).nonzero().flatten().tolist()
        if missing:
            raise DataError(
                f"no samples of {_named(missing)}; give each of the {len(statistics.counts)} "
                "classes one or more, or make the head for fewer classes"
            )
        self.counts = statistics.counts.to(self.centers)
        self.fitted_means = statistics.means.to(self.centers)
        self.scatter = statistics.scatter.to(self.centers)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared distance of each row of ``x`` ``(b, h)`` to each of ``y`` ``(c, h)``, ``(b, c)``.

    One matrix product and smooth, unlike ``torch.cdist``, which has no second derivative; taken
    about the mean of ``y`` so that data far from zero lose no digits.

    >>> squared_distances(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 0.0], [3.0, 5.0]]))
    tensor([[25.,  1.]])
    """
    center = y.mean(0)
    x, y = x - center, y - center
    return x.square().sum(1, keepdim=True) - 2 * x @ y.T + y.square().sum(1)


def _require_samples(features: Tensor, labels: Tensor, classes: int) -> None:
    if features.dim() != 2 or not features.is_floating_point():
        raise ShapeError(
            f"`features` is {features.dtype} of shape {tuple(features.shape)}, expected floats "
            "(b, h)"
        )
    if labels.dtype != torch.int64 or labels.shape != features.shape[:1]:
        raise ShapeError(
            f"`labels` is {labels.dtype} of shape {tuple(labels.shape)}, expected int64 "
            f"({len(features)},)"
        )
    wrong = labels[(labels < 0) | (labels >= classes)].unique().tolist()
    if wrong:
        raise DataError(f"`labels` has {wrong[:5]}, expected classes from 0 to {classes - 1}")
    if not features.isfinite().all():
        raise DataError("`features` has NaN or infinite values; leave those samples out")


def _named(classes: list[int]) -> str:
    shown = ", ".join(map(str, classes[:10])) + (", ..." if len(classes) > 10 else "")
    return f"class {shown}" if len(classes) == 1 else f"classes {shown}"
