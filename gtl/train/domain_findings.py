"""Findings of an alignment: distance of the domains, results by class, label shift, a picture."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from gtl.data.dataset import Dataset
from gtl.errors import DataError, GtlWarning
from gtl.metrics import scores_by_column
from gtl.run_folder import RunFolder
from gtl.train.domain_alignment import looked_ahead_on
from gtl.train.domain_distance import domain_distance
from gtl.train.domain_plan import Plan, Stage
from gtl.train.domain_shift import shares_of
from gtl.train.domain_validation import target_labels, vectors_and_scores
from gtl.train.domains import Domains
from gtl.train.evaluate import value_on
from gtl.train.label_shift import described_shift
from gtl.train.labels import LabelNames
from gtl.train.model import Model
from gtl.train.unlabeled import of_labeled_types

MOST_POINTS = 250  # of each domain in a picture


def alignment_results(
    trained: Mapping[str, Stage], domains: Domains, plan: Plan, folder: RunFolder | None
) -> dict[str, Any]:
    """What ``results.json`` holds of an alignment.

    Args:
        trained: What each stage left.
        domains: All data.
        plan: How they were trained.
        folder: Where to draw ``plots/domains.png``, or ``None``.
    """
    rows = {name: _row(name, stage, domains, plan) for name, stage in trained.items()}
    found: dict[str, Any] = {"valid": None, "test": None, "epoch": None, "stages": rows}
    source, align = trained.get("source"), trained.get("align")
    if isinstance(source, Model):
        found["label_shift"] = shift_of(source, domains)
    used = trained.get("adapt")
    if isinstance(align, Model):
        selection = align.results["selection"]
        found |= {"selection": selection, "criterion": selection["criterion"]}
        found["look_ahead"] = looked_ahead_on(domains, plan)
        used = used or trained[selection["used"]]
        if folder is not None and isinstance(source, Model):
            picture(source, align, domains, folder.path, plan.seed)
    used = used or source
    found["metric"] = None if domains.target.labels is None else domains.target.metric
    if isinstance(used, Model):
        known = target_labels(used, domains)
        found["metric"] = found["metric"] if known is None else known.metric
        found |= {"epoch": used.results["epoch"], "test": value_on(used, domains.target, "test")}
        after = by_class(used, domains)
        before = by_class(source, domains) if isinstance(source, Model) else None
        found["by_class"] = None if after is None else {"source": before, "used": after}
    if "adapt" in trained:
        found["valid"] = trained["adapt"].results["valid"]
    return found


def distance_of(stage: Stage, domains: Domains, seed: int) -> dict[str, float]:
    """Accuracy of a domain classifier on held-out vectors, and the proxy A-distance."""
    if not isinstance(stage, Model):
        return {}
    source, target = _vectors(stage, domains)
    found = domain_distance(source, target, seed)
    return {
        "domain_accuracy": round(found.accuracy, 4),
        "a_distance": round(found.a_distance, 4),
    }


def shift_of(source: Model, domains: Domains) -> dict[str, Any] | None:
    """Estimated label shift, with a warning where it is large; ``None`` for a regression."""
    if source.target.kind == "regression":
        return None
    found = described_shift(str(source.target.kind), shares_of(source, domains))
    if found["large"]:
        size = max(value for value in found["size"].values() if value is not None)
        warnings.warn(
            f"class shares of {domains.source.spec} and {domains.target.spec} seem to differ by "
            f"{size:.2f}: alignment of whole domains may hurt; try class_prior='em' (or 'bbse') or "
            "a method that reads classes, such as cdan+e",
            GtlWarning,
            stacklevel=4,
        )
    return found


def by_class(model: Model, domains: Domains) -> dict[str, float | None] | None:
    """Metric of each class or label column on test labels of the target, by name.

    Of classes it is the F1 of each class of the target against all others. ``None`` without test
    labels, or where they have another meaning than the model's.
    """
    target, known = domains.target, target_labels(model, domains)
    test = target.split.get("test", torch.empty(0))
    if known is None or not len(test):
        return None
    labels, scores = known.labels[test], vectors_and_scores(model, target, test)[1]
    if str(model.target.kind) == "multiclass":
        return _by_class(labels, scores, model.labels or LabelNames.of(domains.source), target)
    scores = scores if known.columns is None else scores[:, known.columns]
    return _by_column(known.metric, labels, scores, target.label_names)


def _by_class(
    labels: torch.Tensor, scores: torch.Tensor, names: LabelNames, target: Dataset
) -> dict[str, float | None] | None:
    """F1 of each class that the target has, ``labels`` ``(b,)`` being numbers of the model."""
    has, classes = labels >= 0, scores.shape[1]
    guess = torch.nn.functional.one_hot(scores.argmax(1), classes).double() - 0.5
    truth = torch.nn.functional.one_hot(labels.clamp(min=0), classes).double()
    titles = list(names.class_names) or [str(number) for number in range(classes)]
    found = _by_column("f1", truth[has], guess[has], titles) or {}
    own = [name for name in target.class_names if name in found]
    return {name: found[name] for name in own or found} or None


def _by_column(
    metric: str, labels: torch.Tensor, scores: torch.Tensor, names: Sequence[str]
) -> dict[str, float | None] | None:
    """A metric of each column of labels and scores ``(b, t)``; ``None`` where it is undefined."""
    try:
        found = scores_by_column(metric, labels.double().numpy(), scores.double().numpy())
    except DataError:
        return None
    titles = names or [str(number) for number in range(len(found))]
    return {
        title: None if value is None else round(value, 4) for title, value in zip(titles, found)
    }


def picture(before: Model, after: Model, domains: Domains, folder: Path, seed: int) -> None:
    """Draw both domains before and after in ``plots/domains.png`` of a run folder."""
    from gtl.report.domain_plot import write_domain_plot

    sides = [
        [_drawn(vectors, seed) for vectors in _vectors(model, domains)] for model in (before, after)
    ]
    write_domain_plot(folder, [[rows.numpy() for rows in side] for side in sides], seed)


def _row(name: str, stage: Stage, domains: Domains, plan: Plan) -> dict[str, Any]:
    """What a stage gave."""
    results = stage.results
    row: dict[str, Any] = {"measured": None, "valid": None, "footprint": results["footprint"]}
    row |= distance_of(stage, domains, plan.seed)
    if name in ("source", "align"):
        row |= {"source_metric": domains.source.metric, "source_valid": results["valid"]}
        row |= {"epoch": results["epoch"]}
    if name == "adapt":
        row |= {"valid": results["valid"], "measured": "model"}
    if isinstance(stage, Model) and domains.target.labels is not None:
        row["test"] = value_on(stage, domains.target, "test")
    if stage.history:
        row["losses"] = stage.history[-1]["losses"]
        row["measures"] = stage.history[-1].get("measures", {})
    return row


def _vectors(model: Model, domains: Domains) -> list[torch.Tensor]:
    """Vectors of the items of source and target; of typed graphs those of labeled types."""
    source = domains.source
    items = source.items("all")[of_labeled_types(source, source)]
    each = ((source, items), (domains.unlabeled, domains.items))
    return [vectors_and_scores(model, data, index)[0] for data, index in each]


def _drawn(rows: torch.Tensor, seed: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return rows[torch.randperm(len(rows), generator=rng)[:MOST_POINTS]]
