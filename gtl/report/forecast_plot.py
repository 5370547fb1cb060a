"""Plot of forecasts and the observed values over time, a panel for each node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gtl.errors import ShapeError
from gtl.report.drawing import panels, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Values = Sequence[Sequence[float]]


def plot_forecasts(
    steps: Sequence[int],
    observed: Values,
    forecasts: Mapping[str, Values],
    nodes: Sequence[str],
    file: Path,
    labels: tuple[str, str] = ("step", "value"),
) -> Path:
    """A panel for each node: the observed values, and the forecasts of each method.

    Args:
        steps: Steps that the values are of.
        observed: Values of each step, by node; NaN where there is none.
        forecasts: Likewise by the title of a method.
        nodes: What the nodes are called.
        file: PNG file to write.
        labels: Of the axes.

    Returns:
        ``file``.

    Raises:
        ShapeError: If a method has forecasts of other steps or nodes.
    """
    for title, values in {"observed": observed, **forecasts}.items():
        if len(values) != len(steps) or any(len(row) != len(nodes) for row in values):
            raise ShapeError(
                f"`{title}` has {len(values)} rows, expected {len(steps)} (one per step) of "
                f"{len(nodes)} values (one per node)"
            )

    def draw(*axes: Axes) -> None:
        for i, ax in enumerate(axes):
            ax.plot(
                steps, [row[i] for row in observed], color="0.2", linewidth=1.6, label="observed"
            )
            for j, (title, values) in enumerate(forecasts.items()):
                ax.plot(
                    steps, [row[i] for row in values], color=f"C{j}", linewidth=1.2, label=title
                )
            ax.set_title(wrapped(nodes[i], 40), fontsize="medium")
            ax.set(xlabel=labels[0], ylabel=labels[1])
        handles, titles = axes[0].get_legend_handles_labels()
        axes[0].figure.legend(
            handles, titles, loc="outside upper center", ncols=3, frameon=False, fontsize="small"
        )

    return panels(draw, len(nodes), file, height=3.0)
