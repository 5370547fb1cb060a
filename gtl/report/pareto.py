"""Pareto front of quality against what it costs: parameters, bytes, operations, time.

A method is on the front if no other is at least as good and costs at most as much, and better in
one of both (Menghani 2023, Section 2: both sides of efficiency are compared, not one number).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from gtl.metrics import direction
from gtl.report.comparison import DataSet
from gtl.report.drawing import Drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COSTS = {
    "parameters_total": "parameters",
    "parameters_trained": "trained parameters",
    "stored_bytes": "stored bytes",
    "communicated_bytes": "bytes sent",
    "flops": "operations of a prediction",
    "latency_p50_ms": "milliseconds of a prediction",
    "seconds": "seconds of training",
}
_LOG = 8  # from the least cost to the most, by which factor on the axis is logarithmic
_NAMED = 12  # with more points no legend can tell them apart


@dataclass(frozen=True)
class Point:
    """One method.

    Attributes:
        name: What it is called.
        value: Its quality.
        costs: What it costs, by key of the footprint.
        std: Standard deviation of the quality; 0 for one run.
    """

    name: str
    value: float
    costs: Mapping[str, float]
    std: float = 0.0


def front(points: Sequence[tuple[float, float]], better: str) -> list[int]:
    """Numbers of the points that no other dominates, from the cheapest on.

    Args:
        points: Cost and value of each.
        better: ``"higher"`` or ``"lower"``: which values are good. Low costs always are.

    Example:
        >>> front([(1, 0.7), (2, 0.6), (3, 0.9), (3, 0.8)], "higher")
        [0, 2]
    """
    sign = 1.0 if better == "higher" else -1.0
    ordered = sorted(range(len(points)), key=lambda i: (points[i][0], -sign * points[i][1]))
    found: list[int] = []
    for i in ordered:
        if not found or sign * points[i][1] > sign * points[found[-1]][1]:
            found.append(i)
    return found


def points_of(data: DataSet) -> list[Point]:
    """The methods of a data set that have a value, with the mean of what their runs cost."""
    found = []
    for method in data.methods:
        values = list(method.values(data.part).values())
        if not values:
            continue
        runs = [_costs(run.results or {}) for run in method.runs]
        known = {key: [cost[key] for cost in runs if cost.get(key)] for key in COSTS}
        costs = {key: fmean(numbers) for key, numbers in known.items() if numbers}
        spread = method.test if data.part == "test" else method.valid
        found.append(
            Point(method.title, fmean(values), costs, (spread.std or 0.0) if spread else 0.0)
        )
    return found


def _costs(results: Mapping[str, Any]) -> dict[str, float]:
    """What a run cost, the bytes of a federated training included."""
    costs = results.get("footprint") or {}
    sent = (results.get("bytes") or {}).get("training") or costs.get("communicated_bytes")
    return {**costs, "communicated_bytes": sent}


def trial_points(results: Mapping[str, Any]) -> list[Point]:
    """The complete trials of a search; none where its footprint did not count.

    Args:
        results: What ``results.json`` of :func:`gtl.search` holds.
    """
    name = results["objective"]
    return [
        Point(f"trial {trial['number']}", trial["valid"], {name: trial["footprint"]})
        for trial in results["trials"]
        if name is not None and trial["state"] == "complete"
    ]


def draw_front(points: Sequence[Point], metric: str, part: str) -> Drawing | None:
    """A panel for each cost in which the points differ, with the front as a line.

    Args:
        points: What to draw.
        metric: Of the values.
        part: Split that they are of.

    Returns:
        The drawing, or ``None`` if there are less than two points or they cost the same.
    """
    keys = list(dict.fromkeys(key for point in points for key in point.costs))
    shown = [
        key
        for key in keys
        if len({f"{point.costs[key]:.2g}" for point in points if key in point.costs}) > 1
    ]
    if not shown:
        return None

    def draw(*axes: Axes) -> None:
        for ax, key in zip(axes, shown):
            _draw(ax, points, key, direction(metric) or "higher")
            ax.set(xlabel=COSTS.get(key, key.replace("_", " ")), ylabel=f"{part} {metric}")
        if len(points) <= _NAMED:
            axes[min(len(axes), 3) - 1].legend(
                loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize="small"
            )

    return Drawing("pareto", draw, len(shown))


def _draw(ax: Axes, points: Sequence[Point], key: str, better: str) -> None:
    from matplotlib.ticker import EngFormatter

    known = [(i, point) for i, point in enumerate(points) if key in point.costs]
    many = len(points) > _NAMED
    for i, point in known:
        color = "C0" if many else f"C{i % 10}"
        label = None if many else point.name
        ax.errorbar(
            [point.costs[key]],
            [point.value],
            yerr=point.std or None,
            fmt="o" if i < 10 else "s",
            markersize=4 if many else 6,
            elinewidth=1,
            color=color,
            label=label,
        )
    best = front([(point.costs[key], point.value) for _, point in known], better)
    line = [(known[i][1].costs[key], known[i][1].value) for i in best]
    ax.plot(*zip(*line), color="0.6", linewidth=1, linestyle="--", zorder=0, drawstyle="steps-post")
    costs = [point.costs[key] for _, point in known]
    if min(costs) > 0 and max(costs) / min(costs) > _LOG:
        ax.set_xscale("log")
    else:
        ax.locator_params(axis="x", nbins=5)
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))
