"""The disjoint union of two graphs, which is built once."""

from __future__ import annotations

import pytest
import torch

from gtl.errors import ShapeError
from gtl.graph import Graph
from gtl.graph.union import begins_with, has_same_content, union


def path(nodes, **fields):
    src = torch.arange(nodes - 1)
    return Graph(src, src + 1, nodes, x=torch.arange(nodes).float().unsqueeze(1), **fields)


def test_nodes_of_the_first_graph_come_first():
    whole = union(path(3, seeds=torch.tensor([2])), path(5, y=torch.zeros(1, 1)))
    assert whole.sizes.tolist() == [3, 5] and whole.src.tolist() == [0, 1, 3, 4, 5, 6]
    assert whole.x.flatten().tolist() == [0, 1, 2, 0, 1, 2, 3, 4]
    assert whole.y is None and whole.seeds is None


def test_a_union_is_built_once_whatever_the_seeds():
    one, other = path(3), path(5)
    first = union(one.replace(seeds=torch.tensor([0])), other.replace(seeds=torch.tensor([1])))
    assert union(one.replace(seeds=torch.tensor([2])), other) is first
    assert union(one, path(5)) is not first
    assert union(one.replace(x=one.x + 1), other) is not first


def test_a_union_knows_what_it_begins_with():
    one, other = path(3), path(5)
    whole = union(one, other)
    assert begins_with(whole, one.replace(seeds=torch.tensor([1]), y=torch.zeros(1)))
    assert not begins_with(whole, other) and not begins_with(whole, path(3))
    assert not begins_with(one, one) and not begins_with(Graph.batch([one, other]), one)


def test_content_is_compared_by_identity():
    one = path(3)
    assert has_same_content(one, one.replace(seeds=torch.tensor([1])))
    assert not has_same_content(one, path(3))


def test_graphs_with_other_fields_have_no_union():
    with pytest.raises(ShapeError, match="`x` is present in 1 of 2 graphs"):
        union(path(3), path(3).replace(x=None))
