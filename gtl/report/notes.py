"""Notes of a comparison: runs that do not count, and comparisons that are missing or unfair."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from gtl.report.grouping import Entry
from gtl.report.methods import Settings, differing
from gtl.report.runs import Repetition

if TYPE_CHECKING:
    from gtl.report.comparison import DataSet


def notes(
    entries: Sequence[Entry], data_sets: Sequence[DataSet], reference: str | None
) -> Iterable[str]:
    """Notes about runs that do not count and comparisons that are missing or unfair.

    Args:
        entries: All runs on a target, those that have not ended included.
        data_sets: The comparisons on each data set.
        reference: Title of the method that others are compared with, if any.
    """
    for data in data_sets:
        yield from _not_compared(data)
        yield from _different_data(data)
        yield from _selected(data)
    yield from _without_reference(data_sets, reference)
    yield from _not_counted(entries, data_sets)
    yield from _mixed(entries)


def _not_compared(data: DataSet) -> Iterable[str]:
    if data.part == "valid":
        yield f"{data.title}: no run has a test value; validation values are compared"
    for method in data.methods:
        missing = [run.name for run in method.runs if run.value(data.part) is None]
        if missing:
            yield f"{data.title}: no {data.part} value of {', '.join(missing)}"
        if data.reference not in (None, method.title) and method.difference is None:
            yield f"{data.title}: {method.title} and {data.reference} share no seed"


def _selected(data: DataSet) -> Iterable[str]:
    """Which of several candidates was selected, the target-only run among them."""
    for method in data.methods:
        selected = [run.selected for run in method.runs if run.selected is not None]
        if selected:
            counts = Counter(selected).most_common()
            names = ", ".join(f"{name} in {count}" for name, count in counts)
            yield (
                f"{data.title}: of {len(selected)} runs of {method.title} validation selected "
                f"{names}"
            )


def _different_data(data: DataSet) -> Iterable[str]:
    checksums: dict[Repetition, set[str]] = defaultdict(set)
    for method in data.methods:
        for run in method.runs:
            checksums[run.repetition].add(str(run.config.get("data_checksum")))
    seeds = sorted({seed for (seed, *_), sums in checksums.items() if len(sums) > 1})
    if seeds:
        numbers = ", ".join(map(str, seeds))
        yield f"{data.title}: methods read different data (checksums differ) with seed {numbers}"


def _without_reference(data_sets: Sequence[DataSet], reference: str | None) -> Iterable[str]:
    if reference is None and any(len(data.methods) > 1 for data in data_sets):
        yield (
            "every method has auxiliary tasks (every forecast an adapter or a memory); choose one "
            "to compare with as the reference"
        )
    absent = [data.title for data in data_sets if data.reference is None]
    if reference is not None and absent:
        yield f"{reference} has no value on {', '.join(absent)}: nothing is compared there"


def _not_counted(entries: Sequence[Entry], data_sets: Sequence[DataSet]) -> Iterable[str]:
    counted = {run.name for data in data_sets for m in data.methods for run in m.runs}
    for entry in entries:
        if entry.run.has_value and entry.run.name not in counted:
            instead = (
                other.run.name
                for other in entries
                if other.run.name in counted
                and (other.data, other.title) == (entry.data, entry.title)
                and other.run.repetition == entry.run.repetition
            )
            yield f"{entry.run.name} is not counted: {next(instead)} has its method and seed"
    empty = [e.run.name for e in entries if e.run.results is not None and not e.run.has_value]
    if empty:
        yield f"neither a validation nor a test value: {', '.join(empty)}"


def _mixed(entries: Sequence[Entry]) -> Iterable[str]:
    same: dict[str, list[Settings]] = defaultdict(list)
    for entry in entries:
        same[entry.title].append(entry.settings)
    unequal = differing(same)
    if unequal:
        yield f"settings that differ between runs of one title: {', '.join(unequal)}"
