"""The labeled target: values by hand for each kind, missing labels, the unit of a regression."""

from __future__ import annotations

from math import exp, log, nan

import pytest
import torch
from torch import Tensor, nn

from gtl.errors import ConfigError, DataError, ShapeError
from gtl.graph import Graph, Schema
from gtl.roles import Batch
from gtl.tasks import Supervised
from gtl.testing import MOLECULES, POINTS, Example, check_task


class Fixed(nn.Module):
    """Answers with the same predictions whatever comes."""

    def __init__(self, predictions: list[list[float]]):
        super().__init__()
        self.predictions = torch.tensor(predictions, dtype=torch.float64)

    def forward(self, graph: Graph, nodes: Tensor) -> Tensor:
        return self.predictions + 0 * nodes.sum()


def losses_of(task: Supervised, y: Tensor) -> Tensor:
    graph = Graph(*torch.empty(2, 0).long(), 7, sizes=torch.tensor([7] + [0] * (len(y) - 1)), y=y)
    view = task.view(Batch(graph), torch.Generator())
    assert view.graph is graph
    nodes = torch.zeros(7, 2, dtype=torch.float64, requires_grad=True)
    losses = task.losses(nodes, view)
    assert losses.requires_grad and int(task.labeled(view).sum()) == len(losses)
    return losses


def close(losses: Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.slow  # tests/laws has the defaults
def test_it_obeys_the_laws_of_tasks() -> None:
    binary = Example(MOLECULES, outputs=2)
    check_task(Supervised(outputs=2), examples=[binary])
    classes = Example(POINTS, level="node", kind="multiclass", outputs=3)
    check_task(Supervised(kind="multiclass", outputs=3), examples=[classes])
    numbers = Example(MOLECULES, kind="regression", outputs=3)
    mean, scale = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([5.0, 7.0, 11.0])
    task = Supervised(kind="regression", outputs=3, mean=mean, scale=scale)
    check_task(task, examples=[numbers])


def test_binary_labels_cost_the_mean_cross_entropy_of_the_known_columns() -> None:
    task = Supervised(Fixed([[0.0, log(3)], [5.0, 7.0], [-log(4), 1.0]]), kind="binary")
    y = torch.tensor([[1, 1], [nan, nan], [1, nan]])
    close(losses_of(task, y), [(log(2) + log(4 / 3)) / 2, log(5)])


def test_classes_cost_their_cross_entropy() -> None:
    task = Supervised(Fixed([[log(2), 0, 0], [0, 0, 0], [0, log(6), 0]]), kind="multiclass")
    close(losses_of(task, torch.tensor([0, -1, 2])), [log(2), log(8)])


def test_a_regression_costs_the_squared_error_in_standard_units() -> None:
    mean, scale = torch.tensor([3.0, 10.0]), torch.tensor([2.0, 5.0])
    task = Supervised(
        Fixed([[1.0, 0.0], [0.5, 9.0], [0.0, 0.0]]), kind="regression", mean=mean, scale=scale
    )
    y = torch.tensor([[7.0, 5.0], [3.0, nan], [nan, nan]])  # (2, -1), (0, ?)
    close(losses_of(task, y), [(1 + 1) / 2, 0.25])


def test_predictions_of_a_regression_are_in_the_unit_of_the_labels() -> None:
    task = Supervised(Fixed([[1.0], [-2.0]]), kind="regression", outputs=1)
    task.standardize(torch.tensor([[3.0], [nan], [7.0]]))
    assert (task.mean.item(), task.scale.item()) == (5.0, 2.0)
    assert task.predict(Graph(*torch.empty(2, 0).long(), 1), torch.zeros(1, 1)).tolist() == [
        [7],
        [1],
    ]


def test_other_kinds_predict_logits() -> None:
    task = Supervised(Fixed([[1.0], [-2.0]]), kind="binary")
    task.standardize(torch.tensor([[1.0], [0.0]]))
    assert task.predict(Graph(*torch.empty(2, 0).long(), 1), torch.zeros(1, 1)).tolist() == [
        [1],
        [-2],
    ]


@pytest.mark.parametrize("unit", [1e-13, 1e-20, 1e-6, 1e9])
def test_labels_are_scaled_whatever_their_unit(unit: float) -> None:
    task = Supervised(Fixed([[0.0], [0.0]]), kind="regression", outputs=1)
    task.standardize(torch.tensor([[3 * unit], [nan], [7 * unit]]))
    assert task.mean.tolist() == pytest.approx([5 * unit])
    assert task.scale.tolist() == pytest.approx([2 * unit])


def test_constant_and_unknown_columns_are_not_scaled() -> None:
    task = Supervised(kind="regression", outputs=3)
    task.standardize(torch.tensor([[0.1, nan, 1.0], [0.1, nan, 5.0], [0.1, nan, nan]]))
    torch.testing.assert_close(task.mean, torch.tensor([0.1, 0.0, 3.0]))
    torch.testing.assert_close(task.scale, torch.tensor([1.0, 1.0, 2.0]))


def test_the_unit_is_saved_with_the_task() -> None:
    task = Supervised(kind="regression", outputs=2).standardize(torch.tensor([[1.0, 2], [5, 8]]))
    other = Supervised(kind="regression", outputs=2)
    other.load_state_dict(task.state_dict())
    assert torch.equal(other.mean, task.mean) and torch.equal(other.scale, task.scale)


@pytest.mark.parametrize(
    ("kind", "y"),
    [
        ("binary", torch.full((2, 1), nan)),
        ("regression", torch.full((2, 1), nan)),
        ("multiclass", torch.tensor([-1, -1])),
    ],
)
def test_a_batch_without_known_labels_has_no_losses(kind: str, y: Tensor) -> None:
    losses = losses_of(Supervised(Fixed([[1.0], [2.0]]), kind=kind), y)
    assert losses.shape == (0,)
    losses.sum().backward()


@pytest.mark.parametrize(
    ("kind", "y", "words"),
    [
        ("binary", torch.zeros(3), r"float32 \(3,\), predictions are \(3, 1\)"),
        ("binary", torch.zeros(3, 2), r"\(3, 2\), predictions are \(3, 1\)"),
        ("binary", torch.zeros(2, 1), r"\(2, 1\), predictions are \(3, 1\)"),
        ("binary", torch.zeros(3, 1, dtype=torch.int64), "labels must be floating"),
        ("regression", torch.zeros(3), "one column per output"),
        ("multiclass", torch.zeros(3, 1, dtype=torch.int64), "int64 classes"),
        ("multiclass", torch.zeros(3), "int64 classes"),
        ("multiclass", torch.tensor([0, 0, 1]), "names class 1"),
    ],
)
def test_labels_that_do_not_fit_are_never_broadcast(kind: str, y: Tensor, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        losses_of(Supervised(Fixed([[1.0], [2.0], [3.0]]), kind=kind), y)


def test_a_unit_of_other_columns_is_refused() -> None:
    task = Supervised(Fixed([[1.0] * 3] * 2), kind="regression").standardize(torch.randn(5, 2))
    with pytest.raises(ShapeError, match="`mean` has 2 values for 3 columns"):
        losses_of(task, torch.zeros(2, 3))
    with pytest.raises(ShapeError, match=r"expected \(b, 3\)"):
        Supervised(kind="regression", outputs=3).standardize(torch.zeros(5, 2))


def test_without_a_kind_it_is_read_off_the_labels_or_refused() -> None:
    close(losses_of(Supervised(Fixed([[0.0]])), torch.tensor([[1.0]])), [log(2)])
    close(losses_of(Supervised(Fixed([[0.0, 0.0]])), torch.tensor([1])), [log(2)])
    with pytest.raises(ConfigError, match="give kind='regression'"):
        losses_of(Supervised(Fixed([[0.0]])), torch.tensor([[0.3]]))


def test_the_default_predictor_reads_seeds_or_means_of_graphs(path) -> None:
    task = Supervised(kind="binary", outputs=1)
    task.setup(Schema(), width=2)
    task.double()
    weight, bias = torch.tensor([[1.0, -2.0]]), torch.tensor([0.5])
    task.load_state_dict(
        {**task.state_dict(), "predictor.linear.weight": weight, "predictor.linear.bias": bias}
    )
    nodes = torch.tensor([[1, 0], [3, 4], [5, 7]], dtype=torch.float64)
    batch = path(3, sizes=torch.tensor([2, 0, 1]))
    assert task.predict(batch, nodes).tolist() == [[2 - 4 + 0.5], [0.5], [5 - 14 + 0.5]]
    seeded = path(3, seeds=torch.tensor([2, 1]))
    assert task.predict(seeded, nodes).tolist() == [[-8.5], [-4.5]]
    assert task.predict(path(3), nodes).shape == (1, 1)


def test_a_predictor_that_was_given_stays() -> None:
    predictor = Fixed([[0.0]])
    task = Supervised(predictor)
    task.setup(Schema(), 3)
    assert task.predictor is predictor


def test_soft_probabilities_agree_with_the_formula() -> None:
    task = Supervised(Fixed([[1.5]]), kind="binary")
    p = 1 / (1 + exp(-1.5))
    close(losses_of(task, torch.tensor([[0.25]])), [-0.25 * log(p) - 0.75 * log(1 - p)])


def test_wrong_options_and_missing_things_are_named(path, rng) -> None:
    with pytest.raises(ConfigError, match="`kind` is 'classes'"):
        Supervised(kind="classes")
    with pytest.raises(ConfigError, match="`outputs` is 0"):
        Supervised(outputs=0)
    with pytest.raises(ConfigError, match="number of classes"):
        Supervised(kind="multiclass").setup(Schema(), 3)
    with pytest.raises(ConfigError, match="scale above 0"):
        Supervised(kind="regression", scale=torch.tensor([0.0]))
    with pytest.raises(ConfigError, match="`mean` has 2 values, expected 3"):
        Supervised(kind="regression", outputs=3, mean=torch.zeros(2))
    with pytest.raises(DataError, match="no labels"):
        Supervised().view(Batch(path(3)), rng)
    with pytest.raises(ConfigError, match=r"call `task\.setup"):
        losses = Supervised(kind="binary")
        losses.losses(torch.zeros(3, 2), losses.view(Batch(path(3, y=torch.zeros(1, 1))), rng))
