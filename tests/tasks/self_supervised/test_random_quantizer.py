from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gtl
from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema
from gtl.roles import Batch
from gtl.tasks.self_supervised import quantizer
from gtl.tasks.self_supervised.random_quantizer import RandomQuantizer

WIDTH = 6


def points(nodes: int = 400, columns: int = 5, seed: int = 0) -> Graph:
    rng = torch.Generator().manual_seed(seed)
    ends = torch.randint(nodes, (2, 3 * nodes), generator=rng)
    return Graph(*ends, nodes, x=torch.randn(nodes, columns, generator=rng))


def ready(graph: Graph, **options) -> RandomQuantizer:
    torch.manual_seed(3)
    task = RandomQuantizer(**options)
    task.setup(Schema.of(graph), WIDTH, lambda: graph)
    return task


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def codes_by_hand(task: RandomQuantizer, graph: Graph) -> np.ndarray:
    """The codes in float64, one node after the other."""
    x = graph.x.double().numpy()
    n = len(x)
    around = np.eye(n)
    np.add.at(around, (graph.dst.numpy(), graph.src.numpy()), 1)
    around /= around.sum(1, keepdims=True)
    found = []
    for book, hop in enumerate(task.hops):
        values = np.linalg.matrix_power(around, hop) @ x
        units = (values - values.mean(0)) / values.std(0)
        z = units @ task.of_nodes.projections[book].double().numpy()
        c = task.of_nodes.codebooks[book, : int(task.of_nodes.used)].double().numpy()
        cosines = (z / np.linalg.norm(z, axis=1, keepdims=True)) @ (
            c / np.linalg.norm(c, axis=1, keepdims=True)
        ).T
        found.append(cosines.argmax(1))
    return np.stack(found)


def test_codes_are_the_nearest_by_cosine_of_standardized_vectors():
    graph = points()
    task = ready(graph, codes=40, hops=[0, 1, 2, 0])
    expected = codes_by_hand(task, graph)
    assert (task.of_nodes(task.values_of(graph)).numpy() == expected).mean() > 0.998
    view = task.view(Batch(graph), rng())
    chosen = view.targets["nodes"].numpy()
    assert (view.targets["codes"].t().numpy() == expected[:, chosen]).mean() > 0.99


def test_an_eighth_as_many_codes_as_nodes_are_used():
    task = ready(points(400), codes=1024)
    assert int(task.of_nodes.used) == 50
    assert int(task.of_nodes(task.values_of(points(400))).max()) < 50
    assert int(ready(points(400), codes=7).of_nodes.used) == 7


def test_only_used_codes_share_the_probability():
    graph = points(400)
    task = ready(graph, codes=1024, hops=[0])
    task.predictor.weight.data.zero_(), task.predictor.bias.data.zero_()
    view = task.view(Batch(graph), rng())
    losses = task.losses(torch.zeros(400, WIDTH), view)
    assert losses.tolist() == pytest.approx([np.log(50)] * len(view.targets["nodes"]))


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_codes_move_with_their_nodes(seed):
    graph = points(80)
    task = ready(graph, codes=8)
    order = torch.randperm(80, generator=rng(seed))
    place = order.argsort()
    moved = Graph(place[graph.src], place[graph.dst], 80, x=graph.x[order])
    codes = task.of_nodes(task.values_of(graph))
    assert (task.of_nodes(task.values_of(moved)) == codes[:, order]).float().mean() > 0.98


@given(st.lists(st.floats(0.01, 100), min_size=5, max_size=5), st.floats(-5, 5))
@settings(max_examples=15, deadline=None)
def test_codes_do_not_depend_on_the_units_of_the_features(factors, shift):
    graph = points(80)
    other = graph.replace(x=graph.x * torch.tensor(factors) + shift)
    codes = [t.of_nodes(t.values_of(g)) for g in (graph, other) for t in [ready(g, codes=8)]]
    assert (codes[0] == codes[1]).float().mean() > 0.95


@pytest.mark.parametrize("span", [0, 2])
def test_what_is_hidden_does_not_reach_the_encoder(span):
    graph = points()
    task = ready(graph, span=span)
    view = task.view(Batch(graph), rng(1))
    nodes = view.targets["nodes"]
    changed = graph.x.clone()
    changed[nodes] = 7.0
    other = task.view(Batch(graph.replace(x=changed)), rng(1))
    assert torch.equal(other.targets["nodes"], nodes)
    assert torch.equal(other.graph.x, view.graph.x)
    left = torch.ones(400, dtype=torch.bool)
    left[nodes] = False
    assert torch.equal(view.graph.x[left], graph.x[left])
    assert not torch.equal(view.targets["codes"], other.targets["codes"])


@pytest.mark.parametrize("hops", [(0, 2), (1, 2), (2,)])
def test_the_noise_has_a_tenth_of_the_deviation_of_the_features(hops):
    graph = points()
    graph = graph.replace(x=graph.x * torch.tensor([1.0, 2, 3, 4, 5]) + 7)
    task = ready(graph, hops=hops, rate=0.9, codes=16)
    view = task.view(Batch(graph), rng())
    hidden = view.graph.x[view.targets["nodes"]]
    torch.testing.assert_close(
        hidden.std(0) / graph.x.std(0), torch.full((5,), 0.1), atol=0.02, rtol=0
    )
    torch.testing.assert_close(hidden.mean(0), graph.x.mean(0), atol=0.1, rtol=0)


@pytest.mark.parametrize("hops", [(0, 1), (1, 2)])
def test_a_state_of_before_has_the_noise_of_the_smallest_hop(hops):
    graph = points()
    task = ready(graph, hops=hops, codes=16)
    old = {n: v for n, v in task.state_dict().items() if n not in ("mean", "deviation")}
    other = RandomQuantizer(hops=hops, codes=16)
    other.setup(Schema.of(graph), WIDTH)
    other.load_state_dict(old)
    assert torch.equal(other.mean, task.of_nodes.mean[0])
    assert torch.equal(other.deviation, task.of_nodes.deviation[0])
    assert set(old) == set(task.state_dict()) - {"mean", "deviation"}


def test_hidden_atoms_have_the_category_masked():
    data = gtl.Dataset.from_graphs(["CCO", "c1ccccc1N", "CC(=O)O", "CCCCN", "OCCO"] * 8)
    graph = data.batch(torch.arange(40))
    task = ready(graph, rate=0.5)
    view = task.view(Batch(graph), rng())
    nodes = view.targets["nodes"]
    categories = torch.tensor(task.features.columns.categories)
    assert bool((view.graph.x[nodes] == categories).all())
    left = torch.ones(graph.num_nodes, dtype=torch.bool)
    left[nodes] = False
    assert torch.equal(view.graph.x[left], graph.x[left])


def test_bonds_are_part_of_the_code_of_a_neighborhood():
    data = gtl.Dataset.from_graphs(["CC=C", "CC#C", "CCC", "C=C=C", "C#CC=C", "CCCC"] * 8)
    graph = data.batch(torch.arange(48))
    task = ready(graph, hops=[0, 1])
    e = graph.e.clone()
    e[:, 0] = e[:, 0].roll(1)
    values, others = task.values_of(graph), task.values_of(graph.replace(e=e))
    assert torch.equal(values[0], others[0])
    assert not torch.equal(values[1], others[1])


def test_spans_are_connected_where_single_nodes_are_not():
    n = 2000
    one = torch.arange(n)
    ring = Graph(torch.cat([one, one]), torch.cat([(one + 1) % n, (one - 1) % n]), n)
    ring = ring.replace(x=torch.randn(n, 4, generator=rng()))
    runs = {}
    for span in (0, 3):
        nodes = ready(ring, span=span, rate=0.2).view(Batch(ring), rng()).targets["nodes"]
        hidden = torch.zeros(n, dtype=torch.bool)
        hidden[nodes] = True
        assert len(nodes) == 400
        runs[span] = int((hidden & ~hidden.roll(1)).sum())  # places where a run begins
    assert runs[0] > 250
    assert runs[3] < 400 / 5


def test_the_quantizer_is_no_parameter_and_comes_back_with_the_state(tmp_path):
    graph = points()
    task = ready(graph)
    assert {name for name, _ in task.named_parameters()} == {"predictor.weight", "predictor.bias"}
    torch.manual_seed(99)
    other = RandomQuantizer()
    other.setup(Schema.of(graph), WIDTH)
    other.load_state_dict(task.state_dict())
    values = task.values_of(graph)
    assert torch.equal(task.of_nodes(values), other.of_nodes(values))
    assert int(other.of_nodes.used) == int(task.of_nodes.used)


def test_standardization_keeps_codes_apart_where_scales_differ():
    """Dense features of unequal scales: 5,629 against 24 of 8,192 codes in a measurement."""
    graph = points(4000, 20)
    graph = graph.replace(x=graph.x * torch.logspace(-3, 3, 20) + 50)
    task = ready(graph, codes=500, hops=[0])
    values = task.values_of(graph)
    found = float(task.of_nodes.spread(values)[0])
    task.of_nodes.mean.zero_(), task.of_nodes.deviation.fill_(1.0)
    raw = float(task.of_nodes.spread(values)[0])
    assert found > 200
    assert raw < 60


def test_a_collapse_is_an_error_that_names_the_remedy():
    graph = points(1000)
    few = torch.eye(5)[torch.arange(1000) % 4]  # four kinds of nodes for 125 codes
    with pytest.raises(ConfigError, match=r"collapsed.*codes=\d+ or other `hops`"):
        ready(graph.replace(x=few), hops=[0])
    assert float(ready(graph.replace(x=few), hops=[0], codes=20).of_nodes.used) == 20


@pytest.mark.parametrize("codes", [2, 5, 16, 1024])
def test_codes_that_are_nearly_constant_are_refused_for_any_codebook(codes):
    graph = points(1000)
    x = torch.zeros(1000, 5)
    x[0] = 1.0
    with pytest.raises(ConfigError, match=r"collapsed.*give other `hops`, or leave") as found:
        ready(graph.replace(x=x), hops=[0], codes=codes)
    assert "codes=" not in str(found.value)
    ready(graph, hops=[0], codes=codes)


def test_measures_are_the_perplexities_since_the_last_call():
    graph = points()
    task = ready(graph, hops=[0, 1], codes=16)
    view = task.view(Batch(graph), rng())
    codes = view.targets["codes"]
    found = task.measures()
    assert list(found) == ["perplexity of codebook 0", "perplexity of codebook 1"]
    shares = torch.bincount(codes[:, 0], minlength=16).double() / len(codes)
    entropy = -(shares[shares > 0] * shares[shares > 0].log()).sum()
    assert found["perplexity of codebook 0"] == pytest.approx(float(entropy.exp()), rel=1e-5)
    assert list(task.measures().values()) == [0.0, 0.0]


def test_codes_of_edges_are_of_their_features_and_both_ends_whatever_the_direction():
    data = gtl.Dataset.from_graphs(["CC=C", "CC#C", "CCO", "C=C=N", "C#CC=C", "CCCN"] * 8)
    graph = data.batch(torch.arange(48))
    task = ready(graph, edges=2, codes=6)
    values = task.edge_values_of(graph)
    atoms, bonds = task.features.columns.categories, task.edge_columns.categories
    assert values.shape == (2, graph.num_edges, sum(atoms) + sum(bonds))
    edge = int((graph.e[:, 0] == 1).nonzero()[0])  # a double bond
    expected = torch.zeros(sum(atoms) + sum(bonds))
    for end in (graph.src[edge], graph.dst[edge]):
        for start, category in zip(np.cumsum([0, *atoms]), graph.x[end]):
            expected[start + category] += 1
    for start, category in zip(np.cumsum([0, *bonds]) + sum(atoms), graph.e[edge]):
        expected[start + category] += 1
    assert torch.equal(values[0, edge], expected)
    turned = graph.replace(src=graph.dst, dst=graph.src)
    assert torch.equal(task.of_edges(task.edge_values_of(turned)), task.of_edges(values))


def test_features_of_edges_at_masked_nodes_do_not_reach_the_encoder():
    data = gtl.Dataset.from_graphs(["CC=C", "CC#C", "CCO", "C=C=N", "C#CC=C", "CCCN"] * 8)
    graph = data.batch(torch.arange(48))
    task = ready(graph, edges=1, codes=6)
    view = task.view(Batch(graph), rng())
    hidden = torch.zeros(graph.num_nodes, dtype=torch.bool)
    hidden[view.targets["nodes"]] = True
    beside = hidden[graph.src] | hidden[graph.dst]
    assert bool((view.graph.e[beside] == torch.tensor(task.edge_columns.categories)).all())
    assert torch.equal(view.graph.e[~beside], graph.e[~beside])
    ends = hidden[view.targets["src"]] | hidden[view.targets["dst"]]
    assert bool(ends.all()) and len(ends) == len(view.targets["nodes"])
    losses = task.losses(torch.zeros(graph.num_nodes, WIDTH), view)
    assert len(losses) == 2 * len(ends)
    assert list(task.measures())[-1] == "perplexity of edge codebook 0"


def test_edges_without_features_have_codes_of_their_ends():
    graph = points()
    task = ready(graph, edges=1, codes=16)
    assert torch.equal(task.edge_values_of(graph)[0], graph.x[graph.src] + graph.x[graph.dst])
    lonely = Graph(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64), 9)
    view = task.view(Batch(lonely.replace(x=torch.randn(9, 5))), rng())
    assert len(task.losses(torch.zeros(9, WIDTH), view)) == len(view.targets["nodes"])


@pytest.mark.parametrize(
    "options",
    [{"rate": 0}, {"codes": 1}, {"hops": []}, {"hops": [-1]}, {"span": -1}, {"edges": -1}],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError):
        RandomQuantizer(**options)


def test_numbers_of_nodes_are_no_features():
    task = RandomQuantizer()
    with pytest.raises(ConfigError, match="own numbers"):
        task.setup(Schema(Columns((5,), identity=True)), WIDTH)


def test_pre_training_writes_its_perplexity_and_is_reproducible(tmp_path):
    data = gtl.Dataset.from_graphs(["CCO", "c1ccccc1N", "CC(=O)O", "CCCCN", "OCCO"] * 16)
    small = {"name": "gin", "width": 8, "depth": 1}
    how = {"tasks": {"name": "random_quantizer", "codes": 8}, "batch_size": 20, "seed": 1}
    whole = gtl.pretrain(small, data, epochs=2, out=tmp_path / "a", **how)
    measured = whole.history[-1]["measures"]["random_quantizer"]
    assert 1 <= measured["perplexity of codebook 0"] <= 8
    again = gtl.pretrain(small, data, epochs=2, out=tmp_path / "b", **how)
    for one, two in zip(whole.encoder.state_dict().values(), again.encoder.state_dict().values()):
        assert torch.equal(one, two)


@pytest.mark.parametrize("value", [0.1, 1000.1])
def test_a_constant_column_plays_no_part_in_codes_of_neighborhoods(value):
    rng = torch.Generator().manual_seed(0)
    edges, x = torch.randint(80, (2, 320), generator=rng), torch.randn(80, 3, generator=rng)

    def codes(constant: float) -> torch.Tensor:
        graph = Graph(*edges, 80, torch.cat([x, torch.full((80, 2), constant)], 1))
        torch.manual_seed(1)
        task = RandomQuantizer(codes=8, hops=(0, 1, 2))
        task.setup(Schema(Columns(None, 5)), 4, lambda: graph)
        return task.of_nodes(task.values_of(graph))

    assert torch.equal(codes(value), codes(0.0))


def test_rows_are_compared_with_the_codes_in_blocks(monkeypatch):
    task = ready(points(), codes=32, hops=(0, 1))
    values = task.values_of(points(seed=1))
    whole, sizes = task.of_nodes(values), []

    class Sizes(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            found = function(*args, **(kwargs or {}))
            sizes.extend(v.numel() for v in (found,) if isinstance(v, torch.Tensor))
            return found

    monkeypatch.setattr(quantizer, "AT_ONCE", 1 << 12)
    with Sizes():
        in_blocks = task.of_nodes(values)
    assert torch.equal(in_blocks, whole) and in_blocks.shape == (2, 400)
    assert max(sizes) <= 1 << 12  # 2 x 400 x 32 cosines are 25,600
    assert task.of_nodes(values[:, :0]).shape == (2, 0)
