"""Fingerprint: frequencies, and the loss by hand."""

from __future__ import annotations

from math import log

import pytest
import torch

from gtl.graph import Graph, Schema
from gtl.roles import Batch
from gtl.tasks import Fingerprint


def points(counts: list[list[int]]) -> Graph:
    none = torch.empty(0, dtype=torch.int64)
    return Graph(
        none,
        none,
        2 * len(counts),
        x=torch.zeros(2 * len(counts), 1),
        sizes=torch.full((len(counts),), 2),
        properties={"morgan": torch.tensor(counts, dtype=torch.uint8)},
    )


def ready(sample: Graph, columns: int) -> Fingerprint:
    task = Fingerprint(columns=columns)
    task.setup(Schema.of(sample), 2, lambda: sample)
    with torch.no_grad():
        task.predictor.weight.zero_()
    return task


def test_it_starts_from_the_frequencies(rng) -> None:
    sample = points([[3, 0], [1, 0], [0, 0]])
    task = ready(sample, 2)
    shares = torch.tensor([2.5 / 4, 0.5 / 4])
    assert torch.allclose(task.log_odds, (shares / (1 - shares)).log())
    assert task.usual_size == 2
    losses = task.losses(torch.ones(6, 2), task.view(Batch(sample), rng))
    entropy = -(shares * shares.log() + (1 - shares) * (1 - shares).log()).mean()
    first = -(log(2.5 / 4) + log(3.5 / 4)) / 2
    assert losses[0].item() == pytest.approx(first / entropy.item())


def test_counts_are_read_as_set_or_not(rng) -> None:
    view = Fingerprint(columns=3).view(Batch(points([[0, 1, 200]])), rng)
    assert view.targets["bits"].tolist() == [[False, True, True]]


def test_a_graph_is_its_mean_and_its_scaled_sum(rng) -> None:
    task = ready(points([[1, 0], [0, 1]]), 2)
    with torch.no_grad():
        task.log_odds.zero_(), task.unit.fill_(1.0)
        task.predictor.weight[0] = torch.tensor([1.0, 0.0, 2.0, 0.0])  # mean + 2 sum / usual size
    view = task.view(Batch(points([[1, 0]])), rng)
    nodes = torch.tensor([[1.0, 9.0], [3.0, 9.0]])
    score = 2.0 + 2 * 4.0 / 2
    expected = (torch.tensor(-score).exp().log1p() + log(2)) / 2
    assert task.losses(nodes, view).item() == pytest.approx(expected.item())
