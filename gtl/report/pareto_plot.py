"""Plot of quality against costs, with the methods that no other beats in both (Pareto front)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gtl.report.plots import panels, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKS = "osD^vPX*<>"


@dataclass(frozen=True)
class Point:
    """A method.

    Attributes:
        quality: Mean value of the metric.
        costs: What it costs, by the name of the cost.
        spread: Standard deviation of the quality; ``None`` where it is not known.
    """

    quality: float
    costs: Mapping[str, float]
    spread: float | None = None


def front(points: Mapping[str, Point], cost: str, better: str = "higher") -> list[str]:
    """Methods that no other is at least as good as and as cheap as, the cheapest first.

    Args:
        points: Methods by name.
        cost: Which cost; methods without it are left out.
        better: Which qualities are better, ``"higher"`` or ``"lower"``.

    Example:
        >>> methods = {"large": Point(0.9, {"kB": 40}), "small": Point(0.8, {"kB": 10}),
        ...            "neither": Point(0.8, {"kB": 20})}
        >>> front(methods, "kB")
        ['small', 'large']
    """
    sign = -1.0 if better == "lower" else 1.0
    ordered = sorted(
        (point.costs[cost], -sign * point.quality, name)
        for name, point in points.items()
        if cost in point.costs
    )
    found, best = [], float("inf")
    for _, badness, name in ordered:
        if badness < best:
            found.append(name)
            best = badness
    return found


def plot_front(
    points: Mapping[str, Point],
    costs: Sequence[str],
    metric: str,
    file: Path | str,
    better: str = "higher",
) -> Path:
    """A panel for each cost, on a logarithmic axis: methods, and a line through the front.

    Args:
        points: Methods by name.
        costs: Which costs to show, with their units.
        metric: Name of the quality.
        file: PNG file to write; its folder is made if missing.
        better: Which qualities are better, ``"higher"`` or ``"lower"``.

    Returns:
        ``file``.
    """
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)

    def draw(*axes: Axes) -> None:
        for ax, cost in zip(axes, costs):
            _draw(ax, points, cost, better)
            ax.set(xlabel=cost, ylabel=metric if ax is axes[0] else "")
        lines, names = axes[0].get_legend_handles_labels()
        axes[0].figure.legend(
            lines, names, loc="outside right upper", frameon=False, fontsize="small"
        )

    return panels(draw, len(costs), file, max(3.4, 0.8 + 0.25 * len(points)))


def _draw(ax: Axes, points: Mapping[str, Point], cost: str, better: str) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    best = front(points, cost, better)
    for number, (name, point) in enumerate(points.items()):
        if cost not in point.costs:
            continue
        ax.errorbar(
            point.costs[cost],
            point.quality,
            yerr=point.spread,
            label=wrapped(name, 40),
            marker=_MARKS[number % len(_MARKS)],
            markersize=7 if name in best else 5,
            markerfacecolor=None if name in best else "white",
            linestyle="",
            elinewidth=0.8,
            color=f"C{number % 10}",
        )
    ax.plot(
        [points[name].costs[cost] for name in best],
        [points[name].quality for name in best],
        color="0.6",
        linewidth=1.0,
        label="front",
        zorder=0,
        drawstyle="steps-post",
    )
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
