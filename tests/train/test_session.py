"""A session seeds, records and completes a run; models and vectors come out of run folders."""

from __future__ import annotations

import json

import pytest
import torch

import gtl
from gtl import cli
from gtl.errors import CheckpointError, ConfigError
from gtl.train.session import Session

GIN = {"name": "gin", "width": 8, "depth": 1}


def test_a_session_restores_the_random_numbers_of_its_caller(shapes):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with Session("finetune", shapes, seed=1) as session:
        torch.rand(7)
        first = torch.rand(1, generator=session.rng)
    assert torch.equal(torch.rand(3), expected)
    with Session("finetune", shapes, seed=1) as session:
        assert torch.equal(torch.rand(1, generator=session.rng), first)


def test_what_follows_an_encoder_does_not_depend_on_whether_its_weights_were_drawn(shapes):
    numbers = []
    for encoder in (GIN, gtl.pretrain(GIN, shapes, ["infomax"], epochs=1).encoder):
        with Session("finetune", shapes, seed=1) as session:
            session.encoder(encoder)
            numbers.append(torch.rand(3))
    assert torch.equal(*numbers)


def test_an_error_leaves_an_adapted_encoder_as_it_was(shapes):
    encoder = gtl.pretrain(GIN, shapes, ["infomax"], epochs=1).encoder
    with pytest.raises(RuntimeError), Session("finetune", shapes) as session:
        session.adapted(encoder, "film")
        raise RuntimeError
    assert all(parameter.requires_grad for parameter in encoder.parameters())


def test_a_run_folder_says_what_was_asked_and_what_came_out(shapes, tmp_path):
    with Session("pretrain", shapes, seed=7, out=tmp_path / "run") as session:
        session.open({"epochs": 3})
        results = session.close({"valid": 0.5, "footprint": {}})
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["command"] == "pretrain" and config["epochs"] == 3 and config["seed"] == 7
    assert config["data"] == "test:shapes" and config["data_checksum"] == shapes.checksum()
    assert results == {"metric": None, "valid": 0.5, "test": None, "footprint": {}, "seed": 7}
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == results


def test_a_folder_that_cannot_be_made_is_named(shapes, tmp_path):
    (tmp_path / "file").write_text("")
    session = Session("pretrain", shapes, out=tmp_path / "file" / "run")
    with session, pytest.raises(CheckpointError, match=r"file/run cannot be made"):
        session.open({})


def test_the_place_of_the_data_may_change_when_a_run_goes_on(shapes, tmp_path):
    from dataclasses import replace

    for root, resume in (("here", False), ("there", True)):
        data = replace(shapes, root=root)
        with Session("pretrain", data, out=tmp_path / "run", resume=resume) as session:
            session.open({"epochs": 1})
    assert json.loads((tmp_path / "run" / "config.json").read_text())["data_root"] == "there"


def test_a_saved_model_is_loaded_with_the_same_predictions(shapes, tmp_path, capsys):
    model = gtl.finetune(GIN, shapes, adapter="film", epochs=1)
    folder = model.save(tmp_path / "saved")
    loaded = gtl.load_run(folder.path)
    assert torch.equal(gtl.predict(loaded, shapes), gtl.predict(model, shapes))
    assert loaded.results == model.results
    assert cli.main(["evaluate", str(folder.path)]) == 2
    assert "`--data` is missing" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="already holds a run"):
        model.save(tmp_path / "saved")


def test_folders_and_runs_are_taken_where_a_model_is(shapes, tmp_path):
    model = gtl.finetune(GIN, shapes, epochs=1, out=tmp_path / "run")
    folder = tmp_path / "run"
    assert torch.equal(gtl.predict(folder, shapes), gtl.predict(model, shapes))
    assert torch.equal(gtl.embed(str(folder), shapes), gtl.embed(model, shapes))
    assert gtl.evaluate(folder, shapes) == gtl.evaluate(model, shapes)
    with pytest.raises(ConfigError, match="`model` is a int"):
        gtl.predict(3, shapes)


def test_a_pretraining_run_embeds_items(shapes, communities, tmp_path):
    run = gtl.pretrain(GIN, shapes, ["infomax"], epochs=1, out=tmp_path / "run")
    assert not run.encoder.training
    vectors = gtl.embed(run, shapes)
    assert vectors.shape == (60, 8)
    assert torch.equal(vectors, gtl.embed(tmp_path / "run", shapes))
    assert torch.equal(vectors, gtl.embed(run.encoder, shapes))
    assert not torch.equal(vectors, gtl.embed(run, shapes, readout="sum"))
    nodes = gtl.pretrain(
        {"name": "gcn", "width": 8, "depth": 1}, communities, ["infomax"], epochs=1
    )
    assert gtl.embed(nodes, communities, "test").shape == (25, 8)


def test_several_metrics_and_the_scores_of_each_column(shapes):
    from dataclasses import replace

    y = torch.stack([torch.arange(60) % 2, torch.arange(60) % 3 % 2], 1).float()
    data = replace(shapes, labels=y, kind="", metric="", label_names=("ring", "third"))
    model = gtl.finetune(GIN, data, epochs=1)
    found = gtl.evaluate(model, data, metrics=["acc", "ap"], per_task=True)
    assert list(found) == ["rocauc", "acc", "ap", "items", "tasks"]
    assert found["rocauc"] == pytest.approx(sum(found["tasks"].values()) / 2)
    assert list(found["tasks"]) == ["ring", "third"]
