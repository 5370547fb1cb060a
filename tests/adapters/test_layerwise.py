"""The L-adapter: published values, and finding the depth that a task needs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from gtl import adapters
from gtl.adapters import Layerwise
from gtl.errors import ConfigError
from gtl.graph import Columns, Schema
from gtl.roles import Encoder, Site, Sites
from gtl.testing import POINTS, Example


def test_in_its_published_form_it_gives_the_published_values(golden):
    values = np.load(golden / "el_adapters.npz")
    layers = [torch.from_numpy(h) for h in values["aggregate_hidden_states"]]
    places = [Site("", nn.Identity(), 7, 7)] * 3
    adapter = Layerwise(hidden=5, residual=False)
    adapter.setup(Sites(None, places, [()] * 3, 7))
    adapter.double()
    with torch.no_grad():
        adapter.depth.copy_(torch.from_numpy(values["aggregate_layer_weights"]))
        for i in range(3):
            for part, name in ((adapter.down[i], "linear_down"), (adapter.norms[i], "layernorm")):
                for kind in ("weight", "bias"):
                    value = values[f"aggregate.l{i}.{name}.{kind}"]
                    getattr(part, kind).copy_(torch.from_numpy(value))
    expected = torch.from_numpy(values["aggregate_out"])
    out = adapter.output(layers, layers[-1])
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-11)
    assert adapter.findings()["depth"] == [
        round(float(w), 4) for w in values["aggregate_softmax_weights"]
    ]


def test_what_it_adds_goes_through_a_last_map_by_hand(graph, encoder):
    encoder.eval()
    layers, out = encoder.layers(graph), encoder(graph)
    adapted = adapters.attach(encoder, {"name": "layerwise", "hidden": 3})
    part = adapted.parts()[0]
    nn.init.normal_(part.up.weight)
    nn.init.normal_(part.depth)
    weights = part.depth.softmax(0)
    total = sum(weights[i] * part.norms[i](part.down[i](h).relu()) for i, h in enumerate(layers))
    torch.testing.assert_close(adapted(graph), out + part.up(total))
    assert adapted.width == encoder.width


def test_in_its_published_form_the_output_is_as_wide_as_its_maps(graph, encoder):
    adapted = adapters.attach(encoder, {"name": "layerwise", "hidden": 5, "residual": False})
    assert adapted.width == 5
    assert adapted(graph).shape == (graph.num_nodes, 5)
    assert adapted.set_adapter(None).width == 6


class Forgetful(Encoder):
    """Nothing but its input embedding says anything."""

    def __init__(self, width=4):
        super().__init__()
        self.schema, self.width = Schema(Columns(width=5)), width
        self.embed = Projection()
        self.blocks = nn.ModuleList([Nothing(), Nothing()])

    def forward(self, graph):
        return self.layers(graph)[-1]


class Projection(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Linear(5, 4)

    def forward(self, graph):
        return self.map(graph.x)


class Nothing(nn.Module):
    def forward(self, graph, h):
        return torch.zeros_like(h)


def test_its_weights_tell_which_layer_a_task_needs():
    graph = Example(POINTS).graph([29]).replace(y=None)
    adapted = adapters.attach(Forgetful(), {"name": "layerwise", "hidden": 8})
    goal = torch.tanh(3 * adapted.base.embed(graph)).detach()
    optimizer = torch.optim.Adam([p for p in adapted.parameters() if p.requires_grad], lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        (adapted(graph) - goal).square().mean().backward()
        optimizer.step()
    depth = adapted.parts()[0].findings()["depth"]
    assert len(depth) == 3
    assert depth[0] > 1.5 * max(depth[1:])


def test_after_a_bottleneck_it_reads_the_adapted_layers(graph, encoder):
    frozen = encoder.eval().layers(graph)[1]
    adapted = adapters.attach(encoder, ["bottleneck", "layerwise"])
    bottleneck, layerwise = adapted.parts()
    nn.init.ones_(bottleneck.maps[0].up.weight)
    nn.init.constant_(bottleneck.maps[0].down.bias, 10.0)  # its one unit is not 0
    read = []
    layerwise.down[1].register_forward_hook(lambda module, given, out: read.append(given[0]))
    adapted(graph)
    assert torch.equal(read[0], adapted.layers(graph)[1])
    assert not torch.equal(read[0], frozen)


def test_an_encoder_that_returns_no_tensor_is_refused():
    with pytest.raises(ConfigError, match="layerwise needs an encoder that returns one tensor"):
        Layerwise().setup(Sites(None, [Site("a", nn.Identity(), 2, 2)], [()], 0))


@pytest.mark.parametrize("order", [(True, False), (False, True), (False, False)])
def test_one_that_replaces_the_output_is_refused_beside_another(encoder, order):
    parts = [{"name": "layerwise", "hidden": 1, "residual": residual} for residual in order]
    with pytest.raises(ConfigError, match="layerwise and layerwise gives an output of its own"):
        adapters.attach(encoder, parts)
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    adapters.attach(encoder, ["layerwise", "layerwise"])
