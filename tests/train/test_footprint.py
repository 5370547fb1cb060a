"""A footprint counts what is there: parameters by part, bytes, operations, time to a quality."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

import gtl
from gtl.catalog import ENCODERS
from gtl.graph import Columns, Graph, Schema, ops
from gtl.graph.operations import counted_operations
from gtl.train.footprint import footprint, optimizer_bytes, time_to_quality
from gtl.train.inference_cost import inference_cost, prediction_of

QUICK = {"epochs": 2, "batch_size": 16, "lr": 0.01}
N, M, D, H = 7, 11, 5, 3


def _graph(columns=D):
    rng = torch.Generator().manual_seed(0)
    ends = torch.randint(N, (2, M), generator=rng)
    return Graph(ends[0], ends[1], N, torch.rand(N, columns, generator=rng))


def _encoder(name, **options):
    torch.manual_seed(0)
    options = {"width": H, "depth": 1, "norm": None, "embedding": None, **options}
    return ENCODERS.build({"name": name, **options}, Schema(Columns(None, D))).eval()


@pytest.fixture(params=["dgl", "torch"])
def kernels(request):
    if request.param == "dgl":
        pytest.importorskip("dgl")
    with ops.use_kernels(request.param):
        yield


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # A loop at each node is an edge; the sum is over the fewer columns, which are the output's.
        ("gcn", 2 * N * D * H + (M + N) * H),
        ("sage", 2 * (2 * N * D * H) + M * H),  # neighbors, and the node itself without a loop
        # Of 5 inputs and 2 * 3 columns inside, the fewer are the inputs.
        ("gin", (M + N) * D + 2 * N * D * (2 * H) + 2 * N * (2 * H) * H),
        ("mlp", 2 * N * D * H),
    ],
)
def test_operations_of_a_layer_are_those_counted_by_hand(kernels, name, expected):
    with counted_operations() as counter, torch.no_grad():
        _encoder(name)(_graph())
    assert counter.total == expected


def test_operations_of_attention_are_those_counted_by_hand(kernels):
    heads = 2
    edges = M + N
    products = 2 * N * D * heads * H
    softmax = 5 * edges * heads  # maximum, difference, exponential, sum, quotient
    messages = 2 * edges * heads * H
    with counted_operations() as counter, torch.no_grad():
        _encoder("gat", heads=heads)(_graph())
    assert (counter.products, counter.messages) == (products, softmax + messages)


def test_a_sum_over_groups_and_a_dot_on_edges_are_counted(kernels):
    graph = _graph()
    with counted_operations() as counter:
        ops.segment_sum(graph.x, torch.tensor([3, 4]))
        assert counter.total == N * D
        ops.dot_on_edges(graph, graph.x, graph.x)
        assert counter.total == N * D + 2 * M * D
        ops.max_neighbors(graph, graph.x)
        assert counter.total == N * D + 3 * M * D


def test_sparse_features_cost_a_product_for_each_value(monkeypatch):
    monkeypatch.setattr("gtl.encoders.sparse._FEWEST", 0)
    graph = _graph()
    x = torch.zeros(N, 40)
    x[0, 3] = x[4, 7] = x[5, 3] = 1.0
    torch.manual_seed(0)
    options = {"name": "mlp", "width": H, "depth": 1, "norm": None, "embedding": None}
    encoder = ENCODERS.build(options, Schema(Columns(None, 40)))
    with counted_operations() as counter, torch.no_grad():
        encoder(graph.replace(x=x))
    assert counter.total == 2 * 3 * H


def test_a_module_that_gets_a_parameter_without_gradients_is_counted():
    layer, vectors = torch.nn.Linear(3, 2), torch.nn.Parameter(torch.ones(5, 3))
    with torch.no_grad(), counted_operations() as counter:
        layer(vectors)
    assert counter.total == 2 * 5 * 3 * 2


def test_counting_changes_no_value_and_ends_with_the_block():
    graph, encoder = _graph(), _encoder("gcn")
    before = encoder(graph)
    with counted_operations() as counter:
        assert torch.equal(encoder(graph), before)
    known = counter.total
    encoder(graph)
    assert counter.total == known


def test_a_prediction_is_measured_in_eval_mode_and_the_mode_comes_back():
    model, seen = nn.Linear(3, 5).train(), []
    footprint(model, 1.0, predict=(lambda: seen.append(model.training), 1))
    assert seen and not any(seen) and model.training


def test_parameters_and_bytes_are_given_by_part_and_follow_what_is_frozen():
    model = nn.Module()
    model.encoder, model.target = nn.Linear(3, 5), nn.Linear(5, 2)
    model.encoder.requires_grad_(False)
    cost = footprint(model, 1.0)
    assert (cost["parameters_total"], cost["parameters_trained"]) == (20 + 12, 12)
    assert cost["parts"]["encoder"] == {
        "parameters_total": 20,
        "parameters_trained": 0,
        "stored_bytes": 80,
    }
    assert cost["parts"]["supervised"]["parameters_trained"] == 12
    assert cost["flops"] is None and cost["communicated_bytes"] == 0


def test_adam_keeps_two_numbers_for_each_trained_parameter():
    layer = nn.Linear(3, 5)
    optimizer = torch.optim.Adam(layer.parameters())
    assert optimizer_bytes(optimizer) == 0
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert optimizer_bytes(optimizer) == 2 * 4 * 20 + 2 * 4  # and a step of each tensor


@pytest.mark.parametrize(
    ("metric", "values", "quality", "expected"),
    [
        ("acc", [0.5, 0.799, 0.8], None, (0.792, 4.0, 20)),
        ("rmse", [2.0, 1.5, 1.0, 1.009], None, (1.01, 6.0, 30)),
        ("rmse", [2.0, 1.5, 1.0], 1.6, (1.6, 4.0, 20)),
        ("acc", [0.5, None, 0.8], 0.9, (0.9, None, None)),
        ("acc", [None, None], None, (None, None, None)),
        (None, [0.5], None, (None, None, None)),
        ("loss of another kind", [0.5], None, (None, None, None)),
    ],
)
def test_time_to_a_quality_is_that_of_the_first_epoch_that_has_it(
    metric, values, quality, expected
):
    history = [{"valid": value, "seconds": 2.0} for value in values]
    found = time_to_quality(history, metric, 10, quality)
    assert tuple(found.values()) == expected


def test_latency_is_the_median_and_the_95th_percentile_of_timed_calls():
    calls = []
    found = inference_cost(lambda: calls.append(0), repeats=7, warmup=2, seconds=None)
    assert len(calls) == 1 + 2 + 7
    assert 0 <= found["latency_p50_ms"] <= found["latency_p95_ms"] and found["flops"] == 0
    calls.clear()
    inference_cost(lambda: calls.append(0), repeats=7, seconds=0.0)
    assert len(calls) == 1 + 1 + 1  # one at least is timed


def test_a_measured_prediction_is_that_of_the_model(communities):
    model = gtl.finetune("gcn", communities, epochs=2)
    predict, count = prediction_of(model, communities, 5)
    with torch.no_grad():
        found = predict()
    assert count == len(found) == 5
    index = torch.arange(5) * (len(communities) // 5)
    whole = gtl.predict(model, communities, raw=True)
    torch.testing.assert_close(found, whole[index])


def test_every_loop_measures_what_a_prediction_costs(shapes, communities):
    small = {"name": "gin", "width": 8, "depth": 1}
    results = {
        "finetune": gtl.finetune(small, shapes, adapter="bottleneck", **QUICK).results,
        "members": gtl.finetune(small, shapes, members=2, **QUICK).results,
        "pretrain": gtl.pretrain(small, shapes, ["infomax"], epochs=1).results,
        "probe": gtl.probe(small, shapes, model="linear").results,
        "episodes": gtl.finetune_by_episodes("gcn", communities, episodes=2).results,
    }
    for name, found in results.items():
        cost = found["footprint"]
        assert cost["latency_p95_ms"] >= cost["latency_p50_ms"] > 0, name
        assert cost["flops"] > 0 and cost["batch_items"] > 0, name
        assert cost["checkpoint_bytes"] is None, name


def test_the_checkpoint_of_a_run_is_counted(shapes, tmp_path):
    small = {"name": "gin", "width": 8, "depth": 1}
    cost = gtl.finetune(small, shapes, out=tmp_path / "run", **QUICK).results["footprint"]
    stored = (tmp_path / "run" / "checkpoint.safetensors").stat().st_size
    assert cost["checkpoint_bytes"] == stored
    assert cost["samples_to_quality"] % 30 == 0  # items of the training split
    saved = json.loads((tmp_path / "run" / "results.json").read_text())["footprint"]
    assert saved == cost and math.isfinite(saved["seconds_to_quality"])
