"""Pruning: channels that are zero can go without a trace, and what is left is an ordinary model."""

from __future__ import annotations

import copy

import pytest
import torch

import gtl
from gtl.catalog import ENCODERS
from gtl.efficiency import pruned
from gtl.efficiency.pruning import recalibrated
from gtl.efficiency.slicing import Channels, sliced
from gtl.errors import ConfigError
from gtl.graph.operations import counted_operations

WIDTH = 8
ZERO = (1, 4, 6, 7)  # channels that are zero in every layer
LEFT = torch.tensor([0, 2, 3, 5])
KINDS = {
    "gin": {"name": "gin"},
    "gin, jumps": {"name": "gin", "jk": "concat", "norm": None, "learn_eps": True},
    "gcn": {"name": "gcn"},
    "gcn, sum at the end": {"name": "gcn", "last_linear": False, "norm": None},
    "gcn, residual": {"name": "gcn", "residual": True, "jk": "sum", "norm": None},
    "sage": {"name": "sage", "jk": "max"},
    "sage, normalized": {"name": "sage", "aggregator": "gcn", "normalize": True, "norm": None},
    "gat": {"name": "gat", "heads": 3},
    "gat, concatenated": {"name": "gat", "heads": 2, "merge": "concat", "norm": None},
    "mlp": {"name": "mlp"},
}


def _coarse(model):
    """Numbers of few bits, for which no sum is rounded."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point() and "running_var" not in name:
                value.copy_(torch.randint(-4, 5, value.shape).to(value) / 4)
    return model


def _silent(model, channels=ZERO):
    """Let some channels be zero after the embedding and after every layer."""
    rows = list(channels)
    encoder = model.encoder
    with torch.no_grad():
        for part in (encoder.embed, *encoder.blocks):
            for name, value in part.named_parameters():
                _silence(name, value, rows)
        for norm in (m for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm1d)):
            norm.running_mean[rows] = 0.0
    return model


def _silence(name, value, rows):
    """Zero what makes the channels, by name and shape of a parameter."""
    if name.startswith("conv.mlp.0") or "eps" in name:
        return
    heads = value.shape[0] // WIDTH
    if "table" in name or name in ("vector", "conv.receive", "conv.send"):
        columns = value.shape[1] // WIDTH
        for head in range(max(columns, 1)):
            chosen = [head * WIDTH + r for r in rows if head * WIDTH + r < value.shape[1]]
            value[:, chosen] = 0
        return
    for head in range(max(heads, 1)):
        value[[head * WIDTH + r for r in rows]] = 0


def _model(data, options, **more):
    how = {"width": WIDTH, "depth": 3, **options}
    return gtl.finetune(how, data, epochs=1, seed=0, **more)


@pytest.mark.parametrize("kind", KINDS)
def test_pruning_channels_that_are_zero_changes_nothing(shapes, kind):
    if kind == "gat, concatenated":
        rows, left = (1, 3, 5, 7), torch.tensor([0, 2, 4, 6])  # the same columns of each head
    else:
        rows, left = ZERO, LEFT
    model = _silent(_coarse(_model(shapes, KINDS[kind])).double(), rows)
    blocks = model.encoder.blocks
    inside = [torch.arange(WIDTH) if "gin" in kind else None for _ in blocks]
    for block in blocks if "gin" in kind else ():
        with torch.no_grad():  # the second half of the inner vectors is not read
            block.conv.mlp[2].weight[:, WIDTH:] = 0
    small = sliced(model, Channels([left] * (len(blocks) + 1), inside))
    assert small.encoder.width == model.encoder.width // 2
    assert small.encoder.blocks[0].conv is not model.encoder.blocks[0].conv
    one, two = (gtl.predict(each, shapes, raw=True) for each in (model, small))
    assert float(one.std()) > 0
    torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def test_sums_without_rounding_are_the_same_bit_for_bit(communities):
    gcn = {"name": "mlp", "norm": None, "embedding": None, "depth": 2}
    model = _silent(_coarse(_model(communities, gcn)))
    x = torch.randint(-3, 4, communities.graph.x.shape).float()
    data = gtl.data.dataset.Dataset(
        "memory", graph=communities.graph.replace(x=x), labels=communities.labels, level="node"
    )
    small = sliced(model, Channels([None, LEFT, LEFT], [None, None]))
    assert torch.equal(gtl.predict(small, data, raw=True), gtl.predict(model, data, raw=True))


@pytest.mark.parametrize("criterion", ["taylor", "magnitude"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_channels_that_are_zero_are_the_first_to_go(shapes, kind, criterion):
    if kind == "gat, concatenated":
        pytest.skip("heads share the columns that stay")
    model = _silent(_model(shapes, KINDS[kind]).double())
    if "gin" in kind:
        with torch.no_grad():
            for block in model.encoder.blocks:
                block.conv.mlp[2].weight[:, WIDTH:] = 0
    small = pruned(model, 0.5, shapes, criterion, recalibrate=False)
    one, two = (gtl.predict(each, shapes, raw=True) for each in (model, small))
    torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_keeping_all_channels_gives_the_model_back(shapes, kind):
    model = _model(shapes, KINDS[kind])
    same = pruned(model, 1.0, shapes, recalibrate=False)
    for name, value in model.state_dict().items():
        assert torch.equal(same.state_dict()[name], value), name


def test_half_of_the_channels_is_a_quarter_of_the_products(communities):
    model = _model(communities, {"name": "gcn", "width": 64, "norm": None})
    small = pruned(model, 0.5, communities)
    graph = communities.graph
    counts = []
    for each in (model, small):
        with counted_operations() as counter, torch.no_grad():
            each.encoder.blocks[1](graph, torch.ones(60, each.encoder.width))
        counts.append(counter.products)
    assert counts[0] == 4 * counts[1] == 2 * 60 * 64 * 64


@pytest.mark.parametrize("head", ["linear", {"name": "mlp", "depth": 2}])
@pytest.mark.parametrize("readout", ["sum", ["mean", "max", "attention"]])
def test_readouts_and_heads_read_the_columns_that_stay(shapes, head, readout):
    model = _silent(_model(shapes, KINDS["gcn"], head=head, readout=readout).double())
    small = sliced(model, Channels([LEFT] * 4, [None] * 3))
    one, two = (gtl.predict(each, shapes, raw=True) for each in (model, small))
    torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def test_properties_beside_the_vectors_keep_their_effect(shapes):
    values = torch.rand(len(shapes), 40)  # more columns than the vector: they are scaled down
    graphs = copy.copy(shapes.graphs)
    object.__setattr__(graphs, "properties", {"mine": values})
    data = gtl.data.dataset.Dataset(
        "memory", graphs, labels=shapes.labels, split=dict(shapes.split)
    )
    model = _silent(_model(data, KINDS["gin"], properties=["mine"]).double())
    inside = [torch.arange(2 * WIDTH)[: 2 * len(LEFT)]] * 3
    with torch.no_grad():
        for block in model.encoder.blocks:
            block.conv.mlp[2].weight[:, WIDTH:] = 0
    small = sliced(model, Channels([LEFT] * 4, inside))
    one, two = (gtl.predict(each, data, raw=True) for each in (model, small))
    torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)


def test_statistics_are_those_of_the_smaller_network(shapes):
    model = _model(shapes, KINDS["gin"])
    graph = shapes.batch(torch.arange(20))
    recalibrated(model, [graph])
    norm, block = model.encoder.blocks[0].norm, model.encoder.blocks[0]
    with torch.no_grad():
        h = block.conv(graph, model.encoder.embed(graph))
    torch.testing.assert_close(norm.running_mean, h.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, h.var(0), rtol=1e-4, atol=1e-5)
    assert norm.momentum == 0.1 and not norm.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 0.0}, "`keep` is 0.0"),
        ({"keep": 1.5}, "`keep` is 1.5"),
        ({"criterion": "taylr"}, "expected one of"),
        ({"data": None}, "criterion='magnitude'"),
    ],
)
def test_bad_options_are_named(shapes, options, message):
    model = _model(shapes, KINDS["mlp"])
    with pytest.raises(ConfigError, match=message):
        pruned(model, **{"data": shapes, **options})


@pytest.mark.parametrize(
    ("encoder", "more", "message"),
    [
        ({"name": "gcn", "norm": "layer"}, {}, "layer norm"),
        ({"name": "rgcn"}, {}, "not rgcn"),
        ({"name": "gcn"}, {"head": "cosine"}, "not cosine"),
        ({"name": "gcn"}, {"adapter": "bottleneck"}, "adapters"),
        ({"name": "gcn"}, {"members": 2}, "ensemble"),
    ],
)
def test_what_cannot_be_pruned_is_refused_with_the_remedy(shapes, encoder, more, message):
    model = _model(shapes, encoder, **more)
    with pytest.raises(ConfigError, match=message) as error:
        pruned(model, 0.5, shapes)
    assert "distill" in str(error.value)


def test_the_given_model_stays_as_it_was(communities):
    model = gtl.finetune("gcn", communities, epochs=2)
    before = copy.deepcopy(model.state_dict())
    frozen = [p.requires_grad for p in model.parameters()]
    model.zero_grad()
    pruned(model, 0.5, communities)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == frozen
    assert all(p.grad is None for p in model.parameters())


def test_every_family_that_can_be_pruned_is_tried_here():
    refused = {"rgcn", "hgt", "earl", "embedding"}
    assert {options["name"] for options in KINDS.values()} | refused == set(ENCODERS.names())
