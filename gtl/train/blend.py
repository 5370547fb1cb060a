"""Blend: a weighted average of the predictions of several models, held to its members.

Averages of unlike models are hard to beat by any of them (Caruana et al. 2004). Probabilities are
averaged, not logits; values of a regression as they are.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gtl import checkpoint
from gtl.checkpoint import read_json
from gtl.checks import check_not_negative
from gtl.data.dataset import Dataset
from gtl.errors import CheckpointError, ConfigError, DataError
from gtl.metrics import is_better, score, score_by_ogb
from gtl.run_folder import RunFolder
from gtl.run_kinds import kind_of
from gtl.train.blend_weights import HeldBack, cross_fitted
from gtl.train.evaluate import (
    as_model,
    kind_of_outputs,
    raw_outputs,
    require_unchanged,
    value_on,
)
from gtl.train.footprint import footprint
from gtl.train.inference_cost import prediction_of
from gtl.train.labels import LabelNames
from gtl.train.model import Model
from gtl.train.predicting import Predicting, logits, probabilities, trained_on
from gtl.train.resolve import as_dataset
from gtl.train.session import Session
from gtl.train.target import check_labels, shape_of

BLEND = "blend"
MEMBERS = "members"  # folder of the run folders of the members
_FOLDS = 5


class Blend(Predicting):
    """What :func:`blend` returns.

    Args:
        members: Models by name.
        weights: Of each member, in order; they sum to 1.
        labels: What the outputs stand for.
        config: Settings that :meth:`save` writes.
    """

    def __init__(
        self,
        members: Mapping[str, Model | Predicting],
        weights: Sequence[float],
        labels: LabelNames,
        config: Mapping[str, Any],
    ):
        super().__init__(labels)
        self.members, self._config = dict(members), dict(config)
        self.weights = dict(zip(self.members, map(float, weights)))

    def outputs(self, data: Dataset, items: Tensor) -> Tensor:
        """See :class:`Predicting`."""
        used = {name: weight for name, weight in self.weights.items() if weight > 0}
        found = [raw_outputs(self.members[name], data, items) for name in used]
        if len(found) == 1:
            return found[0]
        return blended(found, np.array([list(used.values())]), self.labels.kind)

    def save(self, folder: Path | str) -> RunFolder:
        """See :class:`Predicting`; the members are saved below it."""
        before = {} if self.folder is None else read_json(self.folder.path / "config.json")
        written = RunFolder(folder, {"command": "blend", **before, **self._config})
        self._write(written)
        written.write_results(self.results)
        return written

    @staticmethod
    def load(folder: Path | str) -> Blend:
        """The blend of a run folder.

        Raises:
            CheckpointError: If the folder is no finished blend, or is damaged.
        """
        folder = Path(folder)
        config = read_json(folder / "config.json")
        kind = kind_of(config, folder)
        if kind.command != "blend":
            raise CheckpointError(f"{folder} is {kind.what}, not a blend; use gtl.load_run")
        weights = checkpoint.load(folder / "checkpoint.safetensors")["weights"]
        members = {name: as_model(folder / MEMBERS / _plain(name)) for name in weights}
        labels = LabelNames.from_json(config["labels"])
        found = Blend(members, list(weights.values()), labels, config)
        ended = folder / "results.json"
        found.results = read_json(ended) if ended.is_file() else {}
        found.trained_on = trained_on(config)
        return found

    def _write(self, folder: RunFolder) -> None:
        for name, member in self.members.items():
            place = folder.path / MEMBERS / _plain(name)
            if not (place / "results.json").is_file():
                shutil.rmtree(place, ignore_errors=True)
                member.save(place)
        folder.save({"weights": self.weights})


def blend(
    members: Any,
    dataset: Dataset,
    *,
    shrinkage: float = 1.0,
    guard: bool = True,
    seed: int = 0,
    out: Path | str | None = None,
    resume: bool = False,
) -> Blend:
    """Average the predictions of several models with weights from validation data.

    The weights are not negative, sum to 1, and minimize the log-loss (of a regression the squared
    error) of the validation split, with a penalty on their distance to equal weights. The value on
    validation data that is reported was found with weights from other validation items
    (cross-fitting); it is therefore as honest as those of the members.

    Args:
        members: Models, probes, or their run folders, which were trained on the training split of
            this data: a list, or a mapping by name.
        dataset: Labeled data with the split ``valid``.
        shrinkage: Penalty, in units of the log-likelihood of one item; 0 trusts the validation
            data, large values give equal weights.
        guard: Take a single member instead where its loss on validation data is lower than that
            of the cross-fitted blend by more than one standard error of the paired difference,
            and its metric is not worse.
        seed: Divides the validation items for the cross-fitting.
        out: Run folder to write; the members are stored below it.
        resume: Write again to the folder of a blend that was interrupted, or of the same one.

    Returns:
        The blend, with ``weights`` and ``results``: ``selection`` has the value of each member on
        validation data, and which was selected.

    Raises:
        ConfigError: If there are fewer than two members, or ``shrinkage`` is negative.
        DataError: If there are no validation items, a member predicts something else, or one was
            trained on this data with other items or another split.
    """
    dataset = as_dataset(dataset)
    check_labels(dataset)
    check_not_negative(shrinkage=shrinkage)
    named = _named(members)
    labels = LabelNames.of(dataset)
    for name, member in named.items():
        _require_same_labels(name, member, labels)
        _require_same_data(name, member, dataset)
    valid = dataset.items("valid")
    started = time.monotonic()
    with Session("blend", dataset, seed=seed, out=out, resume=resume) as session:
        outputs = [raw_outputs(member, dataset, valid) for member in named.values()]
        assert dataset.labels is not None
        known = dataset.labels[valid]
        held = HeldBack(outputs, known, labels.kind)
        others = cross_fitted(held, outputs, shrinkage, _FOLDS, seed)
        mixed = blended(outputs, others, labels.kind)
        values = {
            name: _score(dataset, valid, out)
            for name, out in zip([BLEND, *named], [mixed, *outputs])
        }
        chosen = _guarded(held, others, values, dataset.metric) if guard else BLEND
        weights = held.weights(shrinkage)
        if chosen != BLEND:
            weights = np.array([float(name == chosen) for name in named])
        config = {
            "schema": dataset.schema.to_json(),
            "target": shape_of(dataset),
            "labels": labels.to_json(),
            "items_checksum": None if out is None else dataset.checksum(labels=False),
            "tasks": {},
            "members": {name: member.results.get("valid") for name, member in named.items()},
            "shrinkage": shrinkage,
            "guard": guard,
        }
        folder = session.open(config)
        found = Blend(named, weights.tolist(), labels, config)
        if folder is not None:
            found._write(folder)
        found.folder = folder
        candidates = {name: {"valid": v, "epoch": None, "epochs": 0} for name, v in values.items()}
        found.results = session.close(
            {
                "metric": dataset.metric,
                "valid": values[chosen],
                "test": value_on(found, dataset, "test"),
                "epoch": None,
                "footprint": _footprint(found, named, dataset, time.monotonic() - started),
                "weights": found.weights,
                "selection": {"selected": chosen, "candidates": candidates},
            }
        )
    return found


def blended(outputs: Sequence[Tensor], weights: np.ndarray, kind: str) -> Tensor:
    """Logits or values of the weighted mean of predictions, float64 ``(k, c)``.

    Args:
        outputs: Logits or values of each of ``m`` members, ``(k, c)``.
        weights: ``(k, m)``, or ``(1, m)`` for the same ones everywhere.
        kind: ``"binary"``, ``"multiclass"`` or ``"regression"``.

    Example:
        >>> half = torch.tensor([[0.0]]), torch.logit(torch.tensor([[0.9]]))
        >>> round(float(blended(half, np.array([[0.5, 0.5]]), "binary").sigmoid()), 6)
        0.7
    """
    chances = torch.stack([probabilities(out.double(), kind) for out in outputs], 1)  # (k, m, c)
    return logits((chances * torch.from_numpy(weights).unsqueeze(2)).sum(1), kind)


def _guarded(held: HeldBack, others: np.ndarray, values: Mapping[str, float], metric: str) -> str:
    """The blend, or the best single member if it is better by more than a standard error."""
    names = [name for name in values if name != BLEND]
    mine = held.losses(others[held.item])
    best, gain = BLEND, 0.0
    for place, name in enumerate(names):
        alone = np.eye(len(names))[place]
        gaps = held.mean_by_item(mine - held.losses(alone))
        error = gaps.std(ddof=1) / np.sqrt(len(gaps)) if len(gaps) > 1 else np.inf
        worse = is_better(values[BLEND], values[name], metric)
        if not worse and gaps.mean() > max(error, gain):
            best, gain = name, float(gaps.mean())
    return best


def _named(members: Any) -> dict[str, Model | Predicting]:
    given = members if isinstance(members, Mapping) else _with_names(members)
    if len(given) < 2:
        raise ConfigError(f"a blend needs two or more members, there are {len(given)}")
    plain = [_plain(str(name)) for name in given]
    if len(set(plain)) < len(plain) or not all(plain):
        raise ConfigError(f"the names of the members are too much alike: {', '.join(given)}")
    return {str(name): as_model(member) for name, member in given.items()}


def _with_names(members: Any) -> dict[str, Any]:
    """Names of folders, elsewhere numbers."""
    if isinstance(members, (str, Path)) or not isinstance(members, Sequence):
        raise ConfigError(
            f"`members` is {members!r}, expected a list of models or run folders, or a mapping"
        )
    found: dict[str, Any] = {}
    for number, member in enumerate(members, 1):
        is_path = isinstance(member, (str, Path))
        name = Path(member).name if is_path else f"{type(member).__name__.lower()} {number}"
        found[name if name not in found else f"{name} {number}"] = member
    return found


def _require_same_labels(name: str, member: Model | Predicting, labels: LabelNames) -> None:
    mine = member.labels
    if mine is None:
        assert isinstance(member, Model)
        same = (kind_of_outputs(member), member.target.outputs) == (labels.kind, labels.outputs)
    else:
        fields = ("kind", "outputs", "label_names", "class_names")
        same = all(getattr(mine, field) == getattr(labels, field) for field in fields)
    if not same:
        raise DataError(
            f"the member {name!r} predicts other labels than those of the data; blend models that "
            "were trained on the same labels"
        )


def _require_same_data(name: str, member: Model | Predicting, dataset: Dataset) -> None:
    try:
        require_unchanged(member, dataset)
    except DataError as error:
        raise DataError(
            f"the member {name!r} may have been trained on validation items: {dataset.spec} is not "
            "as it was then (items or the split have changed); load it with the options and the "
            "seed of that training"
        ) from error


def _score(dataset: Dataset, items: Tensor, outputs: Tensor) -> float:
    assert dataset.labels is not None
    labels, queries = dataset.labels[items].numpy(), dataset.contents.queries(items)
    found = outputs.double().numpy()
    if dataset.spec.startswith("ogb:"):
        name = dataset.spec.removeprefix("ogb:")
        return score_by_ogb(name, dataset.metric, labels, found, queries)
    return score(dataset.metric, labels, found, queries)


def _footprint(
    blend: Blend, members: Mapping[str, Model | Predicting], dataset: Dataset, seconds: float
) -> dict[str, Any]:
    """That of all members together; the seconds are those of the weights alone."""
    found = footprint(nn.Module(), seconds, predict=prediction_of(blend, dataset))
    for member in members.values():
        cost = member.results.get("footprint", {})
        for name in ("parameters_total", "parameters_trained", "stored_bytes"):
            found[name] += cost.get(name, 0)
    return found


def _plain(name: str) -> str:
    """A name for a folder."""
    return re.sub(r"[^A-Za-z0-9.=_-]+", "-", name).strip("-.")
