"""The cosine head: values by hand, published logits, rows of zeros."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gtl.heads import Cosine


def test_it_is_scaled_cosines() -> None:
    head = Cosine(2, 3)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, -5.0], [3.0, 4.0]]))
    out = head(torch.tensor([[3.0, 4.0], [0.0, 0.1]]))
    assert torch.allclose(out, torch.tensor([[6.0, -8.0, 10.0], [0.0, -10.0, 8.0]]))


def test_the_length_of_features_and_weights_does_not_matter() -> None:
    head = Cosine(5, 3).double()
    x = torch.randn(7, 5, dtype=torch.float64)
    before = head(x)
    with torch.no_grad():
        head.weight.mul_(1e-6)
    assert torch.allclose(head(1e6 * x), before, rtol=1e-12)


def test_zeros_give_zeros_and_tame_gradients() -> None:
    head, x = Cosine(5, 3), torch.zeros(2, 5, requires_grad=True)
    out = head(x)
    (grad,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    assert not out.any()
    assert grad.abs().max() < 100
    assert all(g.isfinite().all() for g in torch.autograd.grad(grad.square().sum(), head.weight))


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_it_gives_the_logits_of_the_published_classifier(steps: int, golden: Path) -> None:
    numbers = np.load(golden / "kgtn.npz")
    head = Cosine(5, 7).double()
    with torch.no_grad():
        head.scale.fill_(float(numbers["scale"]))
        head.weight.copy_(torch.from_numpy(numbers[f"Wstar_T{steps}"]).T)
    expected = torch.from_numpy(numbers[f"logits_cosine_T{steps}"])
    assert torch.allclose(head(torch.from_numpy(numbers["x"])), expected, rtol=1e-10, atol=1e-12)
