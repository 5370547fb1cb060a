"""Plots of runs: learning curves, and the weight and consistency of each task by epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gtl.checkpoint import read_json
from gtl.report.drawing import COLUMNS, Drawing, wrapped
from gtl.report.drawing import panels as panels  # which loops import from here
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
    out.mkdir(parents=True, exist_ok=True)
    return [drawing.save(out / f"{drawing.name}.png") for drawing in draw_runs(runs)]


def draw_runs(runs: Mapping[str, Sequence[Path]]) -> list[Drawing]:
    """The drawings of :func:`plot_runs`.

    Args:
        runs: As for :func:`plot_runs`.
    """
    groups = {
        title: [read_metrics(folder) for folder in folders] for title, folders in runs.items()
    }
    metric = next(
        (m for folders in runs.values() for f in folders if (m := _metric(f))), "validation metric"
    )
    found = [_draw_curves(groups, metric)]
    found += [_draw_tasks(groups, key, label) for key, label in SERIES.items()]
    return [drawing for drawing in found if drawing is not None]


def _draw_curves(groups: Mapping[str, Sequence[History]], metric: str) -> Drawing | None:
    with_valid = any(
        line["valid"] is not None for runs in groups.values() for r in runs for line in r
    )

    def draw(left: Axes, right: Axes | None = None) -> None:
        entries = 0
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
        _whole_epochs(left)
        _legend(right or left)
        if right is not None:
            right.set(xlabel="epoch", ylabel=f"validation {metric}")
            _whole_epochs(right)

    height = max(3.4, 0.8 + 0.2 * len(groups))
    return Drawing("learning_curves", draw, 2 if with_valid else 1, height)


def _draw_tasks(groups: Mapping[str, Sequence[History]], key: str, label: str) -> Drawing | None:
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
            _whole_epochs(ax)
            ax.set_title(wrapped(title, 40) if len(groups) > 1 else "", fontsize="medium")
        _legend_of_all(axes)

    height = 3.4 if len(shown) < COLUMNS else 2.8
    return Drawing(key, draw, len(shown), height, {"sharey": key == "consistency"})


def _whole_epochs(ax: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


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
