"""The front has the methods that no other beats in quality and cost, and the picture shows all."""

from __future__ import annotations

import pytest

from gtl.report.pareto_plot import Point, front, plot_front

METHODS = {
    "full": Point(0.80, {"kB": 100, "ms": 5.0}, 0.01),
    "small": Point(0.79, {"kB": 20, "ms": 5.0}),
    "beaten": Point(0.78, {"kB": 21, "ms": 6.0}),
    "tiny": Point(0.60, {"kB": 5}),
    "as good and dearer": Point(0.79, {"kB": 30, "ms": 9.0}),
}


@pytest.mark.parametrize(
    ("cost", "better", "expected"),
    [
        ("kB", "higher", ["tiny", "small", "full"]),
        ("ms", "higher", ["full"]),  # as fast as another, and better
        ("kB", "lower", ["tiny"]),
        ("joule", "higher", []),
    ],
)
def test_the_front_goes_from_the_cheapest_to_the_best(cost, better, expected):
    assert front(METHODS, cost, better) == expected


def test_a_picture_has_a_panel_for_each_cost(tmp_path, monkeypatch):
    from gtl.report import pareto_plot

    drawn = []

    def keep(draw, count, file, *more):
        from matplotlib.figure import Figure

        axes = Figure().subplots(1, count, squeeze=False).flatten()
        draw(*axes)
        drawn.extend(axes)
        return file

    monkeypatch.setattr(pareto_plot, "panels", keep)
    plot_front(METHODS, ["kB", "ms"], "acc", tmp_path / "plots" / "front.png")
    assert [ax.get_xlabel() for ax in drawn] == ["kB", "ms"]
    assert [ax.get_ylabel() for ax in drawn] == ["acc", ""]
    assert [len(ax.containers) for ax in drawn] == [5, 4]  # one method has no latency
    line = next(line for line in drawn[0].lines if line.get_label() == "front")
    assert list(line.get_xdata()) == [5, 20, 100] and drawn[0].get_xscale() == "log"


def test_a_picture_is_written(tmp_path):
    file = plot_front(METHODS, ["kB"], "acc", tmp_path / "plots" / "front.png")
    assert file.stat().st_size > 5000
