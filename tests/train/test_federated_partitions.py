"""Partitions of a data set among clients."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from gtl.data.dataset import Dataset
from gtl.errors import ConfigError, DataError, UnknownPartError
from gtl.graph import Graph
from gtl.train.federated.division import divide, labeled_items, parts_of
from gtl.train.federated.federate import _plain
from gtl.train.federated.partitions import PARTITIONS, number_of_ids

LABELS = torch.arange(600) % 3
EVERY = {
    "iid": "iid",
    "dirichlet": {"name": "dirichlet", "alpha": 0.5},
    "pathological": {"name": "pathological", "classes": 1},
    "shards": "shards",
    "natural": {"name": "natural", "ids": [f"country {i % 4}" for i in range(600)]},
    "communities": {"name": "communities", "method": "propagation"},
}


@pytest.fixture
def ring() -> Dataset:
    """A ring of 600 nodes whose classes take turns."""
    src = torch.arange(600)
    graph = Graph(src, (src + 1) % 600, 600, torch.randn(600, 2))
    split = {"train": torch.arange(0, 200), "valid": torch.arange(200, 300)}
    split["test"] = torch.arange(300, 600)
    return Dataset("test:ring", graph=graph, labels=LABELS, split=split, level="node")


def counts(parts) -> torch.Tensor:
    """Items of each class at each client, ``(clients, classes)``."""
    rows = [torch.bincount(LABELS[parts.client == k], minlength=3) for k in range(4)]
    return torch.stack(rows)


def test_every_partition_is_tried_here():
    assert set(EVERY) == set(PARTITIONS)


@pytest.mark.parametrize("name", EVERY)
def test_each_item_has_one_client_and_the_seed_decides_which(ring, name):
    parts = divide(ring, EVERY[name], 4, seed=3)
    assert sum(len(part) for part in parts.datasets) == len(ring)
    for split in ("train", "valid", "test"):
        assert sum(len(part.split[split]) for part in parts.datasets) == len(ring.split[split])
    assert torch.equal(parts.client, divide(ring, EVERY[name], 4, seed=3).client)


@pytest.mark.parametrize("name", ["iid", "dirichlet", "shards"])
def test_another_seed_gives_another_partition(ring, name):
    one, two = (divide(ring, EVERY[name], 4, seed=seed).client for seed in (0, 1))
    assert not torch.equal(one, two)


def test_a_client_has_the_labels_and_features_of_its_own_nodes(ring):
    parts = divide(ring, "iid", 4, seed=0)
    for number, part in enumerate(parts.datasets):
        own = (parts.client == number).nonzero().flatten()
        assert torch.equal(part.labels, LABELS[own])
        assert torch.equal(part.graph.x, ring.graph.x[own])
        assert torch.equal(own[part.split["test"]], own[own >= 300])


def test_edges_between_clients_are_dropped_and_counted(ring):
    halves = (torch.arange(600) >= 300).long()
    parts = parts_of(ring, halves, 2)
    assert (parts.cut_edges, parts.edges) == (2, 600)
    assert [part.graph.num_edges for part in parts.datasets] == [299, 299]


def test_a_partition_at_random_has_equal_parts_and_classes(ring):
    found = counts(divide(ring, "iid", 4, seed=0))
    assert found.sum(1).tolist() == [150] * 4
    assert int(found.min()) > 30


def test_a_low_alpha_separates_classes_and_a_high_one_does_not(ring):
    def largest(alpha):
        parts = divide(ring, {"name": "dirichlet", "alpha": alpha, "least": 1}, 4, seed=0)
        return float((counts(parts).max(0).values / counts(parts).sum(0)).mean())

    assert largest(0.05) > 0.6 > 0.4 > largest(1000.0)


def test_the_shares_of_a_dirichlet_partition_are_those_of_the_distribution(ring):
    """A share of Dir(a, ..., a) over k clients has variance (1 - 1/k) / k / (k a + 1)."""
    shares = []
    for seed in range(60):
        found = counts(divide(ring, {"name": "dirichlet", "alpha": 1.0, "least": 0}, 4, seed))
        shares.append((found / found.sum(0)).flatten())
    variance = float(torch.cat(shares).var())
    assert variance == pytest.approx(0.75 / 4 / 5, rel=0.2)


def test_a_pathological_client_has_as_many_classes_as_wanted(ring):
    found = counts(divide(ring, {"name": "pathological", "classes": 2}, 4, seed=0))
    assert ((found > 0).sum(1) == 2).all() and (found.sum(0) == 200).all()


def test_shards_have_few_classes_each(ring):
    found = counts(divide(ring, {"name": "shards", "per_client": 1}, 4, seed=0))
    assert found.sum(1).tolist() == [150] * 4 and ((found > 0).sum(1) <= 2).all()


def test_a_natural_partition_follows_the_ids_and_leaves_out_those_without(ring):
    ids = torch.arange(600) // 200
    ids[:10] = -1
    parts = divide(ring, {"name": "natural", "ids": ids}, 3, seed=0)
    assert [len(part) for part in parts.datasets] == [190, 200, 200]


@pytest.mark.parametrize("form", [torch.Tensor.numpy, torch.Tensor.tolist, lambda x: [*x.numpy()]])
def test_negative_ids_are_of_no_client_in_every_form(ring, form):
    ids = form(torch.arange(600) % 3 - 1)
    given = {"name": "natural", "ids": ids}
    assert number_of_ids(given) == 2
    assert [len(part) for part in divide(ring, given, 2, seed=0).datasets] == [200, 200]
    assert json.loads(json.dumps(_plain(given)))["ids"] == [-1, 0, 1] * 200


def test_louvain_finds_two_cliques():
    pairs = [(a, b) for k in (0, 5) for a in range(k, k + 5) for b in range(k, k + 5) if a != b]
    src, dst = torch.tensor([*pairs, (0, 5), (5, 0)]).T
    graph = Graph(src, dst, 10, torch.ones(10, 1))
    split = {"train": torch.arange(10)}
    data = Dataset("test:two", graph=graph, labels=torch.arange(10) % 2, split=split, level="node")
    parts = divide(data, "communities", 2, seed=0)
    assert parts.client[:5].unique().tolist() != parts.client[5:].unique().tolist()
    assert parts.cut_edges == 2


def test_graphs_are_divided_without_being_copied(shapes):
    parts = divide(shapes, {"name": "dirichlet", "alpha": 1.0}, 3, seed=0)
    assert all(part.graphs is shapes.graphs for part in parts.datasets)
    items = torch.cat([part.split["train"] for part in parts.datasets])
    assert torch.equal(items.sort().values, shapes.split["train"].sort().values)


def test_a_client_without_labels_has_nothing_to_train_on(ring):
    labels = LABELS.clone()
    labels[300:] = -1
    parts = parts_of(replace(ring, labels=labels), (torch.arange(600) >= 300).long(), 2)
    assert [len(labeled_items(part)) for part in parts.datasets] == [200, 0]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("dirichlett", UnknownPartError, "dirichlet"),
        ({"name": "dirichlet", "aplha": 1}, UnknownPartError, "alpha"),
        ({"name": "dirichlet", "alpha": 0}, ConfigError, "above 0"),
        ({"name": "pathological", "classes": 9}, ConfigError, "1 to 3"),
        ({"name": "shards", "per_client": 0}, ConfigError, "per_client"),
        ({"name": "natural", "ids": [1, 2]}, ConfigError, "one for each item"),
        ({"name": "communities", "method": "none"}, ConfigError, "louvain"),
    ],
)
def test_what_cannot_be_used_is_named(ring, given, error, message):
    with pytest.raises(error, match=message):
        divide(ring, given, 4, seed=0)


def test_communities_need_one_graph_and_labels_one_class(shapes):
    with pytest.raises(ConfigError, match="graphs of their own"):
        divide(shapes, "communities", 2, seed=0)
    several = replace(shapes, labels=torch.ones(60, 2), label_names=(), kind="binary")
    with pytest.raises(ConfigError, match="no single class"):
        divide(several, "shards", 2, seed=0)


def test_a_federation_without_labels_to_train_on_is_refused(ring):
    with pytest.raises(DataError, match="no client has a labeled training item"):
        parts_of(replace(ring, split={"test": torch.arange(5)}), torch.zeros(600).long(), 1)
