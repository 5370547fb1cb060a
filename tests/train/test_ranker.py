"""Knowledge graphs go through every function and verb: train, rank, complete, save, resume."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch import nn

import gtl
from gtl.cli import main
from gtl.data.readers.kg import load_kg
from gtl.errors import CheckpointError, ConfigError, DataError
from gtl.graph import ops
from gtl.roles import Encoder
from gtl.train.ranker import Ranker

TABLE = {"name": "embedding", "width": 16}
FAST = {"links": {"negatives": 8}, "lr": 0.03, "batch_size": 8}


class Degrees(Encoder):
    """Vectors from the numbers of edges of each relation: entities need not be known."""

    def __init__(self, schema, width=8):
        super().__init__()
        self.schema, self.width = schema, width
        self.embed = nn.Linear(2 * schema.edge_types, width)
        self.kinds = nn.Parameter(torch.randn(schema.edge_types, width // 2))
        self.blocks = nn.ModuleList()

    def relations(self, graph):
        return self.kinds

    def forward(self, graph):
        codes = nn.functional.one_hot(graph.edge_type, self.schema.edge_types).float()
        both = [ops.sum_edges(g, codes) for g in (graph, graph.reverse())]
        return self.embed(torch.cat(both, 1).to(self.embed.weight))


def circle(n=12):
    """Each entity is followed by the next, and is two steps before the one after that."""
    names = [f"e{i:02d}" for i in range(n)]
    rows = [(names[i], "next", names[(i + 1) % n]) for i in range(n)]
    rows += [(names[i], "after next", names[(i + 2) % n]) for i in range(n)]
    return rows


@pytest.fixture
def folder(tmp_path):
    rows = circle()
    parts = {"train": rows[:18] + rows[21:], "valid": rows[18:20], "test": rows[20:21]}
    path = tmp_path / "circle"
    path.mkdir()
    for part, triples in parts.items():
        (path / f"{part}.txt").write_text("".join("\t".join(row) + "\n" for row in triples))
    return path


@pytest.fixture
def data(folder):
    return gtl.load(f"kg:{folder}")


def test_a_small_model_learns_the_training_triples_by_heart(data):
    blind = replace(data, split={"train": data.split["train"]})  # no validation: the last epoch
    model = gtl.finetune(TABLE, blind, epochs=40, **FAST)
    assert isinstance(model, Ranker) and model.results["metric"] == "mrr"
    assert model.results["valid"] is None and len(model.history) == 40
    assert gtl.evaluate(model, data, "train", allow_changed=True)["mrr"] > 0.9


def test_an_evaluation_has_metrics_of_both_sides(data):
    model = gtl.finetune(TABLE, data, epochs=2, **FAST)
    found = gtl.evaluate(model, data, "valid", metrics=["hits@5"])
    assert list(found) == ["mrr", "hits@1", "hits@3", "hits@10", "hits@5", "items", "sides"]
    head, tail = found["sides"]["head"], found["sides"]["tail"]
    assert found["mrr"] == pytest.approx((head["mrr"] + tail["mrr"]) / 2) and found["items"] == 2
    assert found["mrr"] == model.results["valid"]


def test_probabilities_are_those_of_the_scores(data):
    model = gtl.finetune(TABLE, data, epochs=1, **FAST)
    raw = gtl.predict(model, data, "test", raw=True)
    assert raw.shape == (1, 1) and torch.equal(raw.sigmoid(), gtl.predict(model, data, "test"))
    batch = data.batch(data.split["test"])
    assert torch.allclose(model(batch), raw.squeeze(1))
    with pytest.raises(DataError, match="names no triples"):
        model(data.graph)


@pytest.mark.parametrize(
    "score", ["transe", "distmult", "complex", {"name": "rotate", "margin": 6}]
)
def test_every_score_trains_and_comes_back_from_its_folder(data, tmp_path, score):
    model = gtl.finetune(TABLE, data, head=score, epochs=2, out=tmp_path / "run", **FAST)
    back = gtl.load_run(tmp_path / "run")
    assert isinstance(back, Ranker) and back.results == model.results
    assert gtl.evaluate(back, data) == gtl.evaluate(model, data)
    model.save(tmp_path / "copy")
    assert gtl.evaluate(tmp_path / "copy", data) == gtl.evaluate(model, data)


def test_a_run_continues_bit_for_bit(data, tmp_path):
    whole = gtl.finetune(TABLE, data, epochs=4, **FAST)
    gtl.finetune(TABLE, data, epochs=2, out=tmp_path / "run", **FAST)
    resumed = gtl.finetune(TABLE, data, epochs=4, out=tmp_path / "run", resume=True, **FAST)
    for one, two in zip(whole.parameters(), resumed.parameters()):
        assert torch.equal(one, two)
    assert [line["losses"] for line in whole.history] == [x["losses"] for x in resumed.history]


def test_early_stopping_follows_the_validation_rank(data):
    model = gtl.finetune(TABLE, data, epochs=60, patience=2, **FAST)
    best = model.results["epoch"]
    assert len(model.history) <= best + 3
    assert model.history[best]["valid"] == max(line["valid"] for line in model.history)


def test_encoders_with_messages_and_auxiliary_tasks_train_too(data):
    model = gtl.finetune(
        {"name": "rgcn", "width": 8, "depth": 1},
        data,
        auxiliary=["whitening"],
        weighting="equal",
        head="distmult",
        epochs=2,
        **FAST,
    )
    assert set(model.history[0]["losses"]) == {"supervised", "whitening"}


def test_pre_training_uses_training_triples_alone_and_starts_a_fine_tuning(data, tmp_path):
    for part in ("valid", "test"):
        changed = data.triples.clone()
        changed[data.split[part], 1] = 1 - changed[data.split[part], 1]
        other = replace(data, triples=changed)
        runs = [gtl.pretrain(TABLE, d, ["link_ranking"], epochs=2) for d in (data, other)]
        assert runs[0].history[-1]["losses"] == runs[1].history[-1]["losses"]
    run = gtl.pretrain(TABLE, data, ["link_ranking"], epochs=2, out=tmp_path / "pre")
    assert run.history[-1]["losses"]["link_ranking"] > 0
    assert gtl.finetune(tmp_path / "pre", data, epochs=1, **FAST).results["valid"] > 0


def test_link_ranking_helps_nodes_of_a_typed_graph_as_an_auxiliary_task(data):
    parts = {"train": range(6), "valid": range(6, 9), "test": range(9, 12)}
    graph = data.graph.replace(x=torch.randn(12, 3))
    nodes = gtl.Dataset.from_graph(graph, torch.arange(12) % 2, parts)
    model = gtl.finetune(
        {"name": "rgcn", "width": 8},
        nodes,
        auxiliary=[{"name": "link_ranking", "negatives": 4, "drawn": 5}],
        weighting="equal",
        guard=False,
        epochs=2,
    )
    assert model.history[-1]["losses"]["link_ranking"] > 0


def test_answers_come_with_names_best_first_and_without_what_is_known(data):
    model = gtl.finetune(TABLE, data, epochs=5, **FAST)
    table = gtl.complete(model, data, [("e00", "next", "?"), (None, "next", "e01")], top=3)
    assert list(table.columns) == ["head", "relation", "tail", "score", "rank", "known"]
    assert table["rank"].tolist() == [1, 2, 3] * 2 and not table["known"].any()
    assert table["head"][:3].eq("e00").all() and table["tail"][3:].eq("e01").all()
    assert "e01" not in table["tail"][:3].tolist() and table["score"][:3].is_monotonic_decreasing
    every = gtl.complete(model, data, ("e00", "next", "?"), top=99, known=True)
    assert len(every) == 12 and every.loc[every["known"], "tail"].tolist() == ["e01"]
    batch = replace(data, triples=torch.tensor([[0, 1, 1]]), split={"all": torch.arange(1)})
    assert every.loc[every["tail"] == "e01", "score"].item() == pytest.approx(
        gtl.predict(model, batch, "all", raw=True).item()
    )


def test_queries_that_cannot_be_answered_are_refused(data):
    model = gtl.finetune(TABLE, data, epochs=1, **FAST)
    for query in (("e00", "next", "e01"), ("?", "next", "?"), ("e00", "?", "e01"), ("e00", "next")):
        with pytest.raises(DataError, match="has not one missing entity"):
            gtl.complete(model, data, [query])
    with pytest.raises(DataError, match="no entity 'e99'"):
        gtl.complete(model, data, ("e99", "next", "?"))


def test_unseen_entities_are_ranked_from_their_new_triples_alone(data, tmp_path):
    model = gtl.finetune(Degrees(data.schema), data, epochs=3, **FAST)
    assert model.target.relations == "encoder" and not list(model.target.parameters())
    facts = [("zoe", "next", "e00"), ("e11", "after next", "zoe")]
    table = gtl.complete(model, data, ("zoe", "after next", "?"), facts=facts, top=2)
    assert len(table) == 2 and table["head"].eq("zoe").all()
    answers = gtl.complete(model, data, ("e00", "next", "?"), facts=facts, top=99)
    assert "zoe" in answers["tail"].tolist()
    # Another folder: other entities, fewer relations in another order.
    other = tmp_path / "other"
    other.mkdir()
    (other / "train.txt").write_text("x\tnext\ty\ny\tnext\tz\n")
    (other / "test.txt").write_text("x\tnext\tz\n")
    small = load_kg(str(other), None)
    assert small.triples[:, 1].tolist() == [0, 0, 0] and model.aligned(small).triples[0, 1] == 1
    assert 0 < gtl.evaluate(model, small)["mrr"] <= 1


def test_what_a_model_cannot_rank_is_refused(data, tmp_path):
    model = gtl.finetune(TABLE, data, epochs=1, **FAST)
    with pytest.raises(DataError, match="learned a vector each"):
        gtl.complete(model, data, ("zoe", "next", "?"), facts=[("zoe", "next", "e00")])
    renamed = replace(data.vocabulary, relations=("after next", "follows"))
    with pytest.raises(DataError, match="was not trained on: 'follows'"):
        gtl.evaluate(model, replace(data, vocabulary=renamed), allow_changed=True)
    with pytest.raises(DataError, match="the model ranks triples"):
        gtl.evaluate(model, gtl.load("demo:shapes"))
    with pytest.raises(ConfigError, match="no item vectors"):
        gtl.embed(model, data)
    with pytest.raises(CheckpointError, match="no run on a knowledge graph"):
        gtl.finetune("gin", gtl.load("demo:shapes"), epochs=1, out=tmp_path / "x")
        Ranker.load(tmp_path / "x")


def test_options_for_labels_are_refused(data):
    for options in (
        {"readout": "max"},
        {"class_weights": "balanced"},
        {"members": 2},
        {"head_start": "fitted"},
        {"links": {"features": "l1"}},
        {"fan_out": [2]},
    ):
        with pytest.raises(ConfigError):
            gtl.finetune(TABLE, data, epochs=1, **options)
    with pytest.raises(ConfigError, match="leaves no edge in the graph"):
        gtl.finetune({"name": "rgcn", "width": 8}, data, epochs=1, batch_size=0)
    assert gtl.finetune(TABLE, data, epochs=1, batch_size=0, links={"negatives": 2}).results


def test_inverse_relations_take_both_edges_of_a_step_out_of_the_graph(folder):
    both = gtl.load(f"kg:{folder}", inverses=True)
    model = gtl.finetune({"name": "rgcn", "width": 8}, both, head="distmult", epochs=1, **FAST)
    assert model.target.remove == "pairs"
    fast = {"epochs": 1, "batch_size": 8}
    run = gtl.pretrain({"name": "rgcn", "width": 8}, both, ["link_ranking"], **fast)
    assert run.tasks["link_ranking"].remove == "pairs"
    plain = gtl.load(f"kg:{folder}")
    run = gtl.pretrain({"name": "rgcn", "width": 8}, plain, ["link_ranking"], **fast)
    assert run.tasks["link_ranking"].remove == "triples"


def test_a_graph_in_one_direction_is_refused_by_a_model_of_both(folder):
    both, one = gtl.load(f"kg:{folder}", inverses=True), gtl.load(f"kg:{folder}")
    model = gtl.finetune(Degrees(both.schema), both, epochs=1, **FAST)
    with pytest.raises(DataError, match=r"in one direction.*inverses=True"):
        gtl.evaluate(model, one, "valid")
    table = gtl.finetune(TABLE, both, epochs=1, **FAST)
    assert gtl.evaluate(table, one, "valid") == gtl.evaluate(table, both, "valid")


def test_files_of_queries_and_facts_are_read_as_those_of_the_data(folder, tmp_path):
    for file in folder.iterdir():
        rows = [line.split("\t") for line in file.read_text().splitlines()]
        file.write_text("".join(f"{h},{t},{r}\n" for h, r, t in rows))
    data = gtl.load(f"kg:{folder}", separator="comma", columns="htr")
    model = gtl.finetune(Degrees(data.schema), data, epochs=1, **FAST)
    facts, queries = tmp_path / "facts.csv", tmp_path / "queries.csv"
    facts.write_text("zoe,e00,next\n")
    queries.write_text("zoe,?,after next\n")
    table = gtl.complete(model, data, queries, facts=facts, top=1)
    assert table["head"].tolist() == ["zoe"] and table["relation"].tolist() == ["after next"]


def test_a_pretraining_step_on_all_triples_is_refused_where_it_leaves_no_edge(folder):
    data, encoder = gtl.load(f"kg:{folder}"), {"name": "rgcn", "width": 8}
    with pytest.raises(ConfigError, match=r"no edge in the graph.*'remove': 'none'"):
        gtl.pretrain(encoder, data, ["link_ranking"], epochs=1, batch_size=99)
    left = [{"name": "link_ranking", "remove": "none", "negatives": 2}]
    assert gtl.pretrain(encoder, data, left, epochs=1, batch_size=99).history
    task = ["link_ranking"]
    assert gtl.pretrain(TABLE, data, task, epochs=1, batch_size=99).history


def test_the_verbs_train_evaluate_and_answer(folder, tmp_path, capsys):
    run, csv = str(tmp_path / "run"), tmp_path / "answers.csv"
    options = ["--encoder", json.dumps(TABLE), "--links", "{negatives: 4}", "--lr", "0.03"]
    assert (
        main(["finetune", "--data", f"kg:{folder}", *options, "--epochs", "2", "--out", run]) == 0
    )
    assert "valid mrr" in capsys.readouterr().out
    assert main(["evaluate", run]) == 0
    assert set(json.loads(capsys.readouterr().out)) >= {"mrr", "hits@10", "sides"}
    assert (
        main(["predict", run, "--queries", "[e00, next, ?]", "--top", "2", "--out", str(csv)]) == 0
    )
    table = pd.read_csv(csv)
    assert len(table) == 2 and table["head"].eq("e00").all()
    queries = tmp_path / "queries.tsv"
    queries.write_text("?\tnext\te03\ne01\tafter next\t?\n")
    assert main(["predict", run, "--queries", str(queries), "--out", str(csv), "--overwrite"]) == 0
    assert pd.read_csv(csv)["relation"].unique().tolist() == ["next", "after next"]
    assert main(["predict", run, "--split", "test", "--out", str(csv), "--overwrite"]) == 0
    assert pd.read_csv(csv).columns.tolist() == ["item", "head", "relation", "tail", "probability"]
    capsys.readouterr()
    assert main(["predict", run, "--facts", str(queries), "--out", str(csv), "--overwrite"]) == 2
    assert "`--facts` are read for `--queries`" in capsys.readouterr().err
    again = ["finetune", "--config", f"{run}/config.json", "--out", str(tmp_path / "again")]
    assert main(again) == 0
    first, second = (
        json.loads((p / "results.json").read_text()) for p in (tmp_path / "run", tmp_path / "again")
    )
    assert first["valid"] == second["valid"]
    assert main(["report", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("name", "score", "least"), [("nations", "complex", 0.6), ("umls", "complex", 0.5)]
)
def test_a_few_epochs_rank_published_triples_far_above_chance(shared_data, name, score, least):
    data = gtl.load(f"kg:{name}", root=shared_data)
    model = gtl.finetune(
        {"name": "embedding", "width": 32},
        data,
        head=score,
        links={"negatives": 32},
        lr=0.03,
        batch_size=256,
        epochs=8,
    )
    chance = sum(1 / rank for rank in range(1, data.graph.num_nodes + 1)) / data.graph.num_nodes
    assert model.results["test"] > max(1.8 * chance, least if name == "umls" else 0)
