"""GraphSAGE against loops over nodes and against DGL's layer."""

from __future__ import annotations

import pytest
import torch

from gtl.encoders.sage import SAGEConvolution
from gtl.graph import Graph, Schema, ops


@pytest.mark.parametrize("aggregator", ["mean", "gcn"])
@pytest.mark.parametrize("normalize", [False, True])
def test_a_layer_is_a_mean_over_neighbors(
    aggregator: str, normalize: bool, schema: Schema, graphs: list[Graph], kernels: str
) -> None:
    graph = graphs[-1]
    layer = SAGEConvolution(schema.edge, 5, aggregator, normalize).double()
    torch.nn.init.normal_(layer.bias)
    h = torch.randn(11, 5).double()
    table, weight = layer.edges.table, layer.linear.weight
    assert table is not None
    rows = []
    for i in range(11):
        messages = [weight @ h[i] + table[8]] if aggregator == "gcn" else []
        for edge in range(graph.num_edges):
            if graph.dst[edge] == i:
                first, second = graph.e[edge].tolist()  # type: ignore[index]
                messages.append(weight @ h[graph.src[edge]] + table[first] + table[5 + second])
        row = layer.bias + sum(messages) / max(len(messages), 1)
        if layer.own is not None:
            row = row + layer.own.weight @ h[i]
        rows.append(row / row.norm() if normalize else row)
    torch.testing.assert_close(layer(graph, h), torch.stack(rows))


def test_a_node_without_edges_keeps_what_comes_from_itself(kernels: str) -> None:
    graph = Graph(torch.tensor([0]), torch.tensor([1]), 2)
    layer = SAGEConvolution(None, 3, "mean", normalize=False)
    h = torch.randn(2, 3)
    assert layer.own is not None
    torch.testing.assert_close(layer(graph, h)[0], layer.own(h)[0])


def test_it_agrees_with_dgl(graphs: list[Graph]) -> None:
    dgl_nn = pytest.importorskip("dgl.nn.pytorch", reason="DGL has no wheel for this Python")
    from gtl.graph.kernels.with_dgl import handle

    graph = graphs[-1]
    layer = SAGEConvolution(None, 5, "mean", normalize=False).double()
    torch.nn.init.normal_(layer.bias)
    other = dgl_nn.SAGEConv(5, 5, "mean").double()
    assert layer.own is not None
    with torch.no_grad():
        other.fc_self.weight.copy_(layer.own.weight)
        other.fc_neigh.weight.copy_(layer.linear.weight)
        (other.bias if hasattr(other, "bias") else other.fc_self.bias).copy_(layer.bias)
    h = torch.randn(11, 5).double()
    with ops.use_kernels("torch"):
        torch.testing.assert_close(layer(graph, h), other(handle(graph), h))
