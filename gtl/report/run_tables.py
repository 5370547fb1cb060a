"""Sections of the runs that have tables of their own: they compare methods or stages themselves."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from gtl.errors import GtlError, GtlWarning
from gtl.metrics import direction
from gtl.report.compare import Difference, decimals, spread
from gtl.report.drawing import Drawing
from gtl.report.few_shot import FewShotResult
from gtl.report.few_shot_plot import draw_shots
from gtl.report.pareto import Point, draw_front, trial_points
from gtl.report.runs import RunRecord
from gtl.report.sections import Part, Section
from gtl.report.tables import Table

_STAGE = {  # columns of an adaptation: title and key of a stage's results
    "valid": "valid",
    "of": "measured",
    "valid of the source": "source_valid",
    "domain found": "domain_accuracy",
    "A-distance": "a_distance",
    "test": "test",
}


def own_sections(runs: Sequence[RunRecord]) -> list[Section]:
    """A section for each finished few-shot comparison, comparison, adaptation and search.

    One whose results are of another form is left out; one warning names all such files.

    Args:
        runs: What :func:`gtl.report.runs.find_runs` found.
    """
    found, damaged = [], []
    for run in runs:
        make = _MAKERS.get(run.kind.role)
        if make is None or run.results is None:
            continue
        try:
            parts = list(make(run, run.results))
        except (GtlError, AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
            damaged.append(f"{run.path / 'results.json'} ({error!r})")
            continue
        title = run.kind.role.capitalize()
        found.append(Section(title, parts, folder=run.title, is_brief=True, subtitle=run.title))
    if damaged:
        text = f"results of an unknown form were left out: {'; '.join(damaged)}"
        warnings.warn(text, GtlWarning, stacklevel=3)
    return found


def comparison_table(results: Mapping[str, Any]) -> Table:
    """Methods of a comparison; a star marks the one that validation data chose.

    Args:
        results: What ``results.json`` of :func:`gtl.compare` holds.
    """
    selected, reference = results["selection"]["selected"], results["reference"]
    metric, methods = results["metric"], results["methods"]
    every = [value for method in methods.values() for value in method["test"]]
    places = decimals(every) if every else 3
    better = direction(metric) or "higher"
    rows = []
    for name, method in methods.items():
        gap = method["difference"]
        found = None if gap is None else Difference(**gap)
        shown = "" if found is None else f"{found.text(places)} {found.verdict(better)}".strip()
        cells = [spread(method[part]).text(places) for part in ("valid", "test")]
        rows.append((f"* {name}" if name == selected else f"  {name}", *cells, shown))
    header = ("  method", f"valid {metric}", f"test {metric}", "test difference")
    caption = f"{better} {metric} is better; difference to {reference}, 95 % interval"
    return Table(results["data"], caption, header, tuple(rows))


def adaptation_table(results: Mapping[str, Any]) -> Table:
    """Stages of a domain adaptation, with what was measured of them.

    Args:
        results: What ``results.json`` of :func:`gtl.adapt_domain` holds.
    """
    stages = results["stages"]
    columns = {
        title: key
        for title, key in _STAGE.items()
        if any(stage.get(key) is not None for stage in stages.values())
    }
    rows = [
        (name, *(_number(stage.get(key)) for key in columns.values()))
        for name, stage in stages.items()
    ]
    metric = results["metric"] or "value"
    test = results["test"]
    ended = "" if test is None else f"; test {metric} {test:.4f}"
    caption = f"{metric}, from {results['source']} by {results['method']}{ended}"
    return Table(results["data"], caption, ("stage", *columns), tuple(rows))


def search_table(results: Mapping[str, Any]) -> Table:
    """The trials of a search that no other trial beats in quality and footprint at once.

    Args:
        results: What ``results.json`` of :func:`gtl.search` holds.
    """
    footprint, trials = results["objective"], results["trials"]
    keys = list(dict.fromkeys(key for trial in results["front"] for key in trials[trial]["params"]))
    rows = []
    for number in results["front"]:
        trial = trials[number]
        cost = () if footprint is None else (f"{trial['footprint']:,.6g}",)
        shown = [_number(trial["params"].get(key)) for key in keys]
        rows.append((str(number), _number(trial["valid"]), *cost, *shown))
    title = () if footprint is None else (footprint.replace("_", " "),)
    header = ("trial", f"valid {results['metric']}", *title, *keys)
    states = [trial["state"] for trial in trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    better = direction(results["metric"])
    return Table(results["data"], f"{counts}; {better} is better; the front", header, tuple(rows))


def _few_shot(run: RunRecord, results: Mapping[str, Any]) -> Iterable[Part]:
    found = FewShotResult.load(run.path)
    yield from found.tables()
    shown = [measure for measure in found.measures if not measure.endswith("top5")]
    yield draw_shots(found.values, shown)


def _comparison(run: RunRecord, results: Mapping[str, Any]) -> Iterable[Part]:
    yield comparison_table(results)
    if results.get("methods"):
        points = [
            Point(name, fmean(method["test"]), {"seconds": fmean(method["seconds"])})
            for name, method in results["methods"].items()
        ]
        yield from _drawn(points, results["metric"], "test")


def _adaptation(run: RunRecord, results: Mapping[str, Any]) -> Iterable[Part]:
    yield adaptation_table(results)


def _search(run: RunRecord, results: Mapping[str, Any]) -> Iterable[Part]:
    yield search_table(results)
    points = trial_points(results)
    yield from _drawn(points, results["metric"], "valid")


def _drawn(points: Sequence[Point], metric: str, part: str) -> Iterable[Drawing]:
    found = draw_front(points, metric, part)
    if found is not None:
        yield found


def _number(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


_MAKERS: Mapping[str, Callable[[RunRecord, Mapping[str, Any]], Iterable[Part]]] = {
    "few-shot comparison": _few_shot,
    "comparison": _comparison,
    "adaptation": _adaptation,
    "search": _search,
}
