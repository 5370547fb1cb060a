"""Whitening: two copies agree, and vectors do not become equal."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema, ops
from gtl.roles import Batch, View
from gtl.tasks import Whitening
from gtl.tasks.self_supervised.whitening import whitened
from gtl.testing import check_task

SCHEMA = Schema(node=Columns(width=3))


def ready(schema: Schema = SCHEMA, width: int = 2, **options: object) -> Whitening:
    """Without a projection."""
    task = Whitening(**options)  # type: ignore[arg-type]
    task.setup(schema, width)
    task.projection = nn.Sequential()
    return task.double()


def losses_of(nodes: torch.Tensor) -> torch.Tensor:
    graph = Graph(*torch.empty(2, 0).long(), len(nodes))
    return ready().losses(nodes, View(graph, {"nodes": torch.arange(len(nodes))}))


@pytest.mark.slow  # tests/laws has the defaults
def test_it_obeys_the_laws_of_tasks() -> None:
    check_task(Whitening())
    check_task(Whitening(rate=0.5, width=5, nodes=29))


def test_whitened_columns_are_uncorrelated_whatever_the_scale(rng) -> None:
    z = torch.randn(211, 3, dtype=torch.float64, generator=rng)
    mix = torch.tensor([[1, 0.5, 0], [0, 2, 0], [0.3, 0, 1]], dtype=torch.float64)
    z = 40 * z @ mix + 7
    w = whitened(z)
    torch.testing.assert_close(w.mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)
    covariance = w.T @ w / 211
    torch.testing.assert_close(covariance, torch.eye(3, dtype=torch.float64), atol=0.01, rtol=0)
    torch.testing.assert_close(whitened(300 * z), w, atol=1e-4, rtol=0)


def test_agreement_costs_nothing_and_opposition_two() -> None:
    one = torch.tensor([[1.0, 0], [-1, 0], [0, 2], [0, -2]], dtype=torch.float64)
    torch.testing.assert_close(
        losses_of(torch.cat([one, one])), torch.zeros(4, dtype=torch.float64), atol=1e-4, rtol=0
    )
    twos = torch.full((4,), 2.0, dtype=torch.float64)
    torch.testing.assert_close(losses_of(torch.cat([one, -one])), twos, atol=1e-4, rtol=0)


def test_equal_vectors_cost_as_much_as_random_ones(rng) -> None:
    equal = torch.ones(200, 2, dtype=torch.float64)
    torch.testing.assert_close(losses_of(equal), torch.ones(100, dtype=torch.float64))
    random = torch.randn(2000, 2, dtype=torch.float64, generator=rng)
    assert abs(losses_of(random).mean() - 1) < 0.1


def test_training_does_not_make_vectors_equal(path, rng) -> None:
    graph = Graph.batch([path(n, x=torch.randn(n, 11, generator=rng)) for n in (23, 31, 41)])
    task = Whitening(width=4)
    task.setup(Schema(node=Columns(width=11)), 5)
    lift, pass_on = nn.Linear(11, 5), nn.Linear(5, 5)
    optimizer = torch.optim.Adam(
        [*task.parameters(), *lift.parameters(), *pass_on.parameters()], lr=0.02
    )
    means = []
    for _ in range(150):
        view = task.view(Batch(graph), rng)
        h = lift(view.graph.x)
        h = torch.tanh(h + pass_on(ops.mean_neighbors(view.graph, h)))
        loss = task.losses(h, view).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        means.append(loss.item())
    assert sum(means[-30:]) < 0.8 * sum(means[:30])
    spectrum = torch.linalg.svdvals(h.detach() - h.detach().mean(0))
    assert spectrum[-1] > 0.1 * spectrum[0]


def test_copies_keep_all_nodes_and_lack_edges_and_features(path, rng) -> None:
    graph = path(31, x=torch.ones(31, 3), seeds=torch.tensor([1]), y=torch.tensor([0]))
    view = ready(rate=0.4).view(Batch(graph), rng)
    one, two = view.graph.validate().unbatch()
    assert one.num_nodes == two.num_nodes == 31
    assert one.num_edges == two.num_edges == 36 and not torch.equal(one.src, two.src)
    drawn = ready(rate=0.4, nodes=7).view(Batch(graph), rng).targets["nodes"]
    assert torch.equal(drawn[:7] + 31, drawn[7:]) and len(set(drawn.tolist())) == 14


def test_wrong_options_are_named(path, rng) -> None:
    with pytest.raises(ConfigError, match="`rate` is 1"):
        Whitening(rate=1)
    with pytest.raises(ConfigError, match="`width` is 0"):
        Whitening(width=0)
    with pytest.raises(ConfigError, match=r"call `task\.setup"):
        Whitening().view(Batch(path(3)), rng)
