"""Several readouts side by side in fine-tuning: width, run folder, command line."""

from __future__ import annotations

import json

import pytest
import torch

import gtl
from gtl.cli import main
from gtl.errors import UnknownPartError

GIN = {"name": "gin", "width": 8, "depth": 2}


def test_the_head_sees_all_readouts_and_a_saved_model_gives_the_same(shapes, tmp_path):
    readout = ["mean", "sum", "attention"]
    model = gtl.finetune(GIN, shapes, readout=readout, epochs=1, out=tmp_path / "run")
    assert gtl.embed(model, shapes).shape == (60, 24)
    again = gtl.Model.load(tmp_path / "run")
    assert torch.equal(gtl.predict(again, shapes), gtl.predict(model, shapes))


def test_an_encoder_alone_is_read_out_by_a_list(shapes):
    run = gtl.pretrain(GIN, shapes, ["attribute_masking"], epochs=1)
    both = gtl.embed(run, shapes, readout=["mean", "max"])
    assert torch.equal(both[:, :8], gtl.embed(run, shapes, readout="mean"))
    assert torch.equal(both[:, 8:], gtl.embed(run, shapes, readout="max"))


def test_an_unknown_name_is_refused_before_anything_is_written(shapes, tmp_path):
    with pytest.raises(UnknownPartError, match="unknown readout 'meen'; did you mean 'mean'"):
        gtl.finetune(GIN, shapes, readout=["max", "meen"], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_command_line_takes_a_list_and_repeats_it(tmp_path, capsys):
    job = ["finetune", "--data", "demo:shapes", "--encoder", json.dumps(GIN), "--epochs", "1"]
    assert main([*job, "--readout", "[mean, max]", "--out", str(tmp_path / "a")]) == 0
    first, config = tmp_path / "a" / "results.json", str(tmp_path / "a" / "config.json")
    assert main(["finetune", "--config", config, "--out", str(tmp_path / "b")]) == 0
    values = [json.loads((tmp_path / name / "results.json").read_text()) for name in "ab"]
    assert first.is_file() and values[0]["valid"] == values[1]["valid"]
    assert json.loads((tmp_path / "b" / "config.json").read_text())["readout"] == {
        "name": "concatenated",
        "parts": [{"name": "mean"}, {"name": "max"}],
    }
