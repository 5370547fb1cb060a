"""HGT against loops over nodes and against DGL's layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.encoders import HGT
from gtl.encoders.hgt import HGTBlock
from gtl.errors import ConfigError, DataError
from gtl.graph import Columns, Graph, Schema

SCHEMA = Schema(node_types=3, edge_types=4)


def typed_graph(n: int = 11, m: int = 41) -> Graph:
    """Random edges, loops and repeated ones included; edge type 2 has none."""
    rng = torch.Generator().manual_seed(0)
    src, dst = torch.randint(n, (2, m), generator=rng)
    edge_type = torch.randint(4, (m,), generator=rng)
    node_type = torch.randint(3, (n,), generator=rng)
    return Graph(
        src, dst, n, node_type=node_type, edge_type=edge_type.masked_fill(edge_type == 2, 0)
    )


def loosened(layer: nn.Module) -> nn.Module:
    """No parameter stays at 0 or 1, where an error would not show."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return layer


def of_types(graph: Graph) -> tuple[list[int], list[int]]:
    assert graph.node_type is not None
    assert graph.edge_type is not None
    return graph.node_type.tolist(), graph.edge_type.tolist()


@pytest.mark.parametrize("edge", [None, Columns((3,))])
def test_a_layer_is_attention_by_types_then_a_gate_and_a_norm(
    edge: Columns | None, kernels: str
) -> None:
    graph, heads, c = typed_graph(), 2, 3
    e = torch.randint(3, (graph.num_edges, 1))
    layer = HGTBlock(Schema(None, edge, 3, 4), 6, heads, 0.0, "layer").double()
    loosened(layer)
    h, (node, relation) = torch.randn(11, 6).double(), of_types(graph)
    table = torch.zeros(4, 12).double() if layer.edges.table is None else layer.edges.table

    def mapped(linear: Any, i: int) -> Tensor:
        return (h[i] @ linear.weight[node[i]] + linear.bias[node[i]]).view(heads, c)

    rows = []
    for i in range(11):
        edges = (graph.dst == i).nonzero().flatten().tolist()
        total = torch.zeros(heads, c).double()
        for k in range(heads if edges else 0):
            scores, messages = [], []
            for m in edges:
                j, r = int(graph.src[m]), relation[m]
                extra = table[int(e[m])].view(2, heads, c)[:, k]
                key = layer.prior[r, k] * (mapped(layer.key, j)[k] @ layer.attention[r, k])
                scores.append(mapped(layer.query, i)[k] @ (key + extra[0]) / c**0.5)
                messages.append(mapped(layer.value, j)[k] @ layer.message[r, k] + extra[1])
            total[k] = torch.stack(scores).softmax(0) @ torch.stack(messages)
        t = node[i]
        update = F.gelu(total.flatten()) @ layer.out.weight[t] + layer.out.bias[t]
        gate = layer.gate[t].sigmoid()
        mixed = gate * update + (1 - gate) * h[i]
        rows.append(F.layer_norm(mixed, (6,), layer.norm.weight[t], layer.norm.bias[t]))
    torch.testing.assert_close(
        layer(graph.replace(e=None if edge is None else e), h), torch.stack(rows)
    )


class AfterGelu(nn.Module):
    """DGL's layer has no activation before its last map; the paper has one."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, h: Tensor, *types: Any) -> Tensor:
        return self.inner(F.gelu(h), *types)


def same_parameters(layer: HGTBlock, other: Any) -> list[tuple[nn.Parameter, Any, nn.Parameter]]:
    """Our parameter, which part of it, and DGL's, which has one for each head."""
    pairs: list[tuple[nn.Parameter, Any, nn.Parameter]] = [(layer.gate, ..., other.skip)]
    for name, letter in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "a")):
        weight = getattr(layer, name).weight
        pairs.append((weight, ..., getattr(other, f"linear_{letter}").W))
    for k in range(layer.heads):
        head = (slice(None), k)
        pairs.append((layer.prior, head, other.relation_pri[k]))
        pairs.append((layer.attention, head, other.relation_att[k].W))
        pairs.append((layer.message, head, other.relation_msg[k].W))
    return pairs


@pytest.mark.parametrize("norm", [None, "layer"])
def test_values_and_derivatives_agree_with_dgl(norm: str | None, kernels: str) -> None:
    dgl_nn = pytest.importorskip("dgl.nn.pytorch", reason="DGL has no wheel for this Python")
    from gtl.graph.kernels.with_dgl import handle

    graph = typed_graph()
    layer = HGTBlock(SCHEMA, 6, 2, 0.0, norm).double()
    other = dgl_nn.HGTConv(6, 3, 2, 3, 4, dropout=0.0, use_norm=norm is not None).double()
    loosened(other)
    pairs = same_parameters(layer, other)
    with torch.no_grad():  # biases stay 0: DGL's maps have none
        for mine, part, theirs in pairs:
            mine[part] = theirs
        if layer.norm is not None:  # DGL's norm is the same for all types
            layer.norm.weight.copy_(other.norm.weight.expand(3, -1))
            layer.norm.bias.copy_(other.norm.bias.expand(3, -1))
    other.linear_a = AfterGelu(other.linear_a)
    h, weight = torch.randn(11, 6).double(), torch.randn(11, 6).double()
    ours, copy = h.clone().requires_grad_(), h.clone().requires_grad_()
    values = layer(graph, ours)
    expected = other(handle(graph), copy, graph.node_type, graph.edge_type)
    close(values, expected)
    (values.sin() * weight).sum().backward()
    (expected.sin() * weight).sum().backward()
    close(ours.grad, copy.grad)
    for mine, part, theirs in pairs:
        assert mine.grad is not None
        close(mine.grad[part], theirs.grad)
    if layer.norm is not None:
        close(layer.norm.weight.grad.sum(0), other.norm.weight.grad)  # type: ignore[union-attr]


def close(a: Tensor | None, b: Tensor | None) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def bends_truly(layer: nn.Module, *inputs: Any) -> bool:
    """Whether second derivatives agree with differences, in the parameters and node vectors."""
    names, weights = zip(*((n, p.detach().requires_grad_()) for n, p in layer.named_parameters()))
    h = torch.randn(5, 4).double().requires_grad_()

    def value(h: Tensor, *weights: Tensor) -> Tensor:
        given = dict(zip(names, weights))
        return torch.func.functional_call(layer, given, (inputs[0], h, *inputs[1:]))

    return torch.autograd.gradgradcheck(value, (h, *weights), fast_mode=True, raise_exception=False)


def test_second_derivatives_agree_with_differences(kernels: str) -> None:
    layer = HGTBlock(SCHEMA, 4, 2, 0.0, "layer").double()
    assert bends_truly(loosened(layer), typed_graph(5, 13))


def test_those_of_dgl_do_not() -> None:
    dgl_nn = pytest.importorskip("dgl.nn.pytorch", reason="DGL has no wheel for this Python")
    from gtl.graph.kernels.with_dgl import handle

    layer, graph = dgl_nn.HGTConv(4, 2, 2, 3, 4, dropout=0.0).double(), typed_graph(5, 13)
    assert not bends_truly(layer, handle(graph), graph.node_type, graph.edge_type)


def test_a_graph_without_types_has_one_of_each() -> None:
    graph = typed_graph()
    bare = graph.replace(node_type=None, edge_type=None)
    one = graph.replace(
        node_type=torch.zeros_like(graph.node_type),  # type: ignore[arg-type]
        edge_type=torch.zeros_like(graph.edge_type),  # type: ignore[arg-type]
    )
    torch.manual_seed(0)
    untyped = HGT(Schema(), width=6, heads=2)
    torch.manual_seed(0)
    typed = HGT(Schema(node_types=1, edge_types=1), width=6, heads=2)
    torch.testing.assert_close(untyped(bare), typed(one))
    torch.testing.assert_close(typed(bare), typed(one))
    torch.testing.assert_close(untyped(graph), typed(one))


def test_types_decide_and_are_grouped_anew_when_they_change() -> None:
    graph = typed_graph()
    layer, h = HGTBlock(SCHEMA, 6, 2, 0.0, "layer"), torch.randn(11, 6)
    first = layer(graph, h)
    for name in ("node_type", "edge_type"):
        other = graph.replace(**{name: getattr(graph, name).roll(1)})
        assert not torch.allclose(layer(other, h), first)
    assert torch.equal(layer(graph.replace(x=torch.ones(11, 1)), h), first)


def test_types_in_order_and_out_of_order_give_the_same_rows() -> None:
    graph = typed_graph()
    order = torch.argsort(graph.node_type)  # type: ignore[arg-type]
    layer, h = HGTBlock(SCHEMA, 6, 2, 0.0, "layer").double(), torch.randn(11, 6).double()
    torch.testing.assert_close(layer(graph.subgraph(order), h[order]), layer(graph, h)[order])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 4}, "`heads` is 4, .* a divisor of `width` \\(6\\)"),
        ({"heads": 0}, "`heads` is 0"),
        ({"norm": "batch"}, "`norm` is 'batch', expected one of"),
        ({"dropout": 1.0}, "`dropout` is 1.0"),
        ({"depth": 0}, "`depth` is 0"),
    ],
)
def test_options_out_of_range_are_named(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HGT(Schema(), **{"width": 6, "heads": 2, **options})


def test_missing_and_unknown_types_are_named() -> None:
    encoder, graph = HGT(SCHEMA, width=4), typed_graph()
    with pytest.raises(DataError, match="the graph has no `node_type`"):
        encoder(graph.replace(node_type=None))
    with pytest.raises(DataError, match="`edge_type` of edge 0 is 4, expected 0"):
        encoder(graph.replace(edge_type=torch.full((41,), 4)))
