"""Probe: models of scikit-learn on frozen vectors of an encoder, properties of graphs, or both.

What a network has to be compared with (Alain and Bengio 2017): a random forest on fingerprints, a
linear model on the vectors of an encoder, propagated features of nodes.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gtl import checkpoint
from gtl.catalog import ENCODERS
from gtl.checkpoint import read_json
from gtl.data.dataset import Dataset
from gtl.data.properties import PROPERTIES, property_names, with_properties
from gtl.errors import CheckpointError, ConfigError, DataError
from gtl.metrics import is_better
from gtl.progress import Progress
from gtl.run_folder import RunFolder, best_weights
from gtl.run_kinds import kind_of
from gtl.train.defaults import start_settings, with_defaults
from gtl.train.evaluate import value_on
from gtl.train.footprint import footprint
from gtl.train.inference_cost import prediction_of
from gtl.train.labels import LabelNames
from gtl.train.predicting import Predicting, logits, probabilities, trained_on
from gtl.train.probe_branches import (
    Branch,
    Candidates,
    Fit,
    branch_from,
    model_specs,
    models_of,
)
from gtl.train.probe_features import Features
from gtl.train.resolve import as_dataset
from gtl.train.session import Session
from gtl.train.target import check_labels, shape_of

_HOPS = (2, 0, 1, 3, 4)


class Probe(Predicting):
    """What :func:`probe` returns.

    Args:
        features: Items to rows of numbers.
        branches: Fitted models; of several the mean of their predictions.
        labels: What the outputs stand for.
        config: Settings that :meth:`save` writes.
    """

    def __init__(
        self,
        features: Features,
        branches: Sequence[Branch],
        labels: LabelNames,
        config: Mapping[str, Any],
    ):
        super().__init__(labels)
        self.features, self.branches, self._config = features, list(branches), dict(config)

    def outputs(self, data: Dataset, items: Tensor) -> Tensor:
        """See :class:`Predicting`.

        Raises:
            DataError: If items are of another level, or what the probe reads is missing.
        """
        if data.level != self._config["target"]["level"]:
            raise DataError(
                f"{data.spec} has other items ({data.level}) than the data that the probe was "
                f"fitted to ({self._config['target']['level']})"
            )
        found = [branch.outputs(self.features, data, items) for branch in self.branches]
        if len(found) == 1:
            return found[0]
        kind = self.labels.kind
        return logits(torch.stack([probabilities(o, kind) for o in found]).mean(0), kind)

    @property
    def numbers(self) -> int:
        """How many numbers were fitted."""
        return sum(branch.numbers for branch in self.branches)

    def save(self, folder: Path | str) -> RunFolder:
        """See :class:`Predicting`."""
        before = {} if self.folder is None else read_json(self.folder.path / "config.json")
        written = RunFolder(folder, {"command": "probe", **before, **self._config})
        written.save(self._state())
        written.write_results(self.results)
        return written

    @staticmethod
    def load(folder: Path | str) -> Probe:
        """The probe of a run folder.

        Raises:
            CheckpointError: If the folder is no finished probe, or is damaged.
        """
        folder = Path(folder)
        config = read_json(folder / "config.json")
        kind = kind_of(config, folder)
        if kind.command != "probe":
            raise CheckpointError(f"{folder} is {kind.what}, not a probe; use gtl.load_run")
        features = Features.of(config, best_weights(folder), folder)
        branches = _branches(checkpoint.load(folder / "checkpoint.safetensors"))
        found = Probe(features, branches, LabelNames.from_json(config["labels"]), config)
        ended = folder / "results.json"
        found.results = read_json(ended) if ended.is_file() else {}
        found.trained_on = trained_on(config)
        return found

    def _state(self) -> dict[str, Any]:
        encoder = self.features.encoder
        weights = {} if encoder is None else encoder.state_dict()
        return {
            "best": {
                "epoch": None,
                "valid": self.results.get("valid"),
                "model": {f"encoder.{name}": value for name, value in weights.items()},
            },
            "branches": [branch.state() for branch in self.branches],
            "selection": self.results.get("selection"),
        }


def probe(
    encoder: Any,
    dataset: Dataset,
    *,
    model: Any = "forest",
    properties: Sequence[str] | str = (),
    readout: Any = None,
    hops: int | Sequence[int] | None = None,
    workers: int = 1,
    seed: int = 0,
    device: str | None = None,
    out: Path | str | None = None,
    resume: bool = False,
) -> Probe:
    """Fit a model of scikit-learn to frozen vectors, properties of the graphs, or both.

    Each label column has a model of its own, fitted to the items that have that label; classes have
    one model. A column or class that the training split lacks is predicted by its share. Missing
    values of properties are replaced by medians of the training split. The strength of a model is
    found inside the training split; validation data only choose where several models, or several
    ``hops``, are given, and the test split is evaluated once, at the end.

    Args:
        encoder: As for :func:`gtl.finetune`; it is copied and stays as it is. ``None`` for none:
            properties alone, or the features of nodes as they are.
        dataset: Labeled graphs or nodes with the split ``train``.
        model: ``"forest"``, ``"boosting"``, ``"linear"`` (``"ridge"`` and ``"logistic"`` are the
            same: the kind of labels decides) or ``"gaussian_process"``, of nodes also
            ``"label_propagation"`` and ``"linear_solutions"``; a mapping with options, or a list of
            those, of which validation data choose one.
        properties: Properties of the graphs beside the vectors: ``"descriptors"``, ``"morgan"``, or
            what the graphs carry.
        readout: Node vectors to graph vectors: a name, or several side by side, as
            ``["mean", "sum", "max"]``, where sums are divided as for :func:`gtl.finetune`. By
            default the mean, or what suits an encoder that comes with gtl.
        hops: Of nodes, how often vectors are averaged over neighbors first (SGC, Wu et al. 2019);
            of several validation data choose one: by default among 0 to 4, with an encoder 0.
        workers: Processes that compute properties.
        seed: Reproduces the run bit for bit on one machine.
        device: Where the encoder runs; by default where it is.
        out: Run folder to write.
        resume: Continue the run in ``out``; one that has ended is not fitted again.

    Returns:
        The probe, with ``results``; :func:`gtl.evaluate` and :func:`gtl.predict` take it.

    Raises:
        GtlError: On any unusable argument, before anything is written.
    """
    dataset = as_dataset(dataset)
    check_labels(dataset)
    properties = property_names(properties)
    models = models_of(model, dataset.level)
    _check_items(dataset, encoder, properties)
    tried = _hops(hops, dataset, encoder)
    dataset = with_properties(dataset, properties, workers)
    started = time.monotonic()
    with Session("probe", dataset, seed=seed, device=device, out=out, resume=resume) as session:
        base = None
        if encoder is not None:
            x = dataset.contents.node_features()
            named = with_defaults(encoder, dataset.level, x, head=False)
            base = copy.deepcopy(session.encoder(named)[0])
        pool = start_settings(session.origin, {"readout": readout})["readout"]
        pool = pool if dataset.contents.has_readout else None
        features = session.placed(Features(dataset.schema, base, pool, properties, workers))
        config = {
            **features.config(),
            "target": shape_of(dataset),
            "labels": LabelNames.of(dataset).to_json(),
            "items_checksum": None if out is None else dataset.checksum(labels=False),
            "pretrained": session.origin,
            "tasks": {},
            "model": model_specs(models),
            "hops": tried or None,
        }
        candidates = Candidates(features, dataset, seed)
        fits = dict(candidates.of(models, tried))
        folder = session.open(config)
        found = Probe(features, [], LabelNames.of(dataset), config)
        state = None if folder is None else folder.load()
        chosen = _chosen(found, fits, dataset) if state is None else state["selection"]
        if state is not None:
            found.branches = _branches(state)
        found.results = {"valid": value_on(found, dataset, "valid"), "selection": chosen}
        if folder is not None and state is None:
            folder.save(found._state())
        found.folder = folder
        found.results = session.close(
            {
                "metric": dataset.metric,
                "valid": found.results["valid"],
                "test": value_on(found, dataset, "test"),
                "epoch": None,
                "footprint": cost_of(
                    found.features,
                    found.numbers,
                    time.monotonic() - started,
                    prediction_of(found, dataset),
                ),
                **({} if chosen is None else {"selection": chosen}),
            }
        )
    return found


def cost_of(
    frozen: nn.Module,
    numbers: int,
    seconds: float,
    predict: tuple[Callable[[], Any], int] | None = None,
) -> dict[str, Any]:
    """The footprint of frozen parameters and fitted numbers (of four bytes each)."""
    known = footprint(frozen, seconds, predict=predict)
    return {
        **known,
        "parameters_total": known["parameters_total"] + numbers,
        "parameters_trained": numbers,
        "stored_bytes": known["stored_bytes"] + 4 * numbers,
    }


def _chosen(found: Probe, fits: Mapping[str, Fit], dataset: Dataset) -> dict[str, Any] | None:
    """Fit all candidates and keep the best; ``None`` if there is only one, or no validation."""
    if len(fits) == 1 or not len(dataset.split.get("valid", ())):
        found.branches = next(iter(fits.values()))()
        return None
    best = ""
    values: dict[str, dict[str, Any]] = {}
    with Progress(f"probe {dataset.spec}", len(fits), unit="candidate") as progress:
        for name, fit in fits.items():
            tried = Probe(found.features, fit(), found.labels, found._config)
            value = value_on(tried, dataset, "valid")
            if not best or (
                value is not None and is_better(value, values[best]["valid"], dataset.metric)
            ):
                best, found.branches = name, tried.branches
            values[name] = {"valid": value, "epoch": None, "epochs": 0}
            progress.update()
    return {"selected": best, "candidates": values}


def _branches(state: Mapping[str, Any]) -> list[Branch]:
    return [branch_from(each) for each in state["branches"]]


def _check_items(dataset: Dataset, encoder: Any, properties: Sequence[str]) -> None:
    """Refuse items that a probe cannot read.

    Raises:
        ConfigError: If there is nothing to read, or a property stands in place of an encoder.
        DataError: If items are pairs, or nodes are to have properties.
    """
    if dataset.level == "edge":
        raise DataError(
            f"{dataset.spec}: items are pairs, which a probe does not read; use gtl.finetune"
        )
    names = [encoder] if isinstance(encoder, str) else encoder
    if isinstance(names, Iterable) and not isinstance(names, (Mapping, nn.Module)):
        wrong = [name for name in names if name in PROPERTIES and name not in ENCODERS.names()]
        if wrong:
            raise ConfigError(
                f"`encoder` is {encoder!r}, and {wrong[0]!r} is a property; give encoder=None and "
                f"properties={wrong}"
            )
    if dataset.level == "node" and properties:
        raise DataError(
            f"{dataset.spec}: items are nodes, which have no `properties`; leave it out"
        )
    if dataset.level == "graph" and encoder is None and not properties:
        raise ConfigError(
            "there is nothing to read: give an `encoder`, `properties` such as ['morgan'], or both"
        )


def _hops(hops: int | Sequence[int] | None, dataset: Dataset, encoder: Any) -> list[int]:
    if dataset.level != "node":
        if hops is not None:
            raise ConfigError("`hops` is for items that are nodes; leave it out")
        return []
    if hops is None:
        return list(_HOPS) if encoder is None else [0]
    tried = [hops] if isinstance(hops, int) else list(hops)
    if not tried or any(isinstance(h, bool) or not isinstance(h, int) or h < 0 for h in tried):
        raise ConfigError(f"`hops` is {hops!r}, expected whole numbers from 0 on, at least one")
    return tried
