"""Masked autoencoder: what is hidden, twice, and the scaled cosine error."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from torch import nn

from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema
from gtl.roles import Batch, View
from gtl.tasks import MaskedAutoencoder
from gtl.testing import check_task

KINDS = Schema(node=Columns((3, 2)))
FLOATS = Schema(node=Columns(width=2))


def ready(schema: Schema, width: int = 2, **options: object) -> MaskedAutoencoder:
    task = MaskedAutoencoder(**options)  # type: ignore[arg-type]
    task.setup(schema, width)
    return task.double()


def view_of(graph: Graph, nodes: list[int], features: torch.Tensor) -> View:
    return View(graph, {"nodes": torch.tensor(nodes), "features": features})


@pytest.mark.slow  # tests/laws has the defaults
def test_it_obeys_the_laws_of_tasks() -> None:
    check_task(MaskedAutoencoder())
    check_task(MaskedAutoencoder(rate=0.8, replace=0, gamma=1, columns=None))
    check_task(MaskedAutoencoder(replace=1.0, gamma=1.5))


def test_a_masked_node_is_rebuilt_from_the_sum_of_its_neighbors(path) -> None:
    task = ready(FLOATS, gamma=3)
    task.decoder = nn.Sequential()  # the sum itself is the prediction
    nodes = torch.tensor([[1, 0], [9, 9], [0, 1], [7, 7]], dtype=torch.float64)
    truth = torch.tensor([[1, 0], [5, 5]], dtype=torch.float64)
    # Node 1 sees nodes 0 and 2, whose sum is (1, 1); node 3 sees node 2.
    losses = task.losses(nodes, view_of(path(4), [1, 3], truth))
    expected = (1 - 1 / sqrt(2)) ** 3
    torch.testing.assert_close(losses, torch.tensor([expected] * 2, dtype=torch.float64))


def test_vectors_of_masked_nodes_are_not_read(path) -> None:
    task = ready(FLOATS)
    nodes = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    truth = torch.ones(2, 2, dtype=torch.float64)
    losses = task.losses(nodes, view_of(path(5), [1, 2], truth))
    (grad,) = torch.autograd.grad(losses.sum(), nodes)
    assert grad.any(1).tolist() == [True, False, False, True, False]


def test_categories_are_unit_vectors_and_columns_are_averaged(path) -> None:
    task = ready(KINDS, width=5, columns=None, gamma=2)
    task.decoder = nn.Sequential()
    nodes = torch.tensor([[0, 0, 0, 0, 0], [3, 0, 4, 0, 2]], dtype=torch.float64)
    truth = torch.tensor([[0, 1]])
    losses = task.losses(nodes, view_of(path(2), [0], truth))
    torch.testing.assert_close(losses, torch.tensor([(0.4**2 + 0) / 2], dtype=torch.float64))


def test_a_perfect_prediction_costs_nothing_and_has_derivatives(path) -> None:
    for gamma in (1.0, 1.5, 2.0):
        task = ready(FLOATS, gamma=gamma)
        task.decoder = nn.Sequential()
        nodes = torch.tensor([[0.3, 0.1]] * 2, dtype=torch.float64, requires_grad=True)
        truth = torch.tensor([[3.0, 1.0]], dtype=torch.float64)
        losses = task.losses(nodes, view_of(path(2), [0], truth))
        assert losses.item() < 1e-8
        (grad,) = torch.autograd.grad(losses.sum(), nodes, create_graph=True)
        (second,) = torch.autograd.grad(grad.sum(), nodes)
        assert grad.isfinite().all() and second.isfinite().all()


def test_some_masked_nodes_have_features_of_another_node(path, rng) -> None:
    graph = path(41, x=torch.stack([torch.arange(41) % 3, torch.arange(41) % 2], 1))
    view = ready(KINDS, rate=0.5, replace=0.3).view(Batch(graph), rng)
    chosen = view.targets["nodes"]
    hidden = (view.graph.x[chosen] == torch.tensor([3, 2])).all(1)
    assert len(chosen) == 20 and int(hidden.sum()) == 14
    assert torch.equal(view.targets["features"], graph.x[chosen])
    rest = torch.ones(41, dtype=torch.bool).index_fill(0, chosen, False)
    assert torch.equal(view.graph.x[rest], graph.x[rest]) and view.graph.src is graph.src


def test_wrong_options_and_missing_features_are_named(path, rng) -> None:
    with pytest.raises(ConfigError, match="`gamma` is 0"):
        MaskedAutoencoder(gamma=0)
    with pytest.raises(ConfigError, match="`replace` is 2"):
        MaskedAutoencoder(replace=2)
    with pytest.raises(ConfigError, match="masked autoencoder needs node features"):
        MaskedAutoencoder().setup(Schema(), 3)
    with pytest.raises(ConfigError, match=r"call `task\.setup"):
        MaskedAutoencoder().view(Batch(path(3, x=torch.zeros(3, 2))), rng)
