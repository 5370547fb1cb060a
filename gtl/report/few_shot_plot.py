"""Plot of accuracy over the number of shots, a line for each method."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gtl.report.compare import paired
from gtl.report.drawing import Drawing, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DASHES: Sequence[Any] = ("-", "--", ":", "-.")


def draw_shots(
    values: Mapping[str, Mapping[int, Mapping[str, Sequence[float]]]], measures: Sequence[str]
) -> Drawing:
    """A panel for each measure: mean over splits by shots, with its 95 % interval.

    Args:
        values: A value per split, by method, shots and measure.
        measures: Which ones to show.
    """

    def draw(*axes: Axes) -> None:
        for ax, measure in zip(axes, measures):
            _draw(ax, values, measure)
        lines, names = axes[0].get_legend_handles_labels()
        axes[0].figure.legend(
            lines, names, loc="outside right upper", frameon=False, fontsize="small"
        )

    return Drawing("shots", draw, len(measures), max(3.4, 0.8 + 0.2 * len(values)))


def plot_shots(
    values: Mapping[str, Mapping[int, Mapping[str, Sequence[float]]]],
    measures: Sequence[str],
    file: Path,
) -> Path:
    """Save :func:`draw_shots` as a PNG file; its folder is made if missing.

    Args:
        values: As for :func:`draw_shots`.
        measures: Likewise.
        file: PNG file to write.

    Returns:
        ``file``.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    return draw_shots(values, measures).save(file)


def _draw(
    ax: Axes, values: Mapping[str, Mapping[int, Mapping[str, Sequence[float]]]], measure: str
) -> None:
    shots = list(next(iter(values.values())))
    for number, (method, by_shots) in enumerate(values.items()):
        columns = [by_shots[k][measure] for k in shots]
        step = 0.5 * (number + 0.5) / len(values) - 0.25  # so that intervals do not hide each other
        ax.errorbar(
            [place + step for place in range(len(shots))],
            [100 * statistics.fmean(column) for column in columns],
            yerr=[_half(column) for column in columns],
            label=wrapped(method, 40),
            marker="o",
            markersize=3,
            linewidth=1.2,
            elinewidth=0.8,
            color=f"C{number % 10}",
            linestyle=_DASHES[number // 10 % len(_DASHES)],
        )
    ax.set_xticks(range(len(shots)), [str(k) for k in shots])
    ax.set(xlabel="shots", ylabel="percent")
    ax.set_title(measure.replace("_", " "), fontsize="medium")


def _half(values: Sequence[float]) -> float:
    """Half the width of the 95 % interval of the mean, in percent; 0 of one value."""
    found = paired(dict(enumerate(values)), dict.fromkeys(range(len(values)), 0.0))
    return 0.0 if found.high is None else 100 * (found.high - found.mean)
