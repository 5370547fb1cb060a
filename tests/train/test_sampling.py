"""Node-level training on sampled neighborhoods, and inference on graphs read in portions."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import scipy.sparse
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import gtl
from gtl import cli
from gtl.data import items
from gtl.data.dataset import Dataset
from gtl.errors import ConfigError
from gtl.graph import Graph
from gtl.train import loop

GCN = {"name": "gcn", "width": 16, "depth": 2}
AUXILIARY = ["attribute_masking", "edge_prediction", "infomax"]
SAMPLED = {"fan_out": (3, 2), "batch_size": 5, "epochs": 2}


def block_model(nodes: int, degree: float, seed: int = 0) -> Dataset:
    """Nodes of three groups: five of six edges stay inside a group, features are mostly noise."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (nodes,), generator=rng)
    one, other = torch.randint(nodes, (2, int(1.125 * nodes * degree)), generator=rng)
    chance = torch.rand(len(one), generator=rng)
    kept = (chance < torch.where(labels[one] == labels[other], 1.0, 0.1)) & (one != other)
    one, other = one[kept], other[kept]
    x = torch.randn(3, 16, generator=rng)[labels] + 3 * torch.randn(nodes, 16, generator=rng)
    graph = Graph(torch.cat([one, other]), torch.cat([other, one]), nodes, x)
    order = torch.randperm(nodes, generator=rng)
    split = {"train": order[:150], "valid": order[150:400], "test": order[400:]}
    return Dataset("test:blocks", graph=graph, labels=labels, split=split, level="node")


def lines(folder):
    read = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in read]


def same_weights(one, other):
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# -- training ------------------------------------------------------------------------------------


def test_sampled_training_comes_close_to_training_on_the_whole_graph():
    data = block_model(3000, degree=8)
    features_alone = gtl.finetune(
        GCN, dataclasses.replace(data, graph=without_edges(data.graph)), epochs=20, lr=0.02
    )
    whole = gtl.finetune(GCN, data, epochs=20, lr=0.02)
    sampled = gtl.finetune(
        GCN,
        data,
        auxiliary=["attribute_masking"],
        fan_out=(5, 5),
        batch_size=50,
        epochs=7,
        lr=0.02,
    )
    assert whole.results["test"] > features_alone.results["test"] + 0.1
    assert sampled.results["test"] > whole.results["test"] - 0.03


def without_edges(graph):
    return graph.drop_edges(torch.ones(graph.num_edges, dtype=torch.bool))


def test_the_target_and_all_tasks_see_the_sample_alone(communities, monkeypatch):
    monkeypatch.setattr("gtl.train.footprint.inference_cost", lambda call: {})  # which samples, too
    seen = []

    def spy(*arguments):
        part = sample(*arguments)
        seen.append(part)
        return part

    sample = items.sample_neighbors
    monkeypatch.setattr(items, "sample_neighbors", spy)
    once = {"weighting": {"name": "aux_ts", "auxiliary_weight": 0.3}, "guard": False}
    model = gtl.finetune(GCN, communities, auxiliary=AUXILIARY, **once, **SAMPLED)
    assert len(seen) == 2 * 3  # 15 items, 5 a step
    for part in seen:
        assert part.origin is not None and part.seeds is not None
        assert part.num_nodes <= 5 + 15 + 30 and len(part.seeds) == 5
        assert set(part.origin[part.seeds].tolist()) <= set(communities.split["train"].tolist())
    assert set(model.history[-1]["losses"]) == {"supervised", *AUXILIARY}


def test_labels_are_those_of_the_seeds(communities):
    index, rng = torch.tensor([41, 3, 17]), torch.Generator().manual_seed(0)
    part = communities.batch(index, "cpu", (2, 2), rng)
    assert torch.equal(part.y, communities.labels[index])
    assert torch.equal(part.x[part.seeds], communities.graph.x[index])


@pytest.mark.parametrize("weighting", ["equal", "aux_ts"])
def test_more_epochs_later_equal_all_epochs_at_once(communities, tmp_path, weighting):
    options = {**SAMPLED, "auxiliary": AUXILIARY, "weighting": weighting, "meta_share": 0.3}
    encoder = {**GCN, "dropout": 0.2}
    whole = gtl.finetune(encoder, communities, out=tmp_path / "whole", **{**options, "epochs": 4})
    gtl.finetune(encoder, communities, out=tmp_path / "parts", **options)
    parts = gtl.finetune(
        encoder, communities, out=tmp_path / "parts", resume=True, **{**options, "epochs": 4}
    )
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")
    assert same_weights(whole, parts)


def test_pretraining_samples_around_all_nodes_and_goes_on_into_fine_tuning(communities):
    options = {"fan_out": [3, None], "batch_size": 16}
    encoder = {**GCN, "dropout": 0.0, "input_dropout": 0.0}
    run = gtl.pretrain(encoder, communities.graph, AUXILIARY, epochs=8, lr=0.01, **options)
    for name in AUXILIARY:
        assert run.history[-1]["losses"][name] < run.history[0]["losses"][name], name
    model = gtl.finetune(run, communities, auxiliary=AUXILIARY, epochs=20, lr=0.01, **options)
    assert gtl.evaluate(model, communities)["acc"] > 0.7


def test_a_task_with_a_graph_of_its_own_samples_it_too(communities):
    from gtl.tasks import Infomax

    other = Dataset("test:other", graph=communities.graph, level="node")
    model = gtl.finetune(GCN, communities, auxiliary=[Infomax().on(other)], **SAMPLED)
    assert math.isfinite(model.history[-1]["losses"]["infomax"])


class Largest(TorchDispatchMode):
    """Notes the most elements that an operation wrote anew."""

    def __init__(self):
        super().__init__()
        self.elements, self.name = 0, ""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        given = {t.untyped_storage().data_ptr() for t in args if isinstance(t, torch.Tensor)}
        for value in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(value, torch.Tensor) and value.layout == torch.strided:
                view = value.untyped_storage().data_ptr() in given and not self._writes(function)
                if not view and value.numel() > self.elements:
                    self.elements, self.name = value.numel(), str(function)
        return result

    @staticmethod
    def _writes(function):
        return function._schema.name.endswith("_") or function._schema.is_mutable


@pytest.mark.filterwarnings("ignore:the task 'context_prediction' had no sample")
def test_no_step_does_work_in_proportion_to_the_graph(monkeypatch):
    tasks = [
        *AUXILIARY,
        {"name": "context_prediction", "centers": 5},
        "masked_autoencoder",
        "contrast",
        "edge_generation",
        "attribute_generation",
        "bootstrap",
        "whitening",
        "pair_distance",
        "pair_similarity",
        "clustering",
        "motif",
    ]
    data = block_model(50_000, degree=4)
    split = {name: index[:24] for name, index in data.split.items()}
    data = dataclasses.replace(data, split=split)
    first, watch = [], Largest()

    def step(job, items):
        if not first:  # edges are sorted once
            first.append(items)
            return train_step(job, items)
        with watch:
            return train_step(job, items)

    train_step = loop.train_step
    monkeypatch.setattr(loop, "train_step", step)
    small = {"name": "sage", "width": 4, "depth": 2}
    options = {"meta_share": 0.5, "weighting": "aux_ts", "epochs": 1, "batch_size": 3}
    gtl.finetune(small, data, auxiliary=tasks, fan_out=(2, 2), **options)
    # A sample has at most 3 + 6 + 12 nodes; the largest there is are the hidden values of the
    # weighting's network, a thousand for each loss.
    assert 0 < watch.elements < 50_000, f"{watch.name} wrote {watch.elements} elements"


# -- inference -----------------------------------------------------------------------------------


def test_whole_neighborhoods_in_batches_give_the_predictions_of_the_whole_graph(communities):
    model = gtl.finetune(GCN, communities, **SAMPLED)
    whole = gtl.predict(model, communities)
    torch.testing.assert_close(gtl.predict(model, communities, batch_size=7), whole)
    torch.testing.assert_close(gtl.predict(model, communities, fan_out=[60, 60]), whole)
    vectors = gtl.embed(model, communities, "test", batch_size=7)
    torch.testing.assert_close(vectors, gtl.embed(model, communities, "test"))
    expected = gtl.evaluate(model, communities)
    assert gtl.evaluate(model, communities, batch_size=3) == pytest.approx(expected)


def test_sampled_predictions_are_near_and_the_same_in_every_call(communities):
    model = gtl.finetune(GCN, communities, epochs=20, lr=0.01)
    one, two = (gtl.predict(model, communities, fan_out=[4, 4]) for _ in range(2))
    whole = gtl.predict(model, communities)
    assert torch.equal(one, two) and not torch.allclose(one, whole)
    assert (one - whole).abs().mean() < 0.1


def test_after_training_on_samples_a_large_graph_is_read_in_batches(
    communities, tmp_path, monkeypatch
):
    model = gtl.finetune(GCN, communities, out=tmp_path / "run", **SAMPLED)
    whole = gtl.predict(model, communities)
    again = gtl.Model.load(tmp_path / "run")
    assert list(again.fan_out) == list(model.fan_out) == [3, 2]
    asked = []
    batch = Dataset.batch
    monkeypatch.setattr(
        Dataset, "batch", lambda self, index, *more: asked.append(more) or batch(self, index, *more)
    )
    monkeypatch.setattr(items, "_LARGE", communities.graph.num_edges - 1)
    torch.testing.assert_close(gtl.predict(again, communities), whole)
    assert [more[1] for more in asked] == [[None, None]]
    monkeypatch.setattr(items, "_LARGE", communities.graph.num_edges)
    gtl.predict(again, communities)
    assert asked[-1][1] is None


# -- the door ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fan_out", "message"),
    [
        ((3,), r"\[3\], expected a number for each of the encoder's 2 layers"),
        ((), "expected a number for each"),
        ((3, 0), "expected whole numbers from 1 on"),
        ((3, 2.5), "expected whole numbers from 1 on"),
    ],
)
def test_impossible_fan_outs_are_named(communities, tmp_path, fan_out, message):
    for call in (gtl.finetune, lambda *a, **k: gtl.pretrain(*a, tasks=["infomax"], **k)):
        with pytest.raises(ConfigError, match=message):
            call(GCN, communities, fan_out=fan_out, epochs=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_graphs_as_items_have_no_neighbors_to_sample(shapes):
    with pytest.raises(ConfigError, match="not nodes but graphs"):
        gtl.finetune(GCN, shapes, fan_out=(3, 3), epochs=1)
    model = gtl.finetune(GCN, shapes, epochs=1)
    with pytest.raises(ConfigError, match="not nodes but graphs"):
        gtl.predict(model, shapes, fan_out=(3, 3))
    with pytest.raises(ConfigError, match="`batch_size` is 0"):
        gtl.evaluate(model, shapes, batch_size=0)
    assert torch.allclose(gtl.predict(model, shapes, batch_size=7), gtl.predict(model, shapes))


def test_the_command_line_takes_fan_outs(communities, tmp_path, capsys):
    graph, words = communities.graph, communities.graph.x
    ones, ends = torch.ones(graph.num_edges), (graph.src, graph.dst)
    adjacency = scipy.sparse.csr_matrix((ones, ends), (60, 60))
    parts = {"adj": adjacency, "attr": scipy.sparse.csr_matrix(words)}
    fields = ("data", "indices", "indptr", "shape")
    arrays = {f"{name}_{key}": getattr(parts[name], key) for name in parts for key in fields}
    np.savez(tmp_path / "made.npz", **arrays, labels=communities.labels.numpy())
    data = ["--data", f"npz:{tmp_path / 'made.npz'}"]
    size = ["--encoder", "{name: gcn, width: 8, depth: 2}", "--epochs", "1", "--batch-size", "16"]
    split = ["--data.fractions", "[0.5, 0.2, 0.3]"]
    words = ["finetune", *data, *split, *size, "--fan-out", "[3, null]"]
    assert cli.main([*words, "--out", str(tmp_path / "run")]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["fan_out"] == [3, None] and config["batch_size"] == 16
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    capsys.readouterr()
    assert cli.main(["evaluate", str(tmp_path / "run"), "--batch-size", "5"]) == 0
    assert json.loads(capsys.readouterr().out)["acc"] == pytest.approx(results["test"])
    assert cli.main(["evaluate", str(tmp_path / "run"), "--fan_out", "[2]"]) == 2
    assert "each of the encoder's 2 layers" in capsys.readouterr().err
