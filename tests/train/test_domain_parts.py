"""Parts of an alignment: distance, common features, edges drawn like the target's."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

import gtl
from gtl.errors import ConfigError, DataError
from gtl.graph import Graph
from gtl.train.context_features import context_means
from gtl.train.domain_choice import what_each_selects
from gtl.train.domain_distance import domain_distance
from gtl.train.domain_features import by_name, common_features, projected
from gtl.train.domain_shift import drawn_like_target, edge_ratio, redrawn
from gtl.train.domains import domains_of


def data(x: torch.Tensor, name: str) -> gtl.Dataset:
    n = len(x)
    graph = Graph(torch.arange(n - 1), torch.arange(1, n), n, x)
    labels = torch.arange(n) % 2
    return gtl.Dataset(f"test:{name}", graph=graph, labels=labels, level="node")


def test_domains_that_are_alike_are_at_distance_zero():
    rng = torch.Generator().manual_seed(0)
    rows = torch.randn(4000, 5, generator=rng)
    near = domain_distance(rows[:2500], rows[2500:])
    far = domain_distance(rows[:2500], rows[2500:] + 3)
    assert near.accuracy == pytest.approx(0.5, abs=0.05) and near.a_distance < 0.2
    assert far.accuracy > 0.98 and far.a_distance == pytest.approx(2 * (2 * far.accuracy - 1))


def test_many_vectors_of_one_domain_do_not_make_the_critic_look_good():
    rng = torch.Generator().manual_seed(0)
    found = domain_distance(torch.randn(2000, 3, generator=rng), torch.randn(60, 3, generator=rng))
    assert found.accuracy < 0.65


def test_columns_are_matched_by_name_in_the_order_of_the_target():
    one = data(torch.tensor([[1.0, 2.0, 3.0]] * 4), "a")
    other = data(torch.tensor([[30.0, 10.0]] * 4), "b")
    left, right = by_name(one, other, [["x", "y", "z"], ["z", "x"]])
    assert left.graph.x[0].tolist() == [3.0, 1.0] and right.graph.x[0].tolist() == [30.0, 10.0]
    assert one.graph.x.shape == (4, 3)


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ([["x", "y", "z"], ["u", "v"]], DataError, "share no feature name"),
        ([["x", "y"], ["u", "v"]], ConfigError, "source has 2 names.*3 columns"),
        ([["x", "x", "z"], ["u", "v"]], ConfigError, "2 different"),
        ([["x", "y", "z"]], ConfigError, "expected two"),
    ],
)
def test_unusable_names_are_refused(names, error, message):
    one, other = data(torch.ones(4, 3), "a"), data(torch.ones(4, 2), "b")
    with pytest.raises(error, match=message):
        common_features(one, other, names, None)


def test_components_are_found_on_both_domains_together():
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(80, 2, generator=rng) @ torch.randn(2, 9, generator=rng)
    one, other = projected(data(x[:50], "a"), data(x[50:], "b"), 2)
    both = torch.cat([one.graph.x, other.graph.x])
    distances = torch.cdist(both, both)
    known = torch.cdist(x, x)  # two components have all there is: distances stay, up to a unit
    assert torch.allclose(distances / distances.max(), known / known.max(), atol=1e-3)
    with pytest.raises(DataError, match="not comparable"):
        projected(data(x, "a"), data(x[:, :4], "b"), 2)
    with pytest.raises(ConfigError, match="from 1 to 9"):
        projected(data(x, "a"), data(x, "b"), 10)


def test_edges_between_classes_are_compared_by_hand():
    labels = torch.tensor([0, 0, 1])
    one = Graph(torch.tensor([0, 1, 0, 2]), torch.tensor([1, 0, 2, 0]), 3)
    other = Graph(torch.tensor([0, 1, 0, 2, 1, 2]), torch.tensor([1, 0, 2, 0, 2, 1]), 3)
    ratio = edge_ratio(one, labels, other, labels, 2)
    assert ratio.tolist() == [[1.0, 2.0], [2.0, 1.0]]  # no edge within class 1: 1


def test_edges_are_drawn_in_both_directions_and_on_average_as_weighted():
    src = torch.arange(2000)
    graph = Graph(torch.cat([src, src + 2000]), torch.cat([src + 2000, src]), 4000)
    found = redrawn(graph, torch.full((4000,), 1.5), seed=0)
    assert found.num_edges / 4000 == pytest.approx(1.5, abs=0.05)
    assert int((found.src < 2000).sum()) * 2 == found.num_edges
    same = redrawn(graph, torch.ones(4000), seed=0)
    assert torch.equal(same.src, graph.src) and torch.equal(same.dst, graph.dst)


def test_the_oracle_is_a_bound_of_what_criteria_select():
    lines = [
        {"epoch": 0, "criteria": {"source": 0.9, "dev": -0.3, "oracle": 0.5}},
        {"epoch": 1, "criteria": {"source": 0.8, "dev": -0.1, "oracle": 0.7}},
    ]
    found = what_each_selects({"source": lines[:1], "dann": lines})
    assert found["source"]["candidate"] == "source" and found["dev"]["epoch"] == 1
    assert found["oracle"]["test"] == max(each["test"] for each in found.values())


def test_the_context_of_a_node_is_what_walks_meet_more_often_than_by_chance():
    rng = torch.Generator().manual_seed(0)
    n, steps = 13, 3
    ends = torch.randint(n - 1, (2, 20), generator=rng)  # the last node has no edge
    ends = ends[:, ends[0] != ends[1]]
    graph = Graph(torch.cat([*ends]), torch.cat([*ends.flip(0)]), n)
    x = torch.randn(n, 4, generator=rng)
    adjacency = torch.zeros(n, n, dtype=torch.float64)
    adjacency.index_put_((graph.dst, graph.src), torch.ones(()).double(), accumulate=True)

    def normed(matrix):
        sums = matrix.sum(1, keepdim=True)
        return torch.where(sums > 0, matrix / sums, 0.0)

    hop = normed(adjacency)
    walks = normed(
        sum(torch.matrix_power(hop, k) / k for k in range(1, steps + 1)).fill_diagonal_(0)
    )
    columns = walks.sum(0).clamp(min=1e-300)
    shared = (n * walks / columns).log().clamp(min=0)  # log 0 is minus infinity, which is cut off
    expected = normed(shared) @ x.double()
    assert torch.allclose(context_means(graph, x, steps).double(), expected, atol=1e-5)
    assert context_means(graph, x, steps)[-1].tolist() == [0.0] * 4


def test_context_is_appended_in_the_scale_of_the_features():
    one, other = (data(5 * torch.randn(9, 3), name) for name in "ab")
    left, right = common_features(one, other, None, None, context=2)
    assert left.graph.x.shape == (9, 6) and torch.equal(left.graph.x[:, :3], one.graph.x)
    both = torch.cat([left.graph.x, right.graph.x])
    sizes = [float(part.square().mean()) for part in (both[:, :3], both[:, 3:])]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-4)
    with pytest.raises(ConfigError, match="`context` is 0"):
        common_features(one, other, None, None, context=0)


@pytest.mark.parametrize("kind", ["multiclass", "binary"])
def test_edges_are_drawn_without_labels_outside_the_training_split(kind, monkeypatch):
    scores = torch.randn(90, 3, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(
        "gtl.train.domain_shift.vectors_and_scores", lambda model, data, items: (None, scores)
    )
    model = SimpleNamespace(target=SimpleNamespace(kind=kind))

    def drawn(changed: slice) -> torch.Tensor:
        rng = torch.Generator().manual_seed(1)
        ends = torch.randint(90, (2, 2, 300), generator=rng)
        labels = torch.arange(90) % 3
        labels[changed] = (labels[changed] + 1) % 3
        if kind == "binary":
            labels = torch.nn.functional.one_hot(labels, 3).float()
        split = {"train": torch.arange(40), "valid": torch.arange(40, 60)}
        split["test"] = torch.arange(60, 90)
        graphs = [Graph(*each, 90, torch.zeros(90, 1)) for each in ends]
        source = gtl.Dataset("s", graph=graphs[0], labels=labels, split=split, level="node")
        target = gtl.Dataset("t", graph=graphs[1], level="node")
        return drawn_like_target(model, domains_of(source, target), seed=0).graph.src

    assert torch.equal(drawn(slice(40, 90)), drawn(slice(0)))
    assert not torch.equal(drawn(slice(0, 40)), drawn(slice(0)))
