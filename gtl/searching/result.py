"""Result of a search: trials, the front of the best ones, and their configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gtl.checkpoint import read_json, write_text
from gtl.errors import CheckpointError, ConfigError
from gtl.metrics import direction
from gtl.report.pareto import front
from gtl.report.run_tables import search_table
from gtl.report.tables import as_text
from gtl.run_kinds import kind_of


class SearchResult:
    """What :func:`gtl.search` returns; ``print`` shows the front.

    Args:
        results: What ``results.json`` holds.
        configs: Options of ``gtl finetune`` by number of the trial.
        folder: The run folder, or ``None``.
    """

    def __init__(self, results: Mapping[str, Any], configs: Mapping[int, Any], folder: Path | None):
        self.results, self.configs, self.folder = dict(results), dict(configs), folder

    @property
    def trials(self) -> list[dict[str, Any]]:
        """All trials in order: ``params``, ``state``, ``valid``, ``footprint``, ``seconds``."""
        return list(self.results["trials"])

    @property
    def front(self) -> list[int]:
        """Numbers of the trials that no other dominates, the cheapest first."""
        return list(self.results["front"])

    @property
    def best(self) -> dict[str, Any]:
        """Options of ``gtl finetune`` of the trial with the best validation value."""
        return self.config(self.results["best"])

    def config(self, number: int) -> dict[str, Any]:
        """Options of ``gtl finetune`` of a trial of the front.

        Raises:
            ConfigError: If the trial is not on the front.
        """
        if number not in self.configs:
            known = ", ".join(map(str, self.configs))
            raise ConfigError(f"trial {number} is not on the front, which has: {known}")
        return dict(self.configs[number])

    @staticmethod
    def load(folder: Path | str) -> SearchResult:
        """The result in a run folder of :func:`gtl.search`.

        Raises:
            CheckpointError: If the folder is no search, or was interrupted.
        """
        import yaml

        folder = Path(folder)
        kind = kind_of(read_json(folder / "config.json"), folder)
        if kind.role != "search":
            raise CheckpointError(f"{folder} is {kind.what}, not a search; use gtl.load_run")
        if not (folder / "results.json").is_file():
            raise CheckpointError(
                f"{folder} was interrupted before its trials had ended; run it again with "
                "resume=True (--resume)"
            )
        results = read_json(folder / "results.json")
        configs = {
            number: yaml.safe_load(_file(folder, number).read_text(encoding="utf-8"))
            for number in results["front"]
        }
        return SearchResult(results, configs, folder)

    def write(self, folder: Path) -> None:
        """Write the configurations of the front, and ``best.yaml``."""
        import yaml

        (folder / "front").mkdir(exist_ok=True)
        for old in (folder / "front").glob("trial-*.yaml"):
            old.unlink()
        for number, options in self.configs.items():
            text = yaml.safe_dump(options, sort_keys=False, allow_unicode=True)
            write_text(_file(folder, number), text)
            if number == self.results["best"]:
                write_text(folder / "best.yaml", text)

    def __str__(self) -> str:
        table = as_text(search_table(self.results))
        best = self.results["best"]
        place = "" if self.folder is None else f": {self.folder / 'best.yaml'}"
        return f"{table}\n\nbest on validation data: trial {best}{place}"


def front_of(trials: Sequence[Mapping[str, Any]], metric: str) -> list[int]:
    """Numbers of the complete trials that no other dominates, the cheapest first.

    Args:
        trials: Records of trials; those without a footprint count as equally cheap.
        metric: Of their validation values.
    """
    complete = [trial for trial in trials if trial["state"] == "complete"]
    points = [(float(trial["footprint"] or 0), float(trial["valid"])) for trial in complete]
    return [complete[i]["number"] for i in front(points, direction(metric) or "higher")]


def _file(folder: Path, number: int) -> Path:
    return folder / "front" / f"trial-{number}.yaml"
