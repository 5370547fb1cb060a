"""A quantized model: every matrix within its bound, everything else untouched."""

from __future__ import annotations

import pytest
import torch

import gtl
from gtl.efficiency import quantized
from gtl.efficiency.quantization import named_state, state_size, weight_error
from gtl.errors import ConfigError
from gtl.int8 import Int8

GIN = {"name": "gin", "width": 32, "depth": 2}


def test_matrices_are_rounded_and_everything_else_stays(shapes):
    model = gtl.finetune(GIN, shapes, epochs=2)
    before = {name: value.clone() for name, value in named_state(model)}
    small, state = quantized(model)
    parameters = {name for name, _ in named_state(model, parameters=True)}
    after = dict(named_state(small))
    assert list(after) == list(state) == list(before)
    for name, value in before.items():
        assert torch.equal(dict(named_state(model))[name], value)  # the given model stays
        if name in parameters and Int8.pays(value):
            assert isinstance(state[name], Int8)
            assert torch.equal(state[name].restored(), after[name])
            step = value.abs().amax(-1, keepdim=True) / 127
            assert bool(((after[name] - value).abs() <= step * 0.5001).all())
        else:
            assert torch.equal(after[name], value) and torch.equal(state[name], value)
    assert state_size(before) > 3 * state_size(state)
    error = weight_error(model, small)
    assert 0 < error["relative"] < 0.02 and 0 < error["largest"] <= 0.5001 / 127


def test_predictions_hardly_change(communities):
    model = gtl.finetune("gcn", communities, epochs=30)
    small, _ = quantized(model)
    change = gtl.predict(small, communities) - gtl.predict(model, communities)
    assert 0 < float(change.abs().max()) < 0.05


def test_a_weight_that_is_not_finite_is_named(communities):
    model = gtl.finetune("gcn", communities, epochs=1)
    with torch.no_grad():
        model.predictor.head.map.weight[0, 0] = float("inf")
    with pytest.raises(ConfigError, match=r"head\.map\.weight: .* not finite"):
        quantized(model)
