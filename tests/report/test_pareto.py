"""The front has what nothing beats; bytes of federated runs are a cost, epoch by epoch."""

from __future__ import annotations

import json

import pytest

from gtl.report import report
from gtl.report.bytes_plot import draw_bytes
from gtl.report.pareto import Point, draw_front, front


@pytest.mark.parametrize(
    ("points", "better", "expected"),
    [
        ([(1, 0.5), (2, 0.7), (3, 0.6), (4, 0.9)], "higher", [0, 1, 3]),
        ([(1, 0.5), (2, 0.7), (3, 0.6), (4, 0.4)], "lower", [0, 3]),
        ([(2, 0.7), (2, 0.8), (1, 0.8), (1, 0.8)], "higher", [2]),  # equal points count once
        ([(5, 0.1)], "higher", [0]),
        ([], "higher", []),
    ],
)
def test_the_front_by_hand(points, better, expected):
    assert front(points, better) == expected


def test_a_panel_is_drawn_for_each_cost_in_which_methods_differ(tmp_path):
    points = [
        Point("a", 0.7, {"parameters_total": 10, "seconds": 5.0, "stored_bytes": 7}),
        Point("b", 0.8, {"parameters_total": 5000, "seconds": 5.01, "stored_bytes": 7}, 0.1),
    ]
    drawing = draw_front(points, "acc", "test")
    assert drawing.count == 1
    shown = drawing.inline()
    assert [key.label for key in shown.legend] == ["a", "b"]
    assert ">parameters<" in shown.panels[0] and ">1k<" in shown.panels[0]
    assert "mathdefault" not in shown.panels[0]
    assert drawing.save(tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert draw_front(points[:1], "acc", "test") is None


def _with_bytes(folder, each, total):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    text = "".join(
        json.dumps({**line, "bytes": {"up": each, "down": 2 * each}}) + "\n" for line in lines
    )
    (folder / "metrics.jsonl").write_text(text)
    results = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps({**results, "bytes": {"training": total}}))


def test_bytes_of_federated_runs_are_added_up_and_are_a_cost(write_run, tmp_path):
    for seed in range(2):
        _with_bytes(write_run(f"whole-{seed}", seed, 0.8), 100, 900)
        _with_bytes(write_run(f"low-{seed}", seed, 0.7, lr=0.1), 10, 90)
    write_run("central", 0, 0.9, lr=0.2)
    page = (report(tmp_path / "runs").folder / "report.html").read_text("utf-8")
    assert page.count("bytes sent, both ways") == 1 and ">bytes sent<" in page
    drawn = []
    drawing = draw_bytes({"whole": [tmp_path / "runs" / "whole-0"]}, "rocauc")
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    drawing.draw(ax)
    drawn = [list(line.get_xdata()) for line in ax.lines]
    assert drawn == [[300, 600, 900]]
    assert draw_bytes({"central": [tmp_path / "runs" / "central"]}, "rocauc") is None
