"""Attribute generation: messages of hidden nodes, and losses by hand."""

from __future__ import annotations

from math import log

import pytest
import torch

from gtl.errors import ConfigError, ShapeError
from gtl.graph import Columns, Graph, Schema, ops
from gtl.roles import Batch, View
from gtl.tasks import AttributeGeneration
from gtl.testing import check_task

KINDS = Schema(node=Columns((3, 2)))
FLOATS = Schema(node=Columns(width=2))


def ready(schema: Schema, width: int = 2, **options: object) -> AttributeGeneration:
    task = AttributeGeneration(**options)  # type: ignore[arg-type]
    task.setup(schema, width)
    return task.double()


@pytest.mark.slow  # tests/laws has the defaults
def test_it_obeys_the_laws_of_tasks() -> None:
    check_task(AttributeGeneration())
    check_task(AttributeGeneration(rate=1.0, columns=(0,), temperature=1.0))


def test_floating_features_cost_a_cosine_error_over_the_temperature() -> None:
    task = ready(FLOATS, temperature=0.25)
    assert task.decoder is not None
    with torch.no_grad():
        task.decoder.weight.copy_(torch.eye(2))
        task.decoder.bias.zero_()
    nodes = torch.tensor([[3, 0], [0, 1], [-2, 0]], dtype=torch.float64)
    truth = torch.tensor([[5, 0], [7, 0], [1, 0]], dtype=torch.float64)
    view = View(Graph(*torch.empty(2, 0).long(), 3), {"nodes": torch.arange(3), "features": truth})
    losses = task.losses(nodes, view)
    torch.testing.assert_close(losses, torch.tensor([0.0, 4.0, 8.0], dtype=torch.float64))


def test_categories_cost_the_mean_cross_entropy_of_all_columns() -> None:
    task = ready(KINDS)
    assert task.decoder is not None
    with torch.no_grad():
        task.decoder.weight.zero_()
        task.decoder.bias.copy_(torch.tensor([2.0, 1.0, 1.0, 1.0, 3.0]).log())
    targets = {"nodes": torch.tensor([0]), "features": torch.tensor([[1, 0]])}
    view = View(Graph(*torch.empty(2, 0).long(), 1), targets)
    losses = task.losses(torch.ones(1, 2, dtype=torch.float64), view)
    torch.testing.assert_close(losses, torch.tensor([log(4)], dtype=torch.float64))


def test_a_hidden_node_receives_and_sends_nothing(path, rng) -> None:
    graph = path(31, x=torch.arange(62.0).view(31, 2), e=torch.arange(60).unsqueeze(1))
    view = ready(FLOATS, rate=0.3).view(Batch(graph), rng)
    chosen = set(view.targets["nodes"].tolist())
    assert len(chosen) == 9
    left = view.graph.validate()
    ends = list(zip(graph.src.tolist(), graph.dst.tolist()))
    assert left.e.flatten().tolist() == [i for i, (u, _) in enumerate(ends) if u not in chosen]
    assert torch.equal(view.targets["features"], graph.x[view.targets["nodes"]])
    seen = graph.x[[i for i in range(31) if i not in chosen]]
    torch.testing.assert_close(left.x[view.targets["nodes"]], seen.mean(0).expand(9, -1))


def test_no_feature_of_a_hidden_node_reaches_it_again(path, rng) -> None:
    graph = path(13, x=torch.randn(13, 2, dtype=torch.float64))
    view = ready(FLOATS, rate=0.2).view(Batch(graph), rng)
    h = view.graph.x.clone().requires_grad_()
    vectors = h
    for _ in range(5):
        vectors = torch.tanh(vectors + ops.sum_neighbors(view.graph, vectors))
    nodes = view.targets["nodes"]
    (grad,) = torch.autograd.grad(vectors.sum() - vectors[nodes].sum(), h)
    assert not grad[nodes].any()  # no other node's vector knows them


def test_categorical_features_of_hidden_nodes_are_masked(path, rng) -> None:
    graph = path(11, x=torch.stack([torch.arange(11) % 3, torch.arange(11) % 2], 1))
    view = ready(KINDS, rate=0.3).view(Batch(graph), rng)
    assert (view.graph.x[view.targets["nodes"]] == torch.tensor([3, 2])).all()
    assert int(graph.x[:, 0].max()) == 2


def test_what_cannot_be_generated_is_refused(path, rng) -> None:
    with pytest.raises(ConfigError, match="attribute generation needs node features"):
        AttributeGeneration().setup(Schema(), 3)
    with pytest.raises(ConfigError, match="`rate` is 0"):
        AttributeGeneration(rate=0)
    with pytest.raises(ConfigError, match="`temperature` is -1"):
        AttributeGeneration(temperature=-1)
    with pytest.raises(ShapeError, match="attribute generation was set up for categorical"):
        ready(KINDS).view(Batch(path(3, x=torch.zeros(3, 2))), rng)
    with pytest.raises(ConfigError, match=r"call `task\.setup"):
        AttributeGeneration().view(Batch(path(3, x=torch.zeros(3, 2))), rng)


@pytest.mark.parametrize("rate", [0.3, 1.0])
def test_features_of_hidden_nodes_are_not_in_the_view(path, rng, rate) -> None:
    types = torch.tensor([0, 1] * 6 + [2])  # type 2 has one node
    graph = path(13, x=torch.randn(13, 2), node_type=types)
    for seed in range(5):
        drawn = ready(FLOATS, rate=rate).view(Batch(graph), rng.manual_seed(seed))
        nodes = drawn.targets["nodes"]
        other = graph.replace(x=graph.x.index_fill(0, nodes, 7.0))
        again = ready(FLOATS, rate=rate).view(Batch(other), rng.manual_seed(seed))
        assert torch.equal(drawn.graph.x, again.graph.x)
        alone = drawn.graph.x[12][nodes.eq(12).any()]
        assert not alone.any()  # no other node of its type


def test_means_of_half_precision_features_are_right(path, rng) -> None:
    graph = path(601, x=torch.full((601, 2), 200, dtype=torch.float16))
    view = ready(FLOATS, rate=0.2).view(Batch(graph), rng)
    assert torch.equal(view.graph.x, graph.x)
