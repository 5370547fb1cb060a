"""A frozen encoder encodes one graph once, and anew as soon as anything is another."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call

import gtl
from gtl import adapters
from gtl.catalog import ENCODERS
from gtl.data import Dataset
from gtl.graph import Graph, PackedGraphs
from gtl.roles import Adapter


@pytest.fixture
def passes(encoder):
    """How often the encoder has computed."""
    seen = []
    encoder.blocks[0].register_forward_hook(lambda *call: seen.append(1))
    return seen


def test_a_graph_is_encoded_once_also_with_other_seeds(encoder, graph, passes):
    adapted = adapters.attach(encoder, "layerwise")
    passes.clear()
    one = graph.replace(sizes=None, seeds=torch.tensor([1, 2]))
    first = adapted(one)
    second = adapted(one.replace(seeds=torch.tensor([3])))
    assert len(passes) == 1
    assert torch.equal(first, second)


def test_another_graph_is_encoded_anew(encoder, graph, passes):
    adapted = adapters.attach(encoder, [])
    other = graph.replace(x=graph.x.flip(0))
    one, two = adapted(graph), adapted(other)
    assert torch.equal(two, encoder(other))
    assert not torch.equal(one, two)


def test_changed_weights_are_noticed(encoder, graph):
    adapted = adapters.attach(encoder, [])
    before = adapted(graph)
    with torch.no_grad():
        encoder.blocks[1].conv.mlp[0].weight.add_(1.0)
    assert not torch.equal(adapted(graph), before)
    assert torch.equal(adapted(graph), encoder(graph))
    adapted.double()
    assert adapted(graph).dtype == torch.float64


def test_a_call_at_other_weights_sees_those(encoder, graph):
    adapted = adapters.attach(encoder, [])
    before = adapted(graph)
    moved = {name: p + 0.5 for name, p in adapted.named_parameters()}
    assert not torch.equal(functional_call(adapted, moved, (graph,)), before)
    assert torch.equal(adapted(graph), before)


def test_an_adapter_inside_the_encoder_is_computed_in_each_step(encoder, graph, passes):
    adapted = adapters.attach(encoder, "film")
    passes.clear()
    adapted(graph)
    adapted(graph)
    assert len(passes) == 2


def test_a_copy_and_learned_features_are_computed_for_themselves(encoder, graph, passes):
    adapted = adapters.attach(encoder, [])
    passes.clear()
    adapted(graph)
    twin = copy.deepcopy(adapted)
    with torch.no_grad():
        for parameter in adapted.parameters():
            parameter.zero_()
    assert not torch.equal(twin(graph), adapted(graph))


@pytest.fixture
def unmeasured(monkeypatch):
    """Footprints without latency, for which predictions are made again and again."""
    monkeypatch.setattr("gtl.train.footprint.inference_cost", lambda call: {})


def test_training_a_head_on_one_graph_encodes_it_once(communities, unmeasured):
    torch.manual_seed(0)
    encoder = ENCODERS.build({"name": "gcn", "width": 8, "depth": 2}, communities.schema)
    passes = []
    encoder.blocks[0].register_forward_hook(lambda *call: passes.append(1))
    kept = gtl.finetune(encoder, communities, adapter=["layerwise"], epochs=5)
    to_see_widths, to_train_and_validate, at_the_loaded_best_epoch = 1, 1, 1
    assert len(passes) == to_see_widths + to_train_and_validate + at_the_loaded_best_epoch
    assert kept.results["footprint"]["parameters_trained"] > 27


@pytest.fixture
def shapes():
    return gtl.load("demo:shapes")


@pytest.fixture
def shapes_encoder(shapes):
    torch.manual_seed(0)
    return ENCODERS.build({"name": "gin", "width": 8, "depth": 2}, shapes.schema)


@pytest.mark.parametrize("adapter", [[], ["layerwise"]])
def test_graphs_that_were_encoded_once_have_the_same_vectors_in_any_batch(
    shapes, shapes_encoder, adapter
):
    adapted = adapters.attach(shapes_encoder, adapter)
    with torch.no_grad():
        for parameter in adapted.adapters.parameters():
            parameter.add_(0.1)
    index = torch.tensor([7, 2, 30, 2])
    graph = shapes.graphs.batch(index)
    expected, passes = adapted(graph), []
    adapted.encode_once(shapes.graphs, torch.arange(40).flip(0))
    shapes_encoder.blocks[0].register_forward_hook(lambda *call: passes.append(1))
    torch.testing.assert_close(adapted(shapes.batch(index)), expected)
    assert not passes
    adapted.forget()
    torch.testing.assert_close(adapted(shapes.batch(index)), expected)
    assert passes


@given(
    items=st.lists(st.integers(0, 59), max_size=30, unique=True),
    batch=st.lists(st.integers(0, 59), min_size=1, max_size=12),
    at_once=st.integers(1, 9),
)
@settings(max_examples=25, deadline=None)
def test_whatever_was_encoded_in_whatever_portions_the_vectors_are_those(items, batch, at_once):
    shapes = gtl.load("demo:shapes")
    torch.manual_seed(0)
    encoder = ENCODERS.build({"name": "gin", "width": 8, "depth": 2}, shapes.schema)
    adapted = adapters.attach(encoder, ["layerwise"])
    torch.nn.init.normal_(adapted.parts()[0].up.weight)
    index = torch.tensor(batch)
    expected = adapted(shapes.graphs.batch(index))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gtl.adapters.vector_cache._PORTION", at_once)
        adapted.encode_once(shapes.graphs, torch.tensor(items, dtype=torch.int64))
    torch.testing.assert_close(adapted(shapes.batch(index)), expected)


def test_graphs_that_were_not_encoded_or_were_changed_are_computed(shapes, shapes_encoder):
    adapted = adapters.attach(shapes_encoder, [])
    adapted.encode_once(shapes.graphs, torch.arange(10))
    for index in ([3, 10], [50]):
        batch = shapes.batch(torch.tensor(index))
        assert torch.equal(adapted(batch), shapes_encoder(batch))
    batch = shapes.batch(torch.tensor([3, 4]))
    masked = batch.replace(x=batch.x.flip(0))
    assert torch.equal(adapted(masked), shapes_encoder(masked))
    other = gtl.load("demo:shapes", seed=1).batch(torch.tensor([3, 4]))
    assert torch.equal(adapted(other), shapes_encoder(other))


def test_after_a_change_of_weights_or_adapter_graphs_are_computed(shapes, shapes_encoder):
    adapted = adapters.attach(shapes_encoder, [])
    adapted.encode_once(shapes.graphs, torch.arange(10))
    batch = shapes.batch(torch.tensor([3, 4]))
    with torch.no_grad():
        shapes_encoder.blocks[0].conv.mlp[0].weight.add_(1.0)
    assert torch.equal(adapted(batch), shapes_encoder(batch))
    adapted.encode_once(shapes.graphs, torch.arange(10))
    adapters.attach(adapted, {"name": "layerwise", "residual": False}, "deep")
    assert adapted(batch).shape == (batch.num_nodes, 1)


def test_more_vectors_than_the_limit_are_not_cached(shapes, shapes_encoder, monkeypatch):
    monkeypatch.setattr("gtl.adapters.vector_cache.LIMIT", 100)
    adapted, passes = adapters.attach(shapes_encoder, []), []
    adapted.encode_once(shapes.graphs, torch.arange(10))
    shapes_encoder.blocks[0].register_forward_hook(lambda *call: passes.append(1))
    adapted(shapes.batch(torch.tensor([3, 4])))
    assert passes


@pytest.mark.parametrize(
    "options", [{}, {"average": 2.0}, {"meta_share": 0.2, "auxiliary": ["infomax"]}]
)
def test_training_a_head_encodes_each_graph_once(shapes, shapes_encoder, monkeypatch, options):
    encoded = []

    def count(module, inputs, out):
        encoded.append(inputs[0].num_graphs)

    shapes_encoder.register_forward_hook(count)

    def train():
        encoded.clear()
        model = gtl.finetune(
            copy.deepcopy(shapes_encoder),
            shapes,
            adapter=["layerwise"],
            epochs=4,
            batch_size=50,
            **options,
        )
        return sum(encoded), model

    once, kept = train()
    with monkeypatch.context() as patch:
        patch.setattr(adapters.AdaptedEncoder, "encode_once", lambda *args: None)
        often, computed = train()
    assert once < often - 3 * len(shapes.items("train"))
    assert [line["losses"] for line in kept.history] == [
        pytest.approx(line["losses"], rel=1e-4) for line in computed.history
    ]


def test_vectors_that_were_changed_are_computed_anew(encoder, graph):
    adapted = adapters.attach(encoder, [])
    expected = adapted(graph).clone()
    adapted(graph).add_(1)
    assert torch.equal(adapted(graph), expected)


def test_an_adapter_may_change_the_list_of_layers(encoder, graph):
    class Greedy(Adapter):
        def setup(self, sites):
            self.amount = torch.nn.Parameter(torch.zeros(()))

        def output(self, layers, out):
            return out + self.amount * layers.pop(0).sum() * layers.pop().sum()

    adapted = adapters.attach(encoder, Greedy())
    for _ in range(4):
        adapted(graph)


def test_lower_precision_is_not_cached_for_later(encoder, graph):
    adapted = adapters.attach(encoder, [])
    with torch.autocast("cpu", torch.bfloat16):
        lower = adapted(graph)
    assert adapted(graph).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(adapted(graph), lower)


def test_an_encoder_made_in_inference_mode_is_computed_each_time(shapes):
    with torch.inference_mode():
        encoder = ENCODERS.build({"name": "gin", "width": 8, "depth": 1}, shapes.schema)
        adapted = adapters.attach(encoder, [])
        adapted.encode_once(shapes.graphs, torch.arange(3))
        batch = shapes.batch(torch.arange(3))
        assert torch.equal(adapted(batch), encoder(batch))


def points(count=90):
    """Graphs with floating features, whose products round differently by how they lie."""
    rng = torch.Generator().manual_seed(0)
    graphs = []
    for _ in range(count):
        n = int(torch.randint(3, 9, (), generator=rng))
        ends = torch.randint(n, (2, 2 * n), generator=rng)
        graphs.append(Graph(ends[0], ends[1], n, x=torch.randn(n, 5, generator=rng)))
    labels = torch.randint(2, (count, 1), generator=rng).float()
    third = torch.arange(count).split(count // 3)
    split = dict(zip(("train", "valid", "test"), third))
    return Dataset("points", graphs=PackedGraphs.pack(graphs), labels=labels, split=split)


@pytest.mark.parametrize(
    "options", [{}, {"auxiliary": ["infomax"], "weighting": "equal", "guard": False}]
)
def test_training_on_cached_vectors_is_resumed_bit_for_bit(tmp_path, options):
    data, encoder = points(), {"name": "gin", "width": 16, "depth": 3}
    options = {"adapter": "layerwise", "batch_size": 7, "lr": 1e-2, **options}
    whole = gtl.finetune(encoder, data, epochs=6, out=tmp_path / "whole", **options)
    gtl.finetune(encoder, data, epochs=3, out=tmp_path / "a", **options)
    resumed = gtl.finetune(encoder, data, epochs=6, out=tmp_path / "a", resume=True, **options)
    assert [line["losses"] for line in whole.history] == [
        line["losses"] for line in resumed.history
    ]
    one, two = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_looking_ahead_and_trainings_side_by_side_share_what_is_encoded(
    shapes, shapes_encoder, unmeasured
):
    encoded = []

    def count(module, inputs, out):
        encoded.append(inputs[0].num_graphs)

    shapes_encoder.register_forward_hook(count)
    model = gtl.finetune(
        shapes_encoder,
        shapes,
        adapter=["layerwise"],
        auxiliary=[{"name": "supervised"}],
        weighting={"name": "aux_ts", "refresh": 1},
        guard=True,
        epochs=2,
        batch_size=60,
    )
    assert len(model.results["selection"]["candidates"]) > 2
    once = sum(len(shapes.items(part)) for part in ("train", "valid", "test"))
    assert sum(encoded) <= once + 5  # and a graph or two to see the widths
