"""The factor that calibrates a classifier: against a dense search, and what it leaves alone."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from gtl.train.calibration import Calibration, factor_of


@pytest.mark.parametrize("kind", ["multiclass", "binary"])
@pytest.mark.parametrize("given", [1e-3, 0.02, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("count", [40, 4000])
def test_the_factor_undoes_a_temperature(kind, given, count):
    torch.manual_seed(0)
    true = 2 * torch.randn(count, 3).double()
    labels = torch.distributions.Categorical(logits=true).sample()
    if kind == "binary":
        labels = torch.bernoulli(true.sigmoid())
    assert factor_of(true / given, labels, kind) == pytest.approx(
        given, rel=0.1 if count > 1000 else 0.7
    )


def test_the_factor_is_the_minimum_of_a_dense_search():
    torch.manual_seed(1)
    logits, labels = torch.randn(30, 4).double(), torch.randint(0, 4, (30,))
    logits[torch.arange(30), labels] += 1.0
    centered = logits - logits.mean(1, keepdim=True)
    unit = centered.square().mean().sqrt()
    grid = torch.linspace(-3, 3, 6001).double()
    losses = [
        F.cross_entropy(g.exp() * logits / unit, labels, reduction="sum") + g**2 / 18 for g in grid
    ]
    best = grid[torch.stack(losses).argmin()].exp() / unit
    assert factor_of(logits, labels, "multiclass") == pytest.approx(float(best), rel=2e-3)


def test_unknown_labels_are_left_out():
    torch.manual_seed(2)
    logits = torch.randn(40, 2)
    labels = (logits + torch.randn(40, 2) > 0).float()
    holes = labels.clone()
    holes[20:] = torch.nan
    assert factor_of(logits, holes, "binary") == pytest.approx(
        factor_of(logits[:20], labels[:20], "binary")
    )
    assert factor_of(logits, torch.full((40,), -1), "multiclass") == pytest.approx(1.0)


def test_classes_that_are_separated_keep_it_finite():
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert 1 < factor_of(logits, torch.tensor([0, 1]), "multiclass") < 100


def test_probabilities_do_not_depend_on_the_unit_of_the_logits():
    torch.manual_seed(3)
    logits, labels = torch.randn(30, 3).double(), torch.randint(0, 3, (30,))
    logits[torch.arange(30), labels] += 2.0
    for unit in (1e-4, 1.0, 1e4):
        found = Calibration.fitted(unit * logits, labels)(unit * logits)
        torch.testing.assert_close(
            found, Calibration.fitted(logits, labels)(logits), rtol=1e-3, atol=1e-4
        )
        assert factor_of(unit * logits, labels, "multiclass") == pytest.approx(
            factor_of(logits, labels, "multiclass") / unit, rel=1e-3
        )
