"""GCN against loops over nodes and against DGL's layer."""

from __future__ import annotations

import pytest
import torch

from gtl.encoders.gcn import GCN, GCNConvolution, GCNSum
from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema, ops


def test_a_layer_is_the_normalized_sum_over_neighbors_and_node(
    schema: Schema, graphs: list[Graph], kernels: str
) -> None:
    graph = graphs[-1]
    layer = GCNConvolution(schema.edge, 5).double()
    torch.nn.init.normal_(layer.bias)
    h = torch.randn(11, 5).double()
    table, degree = layer.edges.table, (graph.in_degrees() + 1).double()
    assert table is not None
    rows = []
    for i in range(11):
        total = layer.bias + (layer.linear.weight @ h[i] + table[8]) / degree[i]
        for edge in range(graph.num_edges):
            if graph.dst[edge] == i:
                first, second = graph.e[edge].tolist()  # type: ignore[index]
                j = graph.src[edge]
                message = layer.linear.weight @ h[j] + table[first] + table[5 + second]
                total = total + message / (degree[i] * degree[j]).sqrt()
        rows.append(total)
    torch.testing.assert_close(layer(graph, h), torch.stack(rows))


def test_floating_edge_features_are_weighted_as_messages_are(kernels: str) -> None:
    # 0 -> 1 with feature 3: degrees 1 and 2, so the message counts 1 / sqrt(2).
    graph = Graph(torch.tensor([0]), torch.tensor([1]), 2, e=torch.tensor([[3.0]]))
    layer = GCNConvolution(Columns(width=1), 1)
    with torch.no_grad():
        layer.linear.weight.fill_(0)
        layer.edges.table.copy_(torch.tensor([[10.0], [100.0]]))  # type: ignore[union-attr]
    out = layer(graph, torch.zeros(2, 1))
    torch.testing.assert_close(out.flatten(), torch.tensor([100.0, 50 + 30 / 2**0.5]))


def test_it_agrees_with_dgl(graphs: list[Graph]) -> None:
    dgl_nn = pytest.importorskip("dgl.nn.pytorch", reason="DGL has no wheel for this Python")
    from gtl.graph.kernels.with_dgl import handle

    # DGL normalizes by out- and in-degree: the same where every edge has its reverse.
    one_way = graphs[-1]
    both = Graph(torch.cat([one_way.src, one_way.dst]), torch.cat([one_way.dst, one_way.src]), 11)
    layer = GCNConvolution(None, 5).double()
    torch.nn.init.normal_(layer.bias)
    other = dgl_nn.GraphConv(5, 5, norm="both").double()
    other.load_state_dict({"weight": layer.linear.weight.T, "bias": layer.bias})
    h = torch.randn(11, 5).double()
    expected = other(handle(both.with_self_loops()), h)
    with ops.use_kernels("torch"):
        torch.testing.assert_close(layer(both, h), expected)


def test_a_layer_without_a_matrix_is_one_whose_matrix_changes_nothing(
    schema: Schema, graphs: list[Graph], kernels: str
) -> None:
    full, bare = GCNConvolution(schema.edge, 5).double(), GCNSum(schema.edge, 5).double()
    with torch.no_grad():
        full.linear.weight.copy_(torch.eye(5))
    bare.edges.load_state_dict(full.edges.state_dict())
    h = torch.randn(11, 5).double()
    torch.testing.assert_close(bare(graphs[-1], h), full(graphs[-1], h))


def test_two_layers_and_a_linear_head_are_the_network_of_kipf_and_welling(
    graphs: list[Graph], kernels: str
) -> None:
    graph = graphs[-1].replace(x=torch.rand(11, 4).double(), e=None)
    encoder = GCN(
        Schema(Columns(width=4)), 6, 2, norm=None, embedding=None, last_linear=False
    ).double()
    head = torch.nn.Linear(6, 3).double()
    adjacency = torch.eye(11).double()
    adjacency.index_put_((graph.dst, graph.src), torch.ones(()).double(), accumulate=True)
    scale = adjacency.sum(1).rsqrt()
    adjacency = scale[:, None] * adjacency * scale
    first = encoder.blocks[0].conv
    hidden = (adjacency @ graph.x @ first.linear.weight.T + first.bias).relu()
    expected = adjacency @ hidden @ head.weight.T + head.bias
    torch.testing.assert_close(head(encoder(graph)), expected)
    assert sum(p.numel() for p in encoder.parameters()) == 4 * 6 + 6


def test_the_only_layer_needs_its_matrix() -> None:
    with pytest.raises(ConfigError, match="at least 2 with last_linear=False"):
        GCN(Schema(Columns(width=4)), 6, 1, last_linear=False)
