"""Matrices in 8 bits: how far they are from the weights, and what a checkpoint keeps of them."""

from __future__ import annotations

import pytest
import torch

from gtl import checkpoint
from gtl.int8 import Int8


@pytest.mark.parametrize("shape", [(1, 2), (7, 11), (3, 5, 13)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_each_weight_moves_by_half_a_step_of_its_row_at_most(shape, dtype):
    weights = torch.randn(shape, dtype=torch.float64).mul(10.0).to(dtype)
    found = Int8.of(weights)
    restored = found.restored()
    assert restored.dtype == dtype and found.values.dtype == torch.int8
    step = weights.double().abs().amax(-1, keepdim=True) / 127
    slack = 4 * torch.finfo(dtype).eps * weights.double().abs().max()
    assert bool(((restored.double() - weights.double()).abs() <= step / 2 + slack).all())
    assert bool((found.values.abs().amax(-1) == 127).all())  # the whole range is used


def test_a_row_of_its_own_scale_does_not_suffer_from_a_large_one():
    weights = torch.tensor([[1000.0, -900.0], [0.001, 0.0009]])
    relative = (Int8.of(weights).restored() - weights).abs() / weights.abs()
    assert float(relative.max()) < 1 / 127


def test_restored_weights_are_the_same_integers_again():
    found = Int8.of(torch.randn(13, 17))
    again = Int8.of(found.restored())
    assert torch.equal(found.values, again.values)
    torch.testing.assert_close(found.scale, again.scale, rtol=1e-6, atol=0)


def test_rows_of_zeros_stay_zeros():
    assert Int8.of(torch.zeros(3, 4)).restored().tolist() == torch.zeros(3, 4).tolist()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.ones(3), "two dimensions"),
        (torch.ones(3, 3, dtype=torch.int64), "floating"),
        (torch.tensor([[1.0, float("nan")]]), "not finite"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        Int8.of(weights)


def test_only_what_becomes_smaller_pays():
    assert Int8.pays(torch.ones(5, 7)) and Int8.pays(torch.ones(2, 5, 7))
    assert not Int8.pays(torch.ones(5, 1))  # a scale for each number
    assert not Int8.pays(torch.ones(35)) and not Int8.pays(torch.ones(5, 7).long())
    assert not Int8.pays(torch.ones(0, 7))


def test_a_checkpoint_gives_them_back_as_tensors_and_is_smaller(tmp_path):
    weights = torch.randn(64, 256)
    found = Int8.of(weights)
    checkpoint.save(tmp_path / "whole.safetensors", {"a": [weights]})
    checkpoint.save(tmp_path / "small.safetensors", {"a": [found], "b": {"c": torch.ones(2)}})
    loaded = checkpoint.load(tmp_path / "small.safetensors")
    assert torch.equal(loaded["a"][0], found.restored())
    assert loaded["b"]["c"].tolist() == [1.0, 1.0]
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "small")]
    assert sizes[0] > 3.5 * sizes[1]
    assert found.nbytes == 64 * 256 + 64 * 4
