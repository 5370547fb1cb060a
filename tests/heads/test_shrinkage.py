"""Shrinkage along a graph of classes: values by hand, textbook formulas, when it keeps off."""

from __future__ import annotations

import pytest
import torch

from gtl.data import CategoryGraph
from gtl.errors import ConfigError, DataError
from gtl.heads import Prototype, Shrinkage
from gtl.heads.shrinkage import _isotropic_share, _spread
from gtl.testing import check_head

PATHS = [
    f"/{i // 6}/{i // 3}/{i}" for i in range(36)
]  # two groups of three below each of six areas
TREE = CategoryGraph.from_paths(PATHS)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def classes_along_the_tree(share: float, seed: int = 0, d: int = 23):
    """Means whose spread follows the tree by ``share``; 6 samples of each class but one of some."""
    area, group, own = (
        torch.randn(n, d, generator=rng(3 * seed + i)).double() for i, n in enumerate((6, 12, 36))
    )
    along = (area[torch.arange(36) // 6] + group[torch.arange(36) // 3]) * 0.5**0.5
    means = share**0.5 * along + (1 - share) ** 0.5 * own
    counts = torch.where(torch.arange(36) % 3 == 0, 1, 20)
    labels = torch.arange(36).repeat_interleave(counts)
    x = means[labels] + 1.5 * torch.randn(len(labels), d, generator=rng(seed + 100)).double()
    return x, labels, means


def test_variances_are_those_of_the_analysis_of_variance() -> None:
    x = torch.tensor([[0.0], [2.0], [7.0], [9.0], [20.0], [22.0]], dtype=torch.float64)
    y = torch.arange(3).repeat_interleave(2)
    head = Shrinkage(1, 3, [[]], metric="plain").double().fit(x, y)
    spread = _spread(head.statistics, head.statistics.means, torch.eye(1).double())
    means = torch.tensor([1.0, 8.0, 21.0]).double()
    expected = means.var() - 2 / 2  # of class means, less what noise adds to it: 2 a sample
    assert torch.isclose(spread.between, expected)
    assert torch.allclose(spread.noise, torch.full((3,), 1.0).double(), rtol=1e-3)


def test_one_class_alone_is_shrunk_as_james_and_stein_do() -> None:
    x, y, _ = classes_along_the_tree(0.0)
    head = Shrinkage(23, 36, TREE.graph(), strength=0.0, metric="plain").double().fit(x, y)
    held = head.statistics
    spread = _spread(held, held.means, torch.eye(23).double())
    kept = spread.between / (spread.between + spread.noise)  # t / (t + s / n)
    assert torch.allclose(head.vectors, kept.unsqueeze(1) * spread.apart, rtol=1e-8)
    assert kept[0] < 0.5 < 0.8 < kept[1]  # one sample, twenty samples


def test_posterior_means_are_those_of_a_gaussian_conditioned_on_what_is_seen() -> None:
    x, y, _ = classes_along_the_tree(0.7)
    head = Shrinkage(23, 36, TREE.graph(), metric="plain").double().fit(x, y)
    held = head.statistics
    spread = _spread(held, held.means, torch.eye(23).double())
    laplacian = head._laplacians[0]
    likely = -torch.inf
    for tie in (0.3, 1.0, 3.0):
        kernel = torch.linalg.inv(torch.eye(36).double() + tie * laplacian)
        kernel = kernel / torch.outer(kernel.diagonal().sqrt(), kernel.diagonal().sqrt())
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            prior = spread.between * ((1 - share) * torch.eye(36) + share * kernel)
            seen = torch.distributions.MultivariateNormal(
                torch.zeros(36).double(), prior + torch.diag(spread.noise)
            )
            value = seen.log_prob(spread.apart.T).sum()
            if value > likely:
                likely, best = value, (share, prior, seen.covariance_matrix)
    share, prior, covariance = best
    assert float(head.share) == share
    expected = prior @ torch.linalg.inv(covariance) @ spread.apart
    assert torch.allclose(head.vectors, expected, rtol=1e-6, atol=1e-8)


def test_a_true_tree_brings_few_samples_nearer_to_the_truth() -> None:
    for seed in range(3):
        x, y, means = classes_along_the_tree(0.8, seed)
        few = torch.arange(36) % 3 == 0
        errors = []
        for options in ({}, {"strength": 0.0}):
            head = Shrinkage(23, 36, TREE.graph(), metric="plain", **options).double().fit(x, y)
            found = head.vectors + head.center
            errors.append(float((found - means)[few].square().sum()))
        assert errors[0] < 0.9 * errors[1]


@pytest.mark.parametrize("seed", range(3))
def test_a_graph_that_says_nothing_is_left_alone(seed: int) -> None:
    x, y, _ = classes_along_the_tree(0.8, seed)
    found = []
    for graph in (
        CategoryGraph.random(36, len(TREE.src), rng(seed)),
        CategoryGraph.identity(36),
        CategoryGraph.uniform(36),
    ):
        head = Shrinkage(23, 36, graph.graph()).double().fit(x, y)
        assert float(head.share) == 0
        found.append(head.vectors)
    assert all(torch.equal(one, found[0]) for one in found)
    assert float(Shrinkage(23, 36, TREE.graph()).double().fit(x, y).share) >= 0.5


def test_of_several_graphs_the_likeliest_is_used() -> None:
    x, y, _ = classes_along_the_tree(0.8)
    noise = CategoryGraph.random(36, len(TREE.src), rng())
    both = Shrinkage(23, 36, [noise.graph(), TREE.graph()]).double().fit(x, y)
    alone = Shrinkage(23, 36, TREE.graph()).double().fit(x, y)
    assert torch.equal(both.vectors, alone.vectors)


def test_features_are_mapped_so_that_classes_scatter_alike_in_all_directions() -> None:
    x, y, _ = classes_along_the_tree(0.5)
    x = x @ torch.randn(23, 23, generator=rng()).double()
    head = Shrinkage(23, 36, TREE.graph()).double().fit(x, y)
    mapped = head.map.T @ head.statistics.within() @ head.map
    assert torch.linalg.cond(mapped) < 0.1 * torch.linalg.cond(head.statistics.within())
    plain = Shrinkage(23, 36, TREE.graph(), metric="plain").double().fit(x, y)
    assert torch.equal(plain.map, torch.eye(23).double())


def test_the_covariance_is_shrunk_as_scikit_learn_does() -> None:
    from sklearn.covariance import oas

    x, y, _ = classes_along_the_tree(0.5)
    x = x * torch.linspace(0.1, 3, 23).double()
    within = Shrinkage(23, 36, TREE.graph()).double().measure(x, y).within()
    spare = len(y) - 36
    rows = torch.linalg.qr(torch.randn(spare, 23).double())[0] @ torch.linalg.cholesky(within).T
    _, expected = oas(rows.numpy(), assume_centered=True)
    assert torch.isclose(
        _isotropic_share(within / spare, torch.tensor(spare)), torch.tensor(expected).double()
    )
    ball = torch.eye(23).double() + 1e-3 * torch.diag(torch.arange(23.0).double())
    assert _isotropic_share(ball, torch.tensor(29)) == 1
    for size in (1e-30, 1e30):  # squares are out of the range of single precision
        share = _isotropic_share((size * within / spare).float(), torch.tensor(spare))
        assert torch.isclose(share.double(), torch.tensor(expected).double(), atol=1e-4)


def test_with_many_samples_it_is_the_prototype_head_about_the_common_mean() -> None:
    x, y, means = classes_along_the_tree(0.5)
    y = torch.arange(36).repeat(200)
    x = means[y] + 0.1 * torch.randn(len(y), 23, generator=rng()).double()
    head = Shrinkage(23, 36, TREE.graph(), metric="plain").double().fit(x, y)
    plain = Prototype(23, 36, similarity="cosine").double().fit(x - head.center, y)
    assert torch.allclose(head(x), plain(x - head.center), atol=1e-2)


@pytest.mark.parametrize("counts", [[1] * 5, [2, 1, 1, 1, 1], [3, 3, 3, 3, 3]])
def test_few_samples_and_constant_features_stay_finite(counts: list[int]) -> None:
    y = torch.arange(5).repeat_interleave(torch.tensor(counts))
    graph = [[0, 1, 1.0], [2, 3, 0.5]]
    for x in (torch.randn(len(y), 7), torch.zeros(len(y), 7), 1e4 + torch.randn(len(y), 7)):
        out = Shrinkage(7, 5, [graph]).fit(x, y)(x)
        assert out.isfinite().all()


def test_a_fitted_head_obeys_the_laws_and_derivatives_reach_the_samples() -> None:
    y = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
    x = torch.randn(8, 5, dtype=torch.float64, generator=rng())
    graph = [[0, 1, 1.0]]
    check_head(lambda h, c: Shrinkage(h, c, [graph]).fit(x.float(), y))
    head, query = Shrinkage(5, 3, [graph], strength=0.5).double(), torch.randn(4, 5).double()
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: head.fit(s, y)(query), x)


def test_parts_add_up_and_a_fitted_head_is_loaded_into_a_fresh_one() -> None:
    x, y, _ = classes_along_the_tree(0.5)
    whole, parts = (Shrinkage(23, 36, TREE.graph()).double() for _ in range(2))
    whole.fit(x, y)
    halves = torch.arange(len(y)) % 2 == 0
    parts.use(parts.measure(x[halves], y[halves]) + parts.measure(x[~halves], y[~halves]))
    assert torch.allclose(whole(x), parts(x), rtol=1e-8)
    fresh = Shrinkage(23, 36, TREE.graph()).double()
    fresh.load_state_dict(whole.state_dict())
    assert torch.equal(fresh(x), whole(x))


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(ConfigError, match="`strength` is 2"):
        Shrinkage(5, 3, [[]], strength=2)
    with pytest.raises(ConfigError, match="`metric` is 'total'"):
        Shrinkage(5, 3, [[]], metric="total")
    with pytest.raises(ConfigError, match="`graphs` is empty"):
        Shrinkage(5, 3, [])
    with pytest.raises(DataError, match="negative weight"):
        Shrinkage(5, 3, [[[0, 1, -1.0]]])
