"""Plots of runs: learning curves, and the weight and consistency of each task over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gtl.run_folder import read_json, read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

History = Sequence[Mapping[str, Any]]
TARGET = "supervised"


def write_plots(folder: Path) -> list[Path]:
    """Plots of one run into its ``plots`` folder.

    Args:
        folder: A run folder.

    Returns:
        The files written: ``learning_curves.png``, and ``weights.png`` and ``consistency.png``
        where the run has several tasks and measured their consistency.
    """
    return plot_runs({folder.name: [folder]}, folder / "plots")


def plot_runs(runs: Mapping[str, Sequence[Path]], out: Path) -> list[Path]:
    """Compare groups of runs; a line is a group's mean over seeds, a band its extremes.

    Args:
        runs: Run folders of each group (method), by its title.
        out: Folder for the pictures; made if missing.

    Returns:
        The files written.
    """
    groups = {
        title: [read_metrics(folder) for folder in folders] for title, folders in runs.items()
    }
    metric = next(
        (m for folders in runs.values() for f in folders if (m := _metric(f))), "validation metric"
    )
    out.mkdir(parents=True, exist_ok=True)
    files = [_draw_curves(groups, metric, out / "learning_curves.png")]
    for key, label in (("weights", "mean weight"), ("consistency", "cosine with the target")):
        file = _draw_tasks(groups, key, label, out / f"{key}.png")
        if file is not None:
            files.append(file)
    return files


def _draw_curves(groups: Mapping[str, Sequence[History]], metric: str, file: Path) -> Path:
    with_valid = any(
        line["valid"] is not None for runs in groups.values() for r in runs for line in r
    )

    def draw(left: Axes, right: Axes | None = None) -> None:
        for title, runs in groups.items():
            several = len(groups) > 1 or TARGET in _tasks([runs], "losses")
            for task in [TARGET] if several else _tasks([runs], "losses"):
                label = title if several else task
                _band(left, runs, _of("losses", task), label)
            if right is not None:
                _band(right, runs, lambda line: line["valid"], title)
        left.set(xlabel="epoch", ylabel="training loss")
        _legend(right or left)
        if right is not None:
            right.set(xlabel="epoch", ylabel=f"validation {metric}")

    return _figure(draw, 2 if with_valid else 1, file)


def _draw_tasks(
    groups: Mapping[str, Sequence[History]], key: str, label: str, file: Path
) -> Path | None:
    shown = {title: runs for title, runs in groups.items() if _tasks([runs], key) - {TARGET}}
    if not shown:
        return None

    def draw(*axes: Axes) -> None:
        for ax, (title, runs) in zip(axes, shown.items()):
            for task in sorted(_tasks([runs], key)):
                _band(ax, runs, _of(key, task), task)
            if key == "consistency":
                ax.axhline(0, color="0.7", linewidth=0.8, zorder=0)
            ax.set(xlabel="epoch", ylabel=label, title=title if len(groups) > 1 else "")
            _legend(ax)

    return _figure(draw, len(shown), file)


def _figure(draw: Callable[..., None], columns: int, file: Path) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6 * columns, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    draw(*axes)
    figure.savefig(file, dpi=120)
    return file


def _legend(ax: Axes) -> None:
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize="small")


def _of(key: str, task: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda line: line[key].get(task)


def _band(
    ax: Axes, runs: Sequence[History], value: Callable[[Mapping[str, Any]], Any], label: str
) -> None:
    columns = [
        [value(run[i]) for run in runs if i < len(run)]
        for i in range(max(map(len, runs), default=0))
    ]
    points = [(i, [v for v in column if v is not None]) for i, column in enumerate(columns)]
    points = [(i, column) for i, column in points if column]
    if not points:
        return
    epochs = [i for i, _ in points]
    line = ax.plot(
        epochs,
        [sum(column) / len(column) for _, column in points],
        label=label,
        marker="o" if len(points) == 1 else None,
    )[0]
    low, high = [min(column) for _, column in points], [max(column) for _, column in points]
    ax.fill_between(epochs, low, high, color=line.get_color(), alpha=0.15, linewidth=0)


def _tasks(groups: Sequence[Sequence[History]], key: str) -> set[str]:
    return {task for runs in groups for run in runs for line in run for task in line[key]}


def _metric(folder: Path) -> str | None:
    path = folder / "results.json"
    return read_json(path).get("metric") if path.exists() else None
