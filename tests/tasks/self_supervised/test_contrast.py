"""Contrast: what the copies are, what is compared, and the loss by hand."""

from __future__ import annotations

from math import exp, log, sqrt

import pytest
import torch
from torch import nn

from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema
from gtl.graph.augment import AUGMENTATIONS
from gtl.roles import Batch, View
from gtl.tasks import Contrast
from gtl.testing import check_task

KINDS = Schema(node=Columns((3, 2)))
FLOATS = Schema(node=Columns(width=3))


def ready(schema: Schema = KINDS, width: int = 2, **options: object) -> Contrast:
    """Without a projection."""
    task = Contrast(**options)  # type: ignore[arg-type]
    task.setup(schema, width)
    task.projection = nn.Sequential()
    return task.double()


def nothing(nodes: int) -> Graph:
    return Graph(*torch.empty(2, 0).long(), nodes)


def entropy(right: float, others: list[float], temperature: float) -> float:
    return -right / temperature + log(sum(exp(s / temperature) for s in [right, *others]))


def features(n: int) -> torch.Tensor:
    return torch.stack([torch.arange(n) % 3, torch.arange(n) % 2], 1)


@pytest.mark.slow  # tests/laws has the defaults
def test_it_obeys_the_laws_of_tasks() -> None:
    check_task(Contrast())
    check_task(Contrast(rate=0.5, temperature=1.0, augmentations=("drop_edges",), nodes=5))
    check_task(Contrast(augmentations=("subgraph", "mask_features")))


def test_the_loss_by_hand() -> None:
    # Directions of a, b in the first copy and a, b in the second.
    nodes = torch.tensor([[2, 0], [0, 3], [1, 1], [0, 5]], dtype=torch.float64)
    losses = ready(temperature=0.5).losses(nodes, View(nothing(4), {"items": torch.arange(4)}))
    s = 1 / sqrt(2)
    a = (entropy(s, [0, 0], 0.5) + entropy(s, [s, s], 0.5)) / 2
    b = (entropy(1, [0, s], 0.5) + entropy(1, [0, s], 0.5)) / 2
    expected = torch.tensor([a, b], dtype=torch.float64)
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=0)


def test_graphs_are_compared_by_their_mean_vectors(rng) -> None:
    pair = nothing(7).replace(sizes=torch.tensor([2, 0, 1, 1, 0, 3]))
    nodes = torch.randn(7, 2, dtype=torch.float64, generator=rng)
    view = View(pair, {"sizes": pair.sizes, "items": torch.tensor([0, 2, 3, 5])})
    means = torch.stack([nodes[:2].mean(0), nodes[2], nodes[3], nodes[4:].mean(0)])
    alone = View(nothing(4), {"items": torch.arange(4)})
    torch.testing.assert_close(ready().losses(nodes, view), ready().losses(means, alone))


def test_graphs_of_a_batch_are_the_samples_and_empty_ones_are_not(path, rng) -> None:
    batch = Graph.batch([path(n, x=features(n)) for n in (5, 0, 7, 1)])
    task = ready()
    view = task.view(Batch(batch.replace(y=torch.zeros(4, 1))), rng)
    assert view.graph.validate().num_graphs == 8 and view.graph.y is None
    assert view.targets["items"].tolist() == [0, 2, 3, 4, 6, 7]
    assert (view.graph.sizes > 0).tolist() == [True, False, True, True] * 2
    nodes = torch.randn(view.graph.num_nodes, 2, dtype=torch.float64)
    assert task.losses(nodes, view).shape == (3,)


def test_every_augmentation_is_drawn(path) -> None:
    batch = Graph.batch([path(9, x=features(9)) for _ in range(3)])
    code = torch.tensor([3, 2])
    seen = set()
    for seed in range(41):
        drawn = torch.Generator().manual_seed(seed)
        copy = ready(rate=0.4).view(Batch(batch), drawn).graph.unbatch()[0]
        masked = bool((copy.x == code).all(1).any())
        seen.add((copy.num_nodes < 9, copy.num_edges < 16, masked))
    # Fewer nodes; fewer edges alone; masked features alone.
    assert {(True, True, False), (False, True, False), (False, False, True)} <= seen
    assert ready().augmentations == AUGMENTATIONS


def test_one_graph_keeps_its_nodes_in_both_copies(path, rng) -> None:
    graph = path(31, x=torch.randn(31, 3), seeds=torch.tensor([2]), y=torch.tensor([0]))
    for batch in (graph, graph.replace(seeds=None, y=None, sizes=torch.tensor([31, 0]))):
        view = ready(FLOATS, rate=0.4, nodes=11).view(Batch(batch), rng)
        assert view.graph.num_nodes == 62 and view.graph.num_edges == 2 * 2 * 18
        items = view.targets["items"]
        assert torch.equal(items[:11] + 31, items[11:]) and len(set(items.tolist())) == 22
        assert "sizes" not in view.targets


def test_the_two_copies_differ(path) -> None:
    view = ready(FLOATS, rate=0.4).view(
        Batch(path(31, x=torch.randn(31, 3))), torch.Generator().manual_seed(1)
    )
    one, two = view.graph.unbatch()
    assert not torch.equal(one.src, two.src)


def test_a_node_alone_has_nothing_to_tell_apart(path, rng) -> None:
    task = ready()
    view = task.view(Batch(path(1, x=features(1))), rng)
    losses = task.losses(torch.randn(2, 2, dtype=torch.float64), view)
    torch.testing.assert_close(losses, torch.zeros(1, dtype=torch.float64))


def test_wrong_options_are_named(path, rng) -> None:
    with pytest.raises(ConfigError, match=r"`rate` is 1, expected a share above 0 and below 1"):
        Contrast(rate=1)
    with pytest.raises(ConfigError, match="`temperature` is 0"):
        Contrast(temperature=0)
    with pytest.raises(ConfigError, match=r"`augmentations` is \['drop'\]"):
        Contrast(augmentations=["drop"])
    with pytest.raises(ConfigError, match=r"`augmentations` is \[\]"):
        Contrast(augmentations=[])
    with pytest.raises(ConfigError, match="needs one of"):
        ready(augmentations=("drop_nodes",)).view(Batch(path(5, x=features(5))), rng)
    with pytest.raises(ConfigError, match=r"call `task\.setup"):
        Contrast().view(Batch(path(3)), rng)
