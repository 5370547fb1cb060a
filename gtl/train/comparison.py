"""Comparison of methods on labeled data: forests, probes, fine-tuning and their blend.

Which of them is to be used is chosen by validation data; the test split says what the choice was
worth, and is read by nothing else.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor, nn

from gtl.checkpoint import read_json, write_text
from gtl.data.dataset import Dataset
from gtl.data.properties import with_properties
from gtl.errors import CheckpointError, ConfigError, DataError, MissingDependencyError
from gtl.metrics import direction
from gtl.report.compare import Difference, decimals, spread
from gtl.report.run_tables import comparison_table
from gtl.report.tables import as_text
from gtl.run_folder import RunFolder
from gtl.run_kinds import kind_of
from gtl.suggest import nearest
from gtl.train.blend import BLEND, blend
from gtl.train.evaluate import as_model, raw_outputs
from gtl.train.finetune import finetune
from gtl.train.labels import LabelNames
from gtl.train.model import Model
from gtl.train.predicting import Predicting, trained_on
from gtl.train.probe import probe
from gtl.train.repeated import choose, corrected, hash_of, redivided, repeats_of
from gtl.train.resolve import as_dataset
from gtl.train.session import Session
from gtl.train.target import check_labels, shape_of

log = logging.getLogger(__name__)
Fit: TypeAlias = Callable[..., "Model | Predicting"]
FOREST, BOTH = "forest on fingerprints", "forest on fingerprints and descriptors"
PROCESS = "Gaussian process on descriptors"
PROBE, TUNED, HELPED = "probe", "fine-tuning", "fine-tuning with aux_ts"
AUXILIARY = ("attribute_masking", "edge_prediction", "infomax")
CHEMISTRY = ("descriptors", "fingerprint", "attribute_masking")


class Comparison(Predicting):
    """What :func:`compare` returns; it predicts with the method that was chosen.

    Args:
        model: The chosen method, trained on the given split.
        labels: What the outputs stand for.

    Attributes:
        selected: Name of the chosen method.
    """

    def __init__(self, model: Model | Predicting, labels: LabelNames, results: Mapping[str, Any]):
        super().__init__(labels)
        self.model, self.results = model, dict(results)

    @property
    def selected(self) -> str:
        """Name of the chosen method."""
        return str(self.results["selection"]["selected"])

    def outputs(self, data: Dataset, items: Tensor) -> Tensor:
        """See :class:`Predicting`."""
        return raw_outputs(self.model, data, items)

    def save(self, folder: Path | str) -> RunFolder:
        """The chosen method alone, as a run folder of its kind."""
        return self.model.save(folder)

    @staticmethod
    def load(folder: Path | str) -> Comparison:
        """The comparison of a run folder.

        Raises:
            CheckpointError: If the folder is no comparison, or was interrupted.
        """
        folder = Path(folder)
        config = read_json(folder / "config.json")
        kind = kind_of(config, folder)
        if kind.role != "comparison":
            raise CheckpointError(f"{folder} is {kind.what}, not a comparison; use gtl.load_run")
        if not (folder / "results.json").is_file():
            raise CheckpointError(
                f"{folder} was interrupted before its methods could be compared; run it again with "
                "resume=True (--resume)"
            )
        results = read_json(folder / "results.json")
        chosen = as_model(folder / "methods" / _plain(results["selection"]["selected"]) / "0")
        found = Comparison(chosen, LabelNames.from_json(config["labels"]), results)
        found.trained_on = trained_on(config)
        return found

    def __str__(self) -> str:
        return table_of(self.results)


def compare(
    encoder: Any,
    dataset: Dataset,
    *,
    methods: Sequence[str] | None = None,
    auxiliary: Any = None,
    readout: Any = None,
    epochs: int | None = None,
    repeats: int | None = None,
    workers: int = 1,
    seed: int = 0,
    device: str | None = None,
    out: Path | str | None = None,
    resume: bool = False,
) -> Comparison:
    """Train forests, probes, fine-tuning and their blend, and choose one by validation data.

    For molecules the rivals are a random forest on Morgan fingerprints, one on those and RDKit's
    descriptors, and a Gaussian process on the descriptors; for nodes a linear model on propagated
    features, label propagation and closed-form linear solutions. Beside them are a linear probe of
    the encoder, fine-tuning, the same with auxiliary tasks under ``aux_ts``, and the blend of all.

    All are trained on several divisions of the training and validation items; the first is the
    given one. The best mean on validation data is chosen, or the blend where it is worse by less
    than one standard error of the paired difference. The test split stays the same and is no part
    of the choice.

    Args:
        encoder: As for :func:`gtl.finetune`; it is copied and stays as it is.
        dataset: Labeled graphs or nodes with the splits ``train``, ``valid`` and ``test``.
        methods: Names of the methods to train; all by default.
        auxiliary: Auxiliary tasks of the fine-tuning with ``aux_ts``; by default ``descriptors``,
            ``fingerprint`` and ``attribute_masking`` for molecules, else ``attribute_masking``,
            ``edge_prediction`` and ``infomax``.
        readout: Node vectors to graph vectors, as for :func:`gtl.finetune`.
        epochs: Passes of the fine-tuning; by default those of :func:`gtl.finetune`.
        repeats: Divisions; 5 by default, 3 from 2,000 labeled items on.
        workers: Processes that compute properties.
        seed: Reproduces the comparison bit for bit on one machine.
        device: Where to train; by default where the encoder is.
        out: Folder to write: ``results.json``, ``table.txt``, and a run folder for each method and
            division in ``methods/``.
        resume: Continue the comparison in ``out``; what has ended is not trained again.

    Returns:
        The comparison: ``str()`` of it is a table, and it predicts with the chosen method as it
        was trained on the given division.

    Raises:
        GtlError: On any unusable argument, before anything is written.
    """
    dataset = as_dataset(dataset)
    check_labels(dataset)
    for part in ("train", "valid", "test"):
        dataset.items(part)
    if dataset.level == "edge":
        raise DataError(
            f"{dataset.spec}: items are pairs, which are not compared; use gtl.finetune"
        )
    divisions = repeats_of(repeats, dataset)
    tuning = {"readout": readout, "epochs": epochs, "device": device}
    chemistry = dataset.level == "graph" and _has_properties(dataset, workers)
    auxiliary = (CHEMISTRY if chemistry else AUXILIARY) if auxiliary is None else auxiliary
    fits = _selected(fits_of(encoder, dataset, auxiliary, tuning, workers, chemistry), methods)
    with Session("compare", dataset, seed=seed, device=device, out=out, resume=resume) as session:
        folder = session.open(
            {
                "schema": dataset.schema.to_json(),
                "target": shape_of(dataset),
                "labels": LabelNames.of(dataset).to_json(),
                "items_checksum": None if out is None else dataset.checksum(labels=False),
                "encoder": _spec(encoder),
                "methods": list(fits),
                "auxiliary": auxiliary if _is_plain(auxiliary) else str(auxiliary),
                "readout": readout if _is_plain(readout) else str(readout),
                "epochs": epochs,
                "repeats": divisions,
            }
        )
        place = None if folder is None else folder.path / "methods"
        first: dict[str, Model | Predicting] = {}
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in fits}
        for number in range(divisions):
            own = redivided(dataset, seed, number)
            trained = _trained(fits, own, hash_of(seed, number) % 2**31, number, place, resume)
            first = first or trained
            for name, model in trained.items():
                found[name].append(model.results)
        results = _results(found, dataset)
        model = first[results["selection"]["selected"]]
        done = session.close({"footprint": model.results["footprint"], **results})
        if folder is not None:
            write_text(folder.path / "table.txt", table_of(done) + "\n")
    compared = Comparison(model, LabelNames.of(dataset), done)
    compared.folder = folder
    return compared


def fits_of(
    encoder: Any,
    dataset: Dataset,
    auxiliary: Any,
    tuning: Mapping[str, Any],
    workers: int,
    chemistry: bool,
) -> dict[str, Fit]:
    """The methods that suit the data, by name; each takes a data set, seed, folder and resume.

    Args:
        encoder: What the probe reads and fine-tuning starts from.
        dataset: What they are for.
        auxiliary: Auxiliary tasks.
        tuning: Options of fine-tuning.
        workers: Processes that compute properties.
        chemistry: Whether fingerprints and descriptors are there or can be computed.
    """
    fits: dict[str, Fit] = {}
    if dataset.level == "node":
        fits["SGC"] = partial(_probe, None, model="linear")
        fits["label propagation"] = partial(_probe, None, model="label_propagation")
        fits["linear solutions"] = partial(_probe, None, model="linear_solutions")
    elif chemistry:
        for name, columns in ((FOREST, ["morgan"]), (BOTH, ["morgan", "descriptors"])):
            fits[name] = partial(_probe, None, properties=columns, workers=workers)
        process = partial(_probe, None, model="gaussian_process", workers=workers)
        fits[PROCESS] = partial(process, properties=["descriptors"])
    own = {"readout": tuning["readout"], "device": tuning["device"]}
    fits[PROBE] = partial(_probe, encoder, model="linear", **own)
    fits[TUNED] = partial(_finetune, encoder, **tuning)
    fits[HELPED] = partial(
        _finetune, encoder, auxiliary=auxiliary, weighting="aux_ts", guard=False, **tuning
    )
    if dataset.level == "node" and dataset.graph is not None and dataset.graph.x is None:
        fits.pop("SGC")
        fits.pop("linear solutions")
    fits[BLEND] = blend
    return fits


def table_of(results: Mapping[str, Any]) -> str:
    """The results of a comparison as text: a line for each method, and what was chosen.

    Args:
        results: What ``results.json`` holds.
    """
    every = [value for method in results["methods"].values() for value in method["test"]]
    places = decimals(every) if every else 3
    table = as_text(comparison_table(results))
    return f"{table}\n\n{_verdict(results, places)}"


def _verdict(results: Mapping[str, Any], places: int) -> str:
    selected, reference = results["selection"]["selected"], results["reference"]
    count = len(next(iter(results["methods"].values()))["test"])
    text = (
        f"* chosen by validation data over {count} division{'s' if count > 1 else ''}: {selected}"
    )
    gap = results["methods"][selected]["difference"]
    if gap is None:
        return text
    shown = _difference(gap, results["metric"], places)
    plain = "" if shown.endswith(("better", "worse")) else ", not significant"
    return f"{text}; on test data {shown}{plain} against {reference}"


def _difference(gap: Mapping[str, Any], metric: str, places: int) -> str:
    found = Difference(**gap)
    better = direction(metric)
    assert better is not None
    return f"{found.text(places)} {found.verdict(better)}".strip()


def _trained(
    fits: Mapping[str, Fit],
    dataset: Dataset,
    seed: int,
    number: int,
    place: Path | None,
    resume: bool,
) -> dict[str, Model | Predicting]:
    """All methods on one division, the blend of the others last."""
    found: dict[str, Model | Predicting] = {}
    for name, fit in fits.items():
        out = None if place is None else place / _plain(name) / str(number)
        log.info("compare %s, division %d: %s", dataset.spec, number + 1, name)
        start: Any = dict(found) if fit is blend else None
        options = {"seed": seed, "out": out, "resume": resume}
        found[name] = fit(dataset, **options) if start is None else fit(start, dataset, **options)
    return found


def _results(found: Mapping[str, Sequence[Mapping[str, Any]]], dataset: Dataset) -> dict[str, Any]:
    """Values of all methods, the choice, and differences to the reference."""
    for name, runs in found.items():
        if any(run["valid"] is None or run["test"] is None for run in runs):
            raise DataError(
                f"{dataset.spec}: {dataset.metric} of {name} is undefined on some split; use "
                "another split or another metric"
            )
    valid = {name: [float(run["valid"]) for run in runs] for name, runs in found.items()}
    test = {name: [float(run["test"]) for run in runs] for name, runs in found.items()}
    overlap = len(dataset.items("valid")) / len(dataset.items("train"))
    chosen = choose(valid, dataset.metric, BLEND, overlap)
    reference = BOTH if BOTH in found else next(iter(found))
    methods = {
        name: {
            "valid": valid[name],
            "test": test[name],
            "seconds": [run["footprint"]["seconds"] for run in runs],
            "difference": None
            if name == reference
            else asdict(corrected(test[name], test[reference], overlap)),
        }
        for name, runs in found.items()
    }
    means = {name: {"valid": spread(values).mean} for name, values in valid.items()}
    return {
        "metric": dataset.metric,
        "valid": means[chosen]["valid"],
        "test": spread(test[chosen]).mean,
        "epoch": None,
        "data": dataset.spec,
        "reference": reference,
        "methods": methods,
        "selection": {"selected": chosen, "candidates": means},
    }


def _probe(encoder: Any, dataset: Dataset, **options: Any) -> Predicting:
    return probe(encoder, dataset, **options)


def _finetune(encoder: Any, dataset: Dataset, **options: Any) -> Model:
    start = copy.deepcopy(encoder) if isinstance(encoder, nn.Module) else encoder
    trained: Model = finetune(start, dataset, **options)
    return trained


def _selected(fits: dict[str, Fit], methods: Sequence[str] | None) -> dict[str, Fit]:
    if methods is None:
        return fits
    for name in methods:
        if name not in fits:
            raise ConfigError(f"unknown method {name!r} for this data; {nearest(name, fits)}")
    chosen = {name: fit for name, fit in fits.items() if name in methods}
    if len(chosen) < 2 or (BLEND in chosen and len(chosen) < 3):
        raise ConfigError(
            f"`methods` is {list(methods)}, expected at least two besides the blend, or two without"
        )
    return chosen


def _has_properties(dataset: Dataset, workers: int) -> bool:
    """Whether fingerprints and descriptors are there or can be computed."""
    try:
        with_properties(dataset, ["morgan", "descriptors"], workers)
    except (DataError, MissingDependencyError) as error:
        log.info("no forests on fingerprints: %s", error)
        return False
    return True


def _spec(encoder: Any) -> Any:
    """What can be written of an encoder."""
    if _is_plain(encoder):
        return {"name": encoder} if isinstance(encoder, str) else encoder
    return {"name": str(encoder) if isinstance(encoder, Path) else type(encoder).__name__}


def _is_plain(value: Any) -> bool:
    """Whether a value is names, numbers, lists and mappings of them."""
    if isinstance(value, Mapping):
        return all(_is_plain(part) for part in value.values())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(part) for part in value)
    return value is None or isinstance(value, (str, int, float, bool))


def _plain(name: str) -> str:
    return name.replace(" ", "-")
