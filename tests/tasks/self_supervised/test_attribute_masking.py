"""Attribute masking: what is hidden, what is predicted, and what it costs to be wrong."""

from __future__ import annotations

from math import log, sqrt

import pytest
import torch
from torch import Tensor

from gtl.errors import ConfigError, ShapeError
from gtl.graph import Columns, Graph, Schema
from gtl.graph.sample import node_pairs
from gtl.roles import Batch, View
from gtl.tasks import AttributeMasking
from gtl.testing import check_task

KINDS = Schema(node=Columns((3, 2)))
FLOATS = Schema(node=Columns(width=3))


def ready(schema: Schema, width: int = 2, **options: object) -> AttributeMasking:
    task = AttributeMasking(**options)  # type: ignore[arg-type]
    task.setup(schema, width)
    return task.double()


def set_decoder(task: AttributeMasking, weight: Tensor, bias: Tensor) -> None:
    assert task.decoder is not None
    with torch.no_grad():
        task.decoder.weight.copy_(weight)
        task.decoder.bias.copy_(bias)


@pytest.mark.slow  # tests/laws has the defaults
def test_it_obeys_the_laws_of_tasks() -> None:
    check_task(AttributeMasking())
    check_task(AttributeMasking(rate=0.5, columns=None))


def test_the_loss_is_the_cross_entropy_of_the_first_column() -> None:
    task = ready(KINDS)
    # Probabilities 1/2, 1/4, 1/4 whatever the vectors are.
    set_decoder(task, torch.zeros(3, 2), torch.tensor([2.0, 1.0, 1.0]).log())
    nodes = torch.ones(3, 2, dtype=torch.float64)
    truth = torch.tensor([[0, 1], [2, 0], [0, 0]])
    view = View(Graph(*torch.empty(2, 0).long(), 3), {"nodes": torch.arange(3), "features": truth})
    expected = torch.tensor([log(2), log(4), log(2)], dtype=torch.float64)
    torch.testing.assert_close(task.losses(nodes, view), expected)


def test_several_columns_are_averaged() -> None:
    task = ready(KINDS, columns=(1, 0))
    bias = torch.tensor([1.0, 3.0, 2.0, 1.0, 1.0]).log()  # column 1: 1/4, 3/4; column 0: 1/2 ...
    set_decoder(task, torch.zeros(5, 2), bias)
    view = View(
        Graph(*torch.empty(2, 0).long(), 1),
        {"nodes": torch.tensor([0]), "features": torch.tensor([[2, 0]])},
    )
    losses = task.losses(torch.ones(1, 2, dtype=torch.float64), view)
    torch.testing.assert_close(losses, torch.tensor([log(4)], dtype=torch.float64))


def test_only_the_vector_of_the_masked_node_counts() -> None:
    task = ready(KINDS)
    nodes = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    targets = {"nodes": torch.tensor([3]), "features": torch.tensor([[1, 1]])}
    losses = task.losses(nodes, View(Graph(*torch.empty(2, 0).long(), 5), targets))
    (grad,) = torch.autograd.grad(losses.sum(), nodes)
    assert grad.any(1).tolist() == [False, False, False, True, False]


def test_floating_features_cost_one_minus_the_cosine() -> None:
    task = ready(FLOATS, width=3)
    set_decoder(task, torch.eye(3), torch.zeros(3))
    nodes = torch.tensor([[3, 0, 0], [1, 1, 0], [0, 0, -2], [1, 2, 3]], dtype=torch.float64)
    truth = torch.tensor([[5, 0, 0], [7, 0, 0], [0, 0, 1], [0, 0, 0]], dtype=torch.float64)
    view = View(Graph(*torch.empty(2, 0).long(), 4), {"nodes": torch.arange(4), "features": truth})
    expected = torch.tensor([0, 1 - 1 / sqrt(2), 2, 1], dtype=torch.float64)
    torch.testing.assert_close(task.losses(nodes, view), expected)


def test_a_row_of_zeros_gives_no_gradient() -> None:
    task = ready(FLOATS, width=3)
    nodes = torch.randn(1, 3, dtype=torch.float64, requires_grad=True)
    targets = {"nodes": torch.tensor([0]), "features": torch.zeros(1, 3, dtype=torch.float64)}
    losses = task.losses(nodes, View(Graph(*torch.empty(2, 0).long(), 1), targets))
    (grad,) = torch.autograd.grad(losses.sum(), nodes)
    assert losses.item() == 1 and not grad.any()


def test_masked_nodes_and_no_others_are_hidden(path, rng) -> None:
    graph = path(23, x=torch.stack([torch.arange(23) % 3, torch.arange(23) % 2], 1))
    view = ready(KINDS, rate=0.3).view(Batch(graph), rng)
    chosen = view.targets["nodes"]
    assert len(chosen) == 7 and len(set(chosen.tolist())) == 7
    assert (view.graph.x[chosen] == torch.tensor([3, 2])).all()  # the codes for masked
    assert torch.equal(view.targets["features"], graph.x[chosen])
    rest = torch.ones(23, dtype=torch.bool).index_fill(0, chosen, False)
    assert torch.equal(view.graph.x[rest], graph.x[rest])
    assert int(graph.x[:, 0].max()) == 2  # the graph itself is as it was


def test_floating_features_are_hidden_by_zeros(path, rng) -> None:
    graph = path(5, x=torch.ones(5, 3))
    view = ready(FLOATS, rate=0.4).view(Batch(graph), rng)
    assert view.graph.x.sum(1).sort().values.tolist() == [0, 0, 3, 3, 3]


def test_structure_is_shared_with_the_graph(path, rng) -> None:
    graph = path(5, x=torch.zeros(5, 2, dtype=torch.int64))
    view = ready(KINDS).view(Batch(graph), rng)
    assert view.graph.src is graph.src
    assert node_pairs(view.graph)[0] is node_pairs(graph)[0]


def test_what_cannot_be_masked_is_refused(path, rng) -> None:
    with pytest.raises(ConfigError, match="needs node features"):
        AttributeMasking().setup(Schema(), 3)
    with pytest.raises(ConfigError, match="needs node features"):
        ready(KINDS).view(Batch(path(3)), rng)
    with pytest.raises(ConfigError, match="column 2"):
        AttributeMasking(columns=(2,)).setup(KINDS, 3)
    with pytest.raises(ConfigError, match="`columns` is empty"):
        AttributeMasking(columns=()).setup(KINDS, 3)
    with pytest.raises(ConfigError, match="`rate` is 0"):
        AttributeMasking(rate=0)
    with pytest.raises(ConfigError, match=r"`rate` is 1\.5"):
        AttributeMasking(rate=1.5)
    with pytest.raises(ShapeError, match="1 columns"):
        ready(KINDS).view(Batch(path(3, x=torch.zeros(3, 1, dtype=torch.int64))), rng)
    with pytest.raises(ShapeError, match="categorical"):
        ready(KINDS).view(Batch(path(3, x=torch.zeros(3, 2))), rng)


def test_before_setup_it_says_what_to_do(path, rng) -> None:
    with pytest.raises(ConfigError, match=r"call `task\.setup"):
        AttributeMasking().view(Batch(path(3, x=torch.zeros(3, 2))), rng)


def test_other_categories_need_another_task() -> None:
    task = ready(KINDS)
    with pytest.raises(
        ConfigError, match=r"categories \(3, 2\), the data has of categories \(4, 2\)"
    ):
        task.setup(Schema(node=Columns((4, 2))), 2)
    with pytest.raises(ConfigError, match="`width` 2, now for 3"):
        task.setup(KINDS, 3)
    task.setup(KINDS, 2)  # the sizes that it was made for are still welcome
