"""Tables of an alignment of two domains: stages, what criteria select, classes, label shift."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gtl.report.tables import Table, as_text


def alignment_tables(results: Mapping[str, Any]) -> str:
    """The results of an alignment as text.

    Args:
        results: What ``results.json`` holds.
    """
    parts = [_stages(results)]
    if "selection" in results:
        parts += [_criteria(results)]
    if results.get("by_class"):
        parts += [_classes(results)]
    if results.get("label_shift"):
        parts += [_shift(results["label_shift"])]
    if results.get("look_ahead"):
        parts += [f"look-ahead on {results['look_ahead']}"]
    if results["test"] is not None:
        parts += [f"test {results['metric']} {results['test']:.4f}"]
    return "\n\n".join(parts)


def _stages(results: Mapping[str, Any]) -> str:
    rows = []
    for name, stage in results["stages"].items():
        cells = [stage.get(key) for key in ("source_valid", "valid", "domain_accuracy")]
        rows.append((name, *map(_number, [*cells, stage.get("a_distance"), stage.get("test")])))
    header = ("stage", "valid of the source", "valid", "domain found", "A-distance", "test (bound)")
    caption = f"from {results['source']} by {results['method']}"
    return as_text(Table(results["data"], caption, header, tuple(rows)))


def _criteria(results: Mapping[str, Any]) -> str:
    selection = results["selection"]
    rows = []
    for name, found in selection["by_criterion"].items():
        title = f"{name} (used)" if name == selection["criterion"] else name
        title = f"{name} (bound: reads test labels)" if name == "oracle" else title
        epoch = str(found["epoch"])
        rows.append((title, found["candidate"], epoch, _number(found["test"])))
    header = ("criterion", "candidate", "epoch", "test")
    used = selection["selected"]
    return as_text(Table("Selected without target labels", used, header, tuple(rows)))


def _classes(results: Mapping[str, Any]) -> str:
    before, after = results["by_class"]["source"], results["by_class"]["used"]
    rows = [(name, _number((before or {}).get(name)), _number(after[name])) for name in after]
    header = ("class", "source alone", "model in use")
    return as_text(Table("Test values by class", results["data"], header, tuple(rows)))


def _shift(shift: Mapping[str, Any]) -> str:
    names = list(shift["shares"])
    count = len(shift["shares"][names[0]])
    rows = [(str(i), *(_number(shift["shares"][name][i]) for name in names)) for i in range(count)]
    known = {name: value for name, value in shift["size"].items() if value is not None}
    size = ", ".join(f"{name} {value:.2f}" for name, value in known.items())
    caption = f"differences by {size}{'; large' if shift['large'] else ''}"
    return as_text(Table("Estimated class shares", caption, ("class", *names), tuple(rows)))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
