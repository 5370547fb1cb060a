"""Run folders that lost a file are refused: nothing is continued from half of a state."""

from __future__ import annotations

import shutil

import pytest

import gtl
from gtl import cli
from gtl.errors import CheckpointError
from gtl.run_folder import read_metrics
from gtl.train import session

ENCODER = {"name": "gin", "width": 4, "depth": 1}


@pytest.fixture(scope="module")
def shapes():
    return gtl.load("demo:shapes")


@pytest.fixture
def run(shapes, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "write_plots", lambda folder: None)
    gtl.finetune(ENCODER, shapes, epochs=2, out=tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("text", [None, b"", b"[1]\n[2]\n", b"\xff\xfe"])
def test_a_run_without_the_metrics_of_its_epochs_is_not_continued(shapes, run, text):
    file = run / "metrics.jsonl"
    file.unlink() if text is None else file.write_bytes(text)
    assert read_metrics(run) == [] and gtl.load_run(run).results["valid"] is not None
    with pytest.raises(CheckpointError, match=r"metrics.jsonl has 0 of the 2 epochs"):
        gtl.finetune(ENCODER, shapes, epochs=3, out=run, resume=True)


@pytest.mark.parametrize("resume", [True, False])
def test_a_checkpoint_without_a_config_is_not_continued(shapes, run, resume):
    (run / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"whose config.json is missing"):
        gtl.finetune(ENCODER, shapes, epochs=2, out=run, resume=resume)


def test_a_saved_model_is_not_continued(shapes, run):
    gtl.load_run(run).save(run.parent / "copy")
    shutil.copy(run / "config.json", run.parent / "copy" / "config.json")
    with pytest.raises(CheckpointError, match="holds a model that was saved"):
        gtl.finetune(ENCODER, shapes, epochs=2, out=run.parent / "copy", resume=True)


def test_a_config_that_is_no_mapping_is_refused(run, capsys):
    (run / "config.json").write_text("[]")
    assert cli.main(["finetune", "--config", str(run / "config.json")]) == 2
    assert "that is the config.json of gtl None" in capsys.readouterr().err
