"""EARL against golden vectors, the published parameter formula and small graphs by hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from gtl.encoders.earl import EARL
from gtl.encoders.nearest_profiles import KnownNeighbors, nearest_profiles
from gtl.encoders.relation_profile import profiles_of
from gtl.errors import ConfigError, DataError
from gtl.graph import Columns, Graph, Schema

EXACT = {"rtol": 1e-10, "atol": 1e-11}
SMALL = {"width": 6, "depth": 2, "reserved": 5, "nearest": 3}


def triples(entities: int, relations: int, count: int, seed: int = 0) -> Graph:
    rng = torch.Generator().manual_seed(seed)
    ends = torch.randint(entities, (2, count), generator=rng)
    kinds = torch.randint(relations, (count,), generator=rng)
    kinds[:relations] = torch.arange(relations)
    return Graph(*ends, entities, edge_type=kinds)


def small(graph: Graph, **options) -> EARL:
    torch.manual_seed(0)
    encoder = EARL(Schema.of(graph), **{**SMALL, **options}).double()
    encoder.observe(graph)
    return encoder.eval()


# -- golden vectors -------------------------------------------------------------------------------


@pytest.fixture
def values(golden):
    with np.load(golden / "earl.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


NAMES = {
    "embed.connected.head": "con_rel.rel_head_emb",
    "embed.connected.tail": "con_rel.rel_tail_emb",
    "embed.connected.mlp.0": "con_rel.feat_mlp.linear1",
    "embed.connected.mlp.2": "con_rel.feat_mlp.linear2",
    "embed.project.0": "proj.linear1",
    "embed.project.2": "proj.linear2",
    "embed.reserved.vectors": "res_ent_emb",
    "relation_vectors.vectors": "mul_hop.rel_feat",
}
for _layer in range(2):
    _published = f"mul_hop.gnn.layers.{_layer}"
    NAMES[f"relation_vectors.maps.{_layer}"] = f"{_published}.W_R"
    for _ours, _theirs in {
        "out_relation": "W_O_r",
        "out_node": "W_O_e",
        "in_relation": "W_I_r",
        "in_node": "W_I_e",
        "own": "W_S",
    }.items():
        NAMES[f"blocks.{_layer}.{_ours}"] = f"{_published}.{_theirs}"


def published_name(name: str) -> str:
    stem, _, last = name.rpartition(".")
    return f"{NAMES[stem]}.{last}" if stem in NAMES else NAMES[name]


@pytest.fixture
def published(values):
    """The encoder with the golden parameters and reserved entities, and its graph."""
    head, relation, tail = values["triples"].unbind(1)
    graph = Graph(head, tail, int(values["num_entities"]), edge_type=relation)
    dim, reserved = int(values["dim"]), values["reserved"]
    encoder = EARL(
        Schema.of(graph), width=2 * dim, reserved=len(reserved), nearest=int(values["top_k"])
    ).double()
    encoder.load_state_dict(
        {name: values[f"par.{published_name(name)}"] for name, _ in encoder.named_parameters()},
        strict=False,
    )
    part = encoder.embed.reserved
    part.draw(graph, whole=True)
    profiles = profiles_of(graph, encoder.schema.edge_types)
    part.nodes.copy_(reserved)
    part.profiles.copy_(profiles.counts[profiles.row[reserved]])
    part.stamp()
    return encoder, graph


def test_profiles_agree_with_the_golden_ones(values, published):
    _, graph = published
    found = profiles_of(graph, int(values["num_relations"]))
    assert torch.equal(found.counts[found.row].double(), values["profile"])


def test_neighbors_agree_with_the_golden_ones(values):
    profile, k = values["profile"].long(), int(values["top_k"])
    index, similarity = nearest_profiles(profile, profile[values["reserved"]], k)
    assert torch.equal(index, values["topk_index"])
    torch.testing.assert_close(similarity, values["topk_similarity"], **EXACT)


def test_each_stage_agrees_with_the_golden_vectors(values, published):
    encoder, graph = published
    part = encoder.embed
    profiles = profiles_of(graph, encoder.schema.edge_types)
    for name, found in {
        "con_rel": part.connected(profiles)[profiles.row],
        "kn_res": part.reserved(graph)[profiles.row],
        "gnn_input": part(graph),
        "gnn_layer1_entity": encoder.layers(graph)[1],
        "gnn_layer1_relation": encoder.relation_vectors(1),
        "entity_emb": encoder(graph),
        "relation_emb": encoder.relations(graph),
    }.items():
        torch.testing.assert_close(found, values[name], **EXACT, msg=lambda m, n=name: f"{n}: {m}")


def rotate(values, head, relation, tail):
    dim, gamma = int(values["dim"]), float(values["gamma"])
    turn = torch.polar(torch.ones_like(relation), relation * torch.pi / ((gamma + 2) / dim))
    moved = torch.complex(*head.chunk(2, -1)) * turn - torch.complex(*tail.chunk(2, -1))
    return gamma - moved.abs().sum(-1)


def test_loss_and_gradients_agree_with_the_golden_ones(values, published):
    encoder, graph = published
    nodes, relations = encoder(graph), encoder.relations(graph)
    head, relation, tail = values["triples"][values["batch_index"]].unbind(1)
    h, r, t = nodes[head], relations[relation], nodes[tail]
    positive = rotate(values, h, r, t)
    lifted = h.unsqueeze(1), r.unsqueeze(1), t.unsqueeze(1)
    wrong_tail = rotate(values, lifted[0], lifted[1], nodes[values["neg_tail"]])
    wrong_head = rotate(values, nodes[values["neg_head"]], lifted[1], lifted[2])
    negative = torch.cat([wrong_tail, wrong_head])
    share = torch.softmax(negative.detach() * float(values["adv_temp"]), 1)
    log = torch.nn.functional.logsigmoid
    loss = -(log(positive).mean() + (share * log(-negative)).sum(1).mean()) / 2
    torch.testing.assert_close(loss, values["loss"], **EXACT)
    loss.backward()
    for name, parameter in encoder.named_parameters():
        expected = values[f"grad.{published_name(name)}"]
        torch.testing.assert_close(parameter.grad, expected, **EXACT)


def test_the_number_of_parameters_is_the_published_one(values, published):
    encoder, _ = published
    assert sum(p.numel() for p in encoder.parameters()) == int(values["num_parameters"])


@pytest.mark.parametrize(
    ("relations", "dim", "layers", "reserved"), [(237, 150, 2, 1454), (5, 7, 3, 11)]
)
def test_the_number_of_parameters_follows_the_formula(relations, dim, layers, reserved):
    e, r = 2 * dim, dim
    encoder = EARL(Schema(edge_types=relations), width=e, depth=layers, reserved=reserved)
    layer = 2 * (r * e + e) + 3 * (e * e + e) + r * r + r
    expected = 2 * relations * e + 2 * (e * e + e) + relations * r + layers * layer
    expected += 3 * e * e + 2 * e + reserved * e
    assert sum(p.numel() for p in encoder.parameters()) == expected
    if dim == 150:
        assert round(expected / 1e6, 2) == 1.83  # as reported for FB15k-237


# -- profiles and neighbors -----------------------------------------------------------------------


def test_profiles_are_those_of_a_loop_over_triples():
    graph = triples(17, 3, 40)
    found = profiles_of(graph, 3)
    expected = torch.zeros(17, 6, dtype=torch.int64)
    for head, tail, relation in zip(*(t.tolist() for t in (graph.src, graph.dst, graph.edge_type))):
        expected[head, relation] += 1
        expected[tail, 3 + relation] += 1
    assert torch.equal(found.counts[found.row], expected)
    assert len(found.counts) == len(expected.unique(dim=0)) == len(found.keys)


def test_neighbors_in_chunks_are_those_of_the_whole_matrix(monkeypatch):
    rng = torch.Generator().manual_seed(3)
    counts = torch.randint(4, (23, 6), generator=rng)
    among = counts[::2]
    whole = nearest_profiles(counts, among, 5)
    monkeypatch.setattr("gtl.encoders.nearest_profiles._CELLS", 30)
    for one, other in zip(nearest_profiles(counts, among, 5), whole):
        assert torch.equal(one, other)
    lengths = counts.double().norm(dim=1)
    cosine = (counts.double() @ among.double().t()) / (lengths.unsqueeze(1) * lengths[::2] + 1e-30)
    torch.testing.assert_close(whole[1], cosine.topk(5).values, rtol=1e-5, atol=1e-5)


def test_the_earlier_of_equal_neighbors_is_nearer():
    among = torch.tensor([[0, 1], [2, 1], [2, 1], [2, 1]])
    assert nearest_profiles(torch.tensor([[2, 1]]), among, 2)[0].tolist() == [[1, 2]]


def test_remembered_neighbors_are_the_same(monkeypatch):
    monkeypatch.setattr("gtl.encoders.nearest_profiles._MOST_KNOWN", 12)
    rng = torch.Generator().manual_seed(1)
    counts, keys = torch.randint(5, (20, 6), generator=rng), torch.randperm(20, generator=rng)
    known = KnownNeighbors(counts[:7], 3)
    for chosen in (range(0, 4), range(2, 9), range(8, 20), range(0, 20, 3)):
        rows = torch.tensor(chosen)
        came = known.of(counts[rows], keys[rows])
        for one, other in zip(came, nearest_profiles(counts[rows], counts[:7], 3)):
            assert torch.equal(one, other)


# -- entities -------------------------------------------------------------------------------------


def test_entities_without_edges_have_one_vector_and_the_same_at_each_pass():
    graph = triples(9, 2, 12)
    lonely = Graph(graph.src, graph.dst, 12, edge_type=graph.edge_type)
    encoder = small(graph)
    nodes = encoder(lonely)
    torch.testing.assert_close(nodes[9:], nodes[9:10].expand(3, -1))
    torch.manual_seed(5)
    assert torch.equal(encoder(lonely), nodes)
    assert nodes.isfinite().all()


def test_reserved_entities_have_their_vector_in_the_graph_they_are_from():
    graph = triples(13, 3, 40)
    encoder = small(graph)
    part = encoder.embed.reserved
    nodes = encoder.embed(graph)
    torch.testing.assert_close(nodes[part.nodes], part.vectors)


def test_a_graph_of_many_times_the_edges_is_not_taken_for_that_of_training():
    def drawn(n, m, seed):
        rng = torch.Generator().manual_seed(seed)
        ends = torch.randint(n, (2, m), generator=rng)
        kinds = torch.where(ends[0] % 2 == 0, 0, 1)  # even nodes are heads of one relation alone
        return Graph(*ends, n, edge_type=kinds)

    graph, larger = drawn(101, 400, 0), drawn(211, 20000, 1)
    part = EARL(Schema(edge_types=2), width=4, reserved=50)
    part.observe(graph)
    odd = larger.replace(edge_type=1 - larger.edge_type)
    assert not part.embed.reserved.is_known(odd)
    both = larger.replace(
        src=torch.cat([graph.src, larger.src]),
        dst=torch.cat([graph.dst, larger.dst]),
        edge_type=torch.cat([graph.edge_type, larger.edge_type]),
    )
    assert part.embed.reserved.is_known(both)


def test_the_training_graph_is_known_with_edges_more_or_less_and_no_other():
    graph = triples(13, 3, 40)
    part = small(graph).embed.reserved
    less = graph.drop_edges(torch.arange(40) % 3 == 0)
    more = Graph(
        torch.cat([graph.src, torch.tensor([13, 14])]),
        torch.cat([graph.dst, torch.tensor([0, 13])]),
        15,
        edge_type=torch.cat([graph.edge_type, torch.tensor([0, 1])]),
    )
    order = torch.randperm(13, generator=torch.Generator().manual_seed(0))
    renumbered = Graph(order[graph.src], order[graph.dst], 13, edge_type=graph.edge_type)
    others = [triples(13, 3, 60, seed=seed) for seed in range(5)]
    both = Graph.batch([graph, graph])
    assert [part.is_known(g) for g in (graph, less, more)] == [True] * 3
    assert not any(part.is_known(g) for g in (renumbered, *others, both))
    assert not part.is_known(less.replace(origin=torch.arange(13)))


def test_entities_of_another_graph_are_encoded_from_their_edges_alone():
    graph, other = triples(13, 3, 40), triples(29, 3, 60, seed=7)
    encoder = small(graph)
    nodes = encoder(other)
    assert nodes.shape == (29, 6)
    order = torch.randperm(29, generator=torch.Generator().manual_seed(0))
    renumbered = Graph(order[other.src], order[other.dst], 29, edge_type=other.edge_type)
    torch.testing.assert_close(encoder(renumbered)[order], nodes)


def test_a_saved_encoder_finds_neighbors_among_its_old_entities():
    graph, other = triples(13, 3, 40), triples(29, 3, 60, seed=7)
    encoder = small(graph)
    torch.manual_seed(99)
    loaded = EARL(Schema.of(graph), **SMALL).double().eval()
    before = loaded(other)
    loaded.load_state_dict(copy.deepcopy(encoder.state_dict()))
    assert torch.equal(loaded(other), encoder(other))
    assert torch.equal(loaded(graph), encoder(graph))
    assert not torch.equal(loaded(other), before)
    loaded.observe(other)  # it keeps the entities that it has
    assert torch.equal(loaded(other), encoder(other))


def test_copies_reserve_the_same_entities_and_other_seeds_others():
    graph = triples(50, 3, 200)
    torch.manual_seed(0)
    one = EARL(Schema.of(graph), **SMALL)
    twin, other = copy.deepcopy(one), EARL(Schema.of(graph), **SMALL)
    for encoder in (one, twin, other):
        encoder.observe(graph)
    drawn = [encoder.embed.reserved.nodes.tolist() for encoder in (one, twin, other)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 5


def test_a_small_graph_has_fewer_reserved_entities_than_wanted():
    graph = triples(3, 2, 4)
    encoder = small(graph, reserved=11)
    assert encoder.embed.reserved.drawn == len(set(graph.src.tolist() + graph.dst.tolist()))
    assert encoder(graph).isfinite().all()


def test_leaving_edges_out_gives_what_the_graph_without_them_gives():
    graph = triples(40, 3, 120)
    encoder = small(graph)
    encoder(graph)
    less = graph.drop_edges(torch.arange(120) % 7 == 0)
    fresh = Graph(less.src, less.dst, 40, edge_type=less.edge_type)
    assert torch.equal(encoder(less), copy.deepcopy(encoder)(fresh))


def test_a_graph_with_unknown_relations_is_refused():
    encoder = small(triples(9, 2, 12))
    with pytest.raises(DataError, match=r"`edge_type` of edge .* expected 0..1"):
        encoder(triples(9, 3, 12))


def test_graphs_without_types_have_one_relation_and_features_are_added():
    rng = torch.Generator().manual_seed(0)
    src, dst = torch.randint(7, (2, 20), generator=rng)
    graph = Graph(src, dst, 7, x=torch.randn(7, 4, generator=rng).double())
    encoder = small(graph)
    assert encoder.relations(graph).shape == (1, 3)
    moved = graph.replace(x=graph.x + 1)
    assert not torch.allclose(encoder(graph), encoder(moved))


def test_the_number_of_a_node_is_no_feature():
    graph = triples(9, 2, 20)
    numbered = graph.replace(x=torch.arange(9).unsqueeze(1))
    schema = Schema(Columns((9,), identity=True), edge_types=2)
    torch.manual_seed(0)
    encoder = EARL(schema, **SMALL)
    assert encoder.embed.features is None
    assert torch.equal(encoder(numbered), encoder(graph))


@pytest.mark.parametrize("options", [{"connected": False}, {"nearest": 0}, {"depth": 0}])
def test_parts_can_be_left_out(options):
    graph = triples(13, 3, 40)
    whole, part = small(graph), small(graph, **options)
    assert part(graph).shape == (13, 6)
    sizes = [sum(p.numel() for p in encoder.parameters()) for encoder in (whole, part)]
    assert sizes[1] < sizes[0]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"nearest": 0, "connected": False}, "nearest"),
        ({"reserved": 0}, "reserved"),
        ({"temperature": 0.0}, "temperature"),
        ({"depth": -1}, "depth"),
        ({"dropout": 1.0}, "dropout"),
        ({"relation_width": 0}, "relation_width"),
    ],
)
def test_options_out_of_range_are_refused(options, name):
    with pytest.raises(ConfigError, match=f"`{name}` is"):
        EARL(Schema(edge_types=2), **options)


def test_every_parameter_but_the_last_map_of_relations_gets_a_gradient_from_entities():
    graph = triples(13, 3, 40)
    encoder = small(graph)
    encoder(graph).square().sum().backward()
    missed = {name for name, p in encoder.named_parameters() if p.grad is None}
    assert missed == {"relation_vectors.maps.1.weight", "relation_vectors.maps.1.bias"}
    encoder.relations(graph).square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
