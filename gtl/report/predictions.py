"""Predictions of runs: calibration, the worst ones, and item vectors in two dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gtl.data.structure_drawing import draw_structure
from gtl.errors import ConfigError
from gtl.report.comparison import DataSet
from gtl.report.drawing import Drawing, wrapped
from gtl.report.prediction_table import PredictionTable, read_predictions
from gtl.report.sections import Part, Section, Structure, Structures
from gtl.report.tables import Table
from gtl.suggest import nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 10
WORST = 8
_METHODS = 6  # of which panels are drawn
_DOTS = 400  # in a panel: each is an element of the page


def prediction_section(data: DataSet, given: Mapping[str, Path], folder: str) -> Section | None:
    """Calibration, worst predictions and components of the methods of a data set.

    Args:
        data: What was compared on it.
        given: Files of predictions by name of a run, where its folder has none.
        folder: Where drawings are saved, below ``plots``.

    Returns:
        The section, or ``None`` where no run has a table of predictions.
    """
    found: dict[str, list[PredictionTable]] = {}
    for method in data.methods:
        files = [given.get(run.name, run.path / "predictions.csv") for run in method.runs]
        tables = [table for file in files if (table := read_predictions(file)) is not None]
        if tables:
            found[method.title] = tables
    if not found:
        return None
    parts: list[Part] = [calibration_table(found), draw_calibration(found)]
    parts += _worst(found, data)
    components = draw_components(found)
    if components is not None:
        parts.append(components)
    note = "Items of the test split; calibration is that of all runs of a method together."
    return Section("Predictions", parts, note, folder, subtitle=data.title)


def check_predictions(data_sets: Sequence[DataSet], given: Mapping[str, Path]) -> None:
    """Refuse files of predictions that are not there, or are for no run that is compared.

    Args:
        data_sets: What was compared.
        given: Files by name of a run.

    Raises:
        ConfigError: If there is one; names it.
    """
    names = sorted({run.name for data in data_sets for m in data.methods for run in m.runs})
    for name, file in given.items():
        if name not in names:
            raise ConfigError(f"predictions of {name!r} fit no run; {nearest(name, names)}")
        if not Path(file).is_file():
            raise ConfigError(
                f"predictions of {name!r}: there is no file {file}; name one, or leave it out"
            )


def calibration_error(chance: np.ndarray, happened: np.ndarray) -> float:
    """Expected calibration error in ten bins of equal width (Guo et al. 2017, Eq. 3).

    Args:
        chance: Predicted probabilities ``(k,)``.
        happened: Whether it was so ``(k,)``, 0 or 1.

    Example:
        >>> round(calibration_error(np.array([0.95, 0.95, 0.05]), np.array([1.0, 0.0, 0.0])), 4)
        0.3167
    """
    total = 0.0
    for members in _bins(chance):
        if members.any():
            total += abs(float(chance[members].sum() - happened[members].sum()))
    return total / len(chance)


def calibration_table(tables: Mapping[str, Sequence[PredictionTable]]) -> Table:
    """Errors of probabilities, or of values, by method."""
    values = any(table.is_regression for group in tables.values() for table in group)
    rows = []
    for title, group in tables.items():
        chance, happened = _joined(group)
        gap = chance - happened
        if values:
            cells = [f"{gap.mean():+.4g}", f"{np.abs(gap).mean():.4g}", f"{gap.std():.4g}"]
        else:
            cells = [f"{calibration_error(chance, happened):.4f}", f"{(gap**2).mean():.4f}"]
        rows.append((title, str(len(chance)), *cells))
    if values:
        header = ("method", "predictions", "mean error", "mean absolute", "deviation of the error")
        return Table("Errors", "prediction minus label", header, tuple(rows))
    note = f"expected calibration error in {BINS} bins, and Brier score; lower is better"
    return Table(
        "Calibration", note, ("method", "predictions", "calibration", "Brier"), tuple(rows)
    )


def draw_calibration(tables: Mapping[str, Sequence[PredictionTable]]) -> Drawing:
    """Frequency over predicted probability, or predicted over true values, by method."""
    values = any(table.is_regression for group in tables.values() for table in group)
    shown = list(tables.items())[:_METHODS]
    if values:
        return Drawing(
            "predicted", lambda *axes: _draw_values(axes, shown), len(shown), 3.4, {"sharey": True}
        )

    def draw(ax: Axes) -> None:
        ax.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, zorder=0)
        for number, (title, group) in enumerate(tables.items()):
            chance, happened = _joined(group)
            dots = [(chance[b].mean(), happened[b].mean()) for b in _bins(chance) if b.any()]
            x, y = zip(*dots)
            ax.plot(x, y, "o-", color=f"C{number % 10}", markersize=4, label=wrapped(title, 40))
        ax.set(xlabel="predicted probability", ylabel="share of items where it was so")
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize="small")

    return Drawing("calibration", draw)


def draw_components(tables: Mapping[str, Sequence[PredictionTable]]) -> Drawing | None:
    """The first two principal components of item vectors, colored by label and by domain."""
    shown = [
        (title, group[0], what)
        for title, group in list(tables.items())[:_METHODS]
        if group[0].components is not None
        for what in ("label", "domain")
        if group[0].colors(what) is not None
    ]
    if not shown:
        return None

    def draw(*axes: Axes) -> None:
        for ax, (title, table, what) in zip(axes, shown):
            chosen = _evenly(len(table.labels), _DOTS)
            assert table.components is not None
            _scatter(ax, table.components[chosen], np.asarray(table.colors(what))[chosen])
            ax.set_title(wrapped(f"{title}, by {what}", 40), fontsize="medium")
            ax.set(xlabel="component 1", ylabel="component 2", xticks=[], yticks=[])
        if axes[0].get_legend_handles_labels()[0]:  # numbers have a scale and no legend
            axes[0].legend(fontsize="small", frameon=False, loc="upper left", bbox_to_anchor=(1, 1))

    return Drawing("components", draw, len(shown))


def _worst(tables: Mapping[str, Sequence[PredictionTable]], data: DataSet) -> list[Part]:
    """The worst predictions of the first run of the method that is best on validation data."""
    sign = 1 if data.better == "higher" else -1
    means = {m.title: sign * m.valid.mean for m in data.methods if m.valid and m.title in tables}
    title = max(means, key=lambda name: means[name]) if means else next(iter(tables))
    found = tables[title][0].worst(WORST)
    items = tuple(
        Structure(name, (draw_structure(name) if is_name else None) or "", facts)
        for name, is_name, facts in found
    )
    if not items:
        return []
    return [Structures(f"Worst predictions of {title}", items)]


def _draw_values(
    axes: Sequence[Axes], groups: Sequence[tuple[str, Sequence[PredictionTable]]]
) -> None:
    for number, (ax, (title, group)) in enumerate(zip(axes, groups)):
        predicted, true = _joined(group)
        chosen = _evenly(len(true), _DOTS)
        ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
        ax.plot(ends, ends, color="0.7", linewidth=0.8, zorder=0)
        ax.scatter(
            true[chosen], predicted[chosen], s=7, color=f"C{number}", alpha=0.5, linewidths=0
        )
        ax.set(xlabel="label", ylabel="prediction")
        ax.set_title(wrapped(title, 40), fontsize="medium")


def _scatter(ax: Axes, points: np.ndarray, colors: np.ndarray) -> None:
    if colors.dtype.kind in "fi" and len(np.unique(colors)) > 2:
        from matplotlib import colormaps

        low, high = np.percentile(colors, [2, 98])
        shades = colormaps["viridis"](np.clip((colors - low) / max(high - low, 1e-12), 0, 1))
        ax.scatter(points[:, 0], points[:, 1], s=8, c=shades, linewidths=0)
        return
    for number, name in enumerate(sorted(set(colors.tolist()), key=str)):
        of_name = points[colors == name]
        label = f"{name:g}" if isinstance(name, float) else str(name)
        ax.scatter(
            of_name[:, 0],
            of_name[:, 1],
            s=8,
            color=f"C{number % 10}",
            linewidths=0,
            alpha=0.7,
            label=label,
        )


def _joined(group: Sequence[PredictionTable]) -> tuple[np.ndarray, np.ndarray]:
    pairs = [table.pairs() for table in group]
    return np.concatenate([p for p, _ in pairs]), np.concatenate([t for _, t in pairs])


def _bins(chance: np.ndarray) -> list[np.ndarray]:
    places = np.clip((chance * BINS).astype(int), 0, BINS - 1)
    return [places == place for place in range(BINS)]


def _evenly(count: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))
