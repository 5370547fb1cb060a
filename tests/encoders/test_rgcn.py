"""R-GCN against loops over edges and against DGL's layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gtl.encoders import RGCN
from gtl.encoders.rgcn import RGCNConvolution
from gtl.errors import ConfigError, DataError
from gtl.graph import Columns, Graph, Schema, ops

CASES = [(None, 1), ("basis", 2), ("block", 3)]


def typed_graph(n: int = 11, m: int = 41, relations: int = 5) -> Graph:
    """Random edges, loops and repeated ones included; relation 3 has none."""
    rng = torch.Generator().manual_seed(0)
    src, dst = torch.randint(n, (2, m), generator=rng)
    types = torch.randint(relations, (m,), generator=rng)
    return Graph(src, dst, n, edge_type=types.masked_fill(types == 3, 1))


def matrices_of(layer: RGCNConvolution, width: int) -> list[Tensor]:
    """The matrix of each relation, written out."""
    parts = dict(layer.matrices.named_parameters())
    if "basis" in parts:
        return [
            sum(a * v for a, v in zip(row, parts["basis"]))  # type: ignore[misc]
            for row in parts["mixture"]
        ]
    if parts["weight"].dim() == 4:
        return [torch.block_diag(*blocks) for blocks in parts["weight"]]
    return list(parts["weight"])


@pytest.mark.parametrize(("decomposition", "bases"), CASES)
def test_a_layer_adds_the_mean_over_the_neighbors_of_each_relation(
    decomposition: str | None, bases: int, kernels: str
) -> None:
    graph, width = typed_graph(), 6
    e = torch.randint(3, (graph.num_edges, 1))
    layer = RGCNConvolution(Columns((3,)), 5, width, decomposition, bases).double()
    torch.nn.init.normal_(layer.bias)
    h, table = torch.randn(11, width).double(), layer.edges.table
    assert table is not None
    assert graph.edge_type is not None
    rows = []
    for i in range(11):
        row = layer.own.weight @ h[i] + layer.bias
        for r, matrix in enumerate(matrices_of(layer, width)):
            edges = ((graph.dst == i) & (graph.edge_type == r)).nonzero().flatten().tolist()
            messages = [h[graph.src[k]] @ matrix + table[int(e[k])] for k in edges]
            if messages:
                row = row + sum(messages) / len(messages)
        rows.append(row)
    torch.testing.assert_close(layer(graph.replace(e=e), h), torch.stack(rows))


@pytest.mark.parametrize(("decomposition", "bases"), CASES)
def test_values_and_derivatives_agree_with_dgl(
    decomposition: str | None, bases: int, kernels: str
) -> None:
    dgl_nn = pytest.importorskip("dgl.nn.pytorch", reason="DGL has no wheel for this Python")
    from gtl.graph.kernels.with_dgl import handle

    graph, width = typed_graph(), 6
    types = graph.edge_type
    assert types is not None
    layer = RGCNConvolution(None, 5, width, decomposition, bases).double()
    torch.nn.init.normal_(layer.bias)
    regularizer = "bdd" if decomposition == "block" else decomposition
    other = dgl_nn.RelGraphConv(width, width, 5, regularizer, bases).double()
    names = {"basis": "W", "mixture": "coeff", "weight": "W"}
    ours, theirs = [layer.bias, layer.own.weight], [other.h_bias, other.loop_weight]
    for name, parameter in layer.matrices.named_parameters():
        ours.append(parameter)
        theirs.append(getattr(other.linear_r, names[name]))
    with torch.no_grad():
        for mine, copy in zip(ours, theirs):
            copy.copy_(mine.T if mine is layer.own.weight else mine.reshape(copy.shape))
    pair = types * 11 + graph.dst
    share = 1 / torch.bincount(pair)[pair].double().unsqueeze(1)  # DGL adds, unless told otherwise
    h = torch.randn(11, width).double().requires_grad_()
    weight = torch.randn(11, width).double()
    values, expected = layer(graph, h), other(handle(graph), h, types, share)
    torch.testing.assert_close(values, expected, rtol=1e-10, atol=1e-10)
    mine = torch.autograd.grad((values.sin() * weight).sum(), [h, *ours])
    copy = torch.autograd.grad((expected.sin() * weight).sum(), [h, *theirs])
    for i, (a, b) in enumerate(zip(mine, copy)):
        b = b.T if i == 2 else b.reshape(a.shape)
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("decomposition", "bases"), CASES)
def test_second_derivatives_agree_with_differences(
    decomposition: str | None, bases: int, kernels: str
) -> None:
    graph = typed_graph(5, 13)
    layer = RGCNConvolution(None, 5, 3, decomposition, bases).double()
    h = torch.randn(5, 3).double().requires_grad_()
    weights = [p.detach().requires_grad_() for p in layer.matrices.parameters()]

    def value(h: Tensor, *weights: Tensor) -> Tensor:
        names = [name for name, _ in layer.named_parameters() if name.startswith("matrices.")]
        given = dict(zip(names, weights))
        return torch.func.functional_call(layer, given, (graph, h)).sin()

    assert torch.autograd.gradgradcheck(value, (h, *weights))


def test_a_graph_without_types_has_one_relation() -> None:
    graph = typed_graph().replace(edge_type=None)
    torch.manual_seed(0)
    untyped = RGCN(Schema(), width=5, depth=2)
    torch.manual_seed(0)
    typed = RGCN(Schema(edge_types=1), width=5, depth=2)
    one = graph.replace(edge_type=torch.zeros(graph.num_edges, dtype=torch.int64))
    torch.testing.assert_close(untyped(graph), typed(one))
    torch.testing.assert_close(typed(graph), typed(one))


def test_many_relations_share_bases_and_few_do_not() -> None:
    def matrices(relations: int) -> dict[str, tuple[int, ...]]:
        layer = RGCN(Schema(edge_types=relations), width=6, depth=1).blocks[0].conv
        return {name: tuple(p.shape) for name, p in layer.matrices.named_parameters()}

    assert matrices(20) == {"basis": (8, 6, 6), "mixture": (20, 8)}
    assert matrices(8) == {"weight": (8, 6, 6)}


def test_the_grouping_of_edges_is_made_once_and_anew_for_other_types() -> None:
    graph = typed_graph().replace(x=torch.ones(11, 1))
    layer = RGCNConvolution(None, 5, 6)
    h = torch.randn(11, 6)
    first = layer(graph, h)
    other = graph.replace(edge_type=torch.zeros(graph.num_edges, dtype=torch.int64))
    assert not torch.equal(layer(other, h), first)
    assert torch.equal(layer(graph.replace(x=None), h), first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decomposition": "svd"}, "`decomposition` is 'svd'"),
        ({"decomposition": "block", "bases": 4}, "`bases` is 4, .* a divisor of `width` \\(6\\)"),
        ({"bases": 0}, "`bases` is 0"),
    ],
)
def test_options_out_of_range_are_named(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RGCN(Schema(), width=6, **options)


def test_a_relation_that_is_not_known_is_named() -> None:
    encoder = RGCN(Schema(edge_types=3), width=4, depth=1)
    graph = Graph(torch.tensor([0, 1]), torch.tensor([1, 0]), 2, edge_type=torch.tensor([0, 3]))
    with pytest.raises(DataError, match="`edge_type` of edge 1 is 3, expected 0"):
        encoder(graph)
    with pytest.raises(DataError, match="the graph has no `edge_type`"):
        encoder(graph.replace(edge_type=None))


def test_memory_grows_with_the_edges_and_not_with_nodes_times_relations() -> None:
    n, m = 1000, 50
    graph = Graph(torch.arange(m), torch.arange(m), n, edge_type=torch.arange(m) % 40)
    layer = RGCNConvolution(None, 40, 4, "basis", 2)
    largest = []

    def watch(tensor: Tensor) -> Tensor:
        largest.append(tensor.numel())
        return tensor

    with ops.use_kernels("torch"), torch.autograd.graph.saved_tensors_hooks(watch, lambda t: t):
        layer(graph, torch.randn(n, 4, requires_grad=True))
    assert max(largest) <= n * 4
