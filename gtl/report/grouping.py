"""Groups of runs by data set and method, formed from the settings of the runs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from gtl.errors import ConfigError
from gtl.report.methods import Settings, all_settings, titles
from gtl.report.runs import RunRecord

DataKey = tuple[str, str, str]


@dataclass(frozen=True)
class Entry:
    """A run and what it belongs to.

    Attributes:
        run: The run.
        settings: What makes its method.
        title: What its method is called.
    """

    run: RunRecord
    settings: Settings
    title: str

    @property
    def data(self) -> DataKey:
        """Spec, options and metric: what makes a data set."""
        return (
            self.run.config.get("data", ""),
            json.dumps(self.run.options, sort_keys=True),
            (self.run.results or {}).get("metric") or "",
        )


def sort_runs(runs: Sequence[RunRecord], label: Mapping[str, str]) -> list[Entry]:
    """Find out the method of each run, and what to call it.

    Args:
        runs: Runs on a target.
        label: Titles by automatic title or by pattern of the runs' names; the first that fits.

    Raises:
        ConfigError: If a label fits no run.
    """
    entries = [
        Entry(run, mine, "") for run, mine in zip(runs, all_settings([r.config for r in runs]))
    ]
    groups: dict[tuple[str, str], dict[Any, Settings]] = defaultdict(dict)
    for entry in entries:
        groups[entry.data[:2]][frozenset(entry.settings.items())] = entry.settings
    found = titles([list(group.values()) for group in groups.values()])
    automatic = {
        (data, method): title
        for (data, group), named in zip(groups.items(), found)
        for method, title in zip(group, named)
    }
    entries = [
        Entry(e.run, e.settings, automatic[e.data[:2], frozenset(e.settings.items())])
        for e in entries
    ]
    _check_labels(label, entries)
    return [Entry(e.run, e.settings, _labeled(e, label)) for e in entries]


def data_titles(keys: Iterable[DataKey]) -> dict[DataKey, str]:
    """A title of each data set: its spec, and the options in which others of that spec differ.

    Example:
        >>> five, ten = ("smiles:a.csv", '{"target": "y"}', "mae"), ("smiles:a.csv", "{}", "mae")
        >>> list(data_titles([five, ten]).values())
        ['smiles:a.csv (target=y)', 'smiles:a.csv']
    """
    described = {key: {**json.loads(key[1]), "metric": key[2]} for key in keys}
    found = {}
    for key, mine in described.items():
        same = [other for other_key, other in described.items() if other_key[0] == key[0]]
        more = [
            f"{name}={value}"
            for name, value in mine.items()
            if any(other.get(name) != value for other in same)
        ]
        found[key] = f"{key[0]} ({', '.join(more)})" if more else key[0]
    return found


def _check_labels(label: Mapping[str, str], entries: Sequence[Entry]) -> None:
    for key in label:
        if not any(_fits(key, entry) for entry in entries):
            known = ", ".join(sorted({entry.title for entry in entries}))
            raise ConfigError(
                f"label {key!r} fits nothing; give a method ({known}) or a pattern of run folders, "
                f"such as {entries[0].run.name!r}"
            )


def _labeled(entry: Entry, label: Mapping[str, str]) -> str:
    return next((title for key, title in label.items() if _fits(key, entry)), entry.title)


def _fits(key: str, entry: Entry) -> bool:
    return key == entry.title or fnmatchcase(entry.run.name, key)
