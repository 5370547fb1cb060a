"""Classes can count differently in the supervised loss."""

from __future__ import annotations

import pytest
import torch

import gtl
from gtl.errors import ConfigError
from gtl.roles import Batch
from gtl.tasks import Supervised
from gtl.tasks.class_weights import balanced_weights

NAN = float("nan")


def losses_of(task, predictions, y):
    """Losses of items whose predictions are given as node vectors."""
    task.predictor = lambda graph, nodes: nodes
    graph = gtl.Graph(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64), len(y))
    graph = graph.replace(seeds=torch.arange(len(y)), y=y)
    return task.losses(predictions, task.view(Batch(graph), torch.Generator()))


def test_a_class_counts_as_much_as_its_weight():
    y, predictions = torch.tensor([0, 1, 2]), torch.randn(3, 3)
    plain = losses_of(Supervised(kind="multiclass", outputs=3), predictions, y)
    weighted = losses_of(
        Supervised(kind="multiclass", outputs=3, class_weights=[2, 0, 0.5]), predictions, y
    )
    torch.testing.assert_close(weighted, plain * torch.tensor([2, 0, 0.5]))


def test_zeros_and_ones_of_a_column_count_as_much_as_their_weights():
    y, predictions = torch.tensor([[0.0, NAN], [1.0, 0.0]]), torch.randn(2, 2)
    each = torch.nn.functional.binary_cross_entropy_with_logits(
        predictions, y.nan_to_num(0), reduction="none"
    )
    found = losses_of(Supervised(kind="binary", outputs=2, class_weights=[3, 5]), predictions, y)
    expected = torch.stack([3 * each[0, 0], (5 * each[1, 0] + 3 * each[1, 1]) / 2])
    torch.testing.assert_close(found, expected)


def test_balanced_weights_give_every_class_the_same_total():
    labels = torch.tensor([0, 0, 0, 0, 0, 2, 2, -1])
    weights = balanced_weights(labels, (3,))
    assert weights.tolist() == pytest.approx([7 / 10, 1, 7 / 4])
    columns = torch.tensor([[0, 1], [0, 1], [0, NAN], [1, 1]])
    assert balanced_weights(columns, (2, 2)).T.tolist() == [
        pytest.approx([4 / 6, 2]),
        pytest.approx([1, 1]),
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "regression", "class_weights": [1, 2]}, "of the kind 'regression'"),
        ({"kind": "multiclass", "outputs": 3, "class_weights": [1, 2]}, "expected 3 numbers"),
        ({"kind": "binary", "outputs": 3, "class_weights": [1, -2]}, "2 numbers from 0 on"),
        ({"kind": "binary", "class_weights": "equal"}, "expected 'balanced' or numbers"),
    ],
)
def test_weights_that_do_not_fit_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        Supervised(**options)


def test_weights_are_those_of_the_training_part_and_are_kept_in_a_run_folder(shapes, tmp_path):
    from dataclasses import replace

    labels = shapes.labels.clone()
    labels[shapes.split["train"][:20]] = 0
    labels[shapes.split["train"][20:]] = 1
    data = replace(shapes, labels=labels)
    encoder = {"name": "gin", "width": 8, "depth": 1}
    model = gtl.finetune(encoder, data, class_weights="balanced", epochs=1, out=tmp_path / "run")
    assert model.target.weight_of_class.flatten().tolist() == pytest.approx([30 / 40, 30 / 20])
    loaded = gtl.Model.load(tmp_path / "run")
    assert torch.equal(loaded.target.weight_of_class, model.target.weight_of_class)
    assert torch.equal(gtl.predict(loaded, data), gtl.predict(model, data))


def test_columns_of_binary_labels_may_have_weights_of_their_own():
    y, predictions = torch.tensor([[0.0, 1.0]]), torch.randn(1, 2)
    how = {"kind": "binary", "outputs": 2}
    each = torch.nn.functional.binary_cross_entropy_with_logits(predictions, y, reduction="none")
    task = Supervised(**how, class_weights=[[1.0, 2.0], [3.0, 4.0]])
    expected = (each * torch.tensor([[1.0, 4.0]])).mean(1)  # a zero, then a one
    assert torch.allclose(losses_of(task, predictions, y), expected)
    with pytest.raises(ConfigError, match=r"lists of \[1, 2\] numbers"):
        Supervised(**how, class_weights=[[1.0], [3.0, 4.0]])
