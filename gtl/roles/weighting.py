"""Weighting: how much each task's, each sample's, loss counts in a step."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, final

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.roles.recorded import Recorded


class Step(Protocol):
    """One training step as a weighting sees it; :class:`gtl.train.Step` is the implementation.

    Attributes:
        losses: Live losses of each task ``(b_k,)``, by name, the target's first.
        target: Name of the target task; ``None`` when pre-training.
        parameters: Trainable parameters by name.
        shared: Names of the parameters that all tasks have in common (the encoder's).
        representations: Live node vectors that each task was given, by task name.
        optimizer: The optimizer that will take the step.
    """

    losses: dict[str, Tensor]
    target: str | None
    parameters: dict[str, nn.Parameter]
    shared: Sequence[str]
    representations: dict[str, Tensor]
    optimizer: torch.optim.Optimizer

    def replay(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same losses at other parameters: same views, same dropout, no trace left behind."""

    def hold_back(self, fold: int) -> Tensor | None:
        """Which target samples are left out of look-ahead number ``fold``, boolean ``(b,)``.

        The meta loss is computed on these samples. ``None`` if :meth:`meta_loss` has data of its
        own.
        """

    def meta_loss(self, parameters: Mapping[str, Tensor], held: Tensor | None = None) -> Tensor:
        """Mean loss ``()`` of the held-back labeled target samples at other parameters."""

    def permuted_losses(self, seed: int) -> dict[str, Tensor]:
        """Losses of auxiliary tasks with their node vectors in a random order, by name."""

    def total(self, values: Tensor) -> Tensor:
        """Sum over the processes of a data-parallel training; in one process the values.

        Losses are those of all processes and gradients of parameters sums over them already; it is
        for what a weighting computes of ``representations``, which are those of this process.
        """


class Weighting(Recorded, ABC, nn.Module):
    """Decides how much each task's, each sample's, loss counts.

    A weighting implements :meth:`backward`, and :meth:`prepare` if something in it depends on the
    tasks. :meth:`setup` is final.

    Attributes:
        needs_target: Whether the weighting compares tasks with a target; set by the class.
        tasks: Names of the tasks of the latest :meth:`setup`; empty before the first.
        consistency: The latest cosine of each auxiliary task with the target, by name; empty for
            weightings that do not measure it.
        choices: The same weighting with other settings, among which no single step can choose:
            loops with validation data train them side by side and keep the best. Empty if there
            is nothing to choose.
        differentiates_twice: Whether the weighting differentiates gradients, which cannot be done
            on several processes.
    """

    needs_target: ClassVar[bool] = False
    tasks: tuple[str, ...]
    consistency: dict[str, float]
    choices: Sequence[Weighting]
    differentiates_twice: bool

    def __init__(self) -> None:
        super().__init__()
        self.tasks = ()
        self._prepared_for: tuple[tuple[str, ...], str | None] | None = None
        self.consistency = {}
        self.choices = ()
        self.differentiates_twice = False

    def __init_subclass__(cls, **options: Any) -> None:
        """Warn of a class with a ``setup`` of its own (the former contract), which is called."""
        super().__init_subclass__(**options)
        if "setup" in cls.__dict__:
            warnings.warn(
                f"{cls.__name__} overrides `setup`, which is final; rename the method to "
                "`prepare`, which `setup` calls once for the same tasks, and set "
                "`needs_target = True` in the place of a check of `target`",
                DeprecationWarning,
                stacklevel=3,
            )

    @final
    def setup(self, tasks: Sequence[str], target: str | None) -> None:
        """Prepare for the tasks of a training; called before the first step.

        The same tasks again keep what was learned.

        Args:
            tasks: Names of all tasks, the target's first.
            target: Name of the target task; ``None`` when pre-training.

        Raises:
            ConfigError: If the weighting needs a target and there is none.
        """
        if self.needs_target and target is None:
            raise ConfigError(
                f"`target` is None, expected the name of a task: the weighting "
                f"{type(self).__name__} compares tasks with a target, and pre-training has none; "
                "use weighting='equal', 'fixed' or 'random_fixed' there"
            )
        if self._prepared_for != (tuple(tasks), target):
            self.prepare(tasks, target)
            self._prepared_for = tuple(tasks), target
            self.tasks = tuple(tasks)

    @final
    def restart(self, tasks: Sequence[str], target: str | None) -> None:
        """Prepare for the tasks of a new training, also where others were trained before.

        Loops call this, so that a run does not depend on those before it.

        Args:
            tasks: As for :meth:`setup`.
            target: Likewise.

        Raises:
            ConfigError: As :meth:`setup` does.
        """
        self._prepared_for, self.consistency = None, {}
        self.setup(tasks, target)

    def prepare(self, tasks: Sequence[str], target: str | None) -> None:
        """Make what depends on the tasks, anew; the default makes nothing.

        Args:
            tasks: Names of all tasks, the target's first.
            target: Name of the target task; not ``None`` if the weighting needs a target.
        """

    @abstractmethod
    def backward(self, step: Step) -> dict[str, float]:
        """Leave in each parameter's ``.grad`` what the optimizer shall use.

        Stands where ``loss.backward()`` stood; gradients are set, not accumulated.

        Returns:
            The mean weight of each task, by name.
        """
