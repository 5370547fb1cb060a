"""Clustering: what clusters are found on, and whose they are."""

from __future__ import annotations

from math import log

import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema
from gtl.roles import Batch, View
from gtl.tasks import Clustering
from gtl.testing import check_task

KINDS = Schema(node=Columns((4, 3)))
FLOATS = Schema(node=Columns(width=2))


def ready(schema: Schema, width: int = 3, **options: int) -> Clustering:
    task = Clustering(**options)
    task.setup(schema, width)
    return task.double()


def blobs(rng: torch.Generator) -> tuple[Graph, torch.Tensor]:
    truth = torch.arange(60) % 3
    places = torch.tensor([[0.0, 9], [9, 0], [-9, -9]], dtype=torch.float64)
    x = places[truth] + torch.randn(60, 2, generator=rng, dtype=torch.float64)
    return Graph(*torch.empty(2, 0).long(), 60, x=x), truth


@pytest.mark.slow  # tests/laws has the defaults
def test_it_obeys_the_laws_of_tasks() -> None:
    check_task(Clustering())
    check_task(Clustering(clusters=3, hops=0))
    check_task(Clustering(clusters=5, hops=2))


def test_well_separated_groups_are_found(rng) -> None:
    graph, truth = blobs(rng)
    task = ready(FLOATS, clusters=3, hops=0)
    view = task.view(Batch(graph), rng)
    assert view.graph is graph
    assert adjusted_rand_score(truth, view.targets["cluster"]) == 1
    centers = task.centers[:, 0].sort(0).values
    expected = torch.as_tensor(KMeans(3, n_init=3).fit(graph.x).cluster_centers_).sort(0).values
    torch.testing.assert_close(centers, expected, atol=0.3, rtol=0)


@pytest.mark.parametrize("hops", [0, 1, 2])
def test_each_node_belongs_to_the_nearest_center(path, rng, hops: int) -> None:
    codes = torch.stack([torch.arange(31) % 4, torch.arange(31) * 7 % 3], 1)
    for schema, x in ((KINDS, codes), (FLOATS, torch.randn(31, 2, dtype=torch.float64))):
        graph = path(31, x=x)
        task = ready(schema, clusters=4, hops=hops)
        found = task.view(Batch(graph), rng).targets["cluster"]
        own = x if schema is FLOATS else torch.eye(7)[codes + torch.tensor([0, 4])].sum(1)
        ring = torch.zeros(31, 31, dtype=torch.float64)
        ring[graph.dst, graph.src] = 1
        ring = ring / ring.sum(1, keepdim=True)
        parts = [own.double()]
        for _ in range(hops):
            parts.append(ring @ parts[-1])
        distance = torch.cdist(torch.cat(parts, 1), task.centers.flatten(1))
        assert torch.equal(found, distance.argmin(1)) and len(found.unique()) > 1


def test_clusters_are_found_once_and_saved(path, rng) -> None:
    first, second = (path(n, x=torch.randn(n, 2)) for n in (23, 41))
    task, loaded = ready(FLOATS, clusters=4), ready(FLOATS, clusters=4)
    task.view(Batch(first), rng)
    centers = task.centers.clone()
    known = task.view(Batch(second), rng).targets["cluster"]
    assert torch.equal(task.centers, centers)
    loaded.load_state_dict(task.state_dict())
    assert torch.equal(loaded.view(Batch(second.replace()), rng).targets["cluster"], known)
    assert task.view(Batch(second), rng).targets["cluster"] is known  # remembered
    fresh = ready(FLOATS, clusters=4)
    assert (
        fresh.view(Batch(second), rng).targets["cluster"] is not known
    )  # other centers, other clusters


def test_too_few_nodes_give_no_samples(path, rng) -> None:
    task = ready(FLOATS, clusters=5)
    graph = path(4, x=torch.randn(4, 2))
    view = task.view(Batch(graph), rng)
    losses = task.losses(torch.randn(4, 3, dtype=torch.float64, requires_grad=True), view)
    assert losses.shape == (0,) and not task.found
    losses.sum().backward()
    task.view(Batch(path(7, x=torch.randn(7, 2))), rng)
    assert task.found and task.view(Batch(graph), rng).targets["cluster"].shape == (4,)


def test_the_loss_is_a_cross_entropy(path) -> None:
    task = ready(FLOATS, clusters=3)
    assert task.classifier is not None
    with torch.no_grad():
        task.classifier.weight.zero_()
        task.classifier.bias.copy_(torch.tensor([2.0, 1.0, 1.0]).log())
    view = View(path(2), {"cluster": torch.tensor([0, 2])})
    losses = task.losses(torch.ones(2, 3, dtype=torch.float64), view)
    torch.testing.assert_close(losses, torch.tensor([log(2), log(4)], dtype=torch.float64))


def test_wrong_options_and_missing_features_are_named(path, rng) -> None:
    with pytest.raises(ConfigError, match="`clusters` is 1"):
        Clustering(clusters=1)
    with pytest.raises(ConfigError, match="`hops` is -1"):
        Clustering(hops=-1)
    with pytest.raises(ConfigError, match="clustering needs node features"):
        Clustering().setup(Schema(), 3)
    with pytest.raises(ConfigError, match=r"call `task\.setup"):
        Clustering().view(Batch(path(3, x=torch.zeros(3, 2))), rng)
