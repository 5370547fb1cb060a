"""Picture of a graph of classes, in which joined classes lie near each other.

Classes are placed by attraction along edges and repulsion between all (Fruchterman & Reingold
1991), from the same start each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gtl.data.category_graph import CategoryGraph
from gtl.errors import ShapeError
from gtl.report.drawing import panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

_NAMED = 100  # with more classes than that, names would hide the edges
_ROUNDS = 200
_LETTERS = 22


def plot_categories(
    graph: CategoryGraph,
    file: str | Path,
    novel: Tensor | Sequence[int] = (),
    title: str = "",
) -> Path:
    """Classes as dots, edges as lines that are the darker the more they weigh.

    Names stand beside up to 100 classes, the last part of a path. Time and memory go with the
    square of the number of classes: 2,000 take about a minute.

    Args:
        graph: What to draw; directions are not shown.
        file: PNG file to write.
        novel: Numbers of the classes with few samples, int64 ``(k,)``; they are orange, and the
            others, base classes, blue.
        title: Above the picture.

    Returns:
        ``file``.

    Raises:
        ShapeError: If ``novel`` names a class that is not there.
    """
    few = np.zeros(graph.num_classes, dtype=bool)
    numbers = np.asarray(novel, dtype=np.int64)
    if len(numbers) and not (numbers.min() >= 0 and numbers.max() < graph.num_classes):
        raise ShapeError(f"`novel` has {numbers.max()}, expected 0 to {graph.num_classes - 1}")
    few[numbers] = True
    places = layout(graph)

    def draw(ax: Axes) -> None:
        _draw_edges(ax, graph, places)
        for chosen, color, label in ((~few, "C0", "base"), (few, "C1", "novel")):
            if chosen.any():
                label = f"{label} ({chosen.sum()})" if few.any() else ""
                x, y = places[chosen].T
                ax.scatter(x, y, s=26, color=color, label=label, zorder=2)
        if graph.names and graph.num_classes <= _NAMED:
            _draw_names(ax, graph.names, places)
        if few.any():
            ax.legend(frameon=False, fontsize="small")
        ax.set_title(title, fontsize="medium")
        ax.set_axis_off()
        ax.set_aspect("equal")

    return panels(draw, 1, Path(file), height=5.6)


def layout(graph: CategoryGraph) -> np.ndarray:
    """Places ``(c, 2)`` of the classes in which those joined by heavy edges are near.

    Example:
        >>> places = layout(CategoryGraph.from_paths(["/a/b", "/a/c", "/d/e", "/d/f"], 0.5, 2))
        >>> apart = np.linalg.norm(places[:, None] - places, axis=2)
        >>> bool(max(apart[0, 1], apart[2, 3]) < min(apart[0, 2], apart[1, 3]))
        True
    """
    count = graph.num_classes
    places = np.random.default_rng(0).uniform(-1, 1, (count, 2))
    src, dst, weight = graph.src.numpy(), graph.dst.numpy(), graph.weight.numpy()
    pull = weight / max(weight.max(initial=0.0), 1e-12)
    side = max(count, 1) ** -0.5  # the distance at which two free classes would rest
    for heat in np.linspace(0.2, 0.0, _ROUNDS, endpoint=False):
        apart = places[:, None] - places  # (c, c, 2)
        length = np.maximum(np.linalg.norm(apart, axis=2), 1e-3)
        force = (apart * (side / length)[:, :, None] ** 2).sum(1)
        along = places[src] - places[dst]
        tug = along * (pull * np.linalg.norm(along, axis=1) / side)[:, None]
        np.subtract.at(force, src, tug)
        np.add.at(force, dst, tug)
        force -= places  # toward the middle, or parts that nothing joins would drift off
        size = np.maximum(np.linalg.norm(force, axis=1, keepdims=True), 1e-12)
        places = places + force / size * np.minimum(size, heat)
    return places


def _draw_edges(ax: Axes, graph: CategoryGraph, places: np.ndarray) -> None:
    from matplotlib.collections import LineCollection

    ends = np.stack([graph.src.numpy(), graph.dst.numpy()])
    share = graph.weight.numpy() / max(graph.weight.numpy().max(initial=0.0), 1e-12)
    colors = np.column_stack([np.full((len(share), 3), 0.35), 0.05 + 0.55 * share])
    ax.add_collection(LineCollection(places[ends].swapaxes(0, 1), colors=colors, linewidths=0.7))


def _draw_names(ax: Axes, names: Sequence[str], places: np.ndarray) -> None:
    for name, (x, y) in zip(names, places):
        short = name.rstrip("/").rpartition("/")[2].replace("_", " ")
        text = short if len(short) <= _LETTERS else short[: _LETTERS - 1] + "…"
        ax.annotate(text, (x, y), xytext=(3, 3), textcoords="offset points", fontsize=5)
