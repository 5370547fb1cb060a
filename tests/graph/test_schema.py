"""Schemas: read off graphs, written to JSON, compared."""

from __future__ import annotations

import json

import pytest
import torch

from gtl.errors import DataError
from gtl.graph import Columns, Graph, Schema

NONE = torch.zeros(0, dtype=torch.int64)


def test_categories_are_one_more_than_the_largest_value():
    values = torch.tensor([[0, 4], [2, 1]])
    assert Columns.of(values) == Columns((3, 5))
    assert Columns.of(values.to(torch.uint8)) == Columns((3, 5))
    assert Columns.of(values.float()) == Columns(width=2)


def test_no_rows_have_no_categories():
    assert Columns.of(torch.zeros(0, 2, dtype=torch.int64)) == Columns((0, 0))


def test_a_schema_is_read_off_a_graph():
    graph = Graph(
        torch.tensor([0]),
        torch.tensor([1]),
        2,
        x=torch.ones(2, 3),
        e=torch.tensor([[6]]),
        node_type=torch.tensor([0, 2]),
        edge_type=torch.tensor([1]),
    )
    assert Schema.of(graph) == Schema(Columns(width=3), Columns((7,)), 3, 2)


def test_a_typed_graph_without_nodes_has_no_types():
    assert Schema.of(Graph(NONE, NONE, 0, node_type=NONE, edge_type=NONE)) == Schema()


@pytest.mark.parametrize(
    "schema",
    [Schema(), Schema(Columns((3, 5)), None, 2, 0), Schema(Columns(width=3), Columns((7,)))],
)
def test_json_gives_the_same_schema_back(schema):
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Schema(None, Columns((4,))), "node features of categories .3, 5., the data has of no col"),
        (Schema(Columns(width=2), Columns((4,))), "of 2 floating columns"),
        (Schema(Columns((3, 5, 1)), Columns((4,))), "categories .3, 5, 1."),
        (Schema(Columns((3, 6)), Columns((4,))), "categories .3, 6."),
        (Schema(Columns((3, 5)), None), "edge features"),
        (Schema(Columns((3, 5)), Columns((4,)), 0, 1), "2 node types, the data has none"),
        (Schema(Columns((3, 5)), Columns((4,)), 3, 1), "2 node types, the data has 3"),
        (Schema(Columns((3, 5)), Columns((4,)), 2, 2), "1 edge types, the data has 2"),
    ],
)
def test_data_that_does_not_fit_is_refused(given, message):
    built = Schema(Columns((3, 5)), Columns((4,)), 2, 1)
    with pytest.raises(DataError, match=f"the model was built for .*{message}"):
        built.require(given, "the model")


def test_data_with_fewer_categories_or_unread_types_fits():
    Schema(Columns((3, 5))).require(Schema(Columns((2, 5)), None, 4, 4), "the model")
