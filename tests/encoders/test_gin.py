"""GIN against loops over nodes and against DGL's layer."""

from __future__ import annotations

import pytest
import torch

from gtl.encoders.gin import GIN, GINConvolution
from gtl.graph import Graph, Schema, ops


@pytest.mark.parametrize("learn_eps", [False, True])
def test_a_layer_is_the_mlp_of_the_sum_over_neighbors_edges_and_node(
    learn_eps: bool, schema: Schema, graphs: list[Graph], kernels: str
) -> None:
    graph = graphs[-1]
    layer = GINConvolution(schema.edge, 5, learn_eps).double()
    if layer.eps is not None:
        torch.nn.init.constant_(layer.eps, 0.7)
    h = torch.randn(11, 5).double()
    table = layer.edges.table  # rows: 4 categories, masked | 2 categories, masked | loop
    assert table is not None
    assert table.shape == (9, 5)
    rows = []
    for i in range(11):
        total = (1.7 if learn_eps else 1.0) * h[i] + table[8]
        for edge in range(graph.num_edges):
            if graph.dst[edge] == i:
                first, second = graph.e[edge].tolist()  # type: ignore[index]
                total = total + h[graph.src[edge]] + table[first] + table[5 + second]
        inside = (layer.mlp[0].weight @ total + layer.mlp[0].bias).clamp(min=0)
        rows.append(layer.mlp[2].weight @ inside + layer.mlp[2].bias)
    torch.testing.assert_close(layer(graph, h), torch.stack(rows))


def test_a_path_by_hand(kernels: str) -> None:
    path = Graph(torch.tensor([0, 1]), torch.tensor([1, 2]), 3)
    layer = GINConvolution(None, 1)
    with torch.no_grad():
        layer.mlp[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        layer.mlp[0].bias.copy_(torch.tensor([0.0, 6.0]))
        layer.mlp[2].weight.copy_(torch.tensor([[1.0, 10.0]]))
        layer.mlp[2].bias.zero_()
    # Sums 2, 5, 8; inside (2, 4), (5, 1), (8, 0).
    out = layer(path, torch.tensor([[2.0], [3.0], [5.0]]))
    assert out.flatten().tolist() == [42.0, 15.0, 8.0]


def test_it_agrees_with_dgl(graphs: list[Graph]) -> None:
    dgl_nn = pytest.importorskip("dgl.nn.pytorch", reason="DGL has no wheel for this Python")
    from gtl.graph.kernels.with_dgl import handle

    graph = graphs[-1]
    layer = GINConvolution(None, 5, learn_eps=True).double()
    torch.nn.init.constant_(layer.eps, 0.3)
    other = dgl_nn.GINConv(layer.mlp, "sum", init_eps=0.3).double()
    h = torch.randn(11, 5).double()
    with ops.use_kernels("torch"):
        torch.testing.assert_close(layer(graph, h), other(handle(graph), h), rtol=1e-7, atol=1e-7)


def test_the_defaults_are_those_of_the_published_pre_training(schema: Schema) -> None:
    encoder = GIN(schema)
    assert (encoder.width, len(encoder.blocks)) == (300, 5)
    assert encoder.blocks[0].conv.mlp[0].weight.shape == (600, 300)
