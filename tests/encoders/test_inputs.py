"""Node embeddings and edge tables."""

from __future__ import annotations

import pytest
import torch

from gtl import encoders
from gtl.encoders import GIN, inputs
from gtl.errors import DataError
from gtl.graph import Columns, Graph, Schema

NONE = torch.zeros(0, dtype=torch.int64)


def bare(x: torch.Tensor | None, n: int | None = None) -> Graph:
    return Graph(NONE, NONE, len(x) if n is None else n, x=x)


def test_each_column_adds_its_row_and_masked_has_a_row_of_its_own() -> None:
    embed = inputs.node_input(Schema(Columns((2, 3))), 5).double()
    table = embed.table  # rows: 0, 1, masked | 0, 1, 2, masked
    assert table.shape == (7, 5)
    vectors = embed(bare(torch.tensor([[0, 2], [2, 0], [1, 3]])))
    expected = [table[0] + table[5], table[2] + table[3], table[1] + table[6]]
    torch.testing.assert_close(vectors, torch.stack(expected))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[0, 0], [1, 4]], "node 1, column 1, is category 4, expected 0..2"),
        ([[-1, 0]], "node 0, column 0, is category -1"),
        ([[0]], "has 1 columns, expected 2 categorical"),
        ([[0.0, 1.0]], "dtype torch.float32, expected 2 categorical"),
        (None, "the graph has no `x`"),
    ],
)
def test_features_that_do_not_fit_are_named(x: list | None, message: str) -> None:
    embed = inputs.node_input(Schema(Columns((2, 3))), 5)
    graph = bare(None, 1) if x is None else bare(torch.tensor(x))
    with pytest.raises(DataError, match=message):
        embed(graph)


def test_an_edge_category_out_of_range_is_named() -> None:
    encoder = GIN(Schema(None, Columns((2,))), width=3, depth=1)
    edge = torch.tensor([0])
    with pytest.raises(DataError, match="`e` of edge 0, column 0, is category 3"):
        encoder(Graph(edge, edge, 1, e=torch.tensor([[3]])))


def test_a_large_table_is_read_by_index_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embed = inputs.node_input(Schema(Columns((3, 4))), 5).double()
    x = torch.tensor([[0, 4], [3, 1], [2, 2], [0, 4]])
    dense = embed(bare(x))
    weight = torch.randn_like(dense)
    (gradient,) = torch.autograd.grad((dense * weight).sum(), embed.table)
    monkeypatch.setattr(inputs, "_MOST_ROWS", 2)
    by_index = embed(bare(x))
    torch.testing.assert_close(by_index, dense)
    (other,) = torch.autograd.grad((by_index * weight).sum(), embed.table)
    torch.testing.assert_close(other, gradient)


def test_floating_features_are_mapped_linearly_in_the_dtype_of_the_model() -> None:
    embed = inputs.node_input(Schema(Columns(width=3)), 2).double()
    x = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    vectors = embed(bare(x))
    torch.testing.assert_close(vectors[1], embed.map.bias)
    torch.testing.assert_close(vectors[0], embed.map.weight @ x[0].double() + embed.map.bias)


def test_nodes_without_features_share_one_learned_vector() -> None:
    embed = inputs.node_input(Schema(None), 3)
    vectors = embed(bare(None, 4))
    assert vectors.shape == (4, 3)
    assert (vectors == vectors[0]).all()
    assert embed(bare(None, 0)).shape == (0, 3)


def test_each_type_adds_its_vector_and_a_type_without_features_has_nothing_else() -> None:
    types, x = torch.tensor([1, 0, 1]), torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
    graph = bare(x).replace(node_type=types)
    embed = inputs.node_input(Schema(Columns(width=2), node_types=2), 5).double()
    assert not embed.types.any()  # at first nothing drowns small features
    torch.nn.init.normal_(embed.types)
    vectors = embed(graph)
    expected = embed.features.map(x.double()) + embed.types[types]
    torch.testing.assert_close(vectors, expected)
    alone = inputs.node_input(Schema(node_types=2), 5)
    assert alone.types.all()
    torch.testing.assert_close(alone(graph), alone.types[types])


def test_with_a_single_type_nothing_is_added() -> None:
    assert isinstance(inputs.node_input(Schema(node_types=1), 5), inputs.LearnedVector)
    schema = Schema(Columns(width=2), node_types=1)
    assert isinstance(inputs.node_input(schema, 5), inputs.Projection)


@pytest.mark.parametrize(
    ("types", "message"),
    [
        (None, "the graph has no `node_type`, expected types in 0..1"),
        ([0, 2], "`node_type` of node 1 is 2, expected 0..1"),
    ],
)
def test_types_that_do_not_fit_are_named(types: list | None, message: str) -> None:
    graph = bare(None, 2).replace(node_type=None if types is None else torch.tensor(types))
    with pytest.raises(DataError, match=message):
        inputs.node_input(Schema(node_types=2), 5)(graph)


def test_edge_sums_count_the_categories_of_incoming_edges(kernels: str) -> None:
    e = torch.tensor([[0, 1], [0, 0], [2, 1]])  # the first column's 2 is its masked value
    graph = Graph(torch.tensor([0, 1, 2]), torch.tensor([1, 1, 0]), 3, e=e)
    sums = inputs.edge_sums(graph, Columns((2, 2)), torch.float64, loops=True)
    expected = [[0, 0, 1, 0, 1, 0, 1], [2, 0, 0, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0, 1]]
    torch.testing.assert_close(sums, torch.tensor(expected, dtype=torch.float64))
    without = inputs.edge_sums(graph, Columns((2, 2)), torch.float64, loops=False)
    torch.testing.assert_close(without, sums[:, :-1])


def test_edge_sums_are_made_once_and_survive_new_node_features_but_not_new_edges() -> None:
    columns, edge = Columns((2,)), torch.tensor([0])

    def sums(graph: Graph) -> torch.Tensor:
        return inputs.edge_sums(graph, columns, torch.float32, loops=True)

    graph = Graph(edge, edge, 1, x=torch.ones(1, 1), e=torch.tensor([[0]]))
    first = sums(graph)
    assert sums(graph.replace(x=torch.zeros(1, 1))) is first
    assert sums(graph.replace(e=torch.tensor([[1]]))).tolist() == [[0, 1, 0, 1]]
    assert sums(graph.drop_edges(torch.tensor([True]))).tolist() == [[0, 0, 0, 1]]


@pytest.mark.parametrize("name", ["GIN", "GCN", "SAGE", "GAT", "RGCN", "HGT"])
def test_a_graph_seen_while_predicting_can_be_trained_on_later(
    name: str, schema: Schema, graphs: list[Graph], kernels: str
) -> None:
    encoder = getattr(encoders, name)(schema, width=4, depth=2)
    graph = Graph.batch(graphs)
    with torch.inference_mode():
        encoder(graph)
    encoder(graph).square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_floating_edge_features_that_are_learned_get_their_gradient_in_every_step(
    kernels: str,
) -> None:
    edge = torch.tensor([0, 1])
    e = torch.randn(2, 3, requires_grad=True)
    graph = Graph(edge, edge.flip(0), 2, e=e)
    encoder = GIN(Schema(None, Columns(width=3)), width=4, depth=2, norm=None)
    gradients = []
    for _ in range(2):
        (gradient,) = torch.autograd.grad(encoder(graph).square().sum(), e)
        gradients.append(gradient)
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(gradients[0], gradients[1])
