"""Comparison of methods with a reference on each data set, and over all data sets."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gtl.errors import CheckpointError, ConfigError
from gtl.metrics import direction
from gtl.report.compare import Difference, Spread, mean_ranks, paired, spread
from gtl.report.grouping import Entry, data_titles, sort_runs
from gtl.report.methods import PLAIN
from gtl.report.notes import notes
from gtl.report.runs import Repetition, RunRecord


@dataclass(frozen=True)
class Method:
    """The runs of one method on one data set.

    Attributes:
        title: What it is called.
        settings: What makes the method, as :func:`gtl.report.methods.all_settings` has it.
        runs: Finished runs, one a seed.
        valid: Validation values; ``None`` if no run has any.
        test: Test values, likewise.
        difference: To the reference; ``None`` for the reference itself and without common seeds.
    """

    title: str
    settings: Mapping[str, Any]
    runs: tuple[RunRecord, ...]
    valid: Spread | None
    test: Spread | None
    difference: Difference | None

    def values(self, part: str) -> dict[Repetition, float]:
        """Values on ``valid`` or ``test`` by repetition."""
        return _values(self.runs, part)


@dataclass(frozen=True)
class DataSet:
    """What was run on one data set.

    Attributes:
        title: Spec, and the options in which it differs from other sets of that spec.
        spec: Spec, such as ``ogb:ogbg-molbace``.
        options: What it was loaded with, without the seed.
        metric: What the values are.
        better: ``"higher"`` or ``"lower"``: which values are good.
        part: ``"test"``, or ``"valid"`` where no run has a test value: what is compared.
        reference: Title of the method that others are compared with; ``None`` if it is not here.
        methods: The reference first, the others by title.
    """

    title: str
    spec: str
    options: Mapping[str, Any]
    metric: str
    better: str
    part: str
    reference: str | None
    methods: tuple[Method, ...]


@dataclass(frozen=True)
class Tally:
    """A method over several data sets.

    Attributes:
        rank: Mean rank of its mean values; ``None`` if it was not run on every data set.
        better: On how many it is better than the reference by its interval.
        worse: On how many it is worse.
        compared: On how many it could be compared.
    """

    rank: float | None
    better: int
    worse: int
    compared: int


@dataclass(frozen=True)
class Comparison:
    """All that a report shows.

    Attributes:
        reference: Title of the method that others are compared with, or ``None``.
        data_sets: What was run on each.
        overall: Each method over all data sets, by title; empty for one data set.
        unfinished: Runs that have not ended: what is known of them, by name.
        notes: What a reader must know beside the numbers.
    """

    reference: str | None
    data_sets: tuple[DataSet, ...]
    overall: Mapping[str, Tally]
    unfinished: Mapping[str, str]
    notes: tuple[str, ...]


def compare_runs(
    runs: Sequence[RunRecord],
    reference: str | None = None,
    label: Mapping[str, str] | None = None,
    *,
    alone: bool = True,
) -> Comparison:
    """Group runs, and compare the methods of each data set over the seeds that they share.

    Runs of a kind that has no values on a target (:attr:`gtl.run_kinds.RunKind.compared`) are
    left out: pre-training, and those that have tables of their own.

    Args:
        runs: What :func:`gtl.report.runs.find_runs` found.
        reference: Title of the method that others are compared with; by default the one without
            auxiliary tasks, and without pre-training if there are several; of forecasts a baseline.
        label: Titles by automatic title, or by a pattern of the runs' names (``*`` stands for
            anything). The first that fits counts; runs of one title are one method.
        alone: Whether nothing else is shown, so that there must be a run with a value.

    Raises:
        CheckpointError: If no run on a target has ended, and nothing else is shown.
        ConfigError: If no method has the title ``reference``, or a label fits no run.
    """
    trained = [run for run in runs if run.kind.compared]
    entries = sort_runs(trained, label or {})
    valued = [entry for entry in entries if entry.run.has_value]
    unfinished = {run.name: _progress(run, entries) for run in runs if run.results is None}
    if not valued and not alone and reference is None and not label:
        return Comparison(None, (), {}, unfinished, ())
    if not valued:
        raise CheckpointError(_nothing_to_compare(runs, unfinished))
    chosen = _reference(valued, reference)
    named = data_titles([entry.data for entry in valued])
    data_sets = tuple(
        _data_set(name, [entry for entry in valued if entry.data == key], chosen)
        for key, name in sorted(named.items(), key=lambda item: item[1])
    )
    remarks = tuple(notes(entries, data_sets, chosen))
    return Comparison(chosen, data_sets, _overall(data_sets), unfinished, remarks)


def _progress(run: RunRecord, entries: Iterable[Entry]) -> str:
    title = next((entry.title for entry in entries if entry.run is run), run.config["command"])
    done = "unknown" if run.epochs is None else run.epochs
    return f"{title} on {run.config['data']}, {done} of {run.config.get('epochs', '?')} epochs"


def _nothing_to_compare(runs: Sequence[RunRecord], unfinished: Mapping[str, str]) -> str:
    if unfinished:
        return f"no run on a target has ended; unfinished: {', '.join(unfinished)}"
    commands = ", ".join(sorted({str(run.config["command"]) for run in runs}))
    return f"no run has a value on a target (there are runs of: {commands}); gtl finetune makes one"


def _reference(valued: Sequence[Entry], wanted: str | None) -> str | None:
    titles = sorted({entry.title for entry in valued})
    if wanted is not None and wanted not in titles:
        near = difflib.get_close_matches(wanted, titles, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"no method is called {wanted!r}; {hint}methods: {', '.join(titles)}")
    if wanted is not None or len(titles) == 1:
        return wanted
    plain: Sequence[Entry] = ()
    for is_plain in PLAIN:
        plain = plain or [entry for entry in valued if is_plain(entry.settings)]
    counts: dict[str, int] = defaultdict(int)
    for entry in plain:
        counts[entry.title] -= 1
    return min(counts, key=lambda title: (counts[title], title), default=None)


def _data_set(title: str, entries: Sequence[Entry], reference: str | None) -> DataSet:
    grouped: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        grouped[entry.title].append(entry)
    runs = {name: _one_a_seed(group) for name, group in grouped.items()}
    tested = any(_values(found, "test") for found in runs.values())
    part = "test" if tested else "valid"
    base = _values(runs[reference], part) if reference in runs else {}
    methods = tuple(
        Method(
            name,
            grouped[name][0].settings,
            runs[name],
            _spread(_values(runs[name], "valid")),
            _spread(_values(runs[name], "test")),
            None if name == reference else _difference(_values(runs[name], part), base),
        )
        for name in sorted(runs, key=lambda name: (name != reference, name))
    )
    spec, _, metric = entries[0].data
    there = reference if base else None
    better = direction(metric)
    assert better is not None  # results of another metric count as damaged
    return DataSet(title, spec, entries[0].run.options, metric, better, part, there, methods)


def _one_a_seed(entries: Iterable[Entry]) -> tuple[RunRecord, ...]:
    """The runs in order of seeds; of several with one seed, the first by path."""
    found: dict[Repetition, RunRecord] = {}
    for entry in entries:
        found.setdefault(entry.run.repetition, entry.run)
    return tuple(found[repetition] for repetition in sorted(found))


def _values(runs: Iterable[RunRecord], part: str) -> dict[Repetition, float]:
    found = {run.repetition: run.value(part) for run in runs}
    return {repetition: value for repetition, value in found.items() if value is not None}


def _difference(
    values: Mapping[Repetition, float], base: Mapping[Repetition, float]
) -> Difference | None:
    return paired(values, base) if values.keys() & base.keys() else None


def _spread(values: Mapping[Any, float]) -> Spread | None:
    return spread(values.values()) if values else None


def _overall(data_sets: Sequence[DataSet]) -> dict[str, Tally]:
    if len(data_sets) < 2:
        return {}
    means: dict[str, dict[str, float]] = {}
    for data in data_sets:
        found = {method.title: _spread(method.values(data.part)) for method in data.methods}
        means[data.title] = {title: values.mean for title, values in found.items() if values}
    ranks = mean_ranks(means, {data.title: data.better for data in data_sets})
    titles = dict.fromkeys([*ranks, *(m.title for data in data_sets for m in data.methods)])
    return {title: _tally(title, ranks.get(title), data_sets) for title in titles}


def _tally(title: str, rank: float | None, data_sets: Iterable[DataSet]) -> Tally:
    verdicts = [
        method.difference.verdict(data.better)
        for data in data_sets
        for method in data.methods
        if method.title == title and method.difference is not None
    ]
    return Tally(rank, verdicts.count("better"), verdicts.count("worse"), len(verdicts))
