"""Matching of classes that have no names: their numbers are their names."""

from __future__ import annotations

import pytest
import torch

from gtl import Dataset, Graph
from gtl.errors import DataError
from gtl.train.labels import LabelNames


def nodes(labels, **options) -> Dataset:
    none = torch.empty(0, dtype=torch.int64)
    graph = Graph(none, none, len(labels), torch.ones(len(labels), 1))
    return Dataset.from_graph(graph, labels, {"test": range(len(labels))}, **options)


def test_classes_with_gaps_are_matched_by_number_where_the_model_has_no_names():
    model = LabelNames("multiclass", 7, "acc")
    data = nodes([0, 2, 5, -1])
    assert data.class_names == ("0", "2", "5")
    assert model.aligned(data).labels.tolist() == [0, 2, 5, -1]
    assert model.aligned(nodes([3, 6, 3])).labels.tolist() == [3, 6, 3]
    with pytest.raises(DataError, match="has the classes '7'"):
        model.aligned(nodes([0, 2, 7]))


def test_data_without_names_are_matched_by_number_with_a_model_of_numbered_classes():
    model = LabelNames("multiclass", 3, "acc", class_names=("2", "5", "0"))
    data = Dataset("memory", graph=nodes([0, 1]).graph, level="node", labels=torch.tensor([5, 2]))
    assert model.aligned(data).labels.tolist() == [1, 0]
    assert model.aligned(nodes([0, 0, 0, 2])).labels.tolist() == [2, 2, 2, 0]


def test_classes_of_other_numbers_are_validated_by_name_while_a_model_is_trained():
    import gtl

    data = gtl.load("demo:shapes", seed=0)
    three = torch.arange(len(data)) % 3
    values = []
    for names in (("a", "b", "c"), ("1", "2", "3"), ("2", "0", "1")):
        own = Dataset("x", data.graphs, labels=three, split=data.split, class_names=names)
        model = gtl.finetune({"name": "gin", "width": 8, "depth": 1}, own, epochs=2)
        assert model.results["valid"] == gtl.evaluate(model, own, "valid")["acc"]
        values.append([line["valid"] for line in model.history])
    assert values[0] == values[1] == values[2]
