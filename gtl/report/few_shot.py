"""Result of a few-shot comparison: values by split, tables, paired differences and plots.

All methods see the same splits, so differences vary less than accuracies do. Splits of one data set
share most of its samples: their intervals measure how much the draw matters, not how results vary
between data sets.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gtl.checkpoint import read_json
from gtl.data.agreement import Agreement
from gtl.errors import CheckpointError, ConfigError
from gtl.report.compare import Difference, paired
from gtl.report.few_shot_plot import plot_shots
from gtl.report.tables import Table, as_text
from gtl.run_kinds import kind_of

SIGNIFICANT = 0.05  # p-value above which the agreement of graph and features is not significant
PROTOCOLS = {"k_shot": "k-shot", "base_novel": "base and novel classes"}

# method -> shots -> measure -> a value per split
Values = Mapping[str, Mapping[int, Mapping[str, Sequence[float]]]]


@dataclass(frozen=True, eq=False)
class FewShotResult:
    """What :func:`gtl.few_shot` found.

    Attributes:
        data: Spec of the data.
        protocol: ``"k_shot"`` or ``"base_novel"``.
        values: Shares in ``[0, 1]`` by method, shots and measure: a list with one per split.
        reference: The method that others are compared with.
        agreement: Of the graph with the base classes' features; ``None`` where it was not
            computed.
        base_classes: How many classes were compared for it.
        notes: What a reader should know.
        folder: The run folder, or ``None``.
    """

    data: str
    protocol: str
    values: Values
    reference: str
    agreement: Agreement | None = None
    base_classes: int = 0
    notes: tuple[str, ...] = ()
    folder: Path | None = field(default=None)

    @staticmethod
    def load(folder: Path | str) -> FewShotResult:
        """The result in a run folder of :func:`gtl.few_shot`.

        Raises:
            CheckpointError: If the folder is no such run, or its ``results.json`` is missing or
                damaged.
        """
        folder = Path(folder)
        config = read_json(folder / "config.json")
        kind = kind_of(config, folder)
        if kind.role != "few-shot comparison":
            raise CheckpointError(
                f"{folder} is {kind.what}, not a few-shot comparison; open it with gtl.load_run"
            )
        if not (folder / "results.json").exists():
            raise CheckpointError(
                f"{folder} was interrupted before its results were written; run it again with "
                "another folder"
            )
        return _result(config, read_json(folder / "results.json"), folder)

    @property
    def methods(self) -> list[str]:
        """Titles of the methods, in the order given."""
        return list(self.values)

    @property
    def shots(self) -> list[int]:
        """Numbers of shots."""
        return list(next(iter(self.values.values())))

    @property
    def measures(self) -> list[str]:
        """What was measured, the main measure first."""
        return list(self.values[self.reference][self.shots[0]])

    def mean(self, method: str, shots: int, measure: str | None = None) -> Difference:
        """Mean over splits with its 95 % interval."""
        values = self._of(method, shots, measure)
        return paired(values, dict.fromkeys(values, 0.0))

    def difference(
        self, method: str, shots: int, measure: str | None = None, reference: str | None = None
    ) -> Difference:
        """Mean difference to the reference, or to another method, split by split."""
        other = self._of(reference or self.reference, shots, measure)
        return paired(self._of(method, shots, measure), other)

    def table(self, measure: str | None = None, differences: bool = False) -> str:
        """A line per method, a column per number of shots, in percent.

        Args:
            measure: What to show; the first of :attr:`measures` by default.
            differences: Show differences to the reference instead of the values.
        """
        return as_text(self._table(measure or self.measures[0], differences))

    def tables(self) -> list[Table]:
        """The main measure, its differences to the reference, and the other best guesses."""
        main, *others = self.measures
        found = [self._table(main, differences=False)]
        if len(self.values) > 1:
            found.append(self._table(main, differences=True))
        return found + [self._table(m, differences=False) for m in others if m.endswith("top1")]

    def advice(self) -> str:
        """Whether to use the graph of classes, by its agreement; empty if there is none."""
        return "" if self.agreement is None else advice(self.agreement, self.base_classes)

    def __str__(self) -> str:
        parts = [self.advice(), *map(as_text, self.tables())]
        parts.append("\n".join(f"note: {note}" for note in self.notes))
        return "\n\n".join(part for part in parts if part)

    def to_json(self) -> dict[str, Any]:
        """Everything, in plain values."""
        agreement = None
        if self.agreement is not None:
            agreement = {**self.agreement._asdict(), "base_classes": self.base_classes}
        return {
            "protocol": self.protocol,
            "reference": self.reference,
            "agreement": agreement,
            "advice": self.advice() or None,
            "notes": list(self.notes),
            "values": json.loads(json.dumps(self.values)),
            "summary": {
                method: {
                    str(k): {measure: self._summary(method, k, measure) for measure in by_measure}
                    for k, by_measure in by_shots.items()
                }
                for method, by_shots in self.values.items()
            },
        }

    def plot(self, file: Path) -> Path:
        """Curves over shots, a panel for each measure of the best guess, as a PNG file."""
        shown = [m for m in self.measures if not m.endswith("top5")]
        return plot_shots(self.values, shown, file)

    def _of(self, method: str, shots: int, measure: str | None) -> dict[int, float]:
        try:
            values = self.values[method][shots][measure or self.measures[0]]
        except KeyError as error:
            raise ConfigError(
                f"there is no result for {error}; methods: {', '.join(self.methods)}; shots: "
                f"{self.shots}; measures: {', '.join(self.measures)}"
            ) from None
        return dict(enumerate(values))

    def _summary(self, method: str, shots: int, measure: str) -> dict[str, Any]:
        mean, gap = self.mean(method, shots, measure), self.difference(method, shots, measure)
        return {
            "mean": mean.mean,
            "interval": None if mean.low is None else [mean.low, mean.high],
            "splits": mean.n,
            "difference": gap.mean,
            "difference_interval": None if gap.low is None else [gap.low, gap.high],
            "verdict": gap.verdict("higher"),
        }

    def _table(self, measure: str, differences: bool) -> Table:
        splits = len(self.values[self.reference][self.shots[0]][measure])
        what = f"mean of {splits} splits, 95 % interval"
        if differences:
            note = f"difference to {self.reference} in points, {what}"
        elif len(self.values) > 1:
            note = (
                f"percent, {what}; + or - where the difference to {self.reference} is significant"
            )
        else:
            note = f"percent, {what}"
        rows = []
        for method in self.methods:
            if differences and method == self.reference:
                continue
            cells = [self._cell(method, shots, measure, differences) for shots in self.shots]
            rows.append((method, *cells))
        header = ("method", *(f"{k} shot{'s' if k > 1 else ''}" for k in self.shots))
        title = f"{self.data}, {PROTOCOLS[self.protocol]}, {measure.replace('_', ' ')}"
        return Table(title, note, header, tuple(rows))

    def _cell(self, method: str, shots: int, measure: str, differences: bool) -> str:
        gap = self.difference(method, shots, measure)
        shown = gap if differences else self.mean(method, shots, measure)
        verdict = gap.verdict("higher")
        mark = verdict if differences else {"better": "+", "worse": "-"}.get(verdict, " ")
        value = f"{100 * shown.mean:+.1f}" if differences else f"{100 * shown.mean:.1f}"
        half = "" if shown.high is None else f" ± {100 * (shown.high - shown.mean):.1f}"
        return f"{value}{half} {mark}".rstrip() if differences else f"{value}{half} {mark}"


def _result(config: Mapping[str, Any], found: Mapping[str, Any], folder: Path) -> FewShotResult:
    try:
        values = {
            method: {int(shots): measures for shots, measures in by_shots.items()}
            for method, by_shots in found["values"].items()
        }
        agreement = dict(found["agreement"] or {})
        classes = agreement.pop("base_classes", 0)
        return FewShotResult(
            config["data"],
            found["protocol"],
            values,
            found["reference"],
            Agreement(**agreement) if agreement else None,
            classes,
            tuple(found["notes"]),
            folder,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder / 'results.json'} is no result of a few-shot comparison ({error!r}); "
            "run the comparison again"
        ) from error


def advice(agreement: Agreement, classes: int) -> str:
    """Whether to use a graph of classes, and the test that decides it.

    Example:
        >>> print(advice(Agreement(0.01, 0.4), 40))
        graph of classes: do not use it; its agreement with these features is not significant (rank
          correlation with nearness of 40 base classes +0.01, p = 0.400)
    """
    correlation, p = agreement
    found = (
        f"(rank correlation with nearness of {classes} base classes {correlation:+.2f}, "
        f"p = {p:.3f})"
    )
    if p > SIGNIFICANT:
        text = f"do not use it; its agreement with these features is not significant {found}"
    else:
        text = f"use it; classes that are near in it are near in these features too {found}"
    return "\n".join(textwrap.wrap(f"graph of classes: {text}", 100, subsequent_indent="  "))
