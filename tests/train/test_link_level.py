"""Link level: the whole job on a graph of two communities, what is shared, and bad input."""

from __future__ import annotations

import json

import pytest
import torch

import gtl
from gtl.data import Dataset, link_dataset
from gtl.errors import ConfigError, DataError
from gtl.graph import Graph
from gtl.train import loop

GCN = {"name": "gcn", "width": 16, "depth": 2, "norm": None}
QUICK = {"epochs": 2, "batch_size": 200}


def two_communities(numbers: bool = True) -> Graph:
    """Sixty nodes in two groups: most pairs within a group are linked, few across."""
    rng = torch.Generator().manual_seed(0)
    group = torch.arange(60) % 2
    chance = torch.where(group[:, None] == group[None, :], 0.8, 0.02)
    upper = torch.triu(torch.rand(60, 60, generator=rng) < chance, diagonal=1).nonzero()
    src, dst = torch.cat([upper, upper.flip(1)]).unbind(1)
    x = torch.arange(60).unsqueeze(1) if numbers else None
    return Graph(src.contiguous(), dst.contiguous(), 60, x)


@pytest.fixture
def links():
    return link_dataset(two_communities(), metric="hits@50", spec="test:links")


@pytest.mark.parametrize(
    "options",
    [
        {"weighting": "equal"},
        {"auxiliary": ["edge_prediction", "infomax", "attribute_masking"], "weighting": "aux_ts"},
        {"head": {"name": "mlp", "depth": 3}, "links": {"corrupt": "one", "features": "mean"}},
        {"links": {"negatives": 2, "remove": False}, "meta_share": 0.1, "auxiliary": ["infomax"]},
    ],
    ids=["alone", "aux_ts", "mlp", "left in"],
)
def test_links_of_two_communities_are_found(options):
    data = link_dataset(two_communities())
    model = gtl.finetune(GCN, data, epochs=10, batch_size=200, lr=0.03, **options)
    assert model.results["test"] > 0.8
    assert gtl.evaluate(model, data)["rocauc"] == model.results["test"]
    probabilities = gtl.predict(model, data, "test")
    labels = data.labels[data.split["test"]]
    assert probabilities[labels == 1].mean() > probabilities[labels == 0].mean()
    assert gtl.embed(model, data, "test").shape == (len(labels), 16)


def test_a_question_may_be_asked_with_a_graph(links):
    model = gtl.finetune(GCN, links, **QUICK)
    pairs = links.pairs[links.split["test"]]
    answers = gtl.predict(model, links.graph.replace(pairs=pairs))
    assert torch.equal(answers, gtl.predict(model, links, "test"))
    with pytest.raises(DataError, match=r"predicts for pairs of nodes.*set `pairs`"):
        gtl.predict(model, links.graph)


def test_many_pairs_are_answered_piece_by_piece_from_one_encoding(links, monkeypatch):
    model = gtl.finetune(GCN, links, **QUICK)
    whole = gtl.predict(model, links)
    passes = []
    model.encoder.register_forward_hook(lambda *_: passes.append(1))
    monkeypatch.setattr("gtl.data.items._PAIRS", 7)
    torch.testing.assert_close(gtl.predict(model, links), whole)
    assert len(passes) == 1


def test_auxiliary_tasks_share_the_pass_over_the_graph_without_the_links(links, monkeypatch):
    passes = []

    def count(job, items):
        handle = job.model.encoder.register_forward_hook(lambda *_: passes.append(1))
        step, weights = train_step(job, items)
        handle.remove()
        assert len({id(view.graph) for view in step.views.values()}) == 1
        assert step.views["supervised"].graph.num_edges == links.graph.num_edges - 2 * len(items)
        return step, weights

    train_step = loop.train_step
    monkeypatch.setattr(loop, "train_step", count)
    auxiliary = ["partition", {"name": "pair_distance"}]
    options = {"weighting": "equal", "guard": False, "epochs": 1, "batch_size": 300}
    gtl.finetune(GCN, links, auxiliary=auxiliary, **options)
    assert len(passes) == 2  # 569 links in batches of 300


@pytest.mark.parametrize("weighting", ["equal", "aux_ts"])
def test_more_epochs_later_equal_all_epochs_at_once(links, tmp_path, weighting):
    settings = {"auxiliary": ["infomax"], "weighting": weighting, "batch_size": 200}
    encoder = {**GCN, "dropout": 0.2}
    whole = gtl.finetune(encoder, links, epochs=2, out=tmp_path / "whole", **settings)
    gtl.finetune(encoder, links, epochs=1, out=tmp_path / "parts", **settings)
    parts = gtl.finetune(encoder, links, epochs=2, out=tmp_path / "parts", resume=True, **settings)
    ours, theirs = whole.state_dict(), parts.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_saved_model_answers_as_the_one_in_memory(links, tmp_path):
    choices = {"features": "l1", "negatives": 2}
    model = gtl.finetune(GCN, links, links=choices, head="mlp", out=tmp_path / "run", **QUICK)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["links"] == {**choices, "corrupt": "both", "remove": True}
    again = gtl.Model.load(tmp_path / "run")
    assert torch.equal(gtl.predict(model, links), gtl.predict(again, links))
    assert gtl.evaluate(again, links)["hits@50"] == model.results["test"]


def test_pretraining_on_a_link_level_set_uses_its_graph(links):
    run = gtl.pretrain(GCN, links, ["edge_prediction"], epochs=2)
    model = gtl.finetune(run, links, auxiliary=["edge_prediction"], **QUICK)
    assert model.results["metric"] == "hits@50"


def test_negatives_of_the_training_split_are_enough(links):
    split = {**links.split, "train": torch.cat([links.split["train"], links.split["valid"]])}
    del split["valid"]
    data = Dataset(
        "test:given", graph=links.graph, labels=links.labels, split=split, level="edge",
        pairs=links.pairs,
    )  # fmt: skip
    model = gtl.finetune(GCN, data, **QUICK)
    assert model.target.links.negatives == 0
    assert gtl.finetune(GCN, data, links={"negatives": 2}, **QUICK).target.links.negatives == 2


def test_impossible_choices_are_refused_at_the_door(links, communities, tmp_path):
    for options, words in (
        ({"batch_size": 0}, "leaves no edge in the graph"),
        ({"links": {"negatives": 0}, "batch_size": 99}, "links only"),
        ({"links": {"negative": 2}, "batch_size": 99}, "no option 'negative'"),
    ):
        with pytest.raises(ConfigError, match=words):
            gtl.finetune(GCN, links, out=tmp_path / "run", epochs=1, **options)
    with pytest.raises(ConfigError, match="`links` are for link-level data"):
        gtl.finetune(GCN, communities, links={"negatives": 2}, epochs=1)
    assert not (tmp_path / "run").exists()


def test_vectors_of_nodes_serve_their_own_graph_alone(links):
    model = gtl.finetune(GCN, links, **QUICK)
    smaller = Graph(torch.tensor([0]), torch.tensor([1]), 30, torch.arange(30).unsqueeze(1))
    with pytest.raises(DataError, match=r"numbers of 60 nodes.*30 nodes"):
        gtl.predict(model, smaller.replace(pairs=torch.tensor([[0, 1]])))


def test_models_of_other_levels_refuse_pairs(communities):
    model = gtl.finetune({**GCN, "depth": 1}, communities, epochs=1)
    with pytest.raises(DataError, match="was not trained on such"):
        gtl.predict(model, communities.graph.replace(pairs=torch.tensor([[0, 1]])))
