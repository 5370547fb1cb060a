"""Descriptors: standardization and loss by hand, missing values, and properties of other names."""

from __future__ import annotations

import pytest
import torch

from gtl.errors import ConfigError
from gtl.graph import Graph, Schema
from gtl.roles import Batch
from gtl.tasks import Descriptors

NAN = float("nan")


def points(values: list[list[float]], name: str = "descriptors") -> Graph:
    """A one-node graph per row of values."""
    none = torch.empty(0, dtype=torch.int64)
    count = len(values)
    return Graph(
        none,
        none,
        count,
        x=torch.zeros(count, 1),
        sizes=torch.ones(count, dtype=torch.int64),
        properties={name: torch.tensor(values)},
    )


def ready(sample: Graph, **options) -> Descriptors:
    task = Descriptors(**options)
    task.setup(Schema.of(sample), 2, lambda: sample)
    with torch.no_grad():
        task.predictor.weight.zero_(), task.predictor.bias.zero_()
    return task


def test_columns_are_standardized_by_their_quantiles() -> None:
    sample = points([[float(i), 7.0, NAN] for i in range(101)])
    task = ready(sample, columns=3)
    assert task.center.tolist() == [50.0, 7.0, 0.0]
    # 5 and 95 of 0..100 lie 2 x 1.6449 standard deviations of a normal distribution apart
    assert task.scale.tolist() == pytest.approx([90 / 3.2898, 0.0, 0.0])


def test_a_rare_count_is_scaled_by_its_deviation() -> None:
    sample = points([[1.0 if i == 0 else 0.0] for i in range(100)])
    task = ready(sample, columns=1)
    assert task.scale.item() == pytest.approx((0.01 * 0.99) ** 0.5)


def test_the_loss_by_hand(rng) -> None:
    sample = points([[0.0], [1.0], [2.0], [3.0], [4.0]])
    task = ready(sample, columns=1, clip=1.5)
    with torch.no_grad():
        task.center.fill_(2.0), task.scale.fill_(1.0), task.unit.fill_(0.5)
    view = task.view(Batch(points([[2.5], [9.0], [NAN]])), rng)
    losses = task.losses(torch.zeros(3, 2), view)
    # Huber of 0.5: 0.125; of 1.5, to which 7 is clipped: 1; nothing known: 0. In units of 0.5.
    assert losses.tolist() == pytest.approx([0.25, 2.0, 0.0])


def test_predicting_the_median_has_a_loss_of_one(rng) -> None:
    values = torch.randn(400, 6, generator=rng).exp().tolist()
    sample = points(values)
    task = ready(sample, columns=6)
    losses = task.losses(torch.zeros(400, 2), task.view(Batch(sample), rng))
    assert losses.mean().item() == pytest.approx(1.0, abs=1e-5)


def test_a_constant_column_does_not_count(rng) -> None:
    task = ready(points([[0.0, 3.0], [1.0, 3.0], [2.0, 3.0]]), columns=2)
    one = task.view(Batch(points([[1.0, 3.0]])), rng)
    other = task.view(Batch(points([[1.0, 99.0]])), rng)
    vectors = torch.ones(1, 2)
    assert torch.equal(task.losses(vectors, one), task.losses(vectors, other))


def test_statistics_are_saved_with_the_task(rng) -> None:
    task = ready(points([[0.0], [2.0], [4.0]]), columns=1)
    other = Descriptors(columns=1)
    other.setup(Schema.of(points([[0.0]])), 2)
    other.load_state_dict(task.state_dict())
    assert torch.equal(other.scale, task.scale)
    task.setup(Schema.of(points([[0.0]])), 2, lambda: points([[50.0], [99.0]]))  # seen once
    assert torch.equal(other.center, task.center)


def test_missing_properties_and_other_columns_are_named(rng) -> None:
    bare = points([[0.0]]).replace(properties=None)
    with pytest.raises(ConfigError, match=r"do not carry the property 'mine'.*properties=\['mine'"):
        Descriptors(property="mine", columns=1).view(Batch(bare), rng)
    with pytest.raises(ConfigError, match="has 1 columns, the task was made for 217; set"):
        Descriptors().view(Batch(points([[0.0]])), rng)
    for option in ({"columns": 0}, {"clip": 0.0}, {"delta": -1.0}):
        with pytest.raises(ConfigError, match=next(iter(option))):
            Descriptors(**option)


def test_infinite_values_are_clipped_and_do_not_change_the_scale() -> None:
    often = [[float(i % 11)] for i in range(99)] + [[float("inf")]] * 9
    rare = [[0.0]] * 98 + [[1.0], [float("inf")]]
    for rows in (often, rare):
        task = ready(points(rows), columns=1)
        usual = ready(points([row for row in rows if row[0] < float("inf")]), columns=1)
        assert task.center == usual.center and task.scale == usual.scale
        losses = task.losses(torch.zeros(len(rows), 2), task.view(Batch(points(rows)), None))
        assert bool(losses.isfinite().all())
