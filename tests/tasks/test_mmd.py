"""MMD of large samples: blocks of rows, exact close pairs, derivatives, memory."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import forward_ad, gradcheck, gradgradcheck

from gtl.tasks import distances, kernel_sums
from gtl.tasks.distances import squared_distances
from gtl.tasks.mmd import median_widths, mmd_losses

WIDTHS = torch.tensor([1.0, 3.0, 9.0], dtype=torch.float64)


@pytest.fixture
def in_blocks(monkeypatch):
    """Every sample counts as large."""
    monkeypatch.setattr(distances, "AT_ONCE", 20)
    monkeypatch.setattr(kernel_sums, "BLOCK", 25)


def rows(n, seed, columns=5):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(n, columns, generator=rng, dtype=torch.float64)


def plain(x, y, biased):
    """The squared MMD by its definition."""
    found = []
    for a, b in ((x, x), (y, y), (x, y)):
        kernel = torch.stack([torch.exp(-(torch.cdist(a, b) ** 2) / w) for w in WIDTHS]).mean(0)
        if a is b and not biased:
            found.append((kernel.sum() - kernel.trace()) / (len(a) * (len(a) - 1)))
        else:
            found.append(kernel.mean())
    return found[0] + found[1] - 2 * found[2]


@pytest.mark.parametrize("biased", [False, True])
def test_blocks_give_the_mmd_and_its_derivatives(in_blocks, biased):
    x, y = rows(13, 0, 3).requires_grad_(), (rows(8, 1, 3) + 0.5).requires_grad_()
    mean = mmd_losses(x, y, WIDTHS, biased).mean()
    assert float(mean.detach()) == pytest.approx(float(plain(x, y, biased).detach()), rel=1e-10)
    first = torch.autograd.grad(mean, (x, y), retain_graph=True)
    again = torch.autograd.grad(mean, (x, y), create_graph=True)
    torch.testing.assert_close(first, tuple(g.detach() for g in again), rtol=1e-10, atol=1e-14)
    how = {"atol": 1e-7, "nondet_tol": 1e-12}
    assert gradcheck(lambda a, b: mmd_losses(a, b, WIDTHS, biased), (x, y), **how)
    assert gradgradcheck(lambda a, b: mmd_losses(a, b, WIDTHS, biased), (x[:7], y[:5]), **how)


def test_blocks_have_a_forward_mode(in_blocks):
    x, y, v = rows(37, 0), rows(23, 1), rows(37, 2)
    with torch.no_grad(), forward_ad.dual_level():
        moving = forward_ad.make_dual(x, v)
        slope = forward_ad.unpack_dual(mmd_losses(moving, y, WIDTHS)).tangent
    ahead, behind = (mmd_losses(x + step * v, y, WIDTHS) for step in (1e-6, -1e-6))
    torch.testing.assert_close(slope, (ahead - behind) / 2e-6, rtol=1e-6, atol=1e-8)


def test_close_rows_are_exact_in_single_precision(monkeypatch):
    """Products alone lose all digits of a distance that is small beside the vectors."""
    monkeypatch.setattr(distances, "AT_ONCE", 100)
    near = 1000 + rows(31, 0).float()
    other = near + 1e-2 * rows(31, 1).float()
    far = -1000 + rows(13, 2).float()
    x, y = torch.cat([near, far]), torch.cat([other, far])
    exact = (x.double().unsqueeze(1) - y.double()).square().sum(2)
    torch.testing.assert_close(squared_distances(x, y).double(), exact, rtol=1e-4, atol=0)
    lengths = x.square().sum(1).unsqueeze(1) + y.square().sum(1)
    products = (lengths - 2 * x @ y.T).double()
    assert float((products - exact).abs().max()) > 0.1


def test_equal_rows_have_distance_zero(monkeypatch):
    monkeypatch.setattr(distances, "AT_ONCE", 10)
    x = rows(11, 0).float()
    assert torch.equal(squared_distances(x, x).diagonal(), torch.zeros(11))


def test_nothing_is_as_large_as_all_differences(monkeypatch):
    """The largest tensor of a pass both ways has as many values as a block."""
    monkeypatch.setattr(distances, "AT_ONCE", 1 << 12)
    monkeypatch.setattr(kernel_sums, "BLOCK", 1 << 12)
    sizes = []

    class Sizes(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            found = function(*args, **(kwargs or {}))
            sizes.extend(v.numel() for v in (found,) if isinstance(v, torch.Tensor))
            return found

    x, y = rows(500, 0).requires_grad_(), rows(300, 1)
    with Sizes():
        mmd_losses(x, y, WIDTHS).mean().backward()
    assert max(sizes) <= (1 << 12) + 500  # 500 x 300 kernels are 150,000


def test_median_of_many_rows_is_that_of_a_thousand():
    points = rows(2000, 0)
    assert torch.equal(median_widths(points, [1.0]), median_widths(points[::2], [1.0]))
    assert median_widths(rows(1999, 0), [1.0]).shape == (1,)
