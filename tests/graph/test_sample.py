"""Neighborhoods, induced pieces and node pairs, against networkx and plain loops."""

from __future__ import annotations

from collections import Counter

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtl.errors import ConfigError, ShapeError
from gtl.graph import Graph
from gtl.graph.sample import (
    are_joined,
    distances_from,
    draw_centers,
    draw_numbers,
    draw_rows,
    induced,
    neighborhoods,
    node_pairs,
    some_of_each,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_graph(nodes: int, edges: int, seed: int) -> Graph:
    rng = generator(seed)
    src, dst = torch.randint(max(nodes, 1), (2, edges if nodes else 0), generator=rng)
    return Graph(
        src,
        dst,
        nodes,
        x=torch.arange(nodes).unsqueeze(1),
        e=torch.arange(len(src)).unsqueeze(1),
        edge_type=torch.arange(len(src)) % 3,
        node_type=torch.arange(nodes) % 2,
        time=torch.arange(len(src)) * 0.5,
    )


def star(leaves: int) -> Graph:
    """Node 0 receives from every leaf."""
    return Graph(torch.arange(1, leaves + 1), torch.zeros(leaves, dtype=torch.int64), leaves + 1)


def as_networkx(graph: Graph) -> nx.MultiDiGraph:
    whole = nx.MultiDiGraph()
    whole.add_nodes_from(range(graph.num_nodes))
    whole.add_edges_from(zip(graph.src.tolist(), graph.dst.tolist()))
    return whole


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 19), st.integers(0, 40), st.integers(0, 5), st.integers(0, 999))
def test_distances_are_those_of_networkx(nodes: int, edges: int, hops: int, seed: int) -> None:
    graph = random_graph(nodes, edges, seed)
    centers = torch.randint(nodes, (5,), generator=generator(seed))
    owner, node, distance = neighborhoods(graph, centers, hops)
    against = as_networkx(graph).reverse()
    expected = [
        (i, v, d)
        for i, center in enumerate(centers.tolist())
        for v, d in sorted(nx.single_source_shortest_path_length(against, center, hops).items())
    ]
    assert list(zip(owner.tolist(), node.tolist(), distance.tolist())) == expected


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 13), st.integers(0, 40), st.integers(0, 999))
def test_a_disjoint_union_is_the_subgraphs_one_by_one(nodes: int, edges: int, seed: int) -> None:
    graph = random_graph(nodes, edges, seed)
    rng = generator(seed)
    groups = [torch.randperm(nodes, generator=rng)[: seed % (nodes + 1)] for _ in range(3)]
    owner = torch.arange(3).repeat_interleave(torch.tensor([len(group) for group in groups]))
    union = induced(graph, owner, torch.cat(groups), pieces=4).validate()
    assert union.sizes is not None and union.sizes[3] == 0
    for group, piece in zip(groups, union.unbatch()):
        single = graph.subgraph(group)
        for name in ("x", "node_type"):
            assert torch.equal(getattr(piece, name), getattr(single, name))
        # Each edge carries its own number, so equal rows in that order are equal edges.
        assert piece.e is not None and single.e is not None
        one, two = piece.e.flatten().argsort(), single.e.flatten().argsort()
        for name in ("src", "dst", "e", "edge_type", "time"):
            assert torch.equal(getattr(piece, name)[one], getattr(single, name)[two])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 11), st.integers(0, 30), st.integers(0, 999))
def test_node_pairs_are_the_joined_pairs(nodes: int, edges: int, seed: int) -> None:
    graph = random_graph(nodes, edges, seed)
    keys, pair = node_pairs(graph)
    ends = [tuple(sorted(both)) for both in zip(graph.src.tolist(), graph.dst.tolist())]
    joined = {(u, v) for u, v in ends if u != v}
    assert [(key // nodes, key % nodes) for key in keys.tolist()] == sorted(joined)
    for (u, v), row in zip(ends, pair.tolist()):
        assert row == -1 if u == v else keys[row] == u * nodes + v
    u, v = torch.meshgrid(torch.arange(nodes), torch.arange(nodes), indexing="ij")
    found = are_joined(graph, u, v)
    assert found.tolist() == [
        [tuple(sorted((i, j))) in joined for j in range(nodes)] for i in range(nodes)
    ]


def test_renumbering_nodes_renumbers_neighborhoods() -> None:
    graph = random_graph(13, 29, 3)
    new = torch.randperm(13, generator=generator(1))  # new number of each node
    renumbered = Graph(new[graph.src], new[graph.dst], 13)
    centers = torch.tensor([2, 7, 11])
    one = neighborhoods(graph, centers, 3)
    two = neighborhoods(renumbered, new[centers], 3)
    moved = {(o, int(new[v]), d) for o, v, d in zip(*(part.tolist() for part in one))}
    assert moved == set(zip(*(part.tolist() for part in two)))


def test_a_fan_out_draws_distinct_edges_and_each_equally_often() -> None:
    centers = torch.zeros(2000, dtype=torch.int64)  # two thousand searches of their own
    owner, node, _ = neighborhoods(star(7), centers, 1, fan_out=3, rng=generator(2))
    assert (torch.bincount(owner) == 4).all()  # the center and three distinct leaves
    # 2000 draws of 3 in 7: 857 each, standard deviation 22.
    assert ((torch.bincount(node)[1:] - 2000 * 3 / 7).abs() < 100).all()


def test_a_fan_out_above_the_degree_changes_nothing() -> None:
    graph, centers = random_graph(11, 23, 5), torch.arange(11)
    free = neighborhoods(graph, centers, 3)
    bound = neighborhoods(graph, centers, 3, fan_out=23, max_nodes=11, rng=generator())
    assert all(torch.equal(one, two) for one, two in zip(free, bound))


def test_no_distance_holds_more_than_max_nodes() -> None:
    graph, centers = random_graph(101, 701, 5), torch.tensor([3, 5, 3])
    owner, node, distance = neighborhoods(graph, centers, 3, max_nodes=5, rng=generator())
    counts = Counter(zip(owner.tolist(), distance.tolist()))
    assert max(counts.values()) == 5
    true_owner, true_node, _ = neighborhoods(graph, centers, 3)
    whole = set(zip(true_owner.tolist(), true_node.tolist()))
    assert set(zip(owner.tolist(), node.tolist())) < whole


def test_dropped_nodes_do_not_come_back_at_a_larger_distance() -> None:
    # A complete graph: whatever is not kept at distance 1 must not show up at distance 2.
    src, dst = torch.cartesian_prod(torch.arange(7), torch.arange(7)).T.contiguous()
    graph = Graph(src, dst, 7)
    _, _, distance = neighborhoods(graph, torch.tensor([0]), 3, max_nodes=2, rng=generator())
    assert sorted(distance.tolist()) == [0, 1, 1]


def test_max_nodes_draws_uniformly() -> None:
    centers = torch.zeros(2000, dtype=torch.int64)
    owner, node, _ = neighborhoods(star(5), centers, 1, max_nodes=2, rng=generator(1))
    assert (torch.bincount(owner) == 3).all()
    assert ((torch.bincount(node)[1:] - 800).abs() < 100).all()


def test_one_seed_gives_one_neighborhood() -> None:
    graph, centers = random_graph(101, 701, 5), torch.tensor([3, 5])
    one, two = (
        neighborhoods(graph, centers, 3, fan_out=2, max_nodes=3, rng=generator(9)) for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(one, two))


def test_no_centers_and_no_nodes_give_empty_answers() -> None:
    none = torch.empty(0, dtype=torch.int64)
    for graph in (random_graph(0, 0, 0), random_graph(5, 7, 0)):
        assert [len(part) for part in neighborhoods(graph, none, 3)] == [0, 0, 0]
        union = induced(graph, none, none)
        assert (union.num_nodes, union.num_edges, union.num_graphs) == (0, 0, 0)


def test_wrong_arguments_are_named() -> None:
    graph, centers = random_graph(5, 7, 0), torch.tensor([1])
    with pytest.raises(ConfigError, match="`hops` is -1"):
        neighborhoods(graph, centers, -1)
    with pytest.raises(ConfigError, match="give a generator"):
        neighborhoods(graph, centers, 1, fan_out=3)
    with pytest.raises(ConfigError, match="`max_nodes` is 0"):
        neighborhoods(graph, centers, 1, max_nodes=0, rng=generator())
    with pytest.raises(ShapeError, match=r"outside 0\.\.4"):
        neighborhoods(graph, torch.tensor([5]), 1)
    with pytest.raises(ShapeError, match="one-dimensional int64"):
        neighborhoods(graph, torch.tensor([1.0]), 1)
    with pytest.raises(ShapeError, match="ordered by owner"):
        induced(graph, torch.tensor([1, 0]), torch.tensor([0, 1]))
    with pytest.raises(ShapeError, match="twice"):
        induced(graph, torch.tensor([0, 0]), torch.tensor([1, 1]))


def test_edges_are_sorted_once_for_a_graph_whose_seeds_change() -> None:
    graph = random_graph(11, 23, 1)
    first, second = (graph.replace(seeds=torch.tensor([i])) for i in (1, 2))
    assert node_pairs(first)[0] is node_pairs(second)[0] is node_pairs(graph)[0]
    assert node_pairs(graph.reverse())[0] is not node_pairs(graph)[0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.integers(0, 40), st.integers(0, 99))
def test_drawn_numbers_are_distinct_and_as_many_as_there_are(
    total: int, count: int, seed: int
) -> None:
    drawn = draw_numbers(total, count, generator(seed))
    assert len(drawn.unique()) == len(drawn) == min(total, count)
    assert ((drawn >= 0) & (drawn < total)).all()


@pytest.mark.parametrize("total", [13, 47])  # below and above sixteen times the count
def test_every_number_is_drawn_equally_often(total: int) -> None:
    rng = generator(1)
    counts = torch.bincount(torch.cat([draw_numbers(total, 2, rng) for _ in range(3000)]))
    assert len(counts) == total
    assert ((counts - 6000 / total).abs() < 5 * (6000 / total) ** 0.5).all()


def test_a_share_is_rounded_and_at_least_one() -> None:
    rows = draw_rows(13, 0.15, generator())
    assert len(rows) == 2 and len(set(rows.tolist())) == 2
    assert [len(draw_rows(total, 0.15, generator())) for total in (0, 1, 3)] == [0, 1, 1]
    assert sorted(draw_rows(5, 1.0, generator()).tolist()) == [0, 1, 2, 3, 4]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 23), st.integers(0, 41), st.integers(0, 99))
def test_distances_from_the_nearest_source_are_those_of_networkx(
    nodes: int, edges: int, seed: int
) -> None:
    graph = random_graph(nodes, edges, seed)
    sources = torch.unique(torch.randint(nodes, (2,), generator=generator(seed)))
    turned = nx.DiGraph()
    turned.add_nodes_from(range(nodes))
    turned.add_edges_from(zip(graph.dst.tolist(), graph.src.tolist()))
    known = nx.multi_source_dijkstra_path_length(turned, set(sources.tolist()))
    expected = [known.get(node, -1) for node in range(nodes)]
    assert distances_from(graph, sources).tolist() == expected


def test_a_batch_has_one_center_a_graph_and_a_graph_as_many_as_wanted() -> None:
    graph = random_graph(11, 0, 0)
    batch = graph.replace(sizes=torch.tensor([3, 0, 7, 1]))
    for seed in range(7):
        a, b, c = draw_centers(batch, 5, generator(seed)).tolist()
        assert 0 <= a < 3 <= b < 10 == c
        assert len(set(draw_centers(graph, 5, generator(seed)).tolist())) == 5
    assert len(draw_centers(graph, 50, generator())) == 11


def test_no_group_has_more_rows_than_the_limit() -> None:
    group = torch.tensor([3, 0, 3, 3, 5, 0, 3])
    counts = Counter()
    for seed in range(200):
        rows = some_of_each(group, 2, generator(seed))
        assert group[rows].tolist() == [0, 0, 3, 3, 5]
        counts.update(rows.tolist())
    assert counts[1] == counts[5] == counts[4] == 200
    assert all(70 < counts[row] < 130 for row in (0, 2, 3, 6))  # half of the time each


def test_rows_of_a_large_group_are_drawn_alike() -> None:
    group = torch.cat([torch.zeros(4001, dtype=torch.int64), torch.tensor([1, 1])])
    places = []
    for seed in range(300):
        rows = some_of_each(group, 3, generator(seed))
        assert group[rows].tolist() == [0, 0, 0, 1, 1]
        places += rows[:3].tolist()
    assert abs(sum(places) / len(places) - 2000) < 150  # three standard errors are 115
