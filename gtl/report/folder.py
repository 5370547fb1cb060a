"""Report of a folder of runs: tables, raw numbers and plots."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gtl.checkpoint import write_text
from gtl.errors import ConfigError
from gtl.report.comparison import Comparison, compare_runs
from gtl.report.difference_plot import plot_differences
from gtl.report.numbers import as_csv, as_json
from gtl.report.plots import plot_runs
from gtl.report.runs import find_runs
from gtl.report.tables import as_markdown, as_text, remarks, tables


@dataclass(frozen=True)
class Report:
    """What :func:`report` returns; ``print`` shows its tables.

    Attributes:
        comparison: All numbers: data sets, methods, runs, differences.
        text: Tables and notes, at most 100 columns wide.
        folder: Where the files are.
        files: Those written.
    """

    comparison: Comparison
    text: str
    folder: Path
    files: tuple[Path, ...]

    def __str__(self) -> str:
        return self.text


def report(
    folder: Path | str,
    *,
    out: Path | str | None = None,
    reference: str | None = None,
    label: Mapping[str, str] | None = None,
    footprint: bool = False,
    plots: bool = True,
) -> Report:
    """Compare the runs in a folder: methods by data set, over the seeds that they share.

    Runs that differ in nothing but their seed are repetitions of one method. A method's title names
    the settings in which it differs from others: ``target only``, ``aux_ts``,
    ``aux_ts (auxiliary_weight=1)``, ``pre-trained + equal``. Differences to the reference are
    paired by seed and come with their 95 % interval (:func:`gtl.report.compare.paired`); ``better``
    and ``worse`` stand only where the difference is significant: the interval leaves out 0. Runs
    that have not ended are listed.

    Args:
        folder: Folder with run folders, at any depth.
        out: Folder for ``report.md``, ``report.json``, ``runs.csv`` and ``plots/``; ``report`` in
            ``folder`` by default. Files of an earlier report are replaced.
        reference: Title of the method that others are compared with; by default the one without
            auxiliary tasks, and without pre-training if there are several.
        label: Titles of your own: by automatic title, or by a pattern of run folders, such as
            ``{"scratch-*": "from scratch"}``. Runs of one title are one method.
        footprint: Show the costs of the runs: parameters, bytes, seconds, memory.
        plots: Draw differences, learning curves, weights and consistency.

    Raises:
        CheckpointError: If there is no run in the folder, or none has ended.
        ConfigError: If no method has the title ``reference``, a label fits no run, or ``out`` is a
            file.
    """
    folder = Path(folder)
    out = folder / "report" if out is None else Path(out)
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; choose another folder for the report")
    comparison = compare_runs(find_runs(folder), reference, label)
    shown = tables(comparison, footprint)
    out.mkdir(parents=True, exist_ok=True)
    pictures = _draw(comparison, out / "plots") if plots else []
    files = {
        "report.md": _markdown(comparison, map(as_markdown, shown), pictures, out),
        "report.json": json.dumps(as_json(comparison), indent=1) + "\n",
        "runs.csv": as_csv(comparison),
    }
    for name, content in files.items():
        write_text(out / name, content)
    text = "\n\n".join([*map(as_text, shown), *remarks(comparison)])
    return Report(comparison, text, out, (*(out / name for name in files), *pictures))


def _draw(comparison: Comparison, out: Path) -> list[Path]:
    """Differences in one picture, and a folder of curves for each data set."""
    out.mkdir(parents=True, exist_ok=True)
    compared = plot_differences(comparison.data_sets, out / "differences.png")
    files = [] if compared is None else [compared]
    used: set[str] = set()
    for data in comparison.data_sets:
        runs = {
            method.title: [run.path for run in method.runs if run.epochs] for method in data.methods
        }
        runs = {title: folders for title, folders in runs.items() if folders}
        if runs:
            files += plot_runs(runs, out / _file_name(data.title, used))
    return files


def _file_name(title: str, used: set[str]) -> str:
    base = re.sub(r"[^A-Za-z0-9.=-]+", "_", title)[-60:].strip("_.") or "data"
    name, count = base, 1
    while name.lower() in used:
        count += 1
        name = f"{base}_{count}"
    used.add(name.lower())
    return name


def _markdown(
    comparison: Comparison, shown: Iterable[str], pictures: Sequence[Path], out: Path
) -> str:
    places = [picture.relative_to(out).as_posix() for picture in pictures]
    parts = ["# Report", *shown, *remarks(comparison, markdown=True)]
    if places:
        parts += ["## plots", *(f"![{place}]({place})" for place in places)]
    return "\n\n".join(parts) + "\n"
