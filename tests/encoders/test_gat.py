"""GAT against loops over nodes and against DGL's layer."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from gtl.encoders.gat import GATConvolution
from gtl.graph import Graph, Schema, ops


@pytest.mark.parametrize(("heads", "merge"), [(1, "mean"), (3, "mean"), (3, "concat")])
def test_a_layer_is_the_attention_weighted_sum_over_neighbors_and_node(
    heads: int, merge: str, schema: Schema, graphs: list[Graph], kernels: str
) -> None:
    graph = graphs[-1]
    layer = GATConvolution(schema.edge, 6, heads, merge).double()
    torch.nn.init.normal_(layer.bias)
    h = torch.randn(11, 6).double()
    columns = 2 if merge == "concat" else 6
    assert layer.edges.table is not None
    table = layer.edges.table.view(9, heads, columns)
    t = layer.linear(h).view(11, heads, columns)
    rows = []
    for i in range(11):
        messages = [t[i] + table[8]]
        for edge in range(graph.num_edges):
            if graph.dst[edge] == i:
                first, second = graph.e[edge].tolist()  # type: ignore[index]
                messages.append(t[graph.src[edge]] + table[first] + table[5 + second])
        heads_out = []
        for k in range(heads):
            scores = [layer.receive[k] @ t[i, k] + layer.send[k] @ m[k] for m in messages]
            alpha = F.leaky_relu(torch.stack(scores), 0.2).softmax(0)
            heads_out.append(sum(a * m[k] for a, m in zip(alpha, messages)))
        out = torch.stack(heads_out)
        rows.append((out.mean(0) if merge == "mean" else out.flatten()) + layer.bias)
    torch.testing.assert_close(layer(graph, h), torch.stack(rows))


def test_floating_edge_features_take_part_in_score_and_message(kernels: str) -> None:
    from gtl.graph import Columns

    graph = Graph(torch.tensor([0]), torch.tensor([1]), 2, e=torch.tensor([[3.0]]))
    layer = GATConvolution(Columns(width=1), 1, 1, "mean")
    with torch.no_grad():
        layer.linear.weight.fill_(0)
        layer.linear.bias.fill_(0)
        layer.receive.fill_(5)
        layer.send.fill_(1)
        layer.edges.table.copy_(torch.tensor([[2.0], [1.0]]))  # type: ignore[union-attr]
    # Node 1 hears 6 from its edge and 1 from its loop, with scores 6 and 1.
    alpha = torch.tensor([6.0, 1.0]).softmax(0)
    expected = torch.stack([torch.tensor(1.0), 6 * alpha[0] + alpha[1]])
    torch.testing.assert_close(layer(graph, torch.zeros(2, 1)).flatten(), expected)


def test_it_agrees_with_dgl(graphs: list[Graph]) -> None:
    dgl_nn = pytest.importorskip("dgl.nn.pytorch", reason="DGL has no wheel for this Python")
    from gtl.graph.kernels.with_dgl import handle

    graph = Graph(graphs[-1].src, graphs[-1].dst, 11)
    layer = GATConvolution(None, 6, 3, "concat").double()
    torch.nn.init.zeros_(layer.linear.bias)  # DGL's map has none
    other = dgl_nn.GATConv(6, 2, 3).double()
    with torch.no_grad():
        other.fc.weight.copy_(layer.linear.weight)
        other.attn_l.copy_(layer.send.unsqueeze(0))
        other.attn_r.copy_(layer.receive.unsqueeze(0))
    h = torch.randn(11, 6).double()
    expected = other(handle(graph.with_self_loops()), h).flatten(1)
    with ops.use_kernels("torch"):
        torch.testing.assert_close(layer(graph, h), expected)
