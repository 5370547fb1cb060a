"""Structure: columns by hand, samples of graphs and of nodes, statistics, and training."""

from __future__ import annotations

from math import log1p

import pytest
import torch

import gtl
from gtl.errors import ConfigError
from gtl.graph import Graph, Schema
from gtl.roles import Batch
from gtl.tasks import Structure


def ready(sample: Graph | None = None, width: int = 2, **options) -> Structure:
    task = Structure(**options)
    task.setup(Schema(), width, None if sample is None else lambda: sample)
    return task


@pytest.fixture
def tadpole(make_graph):
    """A triangle 0 1 2 with a tail 2 3."""
    return make_graph(4, [(0, 1), (1, 2), (2, 0), (2, 3)])


def test_nodes_of_one_graph_by_hand(tadpole) -> None:
    values = ready(steps=(2,)).values_of(tadpole)
    two, three = log1p(2), log1p(3)
    returns = [5 / 12, 5 / 12, (1 / 2 + 1 / 2 + 1) / 3, 1 / 3]
    expected = [
        [two, log1p(1), 1.0, two, returns[0]],
        [two, log1p(1), 1.0, two, returns[1]],
        [three, log1p(1), 1 / 3, two, returns[2]],
        [log1p(1), 0.0, 0.0, log1p(1), returns[3]],
    ]
    torch.testing.assert_close(values[:, :5], torch.tensor(expected))
    assert values[:, 5:].isnan().all()  # columns of graphs


def test_graphs_of_a_batch_by_hand(tadpole, path) -> None:
    batch = Graph.batch([tadpole, path(0), path(2)])
    task = ready(steps=(2,))
    values = task.values_of(batch)
    assert task.sizes_of(batch).tolist() == [4, 2]
    torch.testing.assert_close(values[0, :5], task.values_of(tadpole)[:, :5].mean(0))
    of_tadpole = [log1p(4), log1p(4), log1p(3), log1p(2), 3 / 5]  # one triangle, five wedges
    torch.testing.assert_close(values[0, 5:], torch.tensor(of_tadpole))
    of_pair = [log1p(1), 0.0, 0.0, log1p(1), 1.0, log1p(2), log1p(1), log1p(1), log1p(1), 0.0]
    torch.testing.assert_close(values[1], torch.tensor(of_pair))


def test_direction_parallel_edges_and_loops_do_not_matter(tadpole) -> None:
    one_way = Graph(torch.tensor([0, 1, 2, 2, 2, 3]), torch.tensor([1, 2, 0, 3, 3, 3]), 4)
    task = ready()
    torch.testing.assert_close(task.values_of(one_way), task.values_of(tadpole), equal_nan=True)


def test_triangles_that_are_not_counted_do_not_count(make_graph, path, rng) -> None:
    clique = make_graph(6, [(i, j) for i in range(6) for j in range(i)])
    task = ready(max_degree=2)
    values = task.values_of(Graph.batch([clique, path(3)]))
    assert values.isnan().sum(1).tolist() == [3, 0]  # triangles, clustering, transitivity
    view = task.view(Batch(Graph.batch([clique, path(3)])), rng)
    assert task.losses(torch.ones(9, 2), view).isfinite().all()


def test_values_are_computed_once(path, rng) -> None:
    graph, task = path(5), ready()
    again = task.view(Batch(graph.replace(seeds=torch.tensor([0]))), rng).targets["values"]
    assert task.view(Batch(graph), rng).targets["values"] is again


@pytest.mark.parametrize("single", [True, False], ids=["nodes", "graphs"])
def test_predicting_the_median_has_a_loss_of_one(single, rng) -> None:
    shapes = gtl.load("demo:shapes")
    graph = shapes.graphs[0] if single else shapes.batch(torch.arange(200)).unlabeled()
    task = ready(graph, width=2)
    with torch.no_grad():
        task.predictor.weight.zero_(), task.predictor.bias.zero_()
    losses = task.losses(torch.zeros(graph.num_nodes, 2), task.view(Batch(graph), rng))
    assert len(losses) == (graph.num_nodes if single else 200)
    assert losses.mean().item() == pytest.approx(1.0, abs=0.2)  # columns with unknown values


def test_statistics_are_saved_with_the_task(tadpole, path) -> None:
    task = ready(Graph.batch([tadpole, path(3), path(9)]))
    other = ready()
    other.load_state_dict(task.state_dict())
    assert torch.equal(other.center, task.center) and torch.equal(other.scale, task.scale)
    assert float(task.usual_size) == pytest.approx(16 / 3)


def test_pre_training_lowers_the_loss_and_a_fine_tuning_goes_on_from_it() -> None:
    data = gtl.load("demo:shapes")
    gin = {"name": "gin", "width": 16, "depth": 2}
    run = gtl.pretrain(gin, data, tasks=["structure"], epochs=8, batch_size=32, seed=0)
    losses = [epoch["losses"]["structure"] for epoch in run.history]
    assert losses[-1] < 0.85 * losses[0]
    model = gtl.finetune(run, data, auxiliary=["structure"], weighting="equal", epochs=1)
    assert model.history[0]["losses"]["structure"] < 0.95 * losses[0]


def test_wrong_options_are_named(path, rng) -> None:
    for options in ({"steps": (2, 0)}, {"max_degree": 0}, {"clip": 0.0}, {"delta": -1.0}):
        with pytest.raises(ConfigError, match=f"`{next(iter(options))}`"):
            Structure(**options)
    task = Structure()
    with pytest.raises(ConfigError, match=r"call `task\.setup"):
        task.losses(torch.zeros(3, 2), task.view(Batch(path(3)), rng))
