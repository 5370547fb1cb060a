"""The picture of a graph of classes: near in the graph is near in the picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import gtl
from gtl.data import CategoryGraph
from gtl.errors import ShapeError
from gtl.report.category_plot import layout, plot_categories

PATHS = [f"/{area}/{leaf}" for area in "abc" for leaf in range(5)]


def test_classes_of_one_area_lie_together() -> None:
    places = layout(CategoryGraph.from_paths(PATHS, max_distance=2))
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    same = np.arange(15)[:, None] // 5 == np.arange(15) // 5
    assert apart[same].max() < apart[~same].min()
    assert apart[~np.eye(15, dtype=bool)].min() > 0.01  # no class hides another


def test_the_same_graph_is_drawn_the_same_way() -> None:
    graph = CategoryGraph.from_paths(PATHS)
    assert (layout(graph) == layout(graph)).all()


def test_the_plot_is_at_hand_in_the_package_and_imported_when_used() -> None:
    assert gtl.report.plot_categories is plot_categories
    assert "plot_categories" in gtl.report.__all__
    with pytest.raises(AttributeError, match="no attribute 'plot_category'"):
        gtl.report.plot_category  # noqa: B018


@pytest.mark.parametrize("classes", [0, 1, 2, 130])
def test_any_number_of_classes_is_drawn(tmp_path, classes) -> None:
    graph = CategoryGraph.identity(classes)
    assert np.isfinite(layout(graph)).all()
    file = plot_categories(graph, tmp_path / "classes.png", list(range(0, classes, 2)))
    assert file.read_bytes().startswith(b"\x89PNG")


def test_novel_classes_have_a_color_of_their_own(tmp_path) -> None:
    graph = CategoryGraph.from_paths(PATHS)
    one = plot_categories(graph, tmp_path / "one.png")
    two = plot_categories(graph, tmp_path / "two.png", torch.tensor([3, 7]), title="three areas")
    assert one.read_bytes() != two.read_bytes()
    with pytest.raises(ShapeError, match="`novel` has 15, expected 0 to 14"):
        plot_categories(graph, tmp_path / "three.png", [15])
