"""Plots are drawn from run folders alone, and only those that have something to show."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gtl.errors import GtlWarning
from gtl.report import plots, report
from gtl.report.difference_plot import draw_differences
from gtl.report.drawing import panels
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


def test_a_damaged_log_is_left_out_of_the_pictures(tmp_path, write_run):
    write_run("good")
    (write_run("bad", 1) / "metrics.jsonl").write_text('{"epoch": 0}\n')
    with pytest.warns(GtlWarning, match="bad"):
        found = report(tmp_path / "runs")
    assert found.files[-1].name == "learning_curves.png"


def test_many_methods_stay_in_the_picture_and_look_different(tmp_path):
    looks = [plots._look(i) for i in range(40)]
    assert len({(look["color"], look["linestyle"]) for look in looks}) == 40
    seen = []
    panels(lambda *axes: seen.extend(axes), 7, tmp_path / "seven.png")
    (figure,) = {ax.figure for ax in seen}
    assert len(seen) == len(figure.axes) == 7
    width, height = figure.get_size_inches()
    assert width < 16 and height > 9  # three rows of three, not seven in a row


def test_no_text_is_cut_off(tmp_path, write_run):
    for seed in range(2):
        write_run(f"a{seed}", seed, 0.5, data="smiles:/some/where/far/down/in/a/tree/molecules.csv")
        write_run(
            f"b{seed}",
            seed,
            0.6 + seed / 10,
            data="smiles:/some/where/far/down/in/a/tree/molecules.csv",
            tasks=("infomax",),
        )
    long = "a method with a name that its author found hard to shorten"
    found = report(tmp_path / "runs", label={"equal": long}, plots=False)
    figures = []

    drawing = draw_differences(found.comparison.data_sets)
    watched = replace(drawing, draw=lambda *axes: (drawing.draw(*axes), figures.append(axes[0])))
    watched.save(tmp_path / "d.png")
    (figure,) = {ax.figure for ax in figures}
    figure.draw_without_rendering()
    for ax in figure.axes:
        for text in (ax.title, ax.xaxis.label, *ax.get_yticklabels()):
            box = text.get_window_extent()
            assert box.x0 > -1 and box.x1 < figure.bbox.x1 + 1, text.get_text()
            assert box.y0 > -1 and box.y1 < figure.bbox.y1 + 1, text.get_text()


def test_a_run_without_validation_data_has_curves_too(tmp_path):
    files = write_plots(_run(tmp_path / "run", ("infomax", "contrast"), valid=None))
    assert files[0].exists()
