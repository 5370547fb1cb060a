"""Tasks that read the model that is trained: their base class, with a warm-up."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema
from gtl.roles import Task
from gtl.tasks.checks import require_count
from gtl.tasks.slow_average import without_trace
from gtl.tasks.supervised import Supervised


class ModelTask(Task):
    """A task that reads the model that is trained: its encoder and perhaps its target.

    Consistency and domain tasks are of this kind. Losses are multiplied by a factor that rises
    linearly to 1: in step ``i``, counted from 0, it is
    ``min(1, (i + 1) / warmup)`` (Abuduweili et al. 2021). What the model predicts at present,
    pseudo labels and gates among it, is computed in :meth:`view`, without dropout, and is
    constant: a replay at other parameters compares with the same.

    A concrete task implements :meth:`prepare`, :meth:`begin` and :meth:`follow` as far as it needs
    them, ``view`` and ``losses``.

    Args:
        warmup: Steps of the warm-up; 0 for none.
    """

    steps: Tensor
    uses_unlabeled: ClassVar[bool] = True
    needs_target: ClassVar[bool] = True

    def __init__(self, warmup: int):
        super().__init__()
        self.warmup = require_count("warmup", warmup, least=0)
        self.columns: Columns | None = None
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        # In a tuple, so that the model is no part of this module.
        self._model: tuple[nn.Module, ...] = ()

    def prepare(self, schema: Schema, width: int) -> None:
        """Make modules and buffers whose size depends on the data; the default makes none."""

    def begin(self, encoder: nn.Module) -> None:
        """Meet the model before training; the default does nothing."""

    def follow(self, encoder: nn.Module, progress: float) -> None:
        """Update slow averages and schedules after a step; the default does nothing."""

    @final
    def build(self, schema: Schema, width: int) -> None:
        """See :class:`gtl.Task`."""
        self.columns = schema.node
        self.prepare(schema, width)

    @final
    def after_step(self, model: nn.Module, progress: float) -> None:
        """Remember the model, count the step.

        Raises:
            ConfigError: If the task needs a labeled target and the model has none.
        """
        self._model = (model,)
        if progress:
            self.steps += 1
            self.follow(self.encoder, progress)
            return
        self.steps.zero_()
        if self.needs_target:
            _ = self.target
        self.begin(self.encoder)

    @property
    def encoder(self) -> nn.Module:
        """The encoder that is trained."""
        if not self._model:
            raise ConfigError(
                f"{type(self).__name__} has not met the model yet; call "
                "`task.after_step(model, 0.0)` before the first step"
            )
        encoder = self._model[0].encoder
        assert isinstance(encoder, nn.Module)
        return encoder

    @property
    def target(self) -> Supervised:
        """The labeled target that is trained beside this task."""
        _ = self.encoder
        target = getattr(self._model[0], "target", None)
        if not isinstance(target, Supervised):
            raise ConfigError(
                f"{type(self).__name__} needs a labeled target beside it; use it in gtl.finetune, "
                "or give the TaskModel a task `supervised`"
            )
        return target

    @property
    def predictor(self) -> nn.Module:
        """The predictor of the target."""
        predictor = self.target.predictor
        if predictor is None:
            raise ConfigError("the target was not set up; call `setup(schema, width)` first")
        return predictor

    @property
    def factor(self) -> Tensor:
        """Factor of the losses in this step, ``()``."""
        return ((self.steps + 1) / max(self.warmup, 1)).clamp(max=1)

    def nodes_now(self, graph: Graph) -> Tensor:
        """Node vectors of the encoder as it is, constant ``(n, h)``."""
        return without_trace(self.encoder, graph)

    def scores_now(self, items: Graph, nodes: Tensor) -> Tensor:
        """Scores of the target's predictor as it is, constant ``(b, c)``."""
        return without_trace(self.predictor, items, nodes)
