"""Forecast plots: a panel a node, and shapes that do not fit are refused."""

from __future__ import annotations

import math

import pytest

from gtl.errors import ShapeError
from gtl.report.forecast_plot import plot_forecasts


def test_a_picture_is_written(tmp_path):
    came = [[0.0, 1.0], [1.0, math.nan], [2.0, 3.0]]
    file = plot_forecasts([4, 5, 6], came, {"last value": came}, ["a", "b"], tmp_path / "f.png")
    assert file.read_bytes().startswith(b"\x89PNG")


def test_forecasts_of_other_steps_or_nodes_are_refused(tmp_path):
    for values in ([[0.0]], [[0.0, 1.0], [1.0, 2.0]]):
        with pytest.raises(ShapeError, match=r"`mine` has . rows, expected 2"):
            plot_forecasts([1, 2], [[0.0], [1.0]], {"mine": values}, ["a"], tmp_path / "f.png")
