"""Plot of the differences to the reference with their confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gtl.report.comparison import DataSet, Method
from gtl.report.drawing import Drawing, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = {"better": "C0", "worse": "C1", "": "0.45"}


def draw_differences(data_sets: Sequence[DataSet]) -> Drawing | None:
    """A panel for each data set: mean difference of each method with its 95 % interval.

    Small dots below are the seeds. Methods that differ significantly are colored.

    Args:
        data_sets: What was compared on each.

    Returns:
        The drawing, or ``None`` if nothing was compared.
    """
    shown = [data for data in data_sets if any(method.difference for method in data.methods)]
    if not shown:
        return None
    most = max(len(data.methods) for data in shown)

    def draw(*axes: Axes) -> None:
        for ax, data in zip(axes, shown):
            _draw(ax, data)

    return Drawing("differences", draw, len(shown), max(2.4, 1.4 + 0.28 * most))


def _draw(ax: Axes, data: DataSet) -> None:
    compared = [method for method in data.methods if method.difference is not None]
    base = data.methods[0].values(data.part)
    ax.axvline(0, color="0.7", linewidth=0.8, zorder=0)
    for place, method in enumerate(compared):
        values = method.values(data.part)
        gaps = [values[seed] - base[seed] for seed in values if seed in base]
        _draw_method(ax, place, method, gaps, data.better)
    names = [wrapped(method.title, 24) for method in compared]
    ax.set_yticks(range(len(compared)), names, fontsize="small")
    ax.set_ylim(len(compared) - 0.4, -0.6)
    ax.set_title(wrapped(data.title, 36), fontsize="medium")
    good = "right" if data.better == "higher" else "left"
    label = f"{data.part} {data.metric}, difference to {data.reference} ({good} is better)"
    ax.set_xlabel(wrapped(label, 36), fontsize="small")


def _draw_method(ax: Axes, place: int, method: Method, gaps: Sequence[float], better: str) -> None:
    found = method.difference
    assert found is not None
    color = _COLORS[found.verdict(better)]
    ax.scatter(gaps, [place + 0.25] * len(gaps), s=9, color=color, alpha=0.6, linewidths=0)
    if found.low is not None and found.high is not None:
        ax.plot([found.low, found.high], [place, place], color=color, linewidth=1.6)
    ax.plot([found.mean], [place], "o", color=color, markersize=6)
