"""The multi-layer head: values by hand, its sizes, impossible ones."""

from __future__ import annotations

import pytest
import torch

from gtl.errors import ConfigError
from gtl.heads import MLP


def test_it_is_linear_maps_with_relu_between() -> None:
    head = MLP(2, 1, depth=2, hidden=2)
    first, last = head.maps[0], head.maps[-1]
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
        first.bias.copy_(torch.tensor([0.0, 1.0]))
        last.weight.copy_(torch.tensor([[2.0, 3.0]]))
        last.bias.fill_(0.5)
    out = head(torch.tensor([[1.0, 4.0], [-3.0, -5.0]]))
    assert out.tolist() == [[10.5], [9.5]]  # hidden (5, -2), (-8, 3)


@pytest.mark.parametrize(("depth", "parameters"), [(1, 22), (2, 7 * 11 + 11 + 24), (3, 244)])
def test_depth_counts_the_linear_maps(depth, parameters) -> None:
    width = 10 if depth == 1 else 7
    head = MLP(width, 2, depth=depth, hidden=11)
    assert sum(p.numel() for p in head.parameters()) == parameters


def test_dropout_is_between_the_maps_alone() -> None:
    torch.manual_seed(0)
    head = MLP(5, 3, depth=1, dropout=0.9)
    x = torch.randn(4, 5)
    assert torch.equal(head(x), head(x))
    deep = MLP(5, 3, depth=3, dropout=0.5)
    assert not torch.equal(deep(x), deep(x))
    assert torch.equal(deep.eval()(x), deep(x))


@pytest.mark.parametrize("options", [{"depth": 0}, {"hidden": 0}, {"dropout": 1.0}])
def test_impossible_options_are_named(options) -> None:
    with pytest.raises(ConfigError, match=f"`{next(iter(options))}` is"):
        MLP(5, 3, **options)
