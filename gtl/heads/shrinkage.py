"""Class means that are shrunk toward those of related classes.

Empirical Bayes (Efron & Morris 1973) on a graph: means of classes are a Gaussian Markov random
field, samples scatter about them, and the strength of the graph is estimated from the data. The
mean of a class with few samples moves toward those of its neighbors, that of a class with many
hardly at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError, DataError
from gtl.graph import Graph
from gtl.heads.class_graph import Graphs, as_triples, edge_weights, graphs_of_classes
from gtl.heads.class_statistics import ClassMemory, ClassStatistics
from gtl.heads.closed_form import ClosedForm
from gtl.heads.cosine import unit_rows

METRICS = ("within", "plain")
# Values that are tried; the most likely one is used, so a coarse grid is enough.
_TIES = (0.3, 1.0, 3.0)  # precision of a difference along an edge, relative to a class's own
_SHARES = (0.25, 0.5, 0.75, 1.0)  # of the variance of class means that follows the graph


class Shrinkage(ClosedForm):
    """Cosines with class means that were shrunk along a graph of classes.

    Means ``m`` of ``n`` samples each are seen with noise ``s / n`` about true ones, which have the
    covariance ``t K``, ``K = (1 - share) I + share (I + tie L)^-1`` with the graph's Laplacian
    ``L``, scaled to a diagonal of ones. The class vectors are the posterior means. ``s`` and ``t``
    come from the analysis of variance, ``tie`` and ``share`` are the most likely ones for the
    means at hand, all classes together; a graph that does not fit them gets the share 0. Edges
    count in both directions and self-loops not at all. Time grows with the cube of the number of
    classes, in :meth:`fit` alone.

    Until :meth:`fit` the class vectors are parameters, trained like those of any head.

    Args:
        width: Columns of the features ``d``.
        outputs: Number of classes ``c``.
        graphs: Graphs of the classes, as for :class:`gtl.heads.KGTN`; of several the most likely
            one is used. Weights are 0 or more.
        strength: Share of the variance that follows the graph, 0 to 1; ``None`` for the most
            likely one.
        metric: ``"within"``: features are mapped so that classes scatter alike in all directions,
            by their pooled covariance, itself shrunk toward an isotropic one (Chen et al. 2010); or
            ``"plain"``.
        scale: Initial factor of the cosines; it is learned.

    Attributes:
        vectors: Posterior means less the common mean, mapped, ``(c, d)``.
        share: Share of the variance that follows the graph, ``()``.

    Raises:
        ConfigError: If an option is outside its range, or there is no graph.
        DataError: If a weight is negative.

    Example:
        >>> x = torch.tensor([[4.0], [6.0], [1.0], [-4.0], [-6.0]])
        >>> y, friends = torch.tensor([0, 0, 1, 2, 2]), [[[0, 1, 1.0]]]
        >>> moved = [Shrinkage(1, 3, friends, share).fit(x, y).vectors[1] for share in (0.0, 1.0)]
        >>> bool(moved[1] > moved[0])  # class 1, known from one sample, toward class 0
        True
    """

    vectors: Tensor
    center: Tensor
    map: Tensor
    share: Tensor

    def __init__(
        self,
        width: int,
        outputs: int,
        graphs: Graphs,
        strength: float | None = None,
        metric: str = "within",
        scale: float = 10.0,
    ):
        super().__init__()
        if strength is not None and not 0 <= strength <= 1:
            raise ConfigError(f"`strength` is {strength}, expected 0 to 1, or None")
        if metric not in METRICS:
            raise ConfigError(f"`metric` is {metric!r}, expected one of: {', '.join(METRICS)}")
        given = graphs_of_classes(graphs, outputs)
        self.arguments["graphs"] = [as_triples(graph) for graph in given]
        self._laplacians = [_laplacian(graph) for graph in given]
        self.strength, self.metric = strength, metric
        self.classes = ClassMemory(width, outputs, 1)
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        self.register_buffer("vectors", torch.zeros(outputs, width))
        self.register_buffer("center", torch.zeros(width))
        self.register_buffer("map", torch.eye(width))
        self.register_buffer("share", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``(b, c)`` of features ``(b, width)``."""
        fitted = self.classes.counts.sum() > 0
        vectors = torch.where(fitted, self.vectors, self.classes.centers)
        mapped = (features - self.center) @ self.map
        return self.scale * unit_rows(mapped) @ unit_rows(vectors).T

    def settle(self) -> None:
        """Compute class vectors from the statistics."""
        fitted = self.statistics
        self.map = _map(fitted, self.metric)
        mapped = fitted.means @ self.map
        spread = _spread(fitted, mapped, self.map)
        field, self.share = self._most_likely(spread)
        self.center = spread.mean @ fitted.means
        self.vectors = field @ (mapped - spread.mean @ mapped)

    def _most_likely(self, spread: Spread) -> tuple[Tensor, Tensor]:
        """The matrix ``(c, c)`` that shrinks means, and its share of the graph."""
        found = []
        shares = _SHARES if self.strength is None else (self.strength,)
        for share in (0.0, *shares) if self.strength is None else shares:
            for kernel in self._kernels(spread.noise) if share else [torch.eye(len(spread.noise))]:
                prior = (1 - share) * torch.eye(len(kernel)).to(kernel) + share * kernel
                found.append((spread.likelihood(prior.to(spread.noise)), share, prior))
        _, share, prior = max(found, key=lambda each: each[0])
        return spread.posterior(prior.to(spread.noise)), spread.noise.new_tensor(share)

    def _kernels(self, like: Tensor) -> list[Tensor]:
        found = []
        for laplacian in self._laplacians:
            for tie in _TIES:
                kernel = torch.linalg.inv(torch.eye(len(laplacian)).double() + tie * laplacian)
                root = kernel.diagonal().rsqrt()
                found.append((kernel * root * root.unsqueeze(1)).to(like))
        return found


@dataclass(frozen=True)
class Spread:
    """The scatter of class means, and the variance of each estimate.

    Attributes:
        apart: Means less the common mean, mapped, ``(c, d)``.
        mean: Weight of each class in the common mean, ``(c,)``.
        between: Variance of true means in each column, ``()``.
        noise: Variance of each mean about the true one, ``(c,)``.
    """

    apart: Tensor
    mean: Tensor
    between: Tensor
    noise: Tensor

    def likelihood(self, prior: Tensor) -> float:
        """Log-density of the means under a prior correlation ``(c, c)`` of the true ones."""
        apart = self.apart.detach()
        root = torch.linalg.cholesky(self._covariance(prior).detach())
        white = torch.linalg.solve_triangular(root, apart, upper=False)
        return float(-0.5 * white.square().sum() - apart.shape[1] * root.diagonal().log().sum())

    def posterior(self, prior: Tensor) -> Tensor:
        """The matrix ``(c, c)`` that maps means to posterior means."""
        return torch.linalg.solve(self._covariance(prior), self.between * prior).mT

    def _covariance(self, prior: Tensor) -> Tensor:
        return self.between * prior + torch.diag(self.noise)


def _spread(fitted: ClassStatistics, mapped: Tensor, to: Tensor) -> Spread:
    """Variances between and within classes by the analysis of variance."""
    n, c, d = fitted.counts, *mapped.shape
    total = n.sum()
    rest = (to.T @ fitted.within() @ to).diagonal().sum()
    apart = mapped - (n @ mapped) / total
    between = (n * apart.square().sum(1)).sum() / d / max(c - 1, 1)
    single = bool(total <= c)
    # Where no class has two samples, noise cannot be estimated: half of the variance is assumed.
    within = between / 2 if single else rest / d / (total - c).clamp(min=1)
    each = (total - n.square().sum() / total) / max(c - 1, 1)
    true = (between - within) / each.clamp(min=1)
    # An estimate of 0 or less would shrink all means to one point; the noise is never 0 either.
    true = torch.maximum(true, 1e-3 * within)
    true = torch.where(true > 0, true, torch.ones_like(true))  # all samples are equal
    noise = within / n + 1e-6 * true
    weight = 1 / (true + noise)
    weight = weight / weight.sum()
    return Spread(mapped - weight @ mapped, weight, true, noise)


def _map(fitted: ClassStatistics, metric: str) -> Tensor:
    """A map that makes the scatter within classes isotropic, ``(d, d)``; upper triangular."""
    d = fitted.means.shape[1]
    eye = torch.eye(d, dtype=fitted.means.dtype, device=fitted.means.device)
    freedom = fitted.counts.sum() - len(fitted.counts)
    within = fitted.within() / freedom.clamp(min=1)
    size = within.diagonal().mean()
    if metric == "plain" or not bool(size > 0):
        return eye
    share = _isotropic_share(within, freedom)
    # The small number keeps the matrix regular where features are linearly dependent.
    shrunk = (1 - share) * within + (share + 1e-6) * size * eye
    root = torch.linalg.cholesky(shrunk / size)
    return torch.linalg.solve_triangular(root, eye, upper=False).T


def _isotropic_share(covariance: Tensor, samples: Tensor) -> Tensor:
    """Weight of an isotropic matrix in the estimate of a covariance ``(d, d)``, ``()``.

    Oracle approximating shrinkage (Chen et al. 2010): 1 if the samples do not contradict an
    isotropic covariance.
    """
    squares = (covariance / covariance.diagonal().mean()).square().mean()
    apart = (samples + 1) * (squares - 1 / len(covariance))
    return ((squares + 1) / torch.maximum(apart, squares + 1)).clamp(max=1)


def _laplacian(graph: Graph) -> Tensor:
    """Degrees less weights, both directions of an edge together, float64 ``(c, c)``."""
    weight = edge_weights(graph).double()
    if bool((weight < 0).any()):
        raise DataError("`graphs` has a negative weight; shrinkage needs weights of 0 or more")
    matrix = weight.new_zeros(graph.num_nodes, graph.num_nodes)
    matrix.index_put_((graph.dst, graph.src), weight, accumulate=True)
    matrix = (matrix + matrix.T) / 2
    return torch.diag(matrix.sum(1)) - matrix
