"""What a domain adaptation leaves: its stages, a model that predicts, and results as a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from gtl.checkpoint import read_json
from gtl.data.dataset import Dataset
from gtl.errors import CheckpointError, ConfigError
from gtl.report.domain_tables import alignment_tables
from gtl.report.tables import Table, as_text
from gtl.run_folder import RunFolder
from gtl.run_kinds import kind_of
from gtl.train.domain_plan import Stage
from gtl.train.evaluate import raw_outputs
from gtl.train.labels import LabelNames
from gtl.train.model import Model
from gtl.train.predicting import Predicting, trained_on
from gtl.train.run import Run


class DomainAdaptation(Predicting):
    """What :func:`gtl.adapt_domain` returns; it predicts with the model of the last stage.

    Where the criterion of an alignment found no candidate better than the source alone, it predicts
    with the model of the source (``results["selection"]["used"]``).

    Args:
        stages: What each stage left, by name, in order.
        labels: What the outputs of the last model stand for.
        results: What ``results.json`` holds.

    Attributes:
        source: Data of the source as it was trained on, with the features of ``feature_names``,
            ``project`` and ``context``; ``None`` in an adaptation that was read from a folder.
        target: Likewise of the target: with these options it is what to predict on.
    """

    source: Dataset | None = None
    target: Dataset | None = None

    def __init__(self, stages: Mapping[str, Stage], labels: LabelNames, results: Mapping[str, Any]):
        super().__init__(labels)
        self.stages, self.results = dict(stages), dict(results)

    @property
    def model(self) -> Model:
        """The model of the last stage, or of ``source`` where that was selected.

        Raises:
            ConfigError: If only ``pretrain`` was trained, which leaves an encoder and no model.
        """
        name = list(self.stages)[-1]
        if name == "align":
            name = self.results["selection"]["used"]
        last = self.stages[name]
        if not isinstance(last, Model):
            raise ConfigError(
                "only the stage 'pretrain' was trained, which predicts nothing; train a later "
                "stage too (`stages`), or use the encoder: stages['pretrain'].encoder"
            )
        return last

    def outputs(self, data: Dataset, items: Tensor) -> Tensor:
        """See :class:`Predicting`."""
        return raw_outputs(self.model, data, items)

    def save(self, folder: Path | str) -> RunFolder:
        """The last model alone, as a run folder of its kind."""
        return self.model.save(folder)

    @staticmethod
    def load(folder: Path | str) -> DomainAdaptation:
        """The adaptation of a run folder.

        Raises:
            CheckpointError: If the folder is no adaptation, or was interrupted.
        """
        folder = Path(folder)
        config = read_json(folder / "config.json")
        kind = kind_of(config, folder)
        if kind.command != "adapt":
            raise CheckpointError(f"{folder} is {kind.what}, not an adaptation; use gtl.load_run")
        if not (folder / "results.json").is_file():
            raise CheckpointError(
                f"{folder} was interrupted before its stages had ended; run it again with "
                "resume=True (--resume)"
            )
        results = read_json(folder / "results.json")
        names = [name for name in results["stages"] if name != "start"]
        places = {"align": results.get("selection", {}).get("folder", "align")}
        stages = {name: _load_stage(folder / places.get(name, name)) for name in names}
        found = DomainAdaptation(stages, LabelNames.from_json(config["labels"]), results)
        if names[-1] == "adapt":
            found.trained_on = trained_on(config)
        return found

    def __str__(self) -> str:
        return table_of(self.results)


def table_of(results: Mapping[str, Any]) -> str:
    """The results of an adaptation as text: a line for each stage.

    Args:
        results: What ``results.json`` holds.
    """
    if "selection" in results or "source" in results["stages"]:
        return alignment_tables(results)
    rows = []
    for name, stage in results["stages"].items():
        what = stage["measured"] or ""
        rows.append((name, _number(stage["valid"]), what, _number(stage.get("source_valid"))))
    metric = results["metric"] or "value"
    header = ("stage", f"valid {metric}", "of", "valid of the source")
    caption = f"from {results['source']}"
    table = as_text(Table(results["data"], caption, header, tuple(rows)))
    test = results["test"]
    return table if test is None else f"{table}\n\ntest {metric} {test:.4f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _load_stage(folder: Path) -> Stage:
    return Run.load(folder) if folder.name == "pretrain" else Model.load(folder)
