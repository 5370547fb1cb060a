"""Partition: parts are learned on one graph and found once."""

from __future__ import annotations

from math import log

import pytest
import torch

from gtl.errors import ConfigError
from gtl.graph import Graph, Schema, sample_neighbors
from gtl.roles import Batch, View
from gtl.tasks import Partition
from gtl.testing import POINTS, Example, check_task


def ready(width: int = 2, **options: object) -> Partition:
    task = Partition(**options)  # type: ignore[arg-type]
    task.setup(Schema(), width)
    return task.double()


@pytest.mark.slow  # tests/laws has the defaults
def test_it_obeys_the_laws_of_tasks() -> None:
    check_task(Partition())
    nodes = Example(POINTS, level="node", kind="multiclass", outputs=3)
    check_task(Partition(parts=3), [nodes])


def test_parts_of_a_path_are_its_pieces_and_found_once(path, rng) -> None:
    graph = path(12)
    task = ready(parts=3)
    view = task.view(Batch(graph), rng)
    assert view.graph is graph
    pieces = view.targets["part"].view(3, 4)
    assert (pieces == pieces[:, :1]).all() and len(pieces[:, 0].unique()) == 3
    again = task.view(Batch(graph.replace(seeds=torch.tensor([1]))), rng)
    assert again.targets["part"] is view.targets["part"]


def test_the_loss_is_a_cross_entropy(path) -> None:
    task = ready(parts=3)
    assert task.classifier is not None
    with torch.no_grad():
        task.classifier.weight.zero_()
        task.classifier.bias.copy_(torch.tensor([2.0, 1.0, 1.0]).log())
    view = View(path(2), {"part": torch.tensor([0, 2])})
    losses = task.losses(torch.ones(2, 2, dtype=torch.float64), view)
    torch.testing.assert_close(losses, torch.tensor([log(2), log(4)], dtype=torch.float64))


def test_several_graphs_are_refused(path, rng) -> None:
    with pytest.raises(ConfigError, match="needs one graph"):
        ready().view(Batch(Graph.batch([path(3), path(0), path(5)])), rng)
    assert ready(parts=2).view(Batch(Graph.batch([path(0), path(5)])), rng).targets[
        "part"
    ].shape == (5,)


def test_sampled_neighborhoods_are_refused(path, rng) -> None:
    part = sample_neighbors(path(5), torch.tensor([2]), [None])
    with pytest.raises(ConfigError, match="needs the whole graph"):
        ready().view(Batch(part), rng)


def test_wrong_options_are_named(path, rng) -> None:
    with pytest.raises(ConfigError, match="`parts` is 1"):
        Partition(parts=1)
    with pytest.raises(ConfigError, match="`method` is 'random'"):
        Partition(method="random")
    task = Partition()
    with pytest.raises(ConfigError, match=r"call `task\.setup"):
        task.losses(torch.zeros(3, 2), task.view(Batch(path(3)), rng))
