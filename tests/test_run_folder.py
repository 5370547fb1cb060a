"""Run folders survive kills and refuse to be overwritten."""

from __future__ import annotations

import json

import pytest

from gtl.checkpoint import read_json
from gtl.errors import CheckpointError
from gtl.run_folder import RunFolder, read_metrics

CONFIG = {"command": "finetune", "lr": 0.1, "epochs": 3}


def test_a_line_cut_off_by_a_kill_is_dropped(tmp_path):
    run = RunFolder(tmp_path / "run", CONFIG)
    run.log({"epoch": 0})
    run.log({"epoch": 1})
    path = tmp_path / "run" / "metrics.jsonl"
    path.write_text(path.read_text()[:-4])
    assert read_metrics(tmp_path / "run") == [{"epoch": 0}]
    run.keep_epochs(1)
    run.log({"epoch": 1})
    assert read_metrics(tmp_path / "run") == [{"epoch": 0}, {"epoch": 1}]


def test_the_config_names_the_versions_a_result_depends_on(tmp_path):
    RunFolder(tmp_path / "run", CONFIG)
    config = read_json(tmp_path / "run" / "config.json")
    assert config["lr"] == 0.1
    assert {"python", "gtl", "torch"} <= set(config["versions"])


def test_more_epochs_are_the_one_change_a_resumed_run_may_have(tmp_path):
    RunFolder(tmp_path / "run", CONFIG)
    RunFolder(tmp_path / "run", {**CONFIG, "epochs": 9}, resume=True)
    with pytest.raises(CheckpointError, match=r"lr=0\.1.*0\.2"):
        RunFolder(tmp_path / "run", {**CONFIG, "lr": 0.2}, resume=True)
    with pytest.raises(CheckpointError, match="already holds a run"):
        RunFolder(tmp_path / "run", CONFIG)


def test_a_run_that_goes_on_has_no_results_until_it_ends_again(tmp_path):
    RunFolder(tmp_path / "run", CONFIG).write_results({"test": 0.5})
    with pytest.raises(CheckpointError, match="already holds a run"):
        RunFolder(tmp_path / "run", CONFIG)
    assert read_json(tmp_path / "run" / "results.json") == {"test": 0.5}
    RunFolder(tmp_path / "run", {**CONFIG, "epochs": 9}, resume=True)
    assert not (tmp_path / "run" / "results.json").exists()


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(CheckpointError, match="is a file"):
        RunFolder(tmp_path / "run", CONFIG)
    assert (tmp_path / "run").read_text() == "mine"


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="is this a run folder"):
        read_json(tmp_path / "config.json")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG)[:-3])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_json(tmp_path / "config.json")
