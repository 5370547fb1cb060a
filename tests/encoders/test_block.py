"""What all message-passing encoders have in common: laws, options, and the order in a block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from gtl.catalog import ENCODERS
from gtl.encoders import GAT, GCN, GIN, RGCN, SAGE
from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema
from gtl.roles import Encoder

VARIANTS: dict[str, tuple[type[Encoder], dict[str, Any]]] = {
    "gin": (GIN, {}),
    "gin learned eps": (GIN, {"learn_eps": True}),
    "gcn": (GCN, {}),
    "sage mean": (SAGE, {}),
    "sage gcn normalized": (SAGE, {"aggregator": "gcn", "normalize": True}),
    "gat mean": (GAT, {}),
    "gat concat": (GAT, {"heads": 3, "merge": "concat"}),
    "rgcn": (RGCN, {}),
}
every_encoder = pytest.mark.parametrize("variant", list(VARIANTS))
Make = Callable[..., Encoder]


@pytest.fixture
def make(schema: Schema) -> Make:
    def build(variant: str, schema: Schema = schema, **options: Any) -> Encoder:
        cls, own = VARIANTS[variant]
        encoder = cls(schema, **{"width": 6, "depth": 2, **own, **options}).double()  # type: ignore[call-arg]
        with torch.no_grad():  # no parameter stays at 0, where an error would not show
            for parameter in encoder.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return encoder

    return build


# -- laws ----------------------------------------------------------------------------------------


@every_encoder
def test_a_batch_equals_its_graphs_one_by_one(
    variant: str, make: Make, graphs: list[Graph], kernels: str
) -> None:
    encoder = make(variant)
    encoder(Graph.batch(graphs))  # running statistics that are not 0 and 1
    encoder.eval()
    together = encoder(Graph.batch(graphs))
    alone = torch.cat([encoder(graph) for graph in graphs])
    assert together.shape == (24, 6)
    torch.testing.assert_close(together, alone)


@every_encoder
def test_renumbering_nodes_renumbers_rows(
    variant: str, make: Make, graphs: list[Graph], kernels: str
) -> None:
    encoder, graph = make(variant), graphs[-1]
    order = torch.randperm(graph.num_nodes)
    edges = torch.randperm(graph.num_edges)
    place = torch.argsort(order)
    moved = Graph(
        place[graph.src[edges]],
        place[graph.dst[edges]],
        graph.num_nodes,
        x=graph.x[order],  # type: ignore[index]
        e=graph.e[edges],  # type: ignore[index]
    )
    torch.testing.assert_close(encoder(moved), encoder(graph)[order])


@every_encoder
def test_gradients_of_gradients_agree_with_finite_differences(
    variant: str, make: Make, graphs: list[Graph], kernels: str
) -> None:
    encoder, graph = make(variant), graphs[0]
    names = [name for name, _ in encoder.named_parameters()]
    values = tuple(p.detach().clone().requires_grad_() for p in encoder.parameters())

    def vectors(*parameters: Tensor) -> Tensor:
        return functional_call(encoder, dict(zip(names, parameters)), (graph,)).tanh()

    assert torch.autograd.gradcheck(vectors, values, fast_mode=True)
    assert torch.autograd.gradgradcheck(vectors, values, fast_mode=True)


@every_encoder
def test_ten_steps_lower_a_loss(variant: str, make: Make, graphs: list[Graph]) -> None:
    encoder, graph = make(variant), Graph.batch(graphs)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.01)
    target = torch.randn(24, 6, dtype=torch.float64)
    losses = []
    for _ in range(11):
        loss = (encoder(graph) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]


@every_encoder
def test_every_parameter_takes_part(variant: str, make: Make, graphs: list[Graph]) -> None:
    encoder = make(variant)
    (encoder(Graph.batch(graphs)) ** 3).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name


@every_encoder
def test_the_graph_is_left_as_it_was(variant: str, make: Make, graphs: list[Graph]) -> None:
    graph = Graph.batch(graphs)
    before = {name: getattr(graph, name).clone() for name in ("src", "dst", "x", "e", "sizes")}
    make(variant)(graph)
    assert all(torch.equal(getattr(graph, name), value) for name, value in before.items())


@every_encoder
def test_an_empty_graph_and_one_node_can_be_trained_on(
    variant: str, make: Make, graphs: list[Graph], kernels: str
) -> None:
    encoder = make(variant)
    assert encoder(graphs[2]).shape == (0, 6)
    one = encoder(graphs[1])
    assert one.shape == (1, 6)
    assert one.isfinite().all()
    one.sum().backward()


@every_encoder
def test_graphs_without_features_or_with_floating_ones_are_read(
    variant: str, make: Make, graphs: list[Graph], kernels: str
) -> None:
    graph = graphs[-1]
    bare = Graph(graph.src, graph.dst, graph.num_nodes)
    assert make(variant, Schema())(bare).shape == (11, 6)
    numbers = bare.replace(x=torch.randn(11, 3).double(), e=torch.randn(23, 2).double())
    encoder = make(variant, Schema(Columns(width=3), Columns(width=2))).eval()
    other = numbers.replace(e=numbers.e + 1)  # type: ignore[operator]
    assert not torch.allclose(encoder(numbers), encoder(other))


@every_encoder
def test_the_registry_builds_it_again(
    variant: str, make: Make, schema: Schema, graphs: list[Graph]
) -> None:
    encoder = make(variant, norm="layer", jk="sum").eval()
    again = ENCODERS.build(ENCODERS.spec(encoder), schema).double().eval()
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again(graphs[0]), encoder(graphs[0]), rtol=0, atol=0)


# -- the block and the stack ---------------------------------------------------------------------


def test_a_block_is_convolution_norm_relu_and_the_last_one_has_no_relu(
    make: Make, graphs: list[Graph]
) -> None:
    encoder, graph = make("gcn").eval(), graphs[0]
    first, second = encoder.blocks
    h0 = encoder.embed(graph)
    h1 = first.norm(first.conv(graph, h0)).relu()
    h2 = second.norm(second.conv(graph, h1))
    torch.testing.assert_close(encoder(graph), h2)
    assert (h2 < 0).any()
    for layer, expected in zip(encoder.layers(graph), (h0, h1, h2), strict=True):
        torch.testing.assert_close(layer, expected)


def test_layers_are_combined_as_asked(make: Make, graphs: list[Graph]) -> None:
    encoder = make("gin").eval()
    layers = encoder.layers(graphs[0])
    expected = {
        "last": layers[-1],
        "concat": torch.cat(layers, 1),
        "sum": layers[0] + layers[1] + layers[2],
        "max": torch.maximum(torch.maximum(layers[0], layers[1]), layers[2]),
    }
    for jk, vectors in expected.items():
        other = make("gin", jk=jk).eval()
        other.load_state_dict(encoder.state_dict())
        torch.testing.assert_close(other(graphs[0]), vectors)
        assert other.width == vectors.shape[1]


def test_a_residual_block_adds_its_input(make: Make, graphs: list[Graph]) -> None:
    encoder, plain = make("sage mean", residual=True).eval(), make("sage mean").eval()
    plain.load_state_dict(encoder.state_dict())
    h = encoder.embed(graphs[0])
    block, without = encoder.blocks[0], plain.blocks[0]
    torch.testing.assert_close(block(graphs[0], h), h + without(graphs[0], h))


def test_norms_are_what_they_are_called(make: Make, graphs: list[Graph]) -> None:
    graph = Graph.batch(graphs)
    batch = make("gin", depth=1)
    with torch.no_grad():
        batch.blocks[0].norm.reset_parameters()
    columns = batch(graph)
    torch.testing.assert_close(columns.mean(0), torch.zeros(6).double(), atol=1e-9, rtol=0)
    layer = make("gin", depth=1, norm="layer")
    with torch.no_grad():
        layer.blocks[0].norm.reset_parameters()
    rows = layer(graph)
    torch.testing.assert_close(rows.mean(1), torch.zeros(24).double(), atol=1e-9, rtol=0)
    none = make("gin", depth=1, norm=None)
    h = none.embed(graph)
    torch.testing.assert_close(none(graph), none.blocks[0].conv(graph, h))


def test_a_single_node_is_trained_on_with_running_statistics_and_leaves_them(
    make: Make, graphs: list[Graph]
) -> None:
    encoder = make("gin")
    before = {name: value.clone() for name, value in encoder.named_buffers()}
    in_training = encoder(graphs[1])
    torch.testing.assert_close(in_training, encoder.eval()(graphs[1]))
    assert all(torch.equal(value, before[name]) for name, value in encoder.named_buffers())


def test_dropout_acts_in_training_only(make: Make, graphs: list[Graph]) -> None:
    encoder, graph = make("gin", depth=1, dropout=0.5, width=31), graphs[-1]
    dropped = (encoder(graph) == 0).double().mean()
    assert 0.35 < dropped < 0.65
    assert (encoder.eval()(graph) != 0).all()


def test_one_seed_gives_one_encoder(schema: Schema) -> None:
    def weights() -> Tensor:
        torch.manual_seed(7)
        return torch.cat([p.flatten() for p in GAT(schema, width=4, depth=1).parameters()])

    assert torch.equal(weights(), weights())


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (GIN, {"width": 0}, "`width` is 0, expected at least 1"),
        (GIN, {"depth": 0}, "`depth` is 0, expected at least 1"),
        (GCN, {"dropout": 1.0}, "`dropout` is 1.0"),
        (GCN, {"norm": "group"}, "`norm` is 'group', expected one of"),
        (SAGE, {"jk": "lstm"}, "`jk` is 'lstm', expected one of"),
        (SAGE, {"aggregator": "pool"}, "`aggregator` is 'pool', expected one of"),
        (GAT, {"merge": "sum"}, "`merge` is 'sum', expected one of"),
        (GAT, {"heads": 0}, "`heads` is 0"),
        (GAT, {"width": 7, "heads": 2, "merge": "concat"}, r"a divisor of `width` \(7\)"),
    ],
)
def test_options_outside_their_range_are_refused(
    cls: type[Encoder], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        cls(Schema(), **options)  # type: ignore[call-arg]
