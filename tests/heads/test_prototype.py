"""Prototypes: values by hand, published logits, statistics that add up, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestCentroid

from gtl.errors import ConfigError, DataError, ShapeError
from gtl.heads import Prototype
from gtl.heads.class_statistics import ClassStatistics, squared_distances
from gtl.testing import check_head


def samples(b: int = 23, h: int = 5, c: int = 3, seed: int = 0):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.arange(c), torch.randint(c, (b - c,), generator=rng)])
    return torch.randn(b, h, generator=rng, dtype=torch.float64), labels


def test_it_is_minus_the_squared_distance_to_the_means() -> None:
    head = Prototype(2, 2).fit(
        torch.tensor([[0.0, 0.0], [4.0, 2.0], [1.0, 1.0]]), torch.tensor([1, 1, 0])
    )
    out = head(torch.tensor([[1.0, 3.0], [2.0, 1.0]]))
    assert torch.allclose(out, torch.tensor([[-4.0, -5.0], [-1.0, 0.0]]), atol=1e-6)


def test_cosines_do_not_care_for_length() -> None:
    head = Prototype(2, 2, similarity="cosine", scale=5.0).fit(
        torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([0, 1])
    )
    out = head(torch.tensor([[0.0, 7.0], [0.0, 0.0]]))
    assert torch.allclose(out, torch.tensor([[4.0, 5.0], [0.0, 0.0]]))


@pytest.mark.parametrize("case", ["k1", "k3", "k5", "mixed"])
def test_it_gives_the_published_logits(case: str, golden: Path) -> None:
    numbers = np.load(golden / "fit_heads.npz")
    _, labels = np.unique(numbers[f"labels_{case}"], return_inverse=True)
    head = Prototype(5, 3).double()
    head.fit(torch.from_numpy(numbers[f"support_{case}"]), torch.from_numpy(labels))
    means, logits = (
        torch.from_numpy(numbers[f"{x}_{case}"]) for x in ("means", "logits_protonets")
    )
    out = head(torch.from_numpy(numbers["query"]))
    assert torch.allclose(head.statistics.means, means, rtol=1e-10, atol=1e-10)
    assert torch.allclose(out, logits, rtol=1e-10, atol=1e-10)


def test_it_chooses_what_scikit_learn_chooses() -> None:
    x, y = samples()
    query = samples(seed=1)[0]
    ours = Prototype(5, 3).double().fit(x, y)(query).argmax(1)
    assert (ours.numpy() == NearestCentroid().fit(x, y).predict(query)).all()


def test_distances_far_from_zero_lose_no_digits() -> None:
    x, y = torch.randn(7, 5), torch.randn(3, 5)
    near, far = squared_distances(x, y), squared_distances(x + 1024, y + 1024)
    assert torch.allclose(near, torch.cdist(x, y).square(), rtol=1e-4)
    assert torch.allclose(near, far, rtol=1e-2)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 23), st.sampled_from([0, 1, 3]), st.integers(0, 9))
def test_statistics_of_parts_add_up(cut: int, scatter: int, seed: int) -> None:
    x, y = samples(seed=seed)
    whole = ClassStatistics.of(x, y, 3, scatter)
    parts = [
        ClassStatistics.of(a, b, 3, scatter) for a, b in ((x[:cut], y[:cut]), (x[cut:], y[cut:]))
    ]
    merged = parts[0] + parts[1]
    for name in ("counts", "means", "scatter"):
        assert torch.allclose(getattr(merged, name), getattr(whole, name), rtol=1e-12, atol=1e-12)


def test_statistics_far_from_zero_keep_their_digits() -> None:
    x, y = samples()
    near = ClassStatistics.of(x.float(), y, 3, 1)
    far = [
        ClassStatistics.of(x.float() + 4096, y, 3, 1)
        for x, y in ((x[:11], y[:11]), (x[11:], y[11:]))
    ]
    # Raw sums of squares, about 4e8 here, would leave float32 no digit of a variance of 1.
    assert torch.allclose((far[0] + far[1]).scatter, near.scatter, rtol=0, atol=0.05)


def test_classes_may_come_one_after_the_other() -> None:
    x, y = samples()
    head = Prototype(5, 3).double()
    parts = [head.measure(x[y == i], y[y == i]) for i in range(3)]
    with pytest.raises(DataError, match="no samples of class 2;"):
        head.use(parts[0] + parts[1])
    head.use(parts[0] + parts[1] + parts[2])
    query = samples(seed=1)[0]
    assert torch.allclose(head(query), Prototype(5, 3).double().fit(x, y)(query), rtol=1e-12)


def test_it_is_trained_like_any_head_before_it_is_fitted() -> None:
    x, y = samples()
    head = Prototype(5, 3).double()
    optimizer = torch.optim.SGD(head.parameters(), lr=0.05)
    losses = []
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(head(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
def test_a_fitted_head_obeys_the_laws_and_derivatives_reach_the_samples(similarity: str) -> None:
    x, y = samples()
    check_head(lambda h, c: Prototype(h, c, similarity=similarity).fit(x.float(), y))
    head, query = Prototype(5, 3, similarity=similarity).double(), samples(b=4, seed=1)[0]
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: head.fit(s, y)(query), x)


def test_a_fitted_head_is_loaded_into_a_fresh_one() -> None:
    x, y = samples()
    fitted, fresh = Prototype(5, 3).double().fit(x, y), Prototype(5, 3).double()
    fresh.load_state_dict(fitted.state_dict())
    assert torch.equal(fresh(x), fitted(x))


def test_what_cannot_be_fitted_is_named() -> None:
    x, y = samples()
    head = Prototype(5, 4).double()
    with pytest.raises(DataError, match="no samples of class 3; give each of the 4"):
        head.fit(x, y)
    with pytest.raises(DataError, match=r"`labels` has \[4\], expected classes from 0 to 3"):
        head.fit(x, y.clone().fill_(4))
    with pytest.raises(DataError, match="NaN or infinite"):
        head.fit(x * torch.inf, y)
    with pytest.raises(ShapeError, match=r"`features` has 4 columns, expected 5"):
        head.fit(x[:, :4], y)
    with pytest.raises(ShapeError, match=r"`labels` is torch.int64 of shape \(23, 1\)"):
        head.fit(x, y.unsqueeze(1))
    with pytest.raises(ShapeError, match="cannot be added"):
        ClassStatistics.of(x, y, 3) + ClassStatistics.of(x, y, 3, 3)
    with pytest.raises(ConfigError, match="`similarity` is 'dot'"):
        Prototype(5, 3, similarity="dot")
