"""Embeddings without message passing: a vector for each node, or of its features."""

from __future__ import annotations

import pytest
import torch

from gtl.catalog import ENCODERS
from gtl.encoders.inputs import NodeTable, node_input
from gtl.errors import DataError
from gtl.graph import Columns, Graph, Schema

NODES = Schema(edge_types=2, nodes=5)


def graph(n=5):
    return Graph(torch.tensor([0]), torch.tensor([1]), n, edge_type=torch.tensor([1]))


def test_entities_have_a_vector_each_which_is_the_table_itself():
    encoder = ENCODERS.build({"name": "embedding", "width": 48}, NODES)
    assert encoder(graph()) is encoder.embed.table and encoder.embed.table.shape == (5, 48)
    assert encoder.embed.table.abs().max() <= 0.5 and encoder.embed.table.std() > 0.2
    assert torch.equal(encoder(graph().drop_edges(torch.tensor([True]))), encoder(graph()))


def test_other_entities_are_refused_with_what_to_do():
    with pytest.raises(DataError, match=r"each of 5 nodes, the graph has 6.*\(earl\)"):
        ENCODERS.build("embedding", NODES)(graph(6))


def test_features_are_embedded_where_there_are_some():
    encoder = ENCODERS.build({"name": "embedding", "width": 3}, Schema(Columns(width=2)))
    assert encoder(graph().replace(x=torch.ones(5, 2))).shape == (5, 3)
    typed = node_input(Schema(node_types=2, edge_types=2, nodes=5), 4)
    assert isinstance(typed.features, NodeTable)


def test_the_number_of_nodes_is_kept_in_a_schema_and_asked_of_no_other_graph():
    assert Schema.from_json(NODES.to_json()) == NODES
    assert "nodes" not in Schema(edge_types=2).to_json()
    NODES.require(Schema(edge_types=1, nodes=9), "an encoder")
    assert NODES.union(Schema(edge_types=3, nodes=4)) == Schema(edge_types=3, nodes=5)


def test_copies_of_the_graph_in_a_batch_share_the_table():
    encoder = ENCODERS.build({"name": "embedding", "width": 4}, NODES)
    both = encoder(Graph.batch([graph(), graph()]))
    assert torch.equal(both, encoder(graph()).repeat(2, 1))
    with pytest.raises(DataError, match="the graph has 9"):
        encoder(Graph.batch([graph(), graph(4)]))
