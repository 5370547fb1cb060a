"""Plots of runs: learning curves, and the weight and consistency of each task by epoch."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gtl.checkpoint import read_json
from gtl.run_folder import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

History = Sequence[Mapping[str, Any]]
TARGET = "supervised"
SERIES = {
    "weights": "mean weight",
    "consistency": "cosine with the target",
    "gates": "share of samples used",
}
_COLUMNS = 3


def write_plots(folder: Path) -> list[Path]:
    """Plots of one run into its ``plots`` folder.

    Args:
        folder: A run folder.

    Returns:
        The files written: ``learning_curves.png``, ``weights.png`` and ``consistency.png``
        where the run has several tasks and measured their consistency, and ``gates.png`` where
        tasks have gates.
    """
    return plot_runs({folder.name: [folder]}, folder / "plots")


def plot_runs(runs: Mapping[str, Sequence[Path]], out: Path) -> list[Path]:
    """Compare groups of runs; a line is a group's mean over seeds, a band its extremes.

    With more than four groups learning curves have no bands: they would hide one another.

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
    for key, label in SERIES.items():
        file = _draw_tasks(groups, key, label, out / f"{key}.png")
        if file is not None:
            files.append(file)
    return files


def panels(
    draw: Callable[..., None], count: int, file: Path, height: float = 3.4, **options: Any
) -> Path:
    """A figure of ``count`` panels, three in a row at most; ``draw`` is called with all of them.

    Args:
        draw: What fills the panels, one positional argument each.
        count: Number of panels.
        file: PNG file to write.
        height: Of a panel, in inches.
        **options: For matplotlib's ``Figure.subplots``.

    Returns:
        ``file``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    width = 5.6 if count < _COLUMNS else 4.4
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options).flatten()
    for ax in axes[count:]:
        ax.remove()
    for ax in axes[:count]:
        ax.spines[["top", "right"]].set_visible(False)
    draw(*axes[:count])
    figure.savefig(file, dpi=120)
    return file


def wrapped(text: str, width: int) -> str:
    """Text broken into lines of at most ``width`` letters, within words if need be."""
    return "\n".join(textwrap.wrap(text, width))


def _draw_curves(groups: Mapping[str, Sequence[History]], metric: str, file: Path) -> Path:
    with_valid = any(
        line["valid"] is not None for runs in groups.values() for r in runs for line in r
    )
    entries = 0

    def draw(left: Axes, right: Axes | None = None) -> None:
        nonlocal entries
        for title, runs in groups.items():
            several = len(groups) > 1 or TARGET in _tasks([runs], "losses")
            for task in [TARGET] if several else sorted(_tasks([runs], "losses")):
                look = _look(entries, len(groups) <= 4)
                name = wrapped(title, 40) if several else task
                _band(left, runs, _of("losses", task), name, look)
                entries += 1
            if right is not None:
                _band(right, runs, lambda line: line["valid"], wrapped(title, 40), look)
        left.set(xlabel="epoch", ylabel="training loss")
        _legend(right or left)
        if right is not None:
            right.set(xlabel="epoch", ylabel=f"validation {metric}")

    return panels(draw, 2 if with_valid else 1, file, max(3.4, 0.8 + 0.2 * len(groups)))


def _draw_tasks(
    groups: Mapping[str, Sequence[History]], key: str, label: str, file: Path
) -> Path | None:
    shown = {title: runs for title, runs in groups.items() if _tasks([runs], key) - {TARGET}}
    if not shown:
        return None
    tasks = _tasks(list(shown.values()), key)
    looks = {task: _look(i) for i, task in enumerate(sorted(tasks - {TARGET}))}
    looks[TARGET] = {**_look(0), "color": "0.2"}

    def draw(*axes: Axes) -> None:
        for ax, (title, runs) in zip(axes, shown.items()):
            for task in sorted(_tasks([runs], key)):
                _band(ax, runs, _of(key, task), task, looks[task])
            if key == "consistency":
                ax.axhline(0, color="0.7", linewidth=0.8, zorder=0)
            elif ax.get_ylim()[0] > 0:
                ax.set_ylim(bottom=0)
            ax.set(xlabel="epoch", ylabel=label)
            ax.set_title(wrapped(title, 40) if len(groups) > 1 else "", fontsize="medium")
        _legend_of_all(axes)

    height = 3.4 if len(shown) < _COLUMNS else 2.8
    return panels(draw, len(shown), file, height, sharey=key == "consistency")


def _legend(ax: Axes) -> None:
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize="small")


def _legend_of_all(axes: Sequence[Axes]) -> None:
    """One legend beside all panels: a task looks the same in each."""
    found: dict[str, Any] = {}
    for ax in axes:
        lines, labels = ax.get_legend_handles_labels()
        found.update(zip(labels, lines))
    names = sorted(found, key=lambda name: (name != TARGET, name))
    axes[0].figure.legend(
        handles=[found[name] for name in names],
        labels=names,
        loc="outside right upper",
        frameon=False,
        fontsize="small",
    )


def _look(index: int, band: bool = True) -> dict[str, Any]:
    """Color and dashes of the ``index``-th line; ten colors, then the same ones dashed."""
    dashes = ("-", "--", ":", "-.")[index // 10 % 4]
    return {"color": f"C{index % 10}", "linestyle": dashes, "band": band}


def _of(key: str, task: str) -> Callable[[Mapping[str, Any]], Any]:
    def value(line: Mapping[str, Any]) -> Any:
        found = line.get(key, {}).get(task)
        return found["share"] if isinstance(found, Mapping) else found

    return value


def _band(
    ax: Axes,
    runs: Sequence[History],
    value: Callable[[Mapping[str, Any]], Any],
    label: str,
    look: Mapping[str, Any],
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
    ax.plot(
        epochs,
        [sum(column) / len(column) for _, column in points],
        label=label,
        marker="o" if len(points) == 1 else None,
        color=look["color"],
        linestyle=look["linestyle"],
    )
    if look["band"]:
        low, high = [min(column) for _, column in points], [max(column) for _, column in points]
        ax.fill_between(epochs, low, high, color=look["color"], alpha=0.15, linewidth=0)


def _tasks(groups: Sequence[Sequence[History]], key: str) -> set[str]:
    return {task for runs in groups for run in runs for line in run for task in line.get(key, {})}


def _metric(folder: Path) -> str | None:
    path = folder / "results.json"
    return read_json(path).get("metric") if path.exists() else None
