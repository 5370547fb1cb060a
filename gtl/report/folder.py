"""Report of folders of runs: one page, tables, raw numbers and plots."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gtl.checkpoint import write_text
from gtl.errors import ConfigError
from gtl.report.comparison import Comparison, compare_runs
from gtl.report.contents import contents_of
from gtl.report.latex import as_latex
from gtl.report.markdown import as_page
from gtl.report.numbers import as_csv, as_json
from gtl.report.page import as_html
from gtl.report.run_tables import own_sections
from gtl.report.runs import find_runs
from gtl.report.sections import Section
from gtl.report.tables import as_text, remarks


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
    folder: Path | str | Sequence[Path | str],
    *,
    out: Path | str | None = None,
    reference: str | None = None,
    label: Mapping[str, str] | None = None,
    footprint: bool = False,
    plots: bool = True,
    predictions: Mapping[str, Path] | None = None,
) -> Report:
    """Compare the runs in a folder: methods by data set, over the seeds that they share.

    Runs that differ in nothing but their seed are repetitions of one method. A method's title names
    the settings in which it differs from others: ``target only``, ``aux_ts``,
    ``aux_ts (auxiliary_weight=1)``, ``pre-trained + equal``. Differences to the reference are
    paired by seed and come with their 95 % interval (:func:`gtl.report.compare.paired`); ``better``
    and ``worse`` stand only where the difference is significant: the interval leaves out 0.
    Few-shot comparisons, comparisons, adaptations and searches have tables of their own. Runs
    that have not ended are listed.

    Args:
        folder: Folder with run folders, at any depth, or several.
        out: Folder for ``report.html``, a page that needs no other file and no network,
            ``report.md``, ``report.tex``, ``report.json``, ``runs.csv`` and ``plots/``; ``report``
            in the first ``folder`` by default. Files of an earlier report are replaced.
        reference: Title of the method that others are compared with; by default the one without
            auxiliary tasks, and without pre-training if there are several.
        label: Titles of your own: by automatic title, or by a pattern of run folders, such as
            ``{"scratch-*": "from scratch"}``. Runs of one title are one method.
        footprint: Show the costs of the runs in the text, too: parameters, bytes, seconds, memory.
        plots: Draw differences, learning curves, weights, consistency and what else there is.
        predictions: Files of predictions by name of a run, where a run folder has none.

    Raises:
        CheckpointError: If there is no run in the folder, or none has ended.
        ConfigError: If no method has the title ``reference``, a label fits no run, predictions
            are of no run or in no file, or ``out`` is a file.
    """
    tops = [Path(folder)] if isinstance(folder, (str, Path)) else [Path(top) for top in folder]
    out = tops[0] / "report" if out is None else Path(out)
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; choose another folder for the report")
    runs = find_runs(tops)
    own = own_sections(runs)
    comparison = compare_runs(runs, reference, label, alone=not own)
    sections = contents_of(runs, comparison, own, footprint, plots, predictions or {})
    out.mkdir(parents=True, exist_ok=True)
    pictures = _draw(sections, out / "plots") if plots else []
    places = [picture.relative_to(out).as_posix() for picture in pictures]
    files = {
        "report.md": as_page(sections, remarks(comparison, markdown=True), places),
        "report.html": as_html(sections, comparison, len(runs), plots),
        "report.tex": as_latex(table for section in sections for table in section.tables()),
        "report.json": json.dumps(as_json(comparison), indent=1) + "\n",
        "runs.csv": as_csv(comparison),
    }
    for name, content in files.items():
        write_text(out / name, content)
    brief = [as_text(table) for s in sections if s.is_brief for table in s.tables()]
    first = sum(1 for _ in sections[0].tables()) if comparison.data_sets else 0
    text = "\n\n".join([*brief[:first], *remarks(comparison), *brief[first:]])
    return Report(comparison, text, out, (*(out / name for name in files), *pictures))


def _draw(sections: Sequence[Section], out: Path) -> list[Path]:
    """PNG files of all drawings, in a folder for each data set or run."""
    used: set[str] = set()
    places = {"": out}
    files = []
    for section in sections:
        if section.folder not in places:
            places[section.folder] = out / _file_name(section.folder, used)
        for drawing in section.drawings():
            place = places[section.folder]
            place.mkdir(parents=True, exist_ok=True)
            files.append(drawing.save(place / f"{drawing.name}.png"))
    return files


def _file_name(title: str, used: set[str]) -> str:
    base = re.sub(r"[^A-Za-z0-9.=-]+", "_", title)[-60:].strip("_.") or "data"
    name, count = base, 1
    while name.lower() in used:
        count += 1
        name = f"{base}_{count}"
    used.add(name.lower())
    return name
