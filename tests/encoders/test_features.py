"""Node features that the first convolution reads itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gtl.adapters import attach
from gtl.encoders import GAT, GCN, GIN, SAGE
from gtl.encoders.dropout import Dropout, drop
from gtl.encoders.features import RawFeatures, sparse_rows
from gtl.encoders.inputs import Projection
from gtl.encoders.sparse import SparseRows
from gtl.errors import ConfigError, DataError
from gtl.graph import Columns, Graph, Schema, ops

WORDS = Schema(Columns(width=31))
ENCODERS = {
    "gcn": (GCN, {}),
    "sage": (SAGE, {}),
    "sage gcn": (SAGE, {"aggregator": "gcn"}),
    "gin": (GIN, {"learn_eps": True}),
    "gat": (GAT, {}),
}
every_encoder = pytest.mark.parametrize("name", ENCODERS)


@pytest.fixture(autouse=True)
def _sparse_however_few(monkeypatch):
    """Graphs of these tests have few nodes, whose features would be read as they are."""
    monkeypatch.setattr("gtl.encoders.sparse._FEWEST", 0)


def bags_of_words(n: int = 17, columns: int = 31) -> Graph:
    """A directed graph whose nodes have one or two words each; the last node has none."""
    rng = torch.Generator().manual_seed(0)
    src, dst = torch.randint(n, (2, 3 * n), generator=rng)
    words = torch.randint(columns, (n, 2), generator=rng)
    x = torch.zeros(n, columns, dtype=torch.float64).scatter_(1, words, 2.0)
    x[-1] = 0
    return Graph(src, dst, n, x=x)


def build(name: str, schema: Schema = WORDS, **options):
    cls, own = ENCODERS[name]
    torch.manual_seed(0)
    options = {"width": 5, "depth": 2, "norm": None, "embedding": None, **own, **options}
    encoder = cls(schema, **options).double()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder


def gradients(encoder, graph: Graph) -> list[Tensor]:
    encoder.zero_grad()
    encoder(graph).sin().sum().backward()
    return [parameter.grad.clone() for parameter in encoder.parameters()]


# -- what the input gives ------------------------------------------------------------------------


def test_floating_features_are_given_as_they_are():
    graph = bags_of_words()
    assert torch.equal(RawFeatures(WORDS).double()(graph), graph.x)


def test_rows_of_length_one_have_the_directions_of_the_features():
    graph = bags_of_words()
    rows = RawFeatures(WORDS, normalize="l2").double()(graph)
    present = graph.x.norm(dim=1) > 0
    torch.testing.assert_close(rows[present].norm(dim=1), torch.ones(int(present.sum())).double())
    torch.testing.assert_close(
        rows[present] * graph.x[present].norm(dim=1, keepdim=True), graph.x[present].double()
    )


def test_normalized_rows_sum_to_one_and_a_row_of_zeros_stays():
    graph = bags_of_words()
    rows = RawFeatures(WORDS, normalize=True).double()(graph)
    expected = torch.ones(17, dtype=torch.float64)
    expected[-1] = 0
    torch.testing.assert_close(rows.sum(1), expected)
    negative = RawFeatures(Schema(Columns(width=2)), normalize=True)
    x = torch.tensor([[1.0, -3.0]])
    nowhere = torch.zeros(0, dtype=torch.int64)
    torch.testing.assert_close(
        negative(Graph(nowhere, nowhere, 1, x=x)), torch.tensor([[0.25, -0.75]])
    )


def test_each_category_is_a_column_and_each_node_type_too():
    x, none = torch.tensor([[0, 2], [1, 3]]), torch.zeros(0, dtype=torch.int64)
    graph = Graph(none, none, 2, x=x, node_type=torch.tensor([1, 0]))
    rows = RawFeatures(Schema(Columns((1, 3)), node_types=2))
    assert rows.width == 8
    expected = [[1, 0, 0, 0, 1, 0, 0, 1], [0, 1, 0, 0, 0, 1, 1, 0]]
    assert rows(graph).tolist() == expected


def test_features_of_other_columns_are_refused_by_name():
    graph = bags_of_words(columns=30)
    with pytest.raises(DataError, match="`x` has 30 columns, expected 31 floating"):
        build("gcn")(graph)
    with pytest.raises(DataError, match="the graph has no `x`"):
        build("gcn")(graph.replace(x=None))


@pytest.mark.parametrize("schema", [Schema(), Schema(Columns((17,), identity=True))])
def test_nodes_without_features_of_their_own_keep_learned_vectors(schema):
    encoder = build("gcn", schema)
    assert not isinstance(encoder.embed, RawFeatures)
    assert encoder.blocks[0].conv.linear.in_features == 5


# -- sparse rows ---------------------------------------------------------------------------------


def test_most_zeros_are_left_out_of_products_and_of_dropout(kernels):
    graph = bags_of_words()
    rows = SparseRows.of(graph.x)
    weight = torch.randn(3, 31, dtype=torch.float64)
    torch.testing.assert_close(rows.times(weight), graph.x @ weight.T)
    torch.testing.assert_close(rows.dense(), graph.x)
    torch.manual_seed(0)
    dropped = rows.dropped(0.5).values
    assert set(dropped.tolist()) == {0.0, 4.0}


def test_rows_of_few_zeros_are_kept_dense():
    assert SparseRows.of(torch.ones(3, 5)) is None


def test_few_rows_are_kept_dense(monkeypatch):
    monkeypatch.setattr("gtl.encoders.sparse._FEWEST", 17)
    assert SparseRows.of(bags_of_words(16).x) is None
    assert SparseRows.of(bags_of_words(17).x) is not None


def test_features_that_were_changed_after_the_input_are_read_as_they_came():
    graph = bags_of_words()
    encoder = build("gcn")
    h = encoder.embed(graph)
    assert sparse_rows(graph, h) is not None
    assert sparse_rows(graph, h + 0) is None
    changed = graph.replace(x=2 * graph.x)
    assert sparse_rows(changed, h) is None
    torch.testing.assert_close(encoder.embed(changed), 2 * h)


@every_encoder
def test_sparse_and_dense_features_give_the_same_vectors_and_gradients(name, kernels, monkeypatch):
    encoder, graph = build(name), bags_of_words()
    assert sparse_rows(graph, encoder.embed(graph)) is not None
    sparse, slopes = encoder(graph), gradients(encoder, graph)
    monkeypatch.setattr("gtl.encoders.sparse._SPARSE", -1.0)
    graph = bags_of_words()
    assert sparse_rows(graph, encoder.embed(graph)) is None
    torch.testing.assert_close(encoder(graph), sparse)
    for dense, other in zip(gradients(encoder, graph), slopes):
        torch.testing.assert_close(dense, other)


@every_encoder
def test_features_that_are_learned_get_their_gradient(name):
    graph = bags_of_words()
    x = graph.x.clone().requires_grad_()
    build(name)(graph.replace(x=x)).sin().sum().backward()
    assert x.grad.abs().sum() > 0


@every_encoder
def test_second_derivatives_through_sparse_features_are_true(name, kernels):
    encoder, graph = build(name), bags_of_words(7)
    names = [name for name, _ in encoder.named_parameters()]
    values = tuple(p.detach().clone().requires_grad_() for p in encoder.parameters())

    def vectors(*parameters: Tensor) -> Tensor:
        given = dict(zip(names, parameters))
        return torch.func.functional_call(encoder, given, (graph,)).tanh()

    assert torch.autograd.gradcheck(vectors, values, fast_mode=True)
    assert torch.autograd.gradgradcheck(vectors, values, fast_mode=True)


# -- the encoder ---------------------------------------------------------------------------------


@every_encoder
def test_the_first_block_maps_features_to_the_width_and_layers_begin_with_the_input(name):
    graph = bags_of_words()
    encoder = build(name, depth=3, residual=True)
    layers = encoder.layers(graph)
    assert [layer.shape[1] for layer in layers] == [31, 5, 5, 5]
    assert torch.equal(layers[0], graph.x)


def test_the_first_gcn_layer_is_the_formula():
    graph, encoder = bags_of_words(), build("gcn", depth=1)
    conv = encoder.blocks[0].conv
    scale = (graph.in_degrees() + 1).double().rsqrt().unsqueeze(1)
    inputs = graph.x * scale
    total = (ops.sum_neighbors(graph, inputs) + inputs) * scale
    torch.testing.assert_close(encoder(graph), total @ conv.linear.weight.T + conv.bias)


def test_convolutions_start_from_the_weights_of_glorot():
    torch.manual_seed(0)
    encoder = GCN(Schema(Columns(width=1433)), width=64, depth=2, embedding=None)
    first, second = (block.conv.linear.weight.detach().abs().max() for block in encoder.blocks)
    assert 0.99 < float(first) / (6 / (1433 + 64)) ** 0.5 < 1.001
    assert 0.99 < float(second) / (6 / (64 + 64)) ** 0.5 < 1.001


@pytest.mark.parametrize(("jk", "width"), [("concat", 10), ("sum", 5), ("max", 5)])
def test_layers_are_combined_without_the_features(jk, width):
    graph, encoder = bags_of_words(), build("gcn", jk=jk)
    assert encoder.width == encoder(graph).shape[1] == width


def test_edge_features_join_the_raw_ones_in_a_gin():
    graph = bags_of_words()
    e = torch.randn(graph.num_edges, 2, dtype=torch.float64)
    encoder = build("gin", Schema(Columns(width=31), Columns(width=2)))
    assert encoder.blocks[0].conv.edges.table.shape == (3, 31)
    assert encoder(graph.replace(e=e)).shape == (17, 5)


@pytest.mark.parametrize("embedding", ["learned", None])
def test_input_dropout_drops_what_the_first_layer_reads_in_training_alone(embedding):
    graph, encoder = bags_of_words(), build("gcn", embedding=embedding, input_dropout=0.5)
    assert not torch.equal(encoder(graph), encoder(graph))
    encoder.eval()
    assert torch.equal(encoder(graph), encoder(graph))


@pytest.mark.parametrize(("p", "left"), [(0.0, [1.0]), (0.2, [0.0, 1.25]), (1.0, [0.0])])
def test_a_layer_of_dropout_drops_in_training_alone(p, left):
    layer, ones = Dropout(p), torch.ones(20_000, requires_grad=True)
    values = layer(ones)
    values.sum().backward()
    assert float((values == 0).double().mean()) == pytest.approx(p, abs=0.02)
    assert values.detach().unique().tolist() == left
    assert torch.equal(ones.grad, values.detach())
    assert torch.equal(layer.eval()(ones), ones)


def test_what_is_dropped_is_made_up_for_by_the_rest():
    torch.manual_seed(0)
    values = drop(torch.ones(20_000), 0.2)
    assert values.unique().tolist() == [0.0, 1.25]
    assert abs(float(values.mean()) - 1) < 0.02


def test_one_seed_gives_one_encoder_with_and_without_the_new_options_at_their_defaults():
    def weights(**options):
        torch.manual_seed(3)
        return torch.cat([p.flatten() for p in GCN(WORDS, width=4, **options).parameters()])

    assert torch.equal(weights(), weights(embedding="learned", input_dropout=0.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embedding": "none"}, r"`embedding` is 'none', expected one of \('learned', None\)"),
        ({"input_dropout": 1.0}, "`input_dropout` is 1.0, expected at least 0 and below 1"),
        (
            {"embedding": None, "normalize_features": "l3"},
            r"`normalize_features` is 'l3', expected one of \(False, True, 'l1', 'l2'\)",
        ),
        (
            {"embedding": "learned", "normalize_features": True},
            "`normalize_features` is given, expected false beside a learned embedding",
        ),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build("gcn", **options)


@pytest.mark.parametrize(
    "adapter", ["bottleneck", "layerwise", "lora", "film", "prompt", "parallel"]
)
def test_adapters_attach_to_an_encoder_without_embedding_and_change_nothing_at_first(adapter):
    graph, encoder = bags_of_words(), build("gcn", norm="batch", width=6).eval()
    before = encoder(graph)
    adapted = attach(encoder, adapter).double().eval()
    torch.testing.assert_close(adapted(graph)[:, :6], before)
    assert len(adapted.layers(graph)) == 3


@pytest.mark.parametrize("columns", [11, 31])  # fewer columns than nodes, and more
def test_a_learned_embedding_of_mostly_zeros_is_that_of_dense_features(
    columns, kernels, monkeypatch
):
    def embedded() -> list[Tensor]:
        torch.manual_seed(0)
        embed = Projection(Columns(width=columns), 5).double()
        graph = bags_of_words(columns=columns)
        graph = graph.replace(x=graph.x * (torch.arange(17) < 5).unsqueeze(1))
        vectors = embed(graph)
        vectors.sin().sum().backward()
        return [vectors, *(p.grad for p in embed.parameters())]

    dense = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda *_: pytest.fail("zeros were multiplied"))
    sparse = embedded()
    monkeypatch.setattr(nn.Linear, "forward", dense)
    monkeypatch.setattr("gtl.encoders.sparse._SPARSE", -1.0)
    for one, other in zip(sparse, embedded()):
        torch.testing.assert_close(one, other)
