"""The E-adapter: published values, values by hand, and why its norm comes first."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gtl import adapters
from gtl.adapters.bottleneck_map import BottleneckMap
from gtl.errors import ConfigError


def _loaded(narrow, values, names):
    state = {mine: torch.from_numpy(values[theirs]) for mine, theirs in names.items()}
    narrow.double().load_state_dict(state)
    return narrow


@pytest.mark.parametrize("activation", ["relu", "gelu", "none"])
def test_with_the_norm_after_it_is_the_published_adapter(golden, activation):
    values = np.load(golden / "el_adapters.npz")
    names = {
        f"{mine}.{kind}": f"e_adapter.{theirs}.{kind}"
        for mine, theirs in {"down": "linear_down", "up": "linear_up", "after": "layernorm"}.items()
        for kind in ("weight", "bias")
    }
    narrow = _loaded(BottleneckMap(7, 7, 3, activation, "after"), values, names)
    x = torch.from_numpy(values["x"])
    expected = torch.from_numpy(values[f"e_adapter_out_{activation}"])
    torch.testing.assert_close(x + narrow(x), expected, rtol=1e-10, atol=1e-11)


def test_without_a_norm_and_with_gelu_it_is_the_adapter_of_aim(golden):
    values = np.load(golden / "aim.npz")
    names = {
        f"{mine}.{kind}": f"adapter.{theirs}.{kind}"
        for mine, theirs in {"down": "D_fc1", "up": "D_fc2"}.items()
        for kind in ("weight", "bias")
    }
    narrow = _loaded(
        BottleneckMap(13, 13, int(values["adapter_hidden"]), "gelu", None), values, names
    )
    x = torch.from_numpy(values["adapter_x"])
    expected = torch.from_numpy(values["adapter_out_noskip"])
    torch.testing.assert_close(narrow(x), expected, rtol=1e-9, atol=1e-10)


def test_it_stands_after_each_block(graph, encoder):
    encoder.eval()
    h = encoder.blocks[0](graph, encoder.embed(graph))
    adapted = adapters.attach(encoder, {"name": "bottleneck", "hidden": 2, "norm": None})
    narrow = adapted.parts()[0].maps[0]
    with torch.no_grad():
        narrow.up.weight.copy_(torch.arange(12.0).view(6, 2))
        narrow.up.bias.fill_(0.5)
    inside = (h @ narrow.down.weight.T + narrow.down.bias).relu()
    expected = h + inside @ narrow.up.weight.T + 0.5
    torch.testing.assert_close(adapted.layers(graph)[1], expected)


def test_a_branch_that_is_nearly_zero_stays_so_with_the_norm_before_and_not_with_it_after():
    h = torch.randn(101, 16)
    sizes = {}
    for norm in ("before", "after"):
        torch.manual_seed(0)
        narrow = BottleneckMap(16, 16, 4, "relu", norm)
        torch.nn.init.normal_(narrow.up.weight, std=0.01)
        sizes[norm] = float(narrow(h).detach().std())
    assert sizes["before"] < 0.05
    assert sizes["after"] > 0.5


def test_an_eighth_of_the_width_is_the_bottleneck_unless_told(encoder):
    adapted = adapters.attach(encoder, "bottleneck")
    assert [narrow.down.out_features for narrow in adapted.parts()[0].maps] == [1, 1, 1]
    assert BottleneckMap(40, 40, None, "relu", None).down.out_features == 5


def test_dropout_acts_in_the_adapter_while_training_alone(graph, encoder):
    adapted = adapters.attach(encoder, {"name": "bottleneck", "hidden": 5, "dropout": 0.5})
    torch.nn.init.ones_(adapted.parts()[0].maps[0].up.weight)
    adapted.train()
    assert not torch.equal(adapted(graph), adapted(graph))
    adapted.eval()
    assert torch.equal(adapted(graph), adapted(graph))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hidden": 0}, "`hidden` is 0, expected at least 1"),
        ({"activation": "tanh"}, "`activation` is 'tanh', expected one of"),
        ({"norm": "batch"}, "`norm` is 'batch', expected one of"),
        ({"dropout": 1.0}, r"`dropout` is 1\.0, expected at least 0 and below 1"),
    ],
)
def test_an_option_outside_its_range_is_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        adapters.Bottleneck(**options)
