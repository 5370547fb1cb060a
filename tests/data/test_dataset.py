"""Dataset: what it refuses, and what it reads off its labels."""

from __future__ import annotations

import pytest
import torch

from gtl.data import Dataset
from gtl.errors import DataError
from gtl.graph import Graph
from gtl.graph.pack import PackedGraphs


def three(**fields):
    none = torch.empty(0, dtype=torch.int64)
    graphs = PackedGraphs.pack([Graph(none, none, n) for n in (2, 3, 5)])
    return Dataset("test:three", graphs, **fields)


def test_zeros_and_ones_are_binary_and_judged_by_rocauc():
    data = three(labels=torch.tensor([[0.0], [1.0], [torch.nan]]))
    assert (data.kind, data.metric, data.num_outputs) == ("binary", "rocauc", 1)


def test_other_numbers_are_a_regression_in_float32():
    data = three(labels=torch.tensor([[0.5], [1.0], [2.0]], dtype=torch.float64))
    assert (data.kind, data.metric) == ("regression", "rmse")
    assert data.labels.dtype == torch.float32


def test_integers_are_classes_of_int64():
    data = three(labels=torch.tensor([0, 2, -1], dtype=torch.int32))
    assert (data.kind, data.metric, data.num_outputs) == ("multiclass", "acc", 3)
    assert data.labels.dtype == torch.int64


def test_a_named_class_without_items_still_counts_as_an_output():
    assert three(labels=torch.tensor([0, 1, 0]), class_names=("a", "b", "c")).num_outputs == 3


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"labels": torch.full((3, 1), torch.nan)}, "every label is missing"),
        ({"labels": torch.zeros(3)}, r"shape \(3,\), expected \(items, t\)"),
        ({"labels": torch.zeros(2, 1)}, "2 labels for 3 items"),
        ({"labels": torch.tensor([0, -2, 1])}, "there is a class -2, expected classes from 0"),
        ({"labels": torch.tensor([[0.0], [2.0], [1.0]]), "kind": "binary"}, "neither 0 nor 1"),
        ({"labels": torch.zeros(3, 1), "kind": "multiclass"}, "labels are torch.float32"),
        ({"labels": torch.tensor([0, 1, 2]), "kind": "regression"}, "labels are torch.int64"),
        ({"labels": torch.zeros(3, 1), "kind": "ordinal"}, "`kind` is 'ordinal'"),
        ({"labels": torch.zeros(3, 1), "metric": "auc"}, "`metric` is 'auc'"),
        ({"labels": torch.tensor([0, 1, 2]), "class_names": ("a",)}, "only 1 `class_names`"),
        ({"names": ("a", "b")}, "2 names for 3 items"),
        ({"level": "node"}, "`level` is 'node'"),
        ({"level": "edge"}, "`level` is 'edge'"),
        ({"level": "pair"}, "`level` is 'pair'"),
        ({"pairs": torch.tensor([[0, 1]])}, "no others, are given with `pairs`"),
        ({"labels": torch.zeros(3, 1), "metric": "hits@20"}, "ranks pairs"),
        ({"labels": torch.zeros(3, 1), "metric": "hits@0"}, r"expected hits@K or one of"),
        ({"split": {"train": torch.tensor([3])}}, "outside 0..2"),
        ({"split": {"train": torch.tensor([0.0])}}, "int64 item numbers"),
        ({"split": {"train": torch.tensor([0, 1]), "test": torch.tensor([1])}}, "train and test"),
        ({"split": {"train": torch.tensor([2, 2])}}, "item 2 is named more than once"),
    ],
)
def test_what_does_not_fit_is_refused(fields, words):
    with pytest.raises(DataError, match=words):
        three(**fields)


def test_an_empty_or_unknown_part_of_the_split_is_refused():
    data = three(split={"train": torch.tensor([0]), "test": torch.tensor([], dtype=torch.int64)})
    with pytest.raises(DataError, match="'test' is empty"):
        data.items("test")
    with pytest.raises(DataError, match="no split 'valid'; it has: train, test, all"):
        data.items("valid")
    assert data.items("all").tolist() == [0, 1, 2]


def test_a_batch_carries_the_labels_of_its_items():
    batch = three(labels=torch.tensor([[1.0], [2.0], [3.0]])).batch(torch.tensor([2, 0]))
    assert batch.sizes.tolist() == [5, 2]
    assert batch.y.tolist() == [[3.0], [1.0]]


def test_the_checksum_changes_with_a_label_and_with_the_split():
    labels = torch.tensor([[1.0], [2.0], [3.0]])
    base = three(labels=labels, split={"train": torch.tensor([0])}).checksum()
    assert base == three(labels=labels.clone(), split={"train": torch.tensor([0])}).checksum()
    assert base != three(labels=labels + 1, split={"train": torch.tensor([0])}).checksum()
    assert base != three(labels=labels, split={"train": torch.tensor([1])}).checksum()


def test_types_added_to_a_graph_show_in_the_schema():
    graph = Graph(torch.tensor([0]), torch.tensor([1]), 2, torch.zeros(2, 1))
    assert Dataset("test:a", graph=graph, level="node").schema.node_types == 0
    typed = graph.replace(node_type=torch.tensor([0, 3]))
    assert Dataset("test:b", graph=typed, level="node").schema.node_types == 4


# -- pairs of nodes --------------------------------------------------------------------------------


def linked(**fields):
    graph = Graph(torch.tensor([0, 1]), torch.tensor([1, 2]), 5)
    pairs = torch.tensor([[0, 1], [1, 2], [4, 3]])
    return Dataset("test:linked", graph=graph, **{"level": "edge", "pairs": pairs, **fields})


def test_items_of_a_link_level_set_are_pairs():
    data = linked(labels=torch.tensor([[1.0], [1.0], [0.0]]))
    assert (len(data), data.kind, data.metric, data.num_outputs) == (3, "binary", "rocauc", 1)
    batch = data.batch(torch.tensor([2, 0]))
    assert batch.pairs.tolist() == [[4, 3], [0, 1]]
    assert batch.y.tolist() == [[0.0], [1.0]] and batch.seeds is None
    assert batch.src is data.graph.src
    assert data.items("all").tolist() == [0, 1, 2]


@pytest.mark.parametrize("metric", ["mrr", "hits@1", "hits@100", "ap"])
def test_pairs_may_be_ranked(metric):
    assert linked(labels=torch.ones(3, 1), metric=metric).metric == metric


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pairs": torch.tensor([0, 1])}, r"int64 \(2,\), expected int64 \(items, 2\)"),
        ({"pairs": torch.tensor([[0.0, 1.0]])}, "float32"),
        ({"pairs": torch.tensor([[0, 5]])}, "outside 0..4"),
        ({"level": "node"}, "no others, are given with `pairs`"),
        ({"labels": torch.tensor([0, 1, 1])}, "multiclass"),
        ({"labels": torch.tensor([[0.5], [1.0], [0.0]])}, "regression"),
        ({"labels": torch.ones(3, 2)}, "one column of ones"),
        ({"labels": torch.ones(2, 1)}, "2 labels for 3 items"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(fields, words):
    with pytest.raises(DataError, match=words):
        linked(**fields)


def test_the_checksum_changes_with_a_pair():
    pairs = torch.tensor([[0, 1], [1, 2], [4, 2]])
    assert linked().checksum() != linked(pairs=pairs).checksum()


def test_a_column_of_node_numbers_is_known_as_such_and_serves_one_graph():
    numbers = torch.arange(5).unsqueeze(1)
    graph = Graph(torch.tensor([0]), torch.tensor([1]), 5, numbers)
    known = Dataset("test:a", graph=graph, level="node").schema
    assert known.node.identity and known.node.categories == (5,)
    shuffled = Dataset("test:b", graph=graph.replace(x=numbers.flip(0)), level="node").schema
    assert not shuffled.node.identity
    for other in (shuffled, linked().schema):
        with pytest.raises(DataError, match=r"numbers of 5 nodes.*use that graph, or train on"):
            known.require(other, "the encoder")
