"""Runs sorted into data sets, methods and seeds: what stands in a report, before it has a form."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gtl.data.dataset import METRICS
from gtl.errors import CheckpointError, ConfigError
from gtl.report.compare import Difference, Spread, mean_ranks, paired, spread
from gtl.report.grouping import Entry, data_titles, sort_runs
from gtl.report.methods import Settings, differing, is_target_only
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


@dataclass(frozen=True)
class DataSet:
    """What was run on one data set.

    Attributes:
        title: Spec, and the options in which it differs from other sets of that spec.
        spec: Spec, such as ``ogb:ogbg-molbace``.
        options: What it was loaded with, without the seed.
        metric: What the values are.
        better: ``"higher"`` or ``"lower"``: which values are good.
        judged: ``"test"``, or ``"valid"`` where no run has a test value: what is compared.
        reference: Title of the method that others are compared with; ``None`` if it is not here.
        methods: The reference first, the others by title.
    """

    title: str
    spec: str
    options: Mapping[str, Any]
    metric: str
    better: str
    judged: str
    reference: str | None
    methods: tuple[Method, ...]

    def values(self, method: Method) -> dict[Repetition, float]:
        """The values of a method that are compared, by repetition."""
        return _values(method.runs, self.judged)


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
    """All that a report says.

    Attributes:
        reference: Title of the method that others are compared with, or ``None``.
        data_sets: What was run on each.
        overall: Each method over all data sets, by title; empty for one data set.
        unfinished: Runs that have not ended: what is known of them, by name.
        notes: What a reader must know to judge the numbers.
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
) -> Comparison:
    """Group runs, and compare the methods of each data set over the seeds that they share.

    Runs of ``pretrain`` have no target and are passed over.

    Args:
        runs: What :func:`gtl.report.runs.find_runs` found.
        reference: Title of the method that others are compared with; by default the one without
            auxiliary tasks, and without pre-training if there are several.
        label: Titles by automatic title, or by a pattern of the runs' names (``*`` stands for
            anything). The first that fits counts; runs of one title are one method.

    Raises:
        CheckpointError: If no run on a target has ended.
        ConfigError: If no method has the title ``reference``, or a label fits no run.
    """
    entries = sort_runs([run for run in runs if run.config["command"] != "pretrain"], label or {})
    ended = [entry for entry in entries if _has_value(entry.run)]
    unfinished = {run.name: _progress(run, entries) for run in runs if run.results is None}
    if not ended:
        raise CheckpointError(_nothing_to_compare(runs, unfinished))
    chosen = _reference(ended, reference)
    notes: list[str] = []
    named = data_titles([entry.data for entry in ended])
    data_sets = tuple(
        _data_set(name, [entry for entry in ended if entry.data == key], chosen, notes)
        for key, name in sorted(named.items(), key=lambda item: item[1])
    )
    notes += _general_notes(entries, data_sets, chosen)
    return Comparison(chosen, data_sets, _overall(data_sets), unfinished, tuple(notes))


def _has_value(run: RunRecord) -> bool:
    return run.results is not None and any(
        run.results[part] is not None for part in ("valid", "test")
    )


def _progress(run: RunRecord, entries: Iterable[Entry]) -> str:
    title = next((entry.title for entry in entries if entry.run is run), run.config["command"])
    done = "unknown" if run.epochs is None else run.epochs
    return f"{title} on {run.config['data']}, {done} of {run.config.get('epochs', '?')} epochs"


def _nothing_to_compare(runs: Sequence[RunRecord], unfinished: Mapping[str, str]) -> str:
    if unfinished:
        return f"no run on a target has ended; unfinished: {', '.join(unfinished)}"
    commands = ", ".join(sorted({str(run.config["command"]) for run in runs}))
    return f"no run was judged on a target (there are runs of: {commands}); gtl finetune makes one"


def _reference(ended: Sequence[Entry], wanted: str | None) -> str | None:
    titles = sorted({entry.title for entry in ended})
    if wanted is not None and wanted not in titles:
        near = difflib.get_close_matches(wanted, titles, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"no method is called {wanted!r}; {hint}methods: {', '.join(titles)}")
    if wanted is not None or len(titles) == 1:
        return wanted
    alone = [entry for entry in ended if is_target_only(entry.settings)]
    plain = [entry for entry in alone if "pretrained" not in entry.settings] or alone
    counts: dict[str, int] = defaultdict(int)
    for entry in plain:
        counts[entry.title] -= 1
    return min(counts, key=lambda title: (counts[title], title), default=None)


def _data_set(
    title: str, entries: Sequence[Entry], reference: str | None, notes: list[str]
) -> DataSet:
    grouped: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        grouped[entry.title].append(entry)
    runs = {name: _one_a_seed(group, notes) for name, group in grouped.items()}
    parts = [p for p in ("test", "valid") if any(_values(r, p) for r in runs.values())]
    judged, metric = parts[0], entries[0].data[2]
    base = _values(runs[reference], judged) if reference in runs else {}
    order = sorted(runs, key=lambda name: (name != reference, name))
    methods = []
    for name in order:
        values = _values(runs[name], judged)
        comparable = name != reference and bool(values.keys() & base.keys())
        methods.append(
            Method(
                name,
                grouped[name][0].settings,
                tuple(runs[name]),
                _spread(_values(runs[name], "valid")),
                _spread(_values(runs[name], "test")),
                paired(values, base) if comparable else None,
            )
        )
    notes += _data_notes(title, methods, judged, reference if base else None)
    return DataSet(
        title,
        entries[0].data[0],
        entries[0].run.options,
        metric,
        METRICS[metric],
        judged,
        reference if base else None,
        tuple(methods),
    )


def _one_a_seed(entries: Iterable[Entry], notes: list[str]) -> list[RunRecord]:
    """The runs in order of seeds; of several with one seed, the first by path."""
    found: dict[Repetition, RunRecord] = {}
    for entry in entries:
        first = found.setdefault(entry.run.repetition, entry.run)
        if first is not entry.run:
            notes.append(f"{entry.run.name} is not counted: {first.name} has its method and seed")
    return [found[seed] for seed in sorted(found)]


def _values(runs: Iterable[RunRecord], part: str) -> dict[Repetition, float]:
    found = {run.repetition: (run.results or {})[part] for run in runs}
    return {seed: float(value) for seed, value in found.items() if value is not None}


def _spread(values: Mapping[Any, float]) -> Spread | None:
    return spread(values.values()) if values else None


def _data_notes(
    title: str, methods: Sequence[Method], judged: str, reference: str | None
) -> Iterable[str]:
    if judged == "valid":
        yield f"{title}: no run has a test value; validation values are compared"
    checksums: dict[Repetition, set[str]] = defaultdict(set)
    for method in methods:
        missing = [run.name for run in method.runs if (run.results or {})[judged] is None]
        if missing:
            yield f"{title}: no {judged} value of {', '.join(missing)}"
        if reference not in (None, method.title) and method.difference is None:
            yield f"{title}: {method.title} and {reference} share no seed"
        for run in method.runs:
            checksums[run.repetition].add(str(run.config.get("data_checksum")))
    changed = sorted({seed for (seed, *_), sums in checksums.items() if len(sums) > 1})
    if changed:
        seeds = ", ".join(map(str, changed))
        yield f"{title}: methods read different data (checksums differ) with seed {seeds}"


def _general_notes(
    entries: Sequence[Entry], data_sets: Sequence[DataSet], reference: str | None
) -> Iterable[str]:
    if reference is None and any(len(data.methods) > 1 for data in data_sets):
        yield "every method has auxiliary tasks; choose one to compare with as the reference"
    absent = [data.title for data in data_sets if data.reference is None]
    if reference is not None and absent:
        yield f"{reference} was not run on {', '.join(absent)}: nothing is compared there"
    valueless = [e.run.name for e in entries if e.run.results is not None and not _has_value(e.run)]
    if valueless:
        yield f"neither a validation nor a test value: {', '.join(valueless)}"
    same: dict[str, list[Settings]] = defaultdict(list)
    for entry in entries:
        same[entry.title].append(entry.settings)
    unequal = differing(same)
    if unequal:
        yield f"settings that differ between runs of one title: {', '.join(unequal)}"


def _overall(data_sets: Sequence[DataSet]) -> dict[str, Tally]:
    if len(data_sets) < 2:
        return {}
    means: dict[str, dict[str, float]] = {}
    for data in data_sets:
        values = {m.title: m.test if data.judged == "test" else m.valid for m in data.methods}
        means[data.title] = {title: found.mean for title, found in values.items() if found}
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
