"""Table of the kinds of run: how a folder of each is opened, compared in a report and resumed.

A new kind of run is one entry of :data:`RUN_KINDS` and one loader. Loaders are named, not imported,
so that reports and run folders can read the table without any code that trains.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from gtl.checkpoint import read_json
from gtl.errors import CheckpointError
from gtl.suggest import nearest

if TYPE_CHECKING:
    from gtl.forecasting.forecaster import Forecaster
    from gtl.report.few_shot import FewShotResult
    from gtl.searching.result import SearchResult
    from gtl.train.model import Model
    from gtl.train.predicting import Predicting
    from gtl.train.run import Run

    Loaded: TypeAlias = Run | Model | Predicting | Forecaster | FewShotResult | SearchResult

Role = Literal[
    "method", "pretraining", "few-shot comparison", "forecast", "comparison", "adaptation", "search"
]
MODEL = "gtl.train.model:Model.load"
ENCODER_AND_TASKS = "gtl.train.run:Run.load"
PROBE, BLEND = "gtl.train.probe:Probe.load", "gtl.train.blend:Blend.load"
COMPARISON = "gtl.train.comparison:Comparison.load"
ADAPTATION = "gtl.train.domain_adaptation:DomainAdaptation.load"


@dataclass(frozen=True)
class RunKind:
    """One kind of run.

    Attributes:
        command: What ``config.json`` calls it, and the name of its function.
        what: Noun for messages, with its article.
        loader: Function that opens a folder, as ``"module:attribute.path"``.
        role: Place in a report: ``"method"`` and ``"forecast"`` have values on a target, by which
            they are compared; ``"pretraining"`` has no target; a ``"few-shot comparison"`` and a
            ``"comparison"`` have tables of their own, and so have an ``"adaptation"`` and a
            ``"search"``.
        may_change: Settings that a resumed run may have different from those it began with.
        is_shared: Whether several processes can train it together.
    """

    command: str
    what: str
    loader: str
    role: Role
    may_change: tuple[str, ...] = ()
    is_shared: bool = False

    @property
    def compared(self) -> bool:
        """Whether a report compares runs of this kind with one another."""
        return self.role in ("method", "forecast")

    @property
    def holds_model(self) -> bool:
        """Whether the folder holds a :class:`gtl.Model`."""
        return self.loader == MODEL

    @property
    def predicts(self) -> bool:
        """Whether :func:`gtl.evaluate` and :func:`gtl.predict` take the folder."""
        return self.loader in (MODEL, PROBE, BLEND, COMPARISON, ADAPTATION)

    @property
    def holds_encoder(self) -> bool:
        """Whether :meth:`gtl.Run.load` opens the folder: an encoder, and tasks trained with it."""
        return self.loader in (MODEL, ENCODER_AND_TASKS)

    def load(self, folder: Path) -> Any:
        """What a folder of this kind holds; errors are those of the loader."""
        module, _, path = self.loader.partition(":")
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        return found(folder)


_KINDS = (
    RunKind("pretrain", "a pre-training run", ENCODER_AND_TASKS, "pretraining", ("epochs",), True),
    RunKind("finetune", "a fine-tuning run", MODEL, "method", ("epochs", "members"), True),
    RunKind(
        "finetune_by_episodes", "a fine-tuning run by episodes", MODEL, "method", ("episodes",)
    ),
    RunKind("federate", "a federated run", MODEL, "method", ("rounds", "bounds")),
    RunKind("compress", "a compressed run", MODEL, "method"),
    RunKind("probe", "a probe", PROBE, "method"),
    RunKind("blend", "a blend", BLEND, "method"),
    RunKind("adapt", "a domain adaptation", ADAPTATION, "adaptation", ("stages", "labels")),
    RunKind("compare", "a comparison of methods", COMPARISON, "comparison"),
    RunKind(
        "search",
        "a search of settings",
        "gtl.searching.result:SearchResult.load",
        "search",
        ("trials", "budget"),
    ),
    RunKind(
        "fewshot",
        "a few-shot comparison",
        "gtl.report.few_shot:FewShotResult.load",
        "few-shot comparison",
    ),
    RunKind(
        "forecast",
        "a forecast",
        "gtl.forecasting.forecaster:Forecaster.load",
        "forecast",
        ("epochs",),
    ),
)
RUN_KINDS: Mapping[str, RunKind] = {kind.command: kind for kind in _KINDS}


def kind_of(config: Mapping[str, Any], folder: Path | str = "the folder") -> RunKind:
    """The kind of run that a ``config.json`` describes.

    Args:
        config: Contents of ``config.json``.
        folder: Where it is from, for messages.

    Raises:
        CheckpointError: If it names no kind of run of this version.

    Example:
        >>> kind_of({"command": "finetune"}).what
        'a fine-tuning run'
    """
    command = config.get("command") if isinstance(config, Mapping) else None
    if command is None:
        raise CheckpointError(
            f"{folder} is no run folder: its config.json names no command; give the folder that a "
            "run was started with (out=)"
        )
    kind = RUN_KINDS.get(command) if isinstance(command, str) else None
    if kind is None:
        raise CheckpointError(
            f"{folder} is a run of {command!r}, of which this version of gtl does not know; "
            f"{nearest(str(command), RUN_KINDS)}"
        )
    return kind


def load_run(folder: Path | str) -> Loaded:
    """Open the folder of any finished run.

    Args:
        folder: A run folder, of any kind.

    Returns:
        What the folder holds: a :class:`gtl.Run` of ``pretrain``, a :class:`gtl.Model` of
        ``finetune``, ``finetune_by_episodes`` and ``federate`` (of a knowledge graph a
        :class:`gtl.train.ranker.Ranker`), a :class:`gtl.forecasting.forecaster.Forecaster`
        of ``forecast``, a :class:`gtl.report.few_shot.FewShotResult` of ``fewshot``, a
        :class:`gtl.searching.result.SearchResult` of ``search``, and a
        :class:`gtl.train.predicting.Predicting` of ``probe``, ``blend``, ``compare`` and
        ``adapt``.

    Raises:
        CheckpointError: If the folder is no run, was interrupted before there was anything to
            open, is damaged, or keeps no weights (the baselines of ``forecast``).
    """
    folder = Path(folder)
    return kind_of(read_json(folder / "config.json"), folder).load(folder)
