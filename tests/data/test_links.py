"""Links of any graph, hidden to be found again."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gtl.data import link_dataset
from gtl.data.links import warn_of_known_links
from gtl.errors import DataError, GtlWarning
from gtl.graph import Graph
from gtl.graph.sample import are_joined


@pytest.fixture
def graph():
    """A ring of 31 nodes with edges both ways, one loop and one edge twice."""
    ring = torch.arange(31)
    src, dst = torch.cat([ring, (ring + 1) % 31]), torch.cat([(ring + 1) % 31, ring])
    extra = torch.tensor([3, 7])
    return Graph(torch.cat([src, extra]), torch.cat([dst, torch.tensor([3, 8])]), 31)


def test_hidden_links_leave_the_graph_and_training_links_stay(graph):
    data = link_dataset(graph, seed=3)
    for part, hidden in (("train", False), ("valid", True), ("test", True)):
        items = data.split[part]
        links = data.pairs[items][data.labels[items, 0] == 1]
        assert are_joined(graph, *links.unbind(1)).all()
        assert (are_joined(data.graph, *links.unbind(1)) != hidden).all()
    assert [len(data.split[part]) for part in ("train", "valid", "test")] == [25, 6, 6]


def test_pairs_without_a_link_are_unjoined_in_the_whole_graph(graph):
    data = link_dataset(graph, (0.4, 0.3, 0.3), seed=1)
    others = data.pairs[data.labels[:, 0] == 0]
    assert len(others) == 18 and not are_joined(graph, *others.unbind(1)).any()
    assert (data.labels[data.split["train"]] == 1).all()


def test_one_seed_gives_one_set(graph):
    assert link_dataset(graph, seed=5).checksum() == link_dataset(graph, seed=5).checksum()
    assert link_dataset(graph, seed=5).checksum() != link_dataset(graph, seed=6).checksum()


def test_too_few_links_are_refused():
    with pytest.raises(DataError, match="2 items cannot be split"):
        link_dataset(Graph(torch.tensor([0, 1]), torch.tensor([1, 2]), 3))


def test_unjoined_pairs_are_distinct_over_all_parts_whichever_end_comes_first():
    """Ten nodes have 45 pairs, 20 of them joined: drawing with replacement repeats some."""
    ends = torch.combinations(torch.arange(10))[::2][:20]
    data = link_dataset(Graph(*ends.t(), 10), (0.1, 0.45, 0.45), seed=0)
    others = data.pairs[data.labels[:, 0] == 0].sort(1).values
    assert len(others) == 18 and len(others.unique(dim=0)) == 18


def test_too_few_unjoined_pairs_are_told_with_their_numbers():
    ends = torch.combinations(torch.arange(7))  # 21 pairs
    with pytest.warns(GtlWarning, match="3 unjoined pairs were found for 7 links"):
        data = link_dataset(Graph(*ends[:18].t(), 7), (0.6, 0.1, 0.3), seed=0)
    assert int((data.labels == 0).sum()) == 3
    with pytest.raises(DataError, match=r"0 unjoined pairs .* and 'valid' has none"):
        link_dataset(Graph(*ends.t(), 7))


def test_sets_made_by_hand_are_checked_for_links_that_the_graph_shows(graph):
    leaking = replace(link_dataset(graph, seed=3), graph=graph)
    with pytest.warns(GtlWarning, match="3 of 3 valid links and 3 of 3 test links are edges"):
        warn_of_known_links(leaking)
    warn_of_known_links(link_dataset(graph, seed=3))
