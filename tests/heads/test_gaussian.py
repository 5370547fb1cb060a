"""Gaussian heads: published logits and gradients, scikit-learn, hard samples, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.covariance import oas
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from torch.nn.functional import cross_entropy

from gtl.errors import ConfigError, DataError, ShapeError
from gtl.heads import Gaussian, Prototype
from gtl.testing import check_head

NOTHING = 1e-13  # a weight that leaves a covariance as it is


def samples(b: int = 29, h: int = 5, c: int = 3, seed: int = 0):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.arange(c), torch.randint(c, (b - c,), generator=rng)])
    x = torch.randn(b, h, generator=rng, dtype=torch.float64)
    return x @ torch.randn(h, h, generator=rng, dtype=torch.float64) + labels.unsqueeze(1), labels


def close(came, expected, tolerance: float = 1e-10) -> bool:
    return torch.allclose(came, torch.as_tensor(expected), rtol=tolerance, atol=tolerance)


def test_one_dimension_by_hand() -> None:
    head = Gaussian(1, 2, kind="qda", task="within", shrinkage=[0.25, 0.5, 3.0]).double()
    x = torch.tensor([[0.0], [4.0], [9.0], [10.0], [11.0]], dtype=torch.float64)
    head.fit(x, torch.tensor([0, 0, 1, 1, 1]))  # variances 8 and 1; within (8 + 2) / 3
    assert close(
        head.covariances().flatten(), torch.tensor([2 + 5 / 3 + 3, 0.25 + 5 / 3 + 3]).double(), 1e-6
    )
    normal = torch.distributions.Normal(
        torch.tensor([2.0, 10.0]), head.covariances().flatten().sqrt()
    )
    assert close(head(x), normal.log_prob(x))


# -- FiT's own numbers ---------------------------------------------------------------------------

CASES = [(kind, case) for kind in ("proto", "lda", "qda") for case in ("k1", "k3", "k5", "mixed")]
CASES.remove(("qda", "k1"))  # the published code adds a number to every entry of a matrix


def published(kind: str, case: str, golden: Path):
    numbers = np.load(golden / "fit_heads.npz")
    names = {"qda": ("class_cov", "task_cov", "cov_reg"), "lda": ("task_cov", "cov_reg")}
    weights = [float(numbers[f"{kind}_{name}_weight"]) for name in names.get(kind, ())]
    head = Gaussian(5, 3, kind=kind, shrinkage=weights).double()
    if weights:
        with torch.no_grad():
            head.log_shrinkage.copy_(torch.tensor(weights, dtype=torch.float64).log())
    _, labels = np.unique(numbers[f"labels_{case}"], return_inverse=True)
    support = torch.from_numpy(numbers[f"support_{case}"]).requires_grad_()
    return numbers, head.fit(support, torch.from_numpy(labels)), support


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_it_gives_the_published_logits(kind: str, case: str, golden: Path) -> None:
    numbers, head, _ = published(kind, case, golden)
    name = {"proto": "protonets"}.get(kind, kind)
    logits = head(torch.from_numpy(numbers["query"]))
    assert close(head.statistics.means, numbers[f"means_{case}"])
    if kind != "proto":
        assert close(head.covariances(), numbers[f"cov_{kind}_{case}"])
    assert close(logits, numbers[f"logits_{name}_{case}"])
    assert close(logits.log_softmax(1), numbers[f"logpost_{name}_{case}"])


@pytest.mark.parametrize("kind", ["proto", "lda", "qda"])
def test_it_gives_the_published_gradients(kind: str, golden: Path) -> None:
    numbers, head, support = published(kind, "k5", golden)
    name = {"proto": "protonets"}.get(kind, kind)
    logits = head(torch.from_numpy(numbers["query"]))
    loss = cross_entropy(logits, torch.from_numpy(numbers["query_labels"]))
    loss.backward()
    assert close(loss, numbers[f"ce_{name}_k5"])
    assert close(support.grad, numbers[f"grad_support_ce_{name}_k5"])
    if kind != "proto":  # of a logarithm: times the weight
        expected = head.shrinkage.detach() * torch.from_numpy(numbers[f"grad_scalars_ce_{kind}_k5"])
        assert close(head.log_shrinkage.grad, expected)


def test_one_sample_a_class_leaves_its_own_covariance_out() -> None:
    x, y = samples(b=3)
    qda = Gaussian(5, 3, kind="qda", shrinkage=[7.0, 0.3, 2.0]).double().fit(x, y)
    lda = Gaussian(5, 3, kind="lda", shrinkage=[0.3, 2.0]).double().fit(x, y)
    assert close(qda(x), lda(x))


# -- scikit-learn --------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", ["uniform", "empirical"])
def test_lda_is_scikit_learns_where_they_coincide(prior: str) -> None:
    x, y = samples(b=61)
    # Its covariance is divided by the number of samples.
    head = Gaussian(5, 3, task="within", prior=prior, shrinkage=[58 / 61, NOTHING]).double()
    head.log_shrinkage.data[0] = np.log(58 / 61)
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(x, y)
    logits = torch.from_numpy(theirs.predict_log_proba(x))
    if prior == "uniform":
        logits = logits - torch.from_numpy(theirs.priors_).log()
    assert close(head.fit(x, y)(x).log_softmax(1), logits.log_softmax(1), 1e-8)


@pytest.mark.parametrize("prior", ["uniform", "empirical"])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_qda_is_scikit_learns_where_they_coincide(prior: str, ridge: float) -> None:
    x, _ = samples(b=60)
    y = torch.arange(60) % 3
    plain = QuadraticDiscriminantAnalysis(store_covariance=True).fit(x, y)
    biased = plain.covariance_[0][0, 0] / x[y == 0][:, 0].var().item()
    # Its versions divide by the number of samples or by one less.
    factor = min((1.0, 19 / 20), key=lambda factor: abs(factor - biased))
    head = Gaussian(5, 3, kind="qda", prior=prior).double()
    weights = torch.tensor([(1 - ridge) * factor, NOTHING, ridge or NOTHING], dtype=torch.float64)
    head.log_shrinkage.data = weights.log()
    priors = np.full(3, 1 / 3) if prior == "uniform" else None
    theirs = QuadraticDiscriminantAnalysis(priors=priors, reg_param=ridge).fit(x, y)
    logits = torch.from_numpy(theirs.predict_log_proba(x))
    assert close(head.fit(x, y)(x).log_softmax(1), logits, 1e-8)


@pytest.mark.parametrize("task", ["total", "within"])
@pytest.mark.parametrize("b", [8, 61])
def test_oas_is_scikit_learns(task: str, b: int) -> None:
    x, y = samples(b=b)
    means = torch.stack([x[y == i].mean(0) for i in y]) if task == "within" else x.mean(0)
    rows = torch.zeros(b - (3 if task == "within" else 1), 5, dtype=torch.float64)
    # As many rows as there are degrees of freedom, with the same products.
    rows[:5] = torch.linalg.cholesky((x - means).T @ (x - means)).T
    expected, _ = oas(rows.numpy(), assume_centered=True)
    head = Gaussian(5, 3, task=task, shrinkage="oas").double().fit(x, y)
    assert close(head.covariances()[0], expected)


@pytest.mark.parametrize("size", [1e-6, 1e4])
def test_oas_does_not_depend_on_the_scale_of_the_features(size: float) -> None:
    x, y = samples()
    heads = [Gaussian(5, 3, shrinkage="oas").double().fit(s * x, y) for s in (1.0, size)]
    assert close(heads[0](x).log_softmax(1), heads[1](size * x).log_softmax(1), 1e-8)


def test_oas_is_isotropic_without_variance() -> None:
    head = Gaussian(4, 2, task="within", shrinkage="oas")
    assert torch.equal(head.covariances()[0], torch.eye(4))
    head.fit(torch.eye(4)[:2], torch.tensor([0, 1]))
    assert torch.equal(head.covariances()[0], torch.eye(4))
    assert not [name for name, _ in head.named_parameters() if "shrinkage" in name]


# -- hard samples, parts, training ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lda", "qda"])
@pytest.mark.parametrize("size", [0.0, 1e-4, 1.0, 1e4, 1e8])
def test_no_samples_make_it_singular(kind: str, size: float) -> None:
    x, y = torch.randn(4, 67), torch.tensor([0, 1, 1, 1])
    x[2] = x[1]
    x = (size * x).requires_grad_()
    for weight in (1.0, 1e-8):
        head = Gaussian(67, 2, kind=kind).fit(x, y)
        with torch.no_grad():
            head.log_shrinkage[-1] = np.log(weight)
        out = head(x)
        out.sum().backward()
        assert out.isfinite().all()
        assert x.grad.isfinite().all()
        assert head.log_shrinkage.grad.isfinite().all()


@pytest.mark.parametrize("options", [{"kind": "lda"}, {"kind": "qda"}, {"shrinkage": "oas"}])
def test_columns_of_very_different_scales_or_all_alike_make_none_singular(options) -> None:
    rng = torch.Generator().manual_seed(0)
    y = torch.tensor([0, 0, 0, 1, 1, 1])
    x = torch.randn(6, 300, generator=rng) + y.unsqueeze(1)
    for sizes in (torch.logspace(-1, 7, 300), torch.logspace(2, 10, 300)):
        out = Gaussian(300, 2, **options).fit(x * sizes, y)(x * sizes)
        assert out.isfinite().all()
    alike = (1e3 * x[:, :1]).expand(6, 300)
    assert Gaussian(300, 2, **options).fit(alike, y)(alike).isfinite().all()
    huge = 1e25 * x
    with pytest.raises(DataError, match="covariance of the features is not finite"):
        Gaussian(300, 2, **options).fit(huge, y)(huge)


@pytest.mark.parametrize("size", [1e-12, 1e11])
def test_oas_does_not_depend_on_the_scale_in_single_precision(size: float) -> None:
    x, y = samples()
    heads = [Gaussian(5, 3, shrinkage="oas").fit(s * x.float(), y) for s in (1.0, size)]
    scores = [head(s * x.float()).softmax(1) for head, s in zip(heads, (1.0, size))]
    assert torch.allclose(*scores, atol=1e-3)


@pytest.mark.parametrize("kind", ["proto", "lda", "qda"])
def test_parts_merged_are_the_whole(kind: str) -> None:
    x, y = samples()
    whole, merged = (Gaussian(5, 3, kind=kind, prior="empirical").double() for _ in range(2))
    first, *rest = [merged.measure(x[y == i], y[y == i]) for i in (2, 0, 1)]
    with pytest.raises(DataError, match="no samples of classes 0, 1;"):
        merged.use(first)
    assert close(merged.use(sum(rest, first))(x), whole.fit(x, y)(x), 1e-11)
    more, theirs = samples(seed=1)
    merged.use(merged.statistics + merged.measure(more, theirs))
    assert close(merged(x), whole.fit(torch.cat([x, more]), torch.cat([y, theirs]))(x), 1e-11)


@pytest.mark.parametrize("kind", ["proto", "lda", "qda"])
@pytest.mark.parametrize("task", ["total", "within"])
def test_a_fitted_head_obeys_the_laws_and_derivatives_reach_the_samples(kind, task) -> None:
    x, y = samples()
    check_head(lambda h, c: Gaussian(h, c, kind=kind, task=task).fit(x.float(), y))
    query = samples(b=4, seed=1)[0]
    x.requires_grad_()
    heads = [Gaussian(5, 3, kind=kind, task=task).double()]
    heads += [Gaussian(5, 3, task=task, shrinkage="oas").double()] if kind == "lda" else []
    for head in heads:
        assert torch.autograd.gradcheck(lambda s, head=head: head.fit(s, y)(query), x)


def test_training_the_shrinkage_fits_held_out_samples_better() -> None:
    x, y = samples(b=113)
    x, query, y, answers = x[:13], x[13:], y[:13], y[13:]
    head = Gaussian(5, 3, kind="qda").double().fit(x, y)
    optimizer = torch.optim.Adam([head.log_shrinkage], lr=0.1)
    losses = []
    for _ in range(15):
        loss = cross_entropy(head(query), answers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_impossible_options_are_named() -> None:
    for options in ({"kind": "gda"}, {"task": "all"}, {"prior": "flat"}):
        with pytest.raises(ConfigError, match=f"`{next(iter(options))}` is .*expected one of"):
            Gaussian(5, 3, **options)
    for weights in ([1.0], [1.0, 0.0], [1.0, float("nan")]):
        with pytest.raises(ConfigError, match="expected 2 positive numbers for 'lda'"):
            Gaussian(5, 3, shrinkage=weights)
    with pytest.raises(ConfigError, match=r"'wide', expected 2 positive numbers .* or 'oas'"):
        Gaussian(5, 3, shrinkage="wide")
    with pytest.raises(ConfigError, match=r"'oas', expected 3 positive numbers for 'qda'$"):
        Gaussian(5, 3, kind="qda", shrinkage="oas")
    with pytest.raises(ConfigError, match="no covariances"):
        Gaussian(5, 3, kind="proto").covariances()
    x, y = samples()
    with pytest.raises(
        ShapeError, match=r"`scatter` is \(3, 5, 5\), expected \(1, 5, 5\) for this"
    ):
        Gaussian(5, 3).use(Gaussian(5, 3, kind="qda").measure(x, y))


@pytest.mark.parametrize("head", [Gaussian, Prototype])
def test_the_one_output_of_a_binary_label_is_the_difference_of_two_classes(head):
    features = torch.tensor([[0.0, 1.0], [2.0, 0.0], [5.0, 5.0], [4.0, 7.0]])
    labels = torch.tensor([0, 0, 1, 1])
    both = head(2, 2).fit(features, labels)(features).detach()
    one = head(2, 1, binary=True).fit(features, labels)(features).detach()
    torch.testing.assert_close(one, both[:, 1:] - both[:, :1])
    assert (one.sigmoid()[:, 0] > 0.5).tolist() == [False, False, True, True]
    with pytest.raises(ConfigError, match="`binary` is for one binary label, there are 3 outputs"):
        head(2, 3, binary=True)
