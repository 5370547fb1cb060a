"""Gaussian heads: a mean and a shrunk covariance for each class, or one covariance for all.

The heads of FiT (Shysheya et al. 2023): a Gaussian per class with covariances shrunk by learned
weights, ``kind="qda"``; one covariance for all, ``"lda"``; the means alone, ``"proto"``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError, DataError
from gtl.heads.class_statistics import ClassMemory, squared_distances
from gtl.heads.closed_form import ClosedForm, classes_of_binary, of_one_against_zero

# Initial weights of the covariances by kind: those of FiT's code.
_SHRINKAGE: dict[str, tuple[float, ...]] = {"qda": (0.5, 0.5, 1.0), "lda": (1.0, 1.0), "proto": ()}
_TASKS = ("total", "within")
_PRIORS = ("uniform", "empirical")
_OAS = "oas"
_RAISES = 10  # of what is added to a matrix without a root; the last is more than its trace


class Gaussian(ClosedForm):
    """Log-density of a Gaussian for each class; for ``"proto"`` minus the distance to its mean.

    The covariance of class ``i`` is ``e1 S_i + e2 S + e3 I`` (``"qda"``) or ``e2 S + e3 I``
    (``"lda"``), with the unbiased covariances ``S_i`` of its samples and ``S`` of the task. The
    parameters are their logarithms: FiT's ReLU has no gradient once a weight is negative, and with
    few samples the matrix is singular if ``e3`` is 0. A class with one sample has ``S_i = 0``;
    FiT's code adds a number to every entry of the matrix there.

    Until :meth:`fit` the means are parameters and the covariance is ``e3 I``, so the head can be
    trained like any other. ``"qda"`` stores a matrix per class; with many classes, use ``"lda"``.

    Args:
        width: Columns of the features.
        outputs: Number of classes.
        kind: ``"qda"``, ``"lda"`` or ``"proto"``.
        task: Center of ``S``: ``"total"``, the mean of all samples, as in FiT, so that differences
            between classes count as variance too; or ``"within"``, the mean of each class, as in
            textbooks.
        prior: ``"uniform"``, or ``"empirical"`` to add the logarithm of each class's share.
        shrinkage: Initial weights, positive, ``(e1, e2, e3)`` or ``(e2, e3)``; FiT's by default,
            ``(0.5, 0.5, 1)`` and ``(1, 1)``. These depend on the scale of the features. ``"oas"``
            does not, and trains nothing: ``(1 - r) S + r m I`` with the mean variance ``m`` of
            ``S`` and the share ``r`` of Chen et al. 2010 (OAS), which falls with the number of
            samples; for ``kind="lda"``.
        binary: Whether the one output of a binary label is the difference between the scores of
            two classes, 1 and 0, to which the head is fitted.

    Raises:
        ConfigError: If an option is outside its range, or ``binary`` has several outputs.

    Example:
        >>> head = Gaussian(1, 2, shrinkage=[1.0, 2.0])
        >>> head = head.fit(torch.tensor([[0.0], [4.0]]), torch.tensor([0, 1]))  # variance 8 + 2
        >>> head(torch.tensor([[2.0], [4.0]])).softmax(1).detach()
        tensor([[0.5000, 0.5000],
                [0.3100, 0.6900]])
    """

    def __init__(
        self,
        width: int,
        outputs: int,
        kind: str = "lda",
        task: str = "total",
        prior: str = "uniform",
        shrinkage: Sequence[float] | str | None = None,
        binary: bool = False,
    ):
        super().__init__()
        for name, value, known in (
            ("kind", kind, tuple(_SHRINKAGE)),
            ("task", task, _TASKS),
            ("prior", prior, _PRIORS),
        ):
            if value not in known:
                raise ConfigError(f"`{name}` is {value!r}, expected one of: {', '.join(known)}")
        start = _weights(kind, shrinkage)
        self.kind, self.task, self.prior, self.binary = kind, task, prior, binary
        classes = classes_of_binary(outputs) if binary else outputs
        self.classes = ClassMemory(width, classes, {"qda": classes, "lda": 1, "proto": 0}[kind])
        if start:
            self.log_shrinkage = nn.Parameter(torch.tensor(start).log())

    @property
    def shrinkage(self) -> Tensor:
        """The weights of the covariances, ``(3,)`` or ``(2,)``, always positive; not of OAS."""
        return self.log_shrinkage.exp()

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``(b, c)`` of features ``(b, width)``."""
        means = self.classes.means()
        if self.kind == "proto":
            logits = -squared_distances(features, means)
        else:
            roots = self._covariances()[1]  # (c or 1, h, h)
            distances = _whitened if self.kind == "lda" else _by_class
            volume = 2 * roots.diagonal(dim1=1, dim2=2).log().sum(1)
            width = features.shape[1] * math.log(2 * math.pi)
            logits = -0.5 * (distances(features, means, roots) + volume + width)
        logits = logits + self._log_prior() if self.prior == "empirical" else logits
        return of_one_against_zero(logits) if self.binary else logits

    def covariances(self) -> Tensor:
        """Shrunk covariances, ``(c, h, h)``, or ``(1, h, h)`` of ``"lda"``; never singular.

        Raises:
            ConfigError: If ``kind="proto"``, which has none.
            DataError: If features are so large that one is not finite.
        """
        if self.kind == "proto":
            raise ConfigError("a head of kind 'proto' has no covariances; take 'lda' or 'qda'")
        return self._covariances()[0]

    def _covariances(self) -> tuple[Tensor, Tensor]:
        """Shrunk covariances and their Cholesky roots, ``(c or 1, h, h)`` each."""
        fitted = self.statistics
        is_total = self.task == "total"
        freedom = (fitted.counts.sum() - (1 if is_total else len(fitted.counts))).clamp(min=1)
        task = (fitted.total() if is_total else fitted.within()) / freedom
        eye = torch.eye(len(task), dtype=task.dtype, device=task.device)
        if not hasattr(self, "log_shrinkage"):
            return _regular(_oas(task, freedom, eye).unsqueeze(0))
        weights = self.shrinkage
        shrunk = (weights[-2] * task + weights[-1] * eye).unsqueeze(0)
        if self.kind == "qda":
            own = (fitted.counts - 1).clamp(min=1)
            shrunk = shrunk + weights[0] * fitted.scatter / own[:, None, None]
        return _regular(shrunk + _rounding(shrunk) * eye)

    def _log_prior(self) -> Tensor:
        counts = self.classes.counts
        counts = torch.where(counts.sum() > 0, counts, torch.ones_like(counts))
        return (counts / counts.sum()).log()


def _weights(kind: str, shrinkage: Sequence[float] | str | None) -> tuple[float, ...]:
    """Weights that are trained; none of them for OAS."""
    known = _SHRINKAGE[kind]
    if shrinkage is None:
        return known
    if isinstance(shrinkage, str):
        if shrinkage == _OAS and kind == "lda":
            return ()
    elif len(shrinkage) == len(known) and all(0 < e < math.inf for e in shrinkage):
        return tuple(shrinkage)
    or_oas = f", or {_OAS!r}" if kind == "lda" else ""
    raise ConfigError(
        f"`shrinkage` is {shrinkage!r}, expected {len(known)} positive numbers for {kind!r}{or_oas}"
    )


def _oas(covariance: Tensor, freedom: Tensor, eye: Tensor) -> Tensor:
    """A covariance ``(h, h)`` shrunk to a multiple of ``eye``, the share as in scikit-learn's OAS.

    Where there is no variance, as before a fit, it is ``eye``.
    """
    mean = covariance.diagonal().mean()
    square = (covariance / torch.where(mean > 0, mean, 1)).square().mean()
    apart = (freedom + 1) * (square - 1 / len(eye))
    tiny = torch.finfo(covariance.dtype).tiny
    share = ((square + 1) / apart.clamp(min=tiny)).clamp(max=1)
    shrunk = (1 - share) * covariance + share * mean * eye
    shrunk = shrunk + _rounding(shrunk.unsqueeze(0))[0] * eye
    return torch.where(mean > 0, shrunk, eye)


def _whitened(features: Tensor, means: Tensor, roots: Tensor) -> Tensor:
    """Mahalanobis distances ``(b, c)`` where all classes share one root ``(1, h, h)``."""
    both = torch.cat([means, features])
    white = torch.linalg.solve_triangular(roots[0], both.T, upper=False).T
    return squared_distances(white[len(means) :], white[: len(means)])


def _by_class(features: Tensor, means: Tensor, roots: Tensor) -> Tensor:
    """Mahalanobis distances ``(b, c)`` with a root ``(c, h, h)`` for each class."""
    apart = (features - means.unsqueeze(1)).mT  # (c, h, b)
    white = torch.linalg.solve_triangular(roots, apart, upper=False)
    return white.square().sum(1).T


def _regular(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """The matrices ``(k, h, h)`` and their Cholesky roots.

    To the diagonal of a matrix that has no root because of rounding, as where scales of columns
    differ by many powers of ten, the least multiple of :func:`_rounding` is added that gives it
    one: 1, 11, 111, ...

    Raises:
        DataError: If a matrix is not finite.
    """
    eye = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    added = _rounding(matrices.detach())
    for _ in range(_RAISES):
        roots, info = torch.linalg.cholesky_ex(matrices)
        if not bool((info != 0).any()):
            return matrices, roots
        matrices = torch.where((info != 0)[:, None, None], matrices + added * eye, matrices)
        added = 10 * added
    raise DataError("a covariance of the features is not finite; divide the features by their size")


def _rounding(matrices: Tensor) -> Tensor:
    """Bound of the rounding error of the smallest eigenvalue of each matrix, ``(k, 1, 1)``.

    Added to the diagonal so that none is singular: with features in the thousands, ``e3`` alone is
    less than that in float32.
    """
    width = matrices.shape[-1]
    mean = matrices.diagonal(dim1=1, dim2=2).mean(1)
    return (width * torch.finfo(matrices.dtype).eps * mean)[:, None, None]
