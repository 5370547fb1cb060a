"""EARL in the loops: fine-tuning on triples, saved runs, new entities, and auxiliary ranking."""

from __future__ import annotations

import pytest
import torch

import gtl
from gtl.data import Dataset
from gtl.data.new_triples import with_triples
from gtl.data.triples import Vocabulary
from gtl.graph import Graph

EARL = {"name": "earl", "width": 8, "reserved": 6, "nearest": 3}
HOW = {"links": {"negatives": 4}, "batch_size": 16, "lr": 0.02}


def circle(entities: int = 23) -> Dataset:
    """Entities in a circle: ``next`` and ``before`` are each other's inverse."""
    numbers = torch.arange(entities)
    after = (numbers + 1) % entities
    zero, one = torch.zeros_like(numbers), torch.ones_like(numbers)
    rows = torch.cat(
        [torch.stack([numbers, zero, after], 1), torch.stack([after, one, numbers], 1)]
    )
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]
    known = 3 * len(rows) // 4
    parts = torch.arange(len(rows)).tensor_split([known, known + 5])
    head, relation, tail = rows[:known].t().contiguous()
    names = Vocabulary(tuple(f"entity {i:02}" for i in range(entities)), ("next", "before"))
    return Dataset(
        "circle",
        graph=Graph(head, tail, entities, edge_type=relation),
        triples=rows,
        vocabulary=names,
        split=dict(zip(("train", "valid", "test"), parts)),
        level="triple",
        metric="mrr",
    )


@pytest.fixture(scope="module")
def data() -> Dataset:
    return circle()


def test_a_saved_run_ranks_as_the_model_did(data, tmp_path):
    model = gtl.finetune(EARL, data, **HOW, epochs=3, out=tmp_path / "run")
    assert model.encoder.embed.reserved.drawn == 6
    assert gtl.evaluate(tmp_path / "run", data) == gtl.evaluate(model, data)


def test_the_reserved_entities_are_those_of_the_whole_training_graph(data):
    model = gtl.finetune(EARL, data, **HOW, epochs=1)
    assert model.encoder.embed.reserved.is_known(data.graph)


def test_two_runs_of_one_seed_are_equal_and_so_is_a_resumed_one(data, tmp_path):
    one = gtl.finetune(EARL, data, **HOW, epochs=4, seed=3)
    gtl.finetune(EARL, data, **HOW, epochs=2, seed=3, out=tmp_path / "run")
    two = gtl.finetune(EARL, data, **HOW, epochs=4, seed=3, out=tmp_path / "run", resume=True)
    for line, other in zip(one.history, two.history):
        assert line["losses"] == other["losses"]
    for name, value in one.encoder.state_dict().items():
        assert torch.equal(value, two.encoder.state_dict()[name]), name


def test_new_entities_are_ranked_from_their_edges_alone(data):
    model = gtl.finetune(EARL, data, **HOW, epochs=1)
    facts = [("newcomer", "next", "entity 03"), ("entity 07", "before", "newcomer")]
    larger = with_triples(data, facts)
    assert model.encoder.embed.reserved.is_known(larger.graph)
    nodes, _ = model.eval().vectors(larger.graph)
    assert nodes.shape == (24, 8)
    assert nodes.isfinite().all()
    with_edge, without = (
        nodes[23],
        model.vectors(Graph(data.graph.src, data.graph.dst, 24, edge_type=data.graph.edge_type))[0][
            23
        ],
    )
    assert not torch.allclose(with_edge, without)


def test_a_pretrained_encoder_keeps_its_reserved_entities_on_another_graph(data):
    run = gtl.pretrain(EARL, data, [{"name": "link_ranking", "negatives": 4}], epochs=1)
    kept = run.encoder.embed.reserved.profiles.clone()
    model = gtl.finetune(run, circle(31), **HOW, epochs=1)
    assert torch.equal(model.encoder.embed.reserved.profiles, kept)


@pytest.mark.parametrize("weighting", ["equal", "aux_ts"])
@pytest.mark.parametrize("encoder", ["rgcn", "hgt", "earl"])
def test_ranking_of_edges_helps_out_beside_labels_of_a_typed_graph(encoder, weighting):
    rng = torch.Generator().manual_seed(0)
    src, dst = torch.randint(30, (2, 120), generator=rng)
    graph = Graph(
        src,
        dst,
        30,
        x=torch.randn(30, 5, generator=rng),
        node_type=torch.arange(30) % 2,
        edge_type=torch.randint(3, (120,), generator=rng),
    )
    parts = torch.arange(0, 30, 2).tensor_split([7, 11])
    labels = torch.full((30,), -1)
    labels[::2] = torch.arange(15) % 2
    data = Dataset(
        "typed",
        graph=graph,
        labels=labels,
        split=dict(zip(("train", "valid", "test"), parts)),
        level="node",
        metric="acc",
    )
    model = gtl.finetune(
        {"name": encoder, "width": 8},
        data,
        auxiliary=[{"name": "link_ranking", "negatives": 4, "drawn": 20}],
        weighting=weighting,
        epochs=12,
        lr=0.02,
    )
    losses = [line["losses"]["link_ranking"] for line in model.history]
    assert sum(losses[-3:]) < sum(losses[:3])
