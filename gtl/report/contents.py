"""Contents of a report: the sections that its runs have something to show for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from gtl.report.bytes_plot import draw_bytes
from gtl.report.comparison import Comparison, DataSet
from gtl.report.difference_plot import draw_differences
from gtl.report.pareto import draw_front, points_of
from gtl.report.plots import SERIES, draw_runs
from gtl.report.predictions import check_predictions, prediction_section
from gtl.report.reproduce import reproduction
from gtl.report.runs import RunRecord
from gtl.report.sections import Part, Picture, Section
from gtl.report.tables import footprint_table, tables

# What a loop draws of its own metrics: the report draws them, too, for all runs together.
_DRAWN_HERE = {"learning_curves", "few_shot", "pareto", "bytes", *SERIES}
_BANDS = "Lines are means over seeds, bands reach from the lowest to the highest."


def contents_of(
    runs: Sequence[RunRecord],
    comparison: Comparison,
    own: Sequence[Section],
    footprint: bool,
    plots: bool,
    predictions: Mapping[str, Path],
) -> list[Section]:
    """The sections, in order.

    Args:
        runs: All runs.
        comparison: Of those that have values on a target.
        own: Sections of runs that have tables of their own.
        footprint: Whether costs follow the values of each data set.
        plots: Whether anything is drawn.
        predictions: Files of predictions by name of a run, where a run folder has none.

    Raises:
        ConfigError: If one of these names no run that is compared, or no file.
    """
    check_predictions(comparison.data_sets, predictions)
    found = [_results(comparison, footprint, plots)]
    found += own
    for data in comparison.data_sets:
        found.append(_costs(data, table=not footprint, plots=plots))
        if plots:
            found.append(_training(data))
            shown = prediction_section(data, predictions, data.title)
            found += [] if shown is None else [shown]
    if plots:
        found += _pretraining(runs)
        found += _pictures(runs)
    found.append(reproduction(runs))
    return [section for section in found if section.parts]


def _results(comparison: Comparison, footprint: bool, plots: bool) -> Section:
    parts: list[Part] = list(tables(comparison, footprint))
    drawing = draw_differences(comparison.data_sets) if plots else None
    parts += [] if drawing is None else [drawing]
    note = (
        "Mean ± standard deviation over seeds; differences are paired by seed, with their 95 % "
        "interval. Better and worse stand only where it leaves out 0."
    )
    return Section("Results", parts, note if parts else "", is_brief=True)


def _costs(data: DataSet, table: bool, plots: bool) -> Section:
    parts: list[Part] = [footprint_table(data)] if table else []
    drawing = draw_front(points_of(data), data.metric, data.part) if plots else None
    parts += [] if drawing is None else [drawing]
    note = "" if drawing is None else "The dashed line is the Pareto front: no method beats it."
    return Section("Footprint", parts, note, data.title, subtitle=data.title)


def _training(data: DataSet) -> Section:
    runs = {m.title: [run.path for run in m.runs if run.epochs] for m in data.methods}
    runs = {title: folders for title, folders in runs.items() if folders}
    parts = draw_runs(runs) if runs else []
    sent = draw_bytes(runs, data.metric)
    parts += [] if sent is None else [sent]
    return Section("Training", parts, _BANDS, data.title, subtitle=data.title)


def _pretraining(runs: Iterable[RunRecord]) -> Iterator[Section]:
    for run in runs:
        if run.kind.role == "pretraining" and run.epochs:
            drawings = draw_runs({run.title: [run.path]})
            yield Section("Pre-training", drawings, folder=run.title, subtitle=run.title)


def _pictures(runs: Iterable[RunRecord]) -> Iterator[Section]:
    """Plots that only run folders have, such as a graph of classes or embeddings."""
    for run in runs:
        files = sorted((run.path / "plots").glob("*.png"))
        parts = [
            Picture(file, f"{run.title}: {file.stem.replace('_', ' ')}")
            for file in files
            if file.stem not in _DRAWN_HERE
        ]
        if parts:
            yield Section("Plots of the run", parts, subtitle=run.title)
