"""Triples are items: batches name them, names find them, and more of them may be known."""

from __future__ import annotations

import pytest
import torch

from gtl.data import Dataset
from gtl.data.new_triples import with_triples
from gtl.data.triples import TripleItems, Vocabulary
from gtl.errors import DataError, ShapeError
from gtl.graph import Graph

NAMES = Vocabulary(("ann", "bob", "eve", "joe"), ("hates", "likes"))
TRIPLES = torch.tensor([[0, 1, 1], [1, 1, 2], [2, 0, 0], [3, 0, 2]])


def graph() -> Graph:
    head, relation, tail = TRIPLES[:3].t()
    return Graph(head, tail, 4, edge_type=relation)


def dataset(**changes) -> Dataset:
    split = {"train": torch.arange(3), "valid": torch.arange(0), "test": torch.tensor([3])}
    given = {"graph": graph(), "triples": TRIPLES, "vocabulary": NAMES, "level": "triple"}
    return Dataset("memory", **{**given, "split": split, **changes})


def test_a_batch_names_its_triples_as_pairs_with_relations():
    batch = dataset().batch(torch.tensor([3, 0]))
    assert batch.pairs.tolist() == [[3, 2], [0, 1]] and batch.pair_type.tolist() == [0, 1]
    assert batch.num_edges == 3 and batch.num_items == 2 and batch.y is None
    plain = batch.unlabeled()
    assert plain.pairs is None and plain.pair_type is None


def test_relations_of_pairs_must_be_as_many_as_the_pairs():
    with pytest.raises(ShapeError, match="one relation for each of 1 `pairs`"):
        graph().replace(pairs=torch.tensor([[0, 1]]), pair_type=torch.tensor([0, 1]))
    with pytest.raises(ShapeError, match="one relation for each of 0 `pairs`"):
        graph().replace(pair_type=torch.tensor([0]))


def test_batches_of_graphs_keep_relations_of_pairs():
    one = dataset().batch(torch.tensor([1]))
    both = Graph.batch([one, one])
    assert both.pairs.tolist() == [[1, 2], [5, 6]] and both.pair_type.tolist() == [1, 1]


def test_the_data_set_describes_itself_and_its_checksum_sees_the_triples():
    data = dataset()
    assert data.metric == "mrr" and "4 triples of a graph with 4 nodes, 3 edges" in repr(data)
    other = TRIPLES.clone()
    other[3, 0] = 1
    assert data.checksum() == dataset().checksum() != dataset(triples=other).checksum()


def test_the_filter_has_items_of_all_parts_and_all_edges():
    items = dataset(triples=TRIPLES[3:], split={"test": torch.tensor([0])}).contents
    assert isinstance(items, TripleItems)
    assert items.known().tails.counts(torch.arange(8)).tolist() == [0, 1, 0, 1, 1, 0, 1, 0]
    assert items.known() is items.known("cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"triples": TRIPLES.float()}, "expected int64"),
        ({"triples": TRIPLES + 1}, "name entities outside 0..3"),
        ({"triples": TRIPLES.clone().index_fill(1, torch.tensor([1]), 2)}, "relations outside"),
        ({"triples": None}, "sets of triples, and no others"),
        ({"level": "node"}, "sets of triples, and no others"),
        ({"labels": torch.ones(4, 1)}, "triples have no `labels`"),
        ({"metric": "rocauc"}, "expected mrr or hits@K"),
        ({"vocabulary": Vocabulary(("ann",), ("r", "s"))}, "1 names of entities for 4 nodes"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(DataError, match=message):
        dataset(**changes)


def test_an_unknown_name_gets_the_nearest_and_not_a_list_of_all():
    assert NAMES.entity("eve") == 2 and NAMES.relation("likes") == 1
    with pytest.raises(DataError, match=r"no entity 'annn'.*did you mean 'ann'"):
        NAMES.entity("annn")
    with pytest.raises(DataError, match=r"no relation 'xyz'.*known are 2"):
        NAMES.relation("xyz")


def test_new_triples_are_edges_and_new_entities_come_last():
    data = dataset()
    more = with_triples(data, [("zoe", "likes", "ann"), ("abe", "hates", "zoe")])
    assert more.vocabulary.entities == (*NAMES.entities, "abe", "zoe")
    assert more.graph.num_nodes == 6 and more.graph.num_edges == 5
    assert torch.equal(more.triples, data.triples) and data.graph.num_edges == 3
    edges = torch.stack([more.graph.src, more.graph.edge_type, more.graph.dst], 1)
    assert edges[3:].tolist() == [[5, 1, 0], [4, 0, 5]]


def test_new_triples_that_are_edges_already_or_repeated_are_left_out():
    more = with_triples(
        dataset(), [("ann", "likes", "bob"), ("zoe", "likes", "ann"), ("zoe", "likes", "ann")]
    )
    assert more.graph.num_edges == 4 and more.graph.src[3] == 4


def test_new_triples_go_both_ways_where_relations_have_inverses():
    graph = Graph(torch.tensor([0, 1]), torch.tensor([1, 0]), 2, edge_type=torch.tensor([0, 1]))
    names = Vocabulary(("ann", "bob"), ("knows", "inverse of knows"))
    part = torch.tensor([[0, 0, 1]])
    data = Dataset("memory", graph=graph, triples=part, vocabulary=names, level="triple")
    more = with_triples(data, [("zoe", "knows", "ann"), ("bob", "inverse of knows", "zoe")])
    edges = torch.stack([more.graph.src, more.graph.edge_type, more.graph.dst], 1)
    assert sorted(edges[2:].tolist()) == [[0, 1, 2], [1, 1, 2], [2, 0, 0], [2, 0, 1]]


def test_new_triples_come_from_a_file_and_have_known_relations(tmp_path):
    file = tmp_path / "new.tsv"
    file.write_text("zoe\tlikes\tann\n")
    assert with_triples(dataset(), file).graph.num_edges == 4
    with pytest.raises(DataError, match="the relation 'knows' is not in memory"):
        with_triples(dataset(), [("zoe", "knows", "ann")])
    with pytest.raises(DataError, match="is no triple of names"):
        with_triples(dataset(), [("zoe", "knows")])
    with pytest.raises(DataError, match="no knowledge graph with names"):
        with_triples(dataset(vocabulary=None), [("zoe", "likes", "ann")])
