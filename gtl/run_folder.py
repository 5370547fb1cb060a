"""Run folder: config, metrics by epoch, checkpoint and results of one run."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from torch import Tensor

from gtl import checkpoint
from gtl.checkpoint import read_json
from gtl.errors import CheckpointError
from gtl.event_log import EventLog, event_log
from gtl.run_kinds import kind_of
from gtl.version import __version__

_FROZEN = "frozen.safetensors"
CANDIDATES = "candidates"  # folder of the trainings among which one was selected
MEMBERS = "members"  # folder of the members of an ensemble after the first


class RunFolder:
    """``config.json``, ``metrics.jsonl``, ``checkpoint.*`` and ``results.json`` of one run.

    What a run trains is in its checkpoint, what it leaves as it was in ``frozen.safetensors``.

    Args:
        path: The folder.
        config: Everything needed to run it again; package versions are added.
        resume: Continue a run that is already there; until it ends again it has no results.

    Raises:
        CheckpointError: If the folder has a run and ``resume`` is false, or a run with another
            configuration. Nothing is overwritten.
    """

    def __init__(self, path: Path | str, config: Mapping[str, Any], resume: bool = False):
        self.path = Path(path)
        self._events: EventLog | None = None
        config = json.loads(json.dumps({**config, "versions": versions()}, default=_plain))
        if self.path.exists() and not self.path.is_dir():
            raise CheckpointError(f"{self.path} is a file; choose another folder for the run")
        if (self.path / "config.json").exists():
            self._check_same(config, resume)
        elif (self.path / "checkpoint.safetensors").exists():
            raise CheckpointError(
                f"{self.path} has a checkpoint of a run whose config.json is missing; restore that "
                "file, or choose another folder"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"the run folder {self.path} cannot be made ({error.strerror}); choose another one"
            ) from error
        (self.path / "results.json").unlink(missing_ok=True)
        checkpoint.write_text(self.path / "config.json", json.dumps(config, indent=1) + "\n")

    def _check_same(self, config: Mapping[str, Any], resume: bool) -> None:
        if not resume:
            raise CheckpointError(
                f"{self.path} already holds a run; pass resume=True (--resume) to continue it, "
                "or choose another folder"
            )
        before = read_json(self.path / "config.json")
        may_change = (*kind_of(before, self.path).may_change, "versions", "data_root")
        for key in {**before, **config}:
            if key not in may_change and before.get(key) != config.get(key):
                raise CheckpointError(
                    f"{self.path} was started with {key}={before.get(key)!r}, now it is "
                    f"{config.get(key)!r}; use the same settings or choose another folder"
                )

    def load(self) -> dict[str, Any] | None:
        """The state to continue from, ``None`` if the run stopped before its first checkpoint."""
        path = self.path / "checkpoint.safetensors"
        return checkpoint.load(path) if path.exists() else None

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a checkpoint."""
        checkpoint.save(self.path / "checkpoint.safetensors", state)

    def save_frozen(self, weights: Mapping[str, Tensor]) -> None:
        """Write the weights that training leaves as they are, which no checkpoint repeats."""
        if weights:
            checkpoint.save(self.path / _FROZEN, {"model": weights})

    def frozen(self) -> dict[str, Tensor]:
        """What :meth:`save_frozen` wrote; empty if there is nothing."""
        return _frozen_of(self.path)

    def keep_epochs(self, epochs: int) -> None:
        """Drop metrics of epochs that a resumed run will do again."""
        lines = self.read_metrics()[:epochs]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        checkpoint.write_text(self.path / "metrics.jsonl", text)
        self._events = event_log(self.path, epochs)

    def log(self, line: Mapping[str, Any]) -> None:
        """Append one epoch to ``metrics.jsonl``, and to the events for TensorBoard if wanted."""
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._events is not None:
            self._events.add(line)

    def take(self, metrics: RunFolder, weights: RunFolder) -> None:
        """Take over the metrics of one run and the weights of another, below this one."""
        text = (metrics.path / "metrics.jsonl").read_text(encoding="utf-8")
        checkpoint.write_text(self.path / "metrics.jsonl", text)
        self.save_frozen(weights.frozen())
        self.save(checkpoint.load(weights.path / "checkpoint.safetensors"))

    def read_metrics(self) -> list[dict[str, Any]]:
        """All epochs logged so far; a line cut off by a kill is dropped."""
        return read_metrics(self.path)

    def write_results(self, results: Mapping[str, Any]) -> None:
        """Write ``results.json``."""
        checkpoint.write_text(
            self.path / "results.json", json.dumps(results, indent=1, default=_plain) + "\n"
        )


def best_weights(folder: Path) -> dict[str, Tensor]:
    """All weights of a run at its best epoch, those that it did not train included.

    Raises:
        CheckpointError: If a file is missing or damaged.
    """
    trained = checkpoint.load(folder / "checkpoint.safetensors")["best"]["model"]
    return {**_frozen_of(folder), **trained}


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Epochs in a run folder's ``metrics.jsonl``; a line cut off by a kill is dropped."""
    path = folder / "metrics.jsonl"
    lines: list[dict[str, Any]] = []
    if not path.exists():
        return lines
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            break
        if not isinstance(line, dict):
            break
        lines.append(line)
    return lines


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    found = {"python": platform.python_version(), "gtl": __version__}
    for name in ("torch", "dgl", "ogb", "numpy", "scikit-learn", "rdkit"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _plain(number: Any) -> Any:
    """A number of NumPy as one of Python."""
    if hasattr(number, "item"):
        return number.item()
    raise CheckpointError(f"a {type(number).__name__} cannot be written to a run folder")


def _frozen_of(folder: Path) -> dict[str, Tensor]:
    file = folder / _FROZEN
    return checkpoint.load(file)["model"] if file.exists() else {}
