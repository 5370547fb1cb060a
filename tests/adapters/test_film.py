"""FiLM: values by hand, where it acts, and merging into the normalizations."""

from __future__ import annotations

import pytest
import torch

from gtl import adapters
from gtl.encoders import GCN, GIN, HGT
from gtl.errors import ConfigError
from gtl.testing import MOLECULES, POINTS, TYPED, Example
from gtl.testing.laws import loosened


def _film(encoder):
    adapted = adapters.attach(encoder, "film")
    return adapted, adapted.parts()[0]


def test_it_scales_and_shifts_what_is_normalized_before_the_activation(graph, encoder):
    encoder.eval()
    block, h = encoder.blocks[0], encoder.embed(graph)
    z = block.norm(block.conv(graph, h))
    adapted, film = _film(encoder)
    scale, shift = torch.linspace(-0.5, 0.7, 6), torch.linspace(1.0, -1.0, 6)
    with torch.no_grad():
        film.scale[0].copy_(scale)
        film.shift[0].copy_(shift)
    expected = torch.relu((1 + scale) * z + shift)
    torch.testing.assert_close(adapted.layers(graph)[1], expected)


def test_it_has_two_numbers_for_each_column_of_each_layer(encoder):
    _, film = _film(encoder)
    assert film.paths == ["blocks.0.norm", "blocks.1.norm", "blocks.2.norm"]
    assert sum(p.numel() for p in film.parameters()) == 2 * 6 * 3


def test_without_a_normalization_it_acts_on_the_output_of_the_block():
    graph = Example(POINTS).graph([7]).replace(y=None)
    encoder = GCN(POINTS, width=4, depth=2, norm=None)
    out = encoder(graph)
    adapted, film = _film(encoder)
    assert film.paths == ["blocks.0", "blocks.1"]
    with torch.no_grad():
        film.scale[1].fill_(1.0)
        film.shift[1].fill_(3.0)
    torch.testing.assert_close(adapted(graph), 2 * out + 3)


@pytest.mark.parametrize(
    "encoder",
    [
        GIN(MOLECULES, width=5, depth=2),
        GCN(MOLECULES, width=5, depth=2, norm="layer"),
        HGT(TYPED, width=4, depth=2, heads=2, norm="layer"),
    ],
    ids=["batch", "layer", "typed layer"],
)
def test_it_merges_into_normalizations_that_have_weights(encoder):
    graph = Example(encoder.schema).graph([5, 3]).replace(y=None).to(dtype=torch.float64)
    adapted, _ = _film(encoder.double())
    loosened(adapted.adapters)
    expected = adapted(graph)
    merged = adapters.merge(adapted)
    assert merged is encoder
    torch.testing.assert_close(merged.eval()(graph), expected)


def test_it_does_not_merge_where_there_is_no_normalization():
    adapted, _ = _film(GCN(POINTS, width=4, depth=2, norm=None))
    with pytest.raises(ConfigError, match="a FiLM adapter is not linear in the weights"):
        adapters.merge(adapted)
