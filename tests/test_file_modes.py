"""Every file that gtl writes has the mode that the umask leaves, so that a group can share runs."""

from __future__ import annotations

import os
import stat

import pytest
import torch

import gtl
from gtl import checkpoint
from gtl.data.corpus import Piece, write_corpus
from gtl.data.molecules import LeftOut
from gtl.graph import tensor_file
from gtl.report import report
from gtl.run_folder import RunFolder

SMALL = {"name": "gin", "width": 4, "depth": 1}


@pytest.fixture(params=[0o002, 0o077], ids=["open to the group", "closed"])
def umask(request):
    """A umask, set while the test runs."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def _wrong(folder, umask):
    """Files and folders whose mode is not that of a plain ``open`` or ``mkdir``."""
    return {
        path.relative_to(folder).as_posix(): oct(mode)
        for path in folder.rglob("*")
        if (mode := stat.S_IMODE(path.stat().st_mode))
        != ((0o777 if path.is_dir() else 0o666) & ~umask)
    }


def test_checkpoints_have_it(tmp_path, umask):
    checkpoint.save(tmp_path / "a.safetensors", {"x": torch.ones(2)})
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors", ".json"}
    assert _wrong(tmp_path, umask) == {}


def test_a_checkpoint_that_replaces_another_has_it_too(tmp_path, umask):
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, {"x": torch.ones(2)})
    path.chmod(0o640)
    checkpoint.save(path, {"x": torch.zeros(2)})
    assert _wrong(tmp_path, umask) == {}


@pytest.mark.parametrize("nameless", [True, False])
def test_packed_graphs_and_corpora_have_it(tmp_path, umask, nameless, monkeypatch, shapes):
    if not nameless:
        monkeypatch.setattr(tensor_file, "_nameless", lambda folder: None)
    shapes.graphs.save(tmp_path / "graphs.safetensors")
    pieces = [Piece(shapes.graphs, [str(i) for i in range(60)], list(range(60)), list(range(60)))]
    write_corpus(tmp_path / "corpus.safetensors", pieces, LeftOut())
    assert len(list(tmp_path.iterdir())) == 2
    assert _wrong(tmp_path, umask) == {}


def test_run_folders_have_it(tmp_path, umask):
    run = RunFolder(tmp_path / "run", {"command": "finetune"})
    run.log({"epoch": 0})
    run.save({"x": torch.ones(1)})
    run.save_frozen({"x": torch.ones(1)})
    run.write_results({"test": 0.5})
    RunFolder(tmp_path / "other", {"command": "finetune"}).take(run, run)
    assert len(list(tmp_path.rglob("*.*"))) == 7 + 6
    assert _wrong(tmp_path, umask) == {}


def test_a_whole_run_with_plots_and_its_report_have_it(shapes, tmp_path, umask):
    gtl.finetune(SMALL, shapes, adapter="lora", epochs=1, out=tmp_path / "runs" / "a")
    report(tmp_path / "runs")
    assert {".safetensors", ".json", ".jsonl", ".png", ".md", ".csv"} <= {
        path.suffix for path in tmp_path.rglob("*")
    }
    assert _wrong(tmp_path / "runs", umask) == {}


def test_predictions_have_it(tmp_path, umask, monkeypatch):
    from gtl.cli import main

    data = ["--data", "demo:shapes"]
    encoder = ["--encoder", "{name: gin, width: 4, depth: 1}"]
    run = str(tmp_path / "files" / "run")
    assert main(["finetune", *data, *encoder, "--epochs", "1", "--out", run]) == 0
    file = tmp_path / "files" / "answers.csv"
    assert main(["predict", run, *data, "--out", str(file)]) == 0
    assert file.exists()
    assert _wrong(tmp_path / "files", umask) == {}
