"""Choice of a setting, an epoch and a method for a target without labels.

Each candidate is trained once; the criterion selects its epoch and then among the candidates. The
model of the source alone is one of them, so that no method is used that the criterion finds worse.
A candidate that trains what the criterion measures would always win: it is taken only where there
is no other, and then by validation of the source alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gtl.train.domain_plan import Plan, Stage
from gtl.train.domain_validation import ORACLE
from gtl.train.model import Model
from gtl.train.transfer_criteria import CRITERIA

log = logging.getLogger(__name__)
SOURCE = "source"


@dataclass(frozen=True)
class Tried:
    """A candidate after its training.

    Attributes:
        title: Method and options.
        folder: Name of its run folder.
        model: At the epoch that the criterion selected.
        trains: Criteria that its losses improve.
    """

    title: str
    folder: str
    model: Model
    trains: tuple[str, ...] = ()


def choose(tried: Sequence[Tried], source: Stage | None, plan: Plan) -> tuple[Model, str]:
    """Select the best candidate by the criterion of the plan.

    Args:
        tried: The candidates; of equal ones an earlier one is preferred.
        source: The model of the source alone; ``None`` if it was not trained.
        plan: How.

    Returns:
        The best model of the stage ``align``, and ``"align"``, or ``"source"`` where the guard
        found the model of the source no worse. ``results["selection"]`` of the model says why.
    """
    criterion = plan.alignment.criterion
    fair = [each for each in tried if criterion not in each.trains]
    left_out = [each.title for each in tried if each not in fair] if fair else []
    if left_out:
        log.warning(
            "%s not compared: the loss improves what %s measures; criterion='source' compares all",
            ", ".join(left_out),
            criterion,
        )
    judge = criterion if fair else SOURCE
    values = {each.title: _value(each.model, criterion) for each in tried}
    best = max(fair or tried, key=lambda each: _value(each.model, judge))
    lines = {each.title: [*each.model.history, _chosen(each.model)] for each in tried}
    used, title = "align", best.title
    if isinstance(source, Model):
        values[SOURCE] = _value(source, criterion)
        lines = {SOURCE: [_chosen(source)], **lines}
        if plan.alignment.guard and _value(source, judge) >= _value(best.model, judge):
            used, title = SOURCE, SOURCE
    best.model.results["selection"] = {
        "criterion": criterion,
        "judged_by": judge,
        "left_out": left_out,
        "selected": title,
        "used": used,
        "folder": best.folder,
        "values": {name: round(value, 6) for name, value in values.items()},
        "by_criterion": what_each_selects(lines),
    }
    return best.model, used


def what_each_selects(
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, dict[str, Any]]:
    """What each criterion selects among all epochs of all candidates.

    Args:
        histories: Epochs by candidate, each with its ``criteria``.

    Returns:
        By criterion ``candidate``, ``epoch``, ``value`` and ``test``, the metric on test labels of
        the target (``None`` without any). ``oracle`` is the best of these: a bound that needs test
        labels, and that nothing may be selected by. The model of the source alone has one epoch,
        the one that its validation data selected.

    Example:
        >>> lines = [{"epoch": 0, "criteria": {"dev": -0.2, "oracle": 0.6}},
        ...          {"epoch": 1, "criteria": {"dev": -0.1, "oracle": 0.5}}]
        >>> found = what_each_selects({"dann": lines})
        >>> found["dev"]["epoch"], found["dev"]["test"], found["oracle"]["test"]
        (1, 0.5, 0.6)
    """
    found: dict[str, dict[str, Any]] = {}
    for criterion in (*CRITERIA, ORACLE):
        best: dict[str, Any] | None = None
        for candidate, lines in histories.items():
            for line in lines:
                value = line.get("criteria", {}).get(criterion)
                if value is not None and (best is None or value > best["value"]):
                    test = line["criteria"].get(ORACLE)
                    best = {"candidate": candidate, "epoch": line["epoch"], "value": value}
                    best["test"] = test
        if best is not None:
            found[criterion] = best
    return found


def _value(model: Model, criterion: str) -> float:
    """Value by a criterion at the epoch that was selected."""
    return float(model.results["criteria"][criterion])


def _chosen(model: Model) -> dict[str, Any]:
    """The line of that epoch, which may be the start, epoch -1."""
    return {"epoch": model.results["epoch"], "criteria": model.results["criteria"]}
