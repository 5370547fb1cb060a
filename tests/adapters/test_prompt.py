"""Prompts: equal to changed features, and mixtures by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gtl import adapters
from gtl.encoders import GCN
from gtl.errors import ConfigError
from gtl.testing import POINTS, Example


def test_a_prompt_is_the_same_as_a_vector_added_to_every_nodes_features():
    graph = Example(POINTS).graph([7, 3]).replace(y=None)
    encoder = GCN(POINTS, width=4, depth=2, norm="layer")
    change = torch.linspace(-1, 1, 5)
    expected = encoder(graph.replace(x=graph.x + change))
    adapted = adapters.attach(encoder, "prompt")
    with torch.no_grad():
        adapted.parts()[0].vectors.copy_(encoder.embed.map.weight @ change)
    torch.testing.assert_close(adapted(graph), expected)


def test_of_several_vectors_each_node_takes_a_mixture_of_its_own():
    graph = Example(POINTS).graph([7]).replace(y=None)
    encoder = GCN(POINTS, width=4, depth=1)
    h = encoder.embed(graph)
    adapted = adapters.attach(encoder, {"name": "prompt", "count": 3})
    part = adapted.parts()[0]
    nn.init.normal_(part.vectors)
    share = torch.softmax(h @ part.ask.weight.T, 1)
    rows = [h[i] + sum(share[i, j] * part.vectors[j] for j in range(3)) for i in range(7)]
    torch.testing.assert_close(adapted.embed(graph), torch.stack(rows))


def test_it_has_one_number_for_each_column(encoder):
    part = adapters.attach(encoder, "prompt").parts()[0]
    assert sum(p.numel() for p in part.parameters()) == 6


def test_a_module_that_does_not_say_where_it_embeds_is_refused():
    class AnyConv(nn.Linear):
        pass

    with pytest.raises(ConfigError, match=r"known only if it derives from gtl\.roles\.Encoder"):
        adapters.attach(nn.Sequential(AnyConv(2, 2)), "prompt", example=(torch.ones(1, 2),))


def test_no_vector_at_all_is_refused():
    with pytest.raises(ConfigError, match="`count` is 0, expected at least 1"):
        adapters.Prompt(0)
