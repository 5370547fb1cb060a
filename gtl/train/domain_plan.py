"""Plan of a domain adaptation: which stages are trained, and how."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any, TypeAlias

from gtl.errors import ConfigError
from gtl.suggest import nearest
from gtl.train.finetune import finetune
from gtl.train.model import Model
from gtl.train.pretrain import pretrain
from gtl.train.run import Run

Stage: TypeAlias = Run | Model
LOOPS: Mapping[str, Callable[..., Any]] = {
    "pretrain": pretrain,
    "joint": finetune,
    "source": finetune,
    "align": finetune,
    "adapt": finetune,
}
_GIVEN = (  # arguments of the loops that the stages themselves give
    *("encoder", "data", "dataset", "tasks", "auxiliary", "weighting", "head"),
    *("readout", "members", "guard", "seed", "device", "out", "resume"),
)
_FREE = ("source", "align")  # stages whose adapter is a setting like others


@dataclass(frozen=True)
class Alignment:
    """How vectors of both domains are brought together, for the stages ``source`` and ``align``.

    Attributes:
        candidates: Settings to try, one of which is selected; each has ``method``, and perhaps
            ``strength``, ``options`` of the method's task, and arguments of :func:`gtl.finetune`.
        criterion: What selects, a key of :data:`gtl.train.transfer_criteria.CRITERIA`.
        guard: Whether the model of the source alone is a candidate.
        class_prior: ``"bbse"`` or ``"em"``, by which classes are weighted; ``None`` for not at all.
        edges: ``"strurw"`` if edges of the source are drawn to be like the target's, or ``None``.
    """

    candidates: Sequence[Mapping[str, Any]] = ()
    criterion: str = "infomax"
    guard: bool = True
    class_prior: str | None = None
    edges: str | None = None


@dataclass(frozen=True)
class Plan:
    """How the stages are trained.

    Attributes:
        known: All stages of the method, in their order.
        stages: Which of them are trained.
        task: The self-supervised task of ``pretrain`` and ``joint``.
        weighting: How much it, or the domain task of ``align``, counts beside the source labels.
        adapter: What is trained beside the head in ``adapt``.
        head: Vectors to predictions.
        readout: Node vectors to graph vectors.
        keep_head: Whether the target's head starts as the source's, where labels are the same.
        target_labels: Whether ``joint`` learns labels of the target too, where they are the same.
        epochs: Passes of every stage; ``None`` for the defaults of each.
        settings: Further arguments of :func:`gtl.pretrain` or :func:`gtl.finetune`, by stage.
        alignment: For methods with the stage ``align``.
        seed: Of every stage.
        device: Where to train.
        out: Folder with a run folder for each stage, or ``None``.
        resume: Whether they are continued.

    Raises:
        ConfigError: If a stage or a setting is unknown.
    """

    known: tuple[str, ...]
    stages: Sequence[str]
    task: Any
    weighting: Any
    adapter: Any
    head: Any
    readout: Any
    keep_head: bool = True
    target_labels: bool = True
    epochs: int | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    alignment: Alignment = field(default_factory=Alignment)
    seed: int = 0
    device: str | None = None
    out: Path | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        _require_mapping("`settings`", self.settings)
        for name in (*self.stages, *self.settings):
            if name not in self.known:
                raise ConfigError(f"unknown stage {name!r}; {nearest(name, self.known)}")
        if not self.stages:
            raise ConfigError(f"`stages` is empty; name at least one of: {', '.join(self.known)}")
        for stage, given in self.settings.items():
            require_settings(stage, given, f"`settings[{stage!r}]`")

    def options(self, stage: str, folder: str | None = None) -> dict[str, Any]:
        """Arguments of the loop of a stage, copies, those of its run folder included.

        Args:
            stage: Its name.
            folder: Name of its run folder, if that is another.
        """
        epochs = {} if self.epochs is None else {"epochs": self.epochs}
        out = None if self.out is None else self.out / (folder or stage)
        own = {"seed": self.seed, "device": self.device, "out": out, "resume": self.resume}
        return {**epochs, **copy.deepcopy(self.settings.get(stage, {})), **own}


def require_settings(stage: str, given: Mapping[str, Any], what: str) -> None:
    """Refuse what is no setting of a stage.

    Raises:
        ConfigError: If it is no mapping, or a name is unknown or belongs to the stage itself.
    """
    _require_mapping(what, given)
    own = _GIVEN if stage in _FREE else (*_GIVEN, "adapter")
    known = [name for name in signature(LOOPS[stage]).parameters if name not in own]
    for name in given:
        if name not in known:
            raise ConfigError(
                f"{what} names {name!r}, which is no setting of this stage; {nearest(name, known)}"
            )


def _require_mapping(what: str, given: Any) -> None:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{what} is {given!r}, expected a mapping of names and values")
