"""Sampled neighborhoods against a plain breadth-first search and plain counts."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtl.errors import ConfigError, ShapeError
from gtl.graph import Graph, sample_neighbors


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_graph(nodes: int, edges: int, seed: int) -> Graph:
    """Directed, with loops and repeated edges; every row carries its own number."""
    src, dst = torch.randint(nodes, (2, edges), generator=generator(seed))
    return Graph(
        src,
        dst,
        nodes,
        x=torch.arange(nodes).unsqueeze(1),
        e=torch.arange(edges).unsqueeze(1),
        edge_type=torch.arange(edges) % 3,
        node_type=torch.arange(nodes) % 2,
        time=torch.arange(edges) * 0.5,
    )


def hops_from(graph: Graph, seeds: list[int], most: int) -> dict[int, int]:
    """Distance of each node within reach, by a search node after node."""
    distance = dict.fromkeys(seeds, 0)
    frontier = list(distance)
    for hop in range(1, most + 1):
        reached = []
        for src, dst in zip(graph.src.tolist(), graph.dst.tolist()):
            if dst in frontier and src not in distance:
                distance[src] = hop
                reached.append(src)
        frontier = reached
    return distance


def edge_numbers(part: Graph) -> list[int]:
    assert part.e is not None
    return part.e.flatten().tolist()


graphs = st.builds(random_graph, st.integers(1, 19), st.integers(0, 50), st.integers(0, 999))
limits = st.lists(st.one_of(st.none(), st.integers(1, 3)), max_size=3)


@settings(max_examples=60, deadline=None)
@given(graphs, st.integers(0, 3), st.integers(0, 999))
def test_without_limits_all_edges_within_reach_are_there(
    graph: Graph, hops: int, seed: int
) -> None:
    seeds = torch.randint(graph.num_nodes, (3,), generator=generator(seed))
    part = sample_neighbors(graph, seeds, [None] * hops).validate()
    distance = hops_from(graph, seeds.tolist(), hops)
    assert part.origin is not None and part.undrawn is not None
    order = [distance[node] for node in part.origin.tolist()]
    assert sorted(part.origin.tolist()) == sorted(distance) and order == sorted(order)
    inner = [edge for edge, dst in enumerate(graph.dst.tolist()) if distance.get(dst, hops) < hops]
    outer = set(edge_numbers(part)) - set(inner)
    assert sorted(set(edge_numbers(part)) - outer) == inner
    assert all(distance[int(graph.dst[edge])] == hops for edge in outer)
    for node, undrawn in zip(part.origin.tolist(), part.undrawn.tolist()):
        assert undrawn == 0 or distance[node] == hops


@settings(max_examples=60, deadline=None)
@given(graphs, limits, st.integers(0, 999))
def test_every_row_and_edge_is_one_of_the_graph(
    graph: Graph, fan_outs: list[int | None], seed: int
) -> None:
    seeds = torch.randint(graph.num_nodes, (5,), generator=generator(seed))
    part = sample_neighbors(graph, seeds, fan_outs, generator(seed)).validate()
    nodes, edges = part.origin, torch.tensor(edge_numbers(part), dtype=torch.int64)
    assert nodes is not None and part.seeds is not None and part.undrawn is not None
    assert torch.equal(nodes[part.seeds], seeds)
    assert part.seeds.unique().tolist() == list(range(len(seeds.unique())))
    assert len(nodes.unique()) == len(nodes) and len(edges.unique()) == len(edges)
    assert torch.equal(nodes[part.src], graph.src[edges])
    assert torch.equal(nodes[part.dst], graph.dst[edges])
    for name, index in (("x", nodes), ("node_type", nodes), ("edge_type", edges), ("time", edges)):
        assert torch.equal(getattr(part, name), getattr(graph, name)[index])
    assert torch.equal(part.full_in_degrees(), graph.in_degrees()[nodes])


@settings(max_examples=40, deadline=None)
@given(graphs, st.integers(1, 3), st.integers(0, 999))
def test_a_node_draws_no_more_than_its_limit_and_all_if_it_has_fewer(
    graph: Graph, limit: int, seed: int
) -> None:
    seeds = torch.arange(min(graph.num_nodes, 3))
    part = sample_neighbors(graph, seeds, [limit, 2 * limit], generator(seed))
    within = sample_neighbors(graph, seeds, [limit], generator(seed))
    degrees, drawn = graph.in_degrees(), part.in_degrees().tolist()
    assert part.origin is not None
    for row, node in enumerate(part.origin.tolist()):
        if row < len(seeds):
            assert drawn[row] == min(int(degrees[node]), limit)
        elif row < within.num_nodes:
            assert drawn[row] == min(int(degrees[node]), 2 * limit)
    assert torch.equal(part.origin[: within.num_nodes], within.origin)


def test_every_edge_is_drawn_equally_often_at_both_hops() -> None:
    # 7 -> 6 twice, 0..4 -> 5, 5 and 6 -> 8: the first hop draws both, the second one of several.
    src = torch.tensor([0, 1, 2, 3, 4, 7, 7, 5, 6])
    dst = torch.tensor([5, 5, 5, 5, 5, 6, 6, 8, 8])
    graph = Graph(src, dst, 9, e=torch.arange(9).unsqueeze(1))
    copies, first = Graph.batch([graph] * 2000), 9 * torch.arange(2000)  # 2000 draws in one
    part = sample_neighbors(copies, first + 8, [2, 1], generator(3))
    counts = Counter(edge_numbers(part))
    assert counts[7] == counts[8] == 2000
    # 2000 draws of 1 in 5 and of 1 in 2: 400 and 1000, standard deviations 18 and 22.
    assert all(abs(counts[edge] - 400) < 80 for edge in range(5))
    assert all(abs(counts[edge] - 1000) < 100 for edge in (5, 6))
    counts = Counter(edge_numbers(sample_neighbors(copies, first + 5, [3], generator(4))))
    # 2000 draws of 3 in 5: 1200, standard deviation 22.
    assert all(abs(counts[edge] - 1200) < 100 for edge in range(5))


def test_edges_lead_back_to_the_last_hop_where_the_graph_has_them() -> None:
    # Both directions of a path 0 - 1 - 2 - 3, and 4 -> 0 one way.
    src, dst = torch.tensor([0, 1, 1, 2, 2, 3, 4]), torch.tensor([1, 0, 2, 1, 3, 2, 0])
    part = sample_neighbors(Graph(src, dst, 5), torch.tensor([0]), [None, None])
    assert part.origin is not None and part.undrawn is not None
    assert part.origin.tolist() == [0, 1, 4, 2]
    edges = set(zip(part.origin[part.src].tolist(), part.origin[part.dst].tolist()))
    assert edges == {(1, 0), (4, 0), (0, 1), (2, 1), (1, 2)}
    assert part.undrawn.tolist() == [0, 0, 0, 1]  # 3 -> 2


def test_one_seed_gives_one_sample_and_another_another() -> None:
    graph, seeds = random_graph(101, 1501, 5), torch.tensor([3, 50, 7])
    one, two, other = (sample_neighbors(graph, seeds, [3, 3], generator(i)) for i in (9, 9, 8))
    assert edge_numbers(one) == edge_numbers(two) != edge_numbers(other)
    assert one.origin is not None and one.origin[:3].tolist() == [3, 50, 7]


def test_hubs_cost_no_more_than_their_limit() -> None:
    hub = torch.zeros(50_000, dtype=torch.int64)
    graph = Graph(torch.arange(50_000), hub, 50_000)
    part = sample_neighbors(graph, torch.tensor([0]), [10, 10], generator())
    assert part.num_edges == 10 and int(part.full_in_degrees()[0]) == 50_000


def test_labels_and_sizes_stay_behind() -> None:
    graph = random_graph(7, 13, 0).replace(sizes=torch.tensor([7]), y=torch.ones(1, 1))
    part = sample_neighbors(graph, torch.tensor([1]), [None])
    assert part.y is None and part.sizes is None


def test_no_seeds_and_no_hops_are_welcome() -> None:
    graph, none = random_graph(5, 7, 0), torch.empty(0, dtype=torch.int64)
    assert sample_neighbors(graph, none, [2, 2], generator()).num_nodes == 0
    part = sample_neighbors(graph, torch.tensor([4, 2]), [])
    assert part.num_edges == 0 and torch.equal(part.full_in_degrees(), graph.in_degrees()[[4, 2]])


def test_what_was_left_behind_stays_known_when_edges_go() -> None:
    graph = random_graph(11, 97, 1)
    part = sample_neighbors(graph, torch.tensor([0, 1]), [3, 3], generator())
    gone = torch.arange(part.num_edges) % 2 == 0
    lost = torch.bincount(part.dst[gone], minlength=part.num_nodes)
    assert torch.equal(part.drop_edges(gone).full_in_degrees(), part.full_in_degrees() - lost)
    both = Graph.batch([part.replace(seeds=None)] * 2)
    assert torch.equal(both.full_in_degrees(), part.full_in_degrees().repeat(2))
    assert torch.equal(both.unbatch()[1].full_in_degrees(), part.full_in_degrees())
    assert part.subgraph(torch.arange(3)).undrawn is None


def test_wrong_arguments_are_named() -> None:
    graph, seeds = random_graph(5, 7, 0), torch.tensor([1])
    with pytest.raises(ConfigError, match=r"`fan_outs\[1\]` is 0"):
        sample_neighbors(graph, seeds, [3, 0], generator())
    with pytest.raises(ConfigError, match="give a generator"):
        sample_neighbors(graph, seeds, [3])
    with pytest.raises(ShapeError, match=r"outside 0\.\.4"):
        sample_neighbors(graph, torch.tensor([5]), [None])
    with pytest.raises(ShapeError, match="one-dimensional int64"):
        sample_neighbors(graph, torch.tensor([1.0]), [None])


def test_without_hops_the_seeds_alone_are_fetched():
    graph = Graph(torch.tensor([0, 1, 2]), torch.tensor([1, 2, 3]), 4, torch.rand(4, 2))
    part = sample_neighbors(graph, torch.tensor([3, 1, 3]), [])
    assert part.origin.tolist() == [3, 1] and part.seeds.tolist() == [0, 1, 0]
    assert part.num_edges == 0 and part.undrawn.tolist() == [1, 1]
    assert torch.equal(part.x, graph.x[[3, 1]])
