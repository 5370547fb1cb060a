"""LoRA: values by hand, ranks, matrices for each type, and merging without an error."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gtl import adapters
from gtl.encoders import GCN, HGT
from gtl.errors import ConfigError
from gtl.roles import Encoder
from gtl.testing import POINTS, TYPED, Example
from gtl.testing.laws import loosened


def test_each_matrix_is_moved_by_a_product_of_two_thin_ones():
    graph = Example(POINTS).graph([7]).replace(y=None)
    encoder = GCN(POINTS, width=4, depth=1, norm=None)
    adapted = adapters.attach(encoder, {"name": "lora", "rank": 2, "alpha": 6.0})
    part = adapted.parts()[0]
    (up,), (down,) = part.up[0], part.down[0]
    assert (up.shape, down.shape) == ((4, 2), (2, 4))
    nn.init.normal_(up)
    expected = GCN(POINTS, width=4, depth=1, norm=None)
    expected.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        expected.blocks[0].conv.linear.weight.add_(3.0 * up @ down)
    torch.testing.assert_close(adapted(graph), expected(graph))


def test_the_rank_is_no_larger_than_a_matrix_allows(encoder):
    part = adapters.attach(encoder, {"name": "lora", "rank": 99}).parts()[0]
    assert {tuple(up.shape) for up in part.up[0]} == {(12, 6), (6, 6)}


def test_a_layer_with_a_matrix_for_each_type_has_a_change_for_each():
    encoder = HGT(TYPED, width=4, depth=1, heads=2)
    part = adapters.attach(encoder, {"name": "lora", "rank": 1}).parts()[0]
    assert [tuple(up.shape) for up in part.up[0]] == [(3, 4, 1)] * 4


def test_the_merged_encoder_answers_bit_for_bit_as_the_adapted_one(graph, encoder):
    adapted = adapters.attach(encoder, "lora")
    loosened(adapted.adapters)
    expected = adapted(graph)
    assert torch.equal(adapters.merge(adapted).eval()(graph), expected)


def test_the_order_of_parameters_stays_in_a_forward_pass(graph, encoder):
    before = [name for name, _ in encoder.named_parameters()]
    adapters.attach(encoder, "lora")(graph)
    assert [name for name, _ in encoder.named_parameters()] == before


class Bare(Encoder):
    """Blocks without a matrix."""

    def __init__(self):
        super().__init__()
        self.schema, self.width = POINTS, 5
        self.embed = GCN(POINTS, width=5, depth=1).embed
        self.blocks = nn.ModuleList([Twice()])

    def forward(self, graph):
        return self.layers(graph)[-1]


class Twice(nn.Module):
    def forward(self, graph, h):
        return 2 * h


@pytest.mark.parametrize("name", ["lora", "parallel"])
def test_blocks_without_matrices_are_refused(name):
    with pytest.raises(ConfigError, match=f"{name} changes matrices called `weight`.*have none"):
        adapters.attach(Bare(), name)


def test_a_rank_below_one_is_refused():
    with pytest.raises(ConfigError, match="`rank` is 0, expected at least 1"):
        adapters.LoRA(0)
