"""Plots are drawn from run folders alone, and only those that have something to show."""

from __future__ import annotations

import json

from gtl.report.plots import plot_runs, write_plots


def _run(folder, tasks=("supervised",), valid=0.5, epochs=3):
    folder.mkdir(parents=True)
    lines = [
        {
            "epoch": epoch,
            "losses": dict.fromkeys(tasks, 1.0 / (epoch + 1)),
            "weights": dict.fromkeys(tasks, 1.0),
            "consistency": {task: 0.1 for task in tasks if task != "supervised"},
            "valid": valid,
            "seconds": 0.1,
        }
        for epoch in range(epochs)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)
    (folder / "results.json").write_text(json.dumps({"metric": "rocauc"}))
    return folder


def test_a_run_of_one_task_has_learning_curves_alone(tmp_path):
    files = write_plots(_run(tmp_path / "run"))
    assert [file.name for file in files] == ["learning_curves.png"]
    assert files[0].read_bytes().startswith(b"\x89PNG")


def test_a_run_of_several_tasks_shows_weights_and_consistency(tmp_path):
    files = write_plots(_run(tmp_path / "run", ("supervised", "infomax")))
    assert [file.stem for file in files] == ["learning_curves", "weights", "consistency"]


def test_groups_of_runs_may_differ_in_length_and_tasks(tmp_path):
    runs = {
        "alone": [_run(tmp_path / "a")],
        "helped": [
            _run(tmp_path / "b", ("supervised", "infomax")),
            _run(tmp_path / "c", ("supervised", "infomax"), epochs=1),
        ],
    }
    files = plot_runs(runs, tmp_path / "plots")
    assert [file.stem for file in files] == ["learning_curves", "weights", "consistency"]


def test_a_run_without_validation_data_has_curves_too(tmp_path):
    files = write_plots(_run(tmp_path / "run", ("infomax", "contrast"), valid=None))
    assert files[0].exists()
