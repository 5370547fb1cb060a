"""Augmentations: what goes missing, how much of it, and what every graph keeps."""

from __future__ import annotations

import networkx as nx
import pytest
import torch

from gtl.errors import ConfigError
from gtl.graph import Columns, Graph
from gtl.graph.augment import (
    AUGMENTATIONS,
    augment,
    connected_part,
    drop_nodes,
    mask_features,
    masked,
    perturbed,
)
from gtl.graph.sample import are_joined

KINDS = Columns((7, 3))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def path(n: int) -> Graph:
    ends = torch.arange(max(n - 1, 0))
    x = torch.stack([torch.arange(n) % 7, torch.arange(n) % 3], 1)
    src, dst = torch.cat([ends, ends + 1]), torch.cat([ends + 1, ends])
    return Graph(src, dst, n, x=x, e=torch.cat([ends, ends]).unsqueeze(1))


def batch() -> Graph:
    return Graph.batch([path(n) for n in (5, 0, 13, 1, 2)])


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_copy_is_valid_repeatable_and_leaves_the_graph_alone(name: str) -> None:
    graph, twin = batch(), batch()
    one = augment(name, graph, 0.3, generator(4), KINDS).validate()
    two = augment(name, graph, 0.3, generator(4), KINDS)
    for field in ("src", "dst", "x", "e", "sizes"):
        assert torch.equal(getattr(one, field), getattr(two, field))
        assert torch.equal(getattr(graph, field), getattr(twin, field))
    changed = one.num_nodes < 21 or one.num_edges < graph.num_edges
    assert changed or not torch.equal(one.x, graph.x)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_empty_graph_is_welcome(name: str) -> None:
    for graph in (path(0), Graph.batch([path(0), path(0)]), path(1)):
        assert augment(name, graph, 0.9, generator(), KINDS).num_nodes == graph.num_nodes


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_rate_of_zero_takes_nothing_away(name: str) -> None:
    graph = batch()
    for copy in (
        augment(name, graph, 0.0, generator(), KINDS),
        perturbed(graph, 0.0, 0.0, generator(), KINDS),
    ):
        assert copy.num_nodes == graph.num_nodes and copy.num_edges == graph.num_edges
        assert torch.equal(copy.x, graph.x)


def test_every_graph_keeps_a_node() -> None:
    for seed in range(7):
        sizes = drop_nodes(batch(), 0.99, generator(seed)).sizes.tolist()
        assert [size > 0 for size in sizes] == [True, False, True, True, True]


def test_nodes_go_at_the_rate() -> None:
    kept = drop_nodes(path(10007), 0.2, generator()).num_nodes
    assert abs(kept / 10007 - 0.8) < 0.02


def test_a_part_has_its_share_and_hangs_together() -> None:
    for seed in range(7):
        part = connected_part(batch(), 0.6, generator(seed))
        assert part.sizes.tolist() == [3, 0, 8, 1, 2]
        for piece in part.unbatch():
            whole = nx.empty_graph(piece.num_nodes)
            whole.add_edges_from(zip(piece.src.tolist(), piece.dst.tolist()))
            assert piece.num_nodes == 0 or nx.is_connected(whole)


def test_a_part_of_a_scattered_graph_has_its_share_too() -> None:
    none = torch.empty(0, dtype=torch.int64)
    assert connected_part(Graph(none, none, 10), 0.5, generator()).num_nodes == 5


def test_removed_edges_go_in_both_directions() -> None:
    graph = path(31)
    left = augment("drop_edges", graph, 0.2, generator())
    assert left.num_edges == 2 * 24 and are_joined(left, left.dst, left.src).all()


def test_categories_are_masked_by_node_and_floats_by_column() -> None:
    graph = path(1009)
    hidden = (mask_features(graph, 0.3, generator(), KINDS).x == torch.tensor([7, 3])).all(1)
    assert abs(hidden.float().mean() - 0.3) < 0.05
    wide = Graph(graph.src[:0], graph.dst[:0], 3, x=torch.ones(3, 1009))
    x = mask_features(wide, 0.3, generator(), None).x
    assert x.std(0).max() == 0 and abs(x.mean() - 0.7) < 0.05


def test_without_features_nothing_is_masked() -> None:
    graph = path(3).replace(x=None)
    assert mask_features(graph, 0.5, generator(), None) is graph


def test_wrong_names_and_missing_categories_are_named() -> None:
    with pytest.raises(ConfigError, match=r"'drop'; known: drop_nodes, drop_edges"):
        augment("drop", path(3), 0.1, generator())
    with pytest.raises(ConfigError, match="needs `columns`"):
        masked(path(3).x, None)
