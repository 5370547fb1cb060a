"""Search of settings for fine-tuning: quality on validation data against footprint.

Each trial is a fine-tuning in a run folder of its own. It is trained in parts, so that one that is
worse than others at the same cost can be stopped early, and a search that was interrupted goes on
where it stopped.
"""

from __future__ import annotations

import inspect
import json
import logging
import math
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gtl.checkpoint import read_json
from gtl.data.dataset import Dataset
from gtl.errors import ConfigError, DataError, GtlError
from gtl.progress import Progress
from gtl.report.pareto import COSTS, draw_front, trial_points
from gtl.searching.result import SearchResult, front_of
from gtl.searching.spaces import search_space, title_of
from gtl.searching.study import COMPLETE, FAILED, PRUNED, Study, Trial, load_optuna
from gtl.suggest import nearest
from gtl.train.defaults import training_defaults
from gtl.train.finetune import finetune
from gtl.train.resolve import as_dataset
from gtl.train.session import Session
from gtl.train.target import check_labels

log = logging.getLogger(__name__)
TRIALS = 20
_RUNGS = (4, 2)  # a trial may be stopped after a fourth and after half of its epochs
_TRIES = 3  # of which all failed: then something else is wrong


def search(
    encoder: Any,
    dataset: Dataset,
    *,
    adapter: Any = None,
    space: Mapping[str, Any] | None = None,
    footprint: str | None = "parameters_total",
    settings: Mapping[str, Any] | None = None,
    trials: int | None = None,
    budget: float | None = None,
    prune: bool = True,
    epochs: int | None = None,
    seed: int = 0,
    device: str | None = None,
    out: Path | str | None = None,
    resume: bool = False,
) -> SearchResult:
    """Search settings of a fine-tuning that are good on validation data and cost little.

    What is searched is declared by the parts (:attr:`gtl.roles.Recorded.search_space`): width,
    depth and dropout of encoders, sizes of adapters; and learning rate and weight decay. Proposals
    come from Optuna's tree-structured Parzen estimator (Bergstra et al. 2011; of several objectives
    Ozaki et al. 2020). The test split takes no part in it.

    Args:
        encoder: Name, mapping with options that stay as given, folder of a run, or a list of those
            to choose from.
        dataset: Labeled data with the splits ``train`` and ``valid``.
        adapter: As for :func:`gtl.finetune`.
        space: Spaces beside or instead of the declared ones. They are a list of values or ``low``,
            ``high`` and ``log`` by key; keys are arguments of :func:`gtl.finetune`,
            ``encoder.OPTION`` and ``adapter.OPTION``; ``None`` takes one out.
        footprint: What is to be small, a key of a run's footprint; ``None`` for quality alone.
        settings: Further arguments of :func:`gtl.finetune`, the same in all trials.
        trials: How many; those of an earlier call count. 20 by default, without a ``budget``.
        budget: Seconds of training after which no trial begins; likewise.
        prune: Whether trials may be stopped early. Those with a schedule of rates never are: it
            depends on the number of epochs.
        epochs: Passes of a whole trial; by default those of :func:`gtl.finetune`.
        seed: Reproduces the search bit for bit on one machine.
        device: Where to train.
        out: Run folder to write: ``best.yaml``, which ``gtl finetune --config`` takes, ``front/``
            with the other configurations, ``search.db`` and ``trials/``.
        resume: Continue in ``out``, also with more trials or a larger budget.

    Returns:
        The result: ``best``, ``front`` and ``trials``.

    Raises:
        GtlError: On any unusable argument, before anything is written; or if the first trials all
            fail.
    """
    dataset = as_dataset(dataset)
    check_labels(dataset)
    load_optuna()
    _check(dataset, footprint, trials, budget)
    _check_names({**(settings or {}), **(space or {})}, encoder)
    fixed = _plain(settings or {}, epochs)
    found = search_space(encoder, adapter, space or {}, dataset.level, fixed)
    trials = TRIALS if trials is None and budget is None else trials
    with (
        Session("search", dataset, seed=seed, device=device, out=out, resume=resume) as session,
        tempfile.TemporaryDirectory() as elsewhere,
    ):
        folder = session.open(
            {
                "encoder": list(found.encoders),
                "adapter": adapter,
                "space": found.to_json(),
                "footprint": footprint,
                "settings": fixed,
                "trials": trials,
                "budget": budget,
                "prune": prune,
                "epochs": epochs,
            }
        )
        place = Path(elsewhere) / "search" if folder is None else folder.path
        place.mkdir(exist_ok=True)
        study = Study(place, found, dataset.metric, footprint is not None, seed)
        job = _Job(study, dataset, {**fixed, "seed": seed, "device": device}, footprint, prune)
        _run(job, place / "trials", trials, budget)
        done = session.close(_results(study, dataset, footprint, place / "trials"))
        configs = {
            number: _options(study, dataset, fixed, done["trials"][number]["params"], seed)
            for number in done["front"]
        }
        result = SearchResult(done, configs, None if folder is None else folder.path)
        if folder is not None:
            result.write(folder.path)
            _draw(done, folder.path / "plots")
    return result


class _Job:
    """What all trials share."""

    def __init__(
        self,
        study: Study,
        dataset: Dataset,
        fixed: Mapping[str, Any],
        footprint: str | None,
        prune: bool,
    ):
        self.study, self.dataset, self.fixed = study, dataset, fixed
        self.footprint, self.prune = footprint, prune

    def train(self, trial: Trial, out: Path) -> None:
        """Train one trial, in parts; store how it ended."""
        arguments = {**self.fixed, **self.study.space.arguments(trial.chosen)}
        encoder = arguments.pop("encoder")
        measured: dict[str, Any] = {}
        state, begun = COMPLETE, time.monotonic()
        try:
            for rung in self._rungs(arguments, encoder):
                known = trial.measured(rung)
                if known is None:
                    more = {**arguments, "epochs": rung, "out": out, "resume": True}
                    results = finetune(encoder, self.dataset, **more).results
                    known = self._measured(results, rung)
                measured = known
                if rung < self._epochs(arguments, encoder) and trial.is_hopeless(measured):
                    state = PRUNED
                    break
        except DataError:
            raise
        except GtlError as error:
            # What failed costs time, too: a budget ends a search whose trials all fail.
            spent = time.monotonic() - begun
            state, measured = FAILED, {"problem": str(error), "seconds": spent}
            log.warning("trial %d failed: %s", trial.number, error)
        trial.end(state, **measured)

    def _measured(self, results: Mapping[str, Any], epochs: int) -> dict[str, Any]:
        costs = results["footprint"]
        if self.footprint is not None and costs.get(self.footprint) is None:
            known = ", ".join(name for name in COSTS if costs.get(name) is not None)
            raise DataError(f"`footprint` is {self.footprint!r}, which no run has; known: {known}")
        if results["valid"] is None:
            raise DataError(
                f"{self.dataset.spec}: {results['metric']} is undefined on the validation split; "
                "use another split or another metric"
            )
        cost = None if self.footprint is None else float(costs[self.footprint])
        seconds = costs["seconds"]
        return {"valid": results["valid"], "footprint": cost, "epochs": epochs, "seconds": seconds}

    def _epochs(self, arguments: Mapping[str, Any], encoder: Any) -> int:
        given = arguments.get("epochs")
        if given is not None:
            return int(given)
        return int(training_defaults(self.dataset.level, title_of(encoder))["epochs"])

    def _rungs(self, arguments: Mapping[str, Any], encoder: Any) -> list[int]:
        """Epochs after which a trial is judged, the last of which are all."""
        whole = self._epochs(arguments, encoder)
        if not self.prune or arguments.get("schedule") not in (None, "constant"):
            return [whole]
        parts = {math.ceil(whole / share) for share in _RUNGS}
        return sorted({*parts, whole})


def _run(job: _Job, place: Path, trials: int | None, budget: float | None) -> None:
    """Train trials until there are enough, or the budget is spent."""
    done = job.study.records()
    with Progress(f"search {job.dataset.spec}", trials, len(done), "trial") as progress:
        while not _is_over(done, trials, budget):
            trial = job.study.ask()
            job.train(trial, place / f"{trial.number:03d}")
            done = job.study.records()
            progress.update()
            if len(done) == _TRIES and all(record["state"] == FAILED for record in done):
                raise ConfigError(f"the first {_TRIES} trials failed; {done[-1]['problem']}")


def _is_over(done: list[dict[str, Any]], trials: int | None, budget: float | None) -> bool:
    spent = sum(record["seconds"] or 0.0 for record in done)
    return (trials is not None and len(done) >= trials) or (budget is not None and spent >= budget)


def _results(study: Study, dataset: Dataset, footprint: str | None, place: Path) -> dict[str, Any]:
    records = study.records()
    numbers = front_of(records, dataset.metric)
    if records and all(record["state"] == FAILED for record in records):
        raise ConfigError(f"all {len(records)} trials failed: {records[0]['problem']}")
    if not numbers:
        raise ConfigError(
            f"{dataset.spec}: no trial was completed within the budget; allow more `trials` or a "
            "larger `budget`"
        )
    best = numbers[-1]  # the most expensive one of a front is the best
    run = read_json(place / f"{best:03d}" / "results.json")
    return {
        "metric": dataset.metric,
        "valid": run["valid"],
        "test": run["test"],
        "epoch": run["epoch"],
        "footprint": {**run["footprint"], "seconds": sum(r["seconds"] or 0 for r in records)},
        "data": dataset.spec,
        "objective": footprint,
        "best": best,
        "front": numbers,
        "trials": records,
    }


def _options(
    study: Study, dataset: Dataset, fixed: Mapping[str, Any], chosen: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """Options of ``gtl finetune`` for a trial."""
    arguments = {**fixed, **study.space.arguments(chosen), "seed": seed}
    known = {name: value for name, value in arguments.items() if value is not None}
    data = {"spec": dataset.spec, **dataset.options}
    root = {"root": str(dataset.root)} if dataset.root else {}
    return json.loads(json.dumps({"data": data, **root, **known}))


def _draw(results: Mapping[str, Any], out: Path) -> None:
    drawing = draw_front(trial_points(results), results["metric"], "valid")
    if drawing is not None:
        out.mkdir(exist_ok=True)
        drawing.save(out / "pareto.png")


def _plain(settings: Mapping[str, Any], epochs: int | None) -> dict[str, Any]:
    """Settings that a configuration file can hold."""
    try:
        found = json.loads(json.dumps(dict(settings)))
    except TypeError as error:
        raise ConfigError(
            f"`settings` has a value that no file can hold ({error}); name parts, or give mappings"
        ) from None
    return {**found, **({} if epochs is None else {"epochs": epochs})}


def _check_names(names: Iterable[str], encoder: Any) -> None:
    """Refuse what is no argument of a fine-tuning, nor an option of one of its parts."""
    parts = encoder if isinstance(encoder, (list, tuple)) else [encoder]
    own = {"dataset", "seed", "device", "out", "resume", "members"}
    known = [name for name in inspect.signature(finetune).parameters if name not in own]
    for name in names:
        first = name.partition(".")[0]
        if first not in known and first not in map(title_of, parts):
            raise ConfigError(f"{name!r} cannot be set in a search; {nearest(name, known)}")


def _check(
    dataset: Dataset, footprint: str | None, trials: int | None, budget: float | None
) -> None:
    dataset.items("valid")
    if footprint is not None and footprint not in COSTS:
        raise ConfigError(f"`footprint` is {footprint!r}; {nearest(footprint, COSTS)}")
    if (trials is not None and trials < 1) or (budget is not None and budget <= 0):
        raise ConfigError(
            f"`trials` is {trials} and `budget` is {budget}, expected at least one trial and more "
            "than 0 seconds"
        )
