"""Parallel adapters: values by hand, parameters saved, and means that mean something."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from gtl import adapters
from gtl.encoders import GIN
from gtl.errors import ConfigError
from gtl.testing import MOLECULES
from gtl.testing.laws import loosened


def test_a_linear_one_is_a_map_with_blocks_on_its_diagonal_beside_each_map(graph, encoder):
    encoder.eval()
    adapted = adapters.attach(encoder, {"name": "parallel", "groups": 3, "scale": 2.0})
    first = adapted.parts()[0].maps[0][0]
    assert first.shape == (3, 4, 2)  # of a map from 6 to 12 columns
    loosened(adapted.adapters)
    twin = copy.deepcopy(encoder)
    with torch.no_grad():
        for block, maps in zip(twin.blocks, adapted.parts()[0].maps):
            for layer, blocks in zip((block.conv.mlp[0], block.conv.mlp[2]), maps):
                layer.weight.add_(2 * torch.block_diag(*blocks))
    torch.testing.assert_close(adapted(graph), twin(graph))


def test_it_has_as_many_parameters_as_the_maps_divided_by_the_groups():
    encoder = GIN(MOLECULES, width=64, depth=2)
    maps = sum(p.numel() for block in encoder.blocks for p in block.conv.mlp.parameters())
    biases = 2 * (128 + 64)
    part = adapters.attach(encoder, "parallel").parts()[0]
    assert sum(p.numel() for p in part.parameters()) == (maps - biases) // 8


def test_groups_that_do_not_divide_a_map_are_fewer():
    part = adapters.attach(GIN(MOLECULES, width=10, depth=1), "parallel").parts()[0]
    assert part.maps[0][0].shape == (5, 4, 2)


def test_the_mean_of_two_adapters_is_merged_to_the_mean_of_two_encoders(encoder):
    merged, states = [], []
    for seed in (1, 2):
        adapted = adapters.attach(copy.deepcopy(encoder), "parallel")
        loosened(adapted.adapters, seed)
        states.append(adapters.adapter_state(adapted))
        merged.append(adapters.merge(adapted).state_dict())
    adapted = adapters.attach(copy.deepcopy(encoder), "parallel")
    adapters.load_adapter_state(
        adapted, {name: (states[0][name] + states[1][name]) / 2 for name in states[0]}
    )
    for name, value in adapters.merge(adapted).state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (merged[0][name] + merged[1][name]) / 2)


def test_a_bottleneck_reads_the_input_of_the_block(graph, encoder):
    encoder.eval()
    h = encoder.embed(graph)
    out = encoder.blocks[0](graph, h)
    adapted = adapters.attach(
        encoder, {"name": "parallel", "kind": "bottleneck", "hidden": 2, "scale": 0.5}
    )
    narrow = adapted.parts()[0].maps[0]
    nn.init.normal_(narrow.up.weight)
    torch.testing.assert_close(adapted.layers(graph)[1], out + 0.5 * narrow(h))


def test_a_bottleneck_is_not_merged(encoder):
    adapted = adapters.attach(encoder, {"name": "parallel", "kind": "bottleneck"})
    with pytest.raises(ConfigError, match="a Parallel adapter is not linear"):
        adapters.merge(adapted)


class NamesItsInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = AnyConv()

    def forward(self, h):
        return self.conv(h=h)


class AnyConv(nn.Module):
    def forward(self, h):
        return 2 * h


def test_a_bottleneck_beside_a_block_whose_input_is_out_of_sight_is_refused():
    part = {"name": "parallel", "kind": "bottleneck"}
    with pytest.raises(ConfigError, match="a block takes no node vectors by position"):
        adapters.attach(NamesItsInputs(), part, example=(torch.ones(3, 2),))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "wide"}, "`kind` is 'wide', expected one of"),
        ({"groups": 0}, "`groups` is 0, expected at least 1"),
        ({"hidden": 0}, "`hidden` is 0, expected at least 1"),
    ],
)
def test_an_option_outside_its_range_is_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        adapters.Parallel(**options)
