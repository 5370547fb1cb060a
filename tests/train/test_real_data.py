"""The main job on real data: OGB molecules, a published checkpoint, a citation graph."""

from __future__ import annotations

import pytest
import torch

import gtl
from gtl.data.dataset import Dataset

SMALL = {"name": "gin", "width": 16, "depth": 2}


def test_molecules_of_ogb_train_and_are_judged_by_its_evaluator(shared_data, tmp_path):
    data = gtl.load("ogb:ogbg-molbace", root=shared_data)
    model = gtl.finetune(
        SMALL,
        data,
        auxiliary=["attribute_masking", "edge_prediction", "context_prediction", "infomax"],
        epochs=1,
        batch_size=256,
        out=tmp_path / "run",
    )
    assert 0.3 < model.results["test"] < 1
    again = gtl.Model.load(tmp_path / "run")
    assert gtl.evaluate(again, data)["rocauc"] == model.results["test"]


def test_missing_labels_of_real_targets(shared_data):
    data = gtl.load("ogb:ogbg-moltox21", root=shared_data)
    assert bool(data.labels.isnan().any())
    model = gtl.finetune(SMALL, data, auxiliary=["infomax"], epochs=1, batch_size=1024)
    assert gtl.predict(model, data, "test").shape == (784, 12)


@pytest.mark.parametrize("name", ["gcn_contextpred", "gat_contextpred"])
def test_a_published_checkpoint_is_fine_tuned_and_saved(shared_data, tmp_path, name):
    data = gtl.load("ogb:ogbg-molbace", root=shared_data)
    index = torch.arange(120)
    labels = (index % 2).float().unsqueeze(1)
    split = dict(zip(("train", "valid", "test"), index.split(40)))
    data = Dataset("test:few", data.graphs.subset(index), labels=labels, split=split)
    file = shared_data / "pretrain-gnns" / "chem" / f"{name}.pth"
    encoder = gtl.encoders.load_pretrained(file, features="ogb")
    model = gtl.finetune(encoder, data, epochs=1, batch_size=20, out=tmp_path / "run")
    again = gtl.Model.load(tmp_path / "run")
    assert torch.equal(gtl.predict(model, data, "test"), gtl.predict(again, data, "test"))


def test_a_citation_graph_is_learned_from_few_labels(shared_data):
    data = gtl.load("planetoid:cora", root=shared_data)
    encoder = {"name": "gcn", "width": 32, "depth": 2, "dropout": 0.5, "norm": None}
    model = gtl.finetune(encoder, data, epochs=60, lr=0.01, weight_decay=5e-4)
    assert model.results["test"] > 0.68


@pytest.mark.parametrize("name", ["rgcn", "hgt"])
def test_a_typed_graph_is_learned_from_few_labels(shared_data, name):
    data = gtl.load("typed:acm", root=shared_data)
    model = gtl.finetune({"name": name, "width": 32}, data, epochs=25, lr=0.02)
    assert model.results["test"] > 0.7
