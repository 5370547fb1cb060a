"""Task: a training signal, from a view of a batch to one loss per sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError, DataError
from gtl.former_parts import accept_former_task
from gtl.graph.graph import Graph
from gtl.graph.schema import Schema
from gtl.roles.recorded import Recorded


@dataclass(frozen=True)
class Batch:
    """The graphs of one training step that a task can make its view of.

    Attributes:
        graph: The graph, or the batch of graphs, of the loop. Beside a target at link level it
            lacks the links that the target predicts in this step.
        own: A batch of the task's own data set, given by :meth:`Task.on`; ``None`` without one.
    """

    graph: Graph
    own: Graph | None = None

    @property
    def source(self) -> Graph:
        """The batch of the task's own data if it has some, else the graph of the loop."""
        return self.graph if self.own is None else self.own


@dataclass(frozen=True)
class View:
    """The graph that a task wants encoded, and what it compares the node vectors with.

    Attributes:
        graph: The graph to encode. Two augmentations, or a source and a target batch, are one
            disjoint graph. The unchanged input graph itself costs no encoder pass of its own.
        targets: Anything :meth:`Task.losses` needs: tensors by name.
    """

    graph: Graph
    targets: Mapping[str, Any]


@dataclass(frozen=True)
class Gate:
    """Which samples of a view a task uses, and why; loops log the share that is open.

    Attributes:
        values: What decides, one number a sample, ``(b,)``.
        threshold: Samples are used up to this value or, with ``at_least``, from it on.
        quantity: Noun for messages, such as ``"entropy"``.
        at_least: Whether large values open the gate.
    """

    values: Tensor
    threshold: float
    quantity: str
    at_least: bool = False

    @property
    def open(self) -> Tensor:
        """Which samples are used, boolean ``(b,)``."""
        if self.at_least:
            return self.values >= self.threshold
        return self.values <= self.threshold


class Task(Recorded, ABC, nn.Module):
    """A training signal: makes a view and turns its node vectors into one loss per sample.

    The life of a task: options go to the constructor; :meth:`setup` calls :meth:`build`, which
    makes the modules and buffers whose size depends on the data, and shows the task a sample of the
    data (:meth:`observe`); :meth:`meet` shows it the encoder and the labeled target;
    :meth:`after_step` with progress 0 shows it the model before training; then each step calls
    :meth:`view`, :meth:`losses` and, when the optimizer has moved, :meth:`after_step`; at the end
    of an epoch :meth:`measures` says what the task found.

    Random choices are made in :meth:`view` alone, from the generator handed in. State that changes
    while training (queues, averages, schedules) lives in buffers and is changed in place: so it is
    saved with the run, and a replay of a step leaves no trace in it.

    ``build``, ``observe``, ``expect``, ``meet``, ``gates`` and ``after_step`` do nothing by
    default; ``view`` and ``losses`` are abstract; the rest is final.

    Attributes:
        data: A data set of the task's own, given by :meth:`on`; ``None`` means that of the loop.
        properties: Properties that the graphs must carry, see :attr:`gtl.Graph.properties`; loops
            compute those of molecules that are missing.
        uses_unlabeled: Whether fine-tuning draws unlabeled items for the task in each step, as
            :attr:`Batch.own`, if it has no data of its own.
        needs_target: Whether the task needs the labeled target beside it, which it finds in
            ``model.target`` (see :meth:`after_step`).
        compares_distributions: Whether losses are about distributions of vectors, or about
            weights: then they need not rise if vectors change places, and a permutation test of
            the task says nothing.
        divisible: Whether several processes may each make a view of a part of the batch. Not where
            all samples depend on something that is found in the batch, or trained on it apart from
            the loop's optimizer.
    """

    data: Any = None
    uses_unlabeled: ClassVar[bool] = False
    needs_target: ClassVar[bool] = False
    compares_distributions: ClassVar[bool] = False
    divisible: ClassVar[bool] = True
    properties: tuple[str, ...] = ()
    _built_for: tuple[Schema, int] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        accept_former_task(cls, Task)

    @final
    def on(self, dataset: Any) -> Task:
        """Let each step draw a batch of ``dataset`` for this task, too; returns the task.

        The batch is :attr:`Batch.own` of what :meth:`view` gets.
        """
        self.data = dataset
        return self

    @final
    def setup(self, schema: Schema, width: int, sample: Callable[[], Graph] | None = None) -> None:
        """Build the task once, before its first view.

        A later call for the same ``width`` and data that fit ``schema`` does nothing, so a trained
        task keeps its parameters.

        Args:
            schema: What the graphs look like.
            width: Columns of the node vectors.
            sample: Gives the graphs that :meth:`observe` sees; without it nothing is observed.

        Raises:
            ConfigError: If the data do not suit the task, or the task was set up for another width
                or for data that these do not fit.
        """
        if self._built_for is not None:
            self._require_fit(schema, width)
            return
        self._built_for = schema, width
        try:
            self.build(schema, width)
            if sample is not None and type(self).observe is not Task.observe:
                with torch.no_grad():
                    self.observe(sample())
        except BaseException:
            self._built_for = None
            raise

    def build(self, schema: Schema, width: int) -> None:
        """Make the modules and buffers that depend on the data; :meth:`setup` calls this once.

        The default makes nothing, for tasks without parameters.

        Args:
            schema: What the graphs look like.
            width: Columns of the node vectors.

        Raises:
            ConfigError: If the data do not suit the task.
        """

    def observe(self, graph: Graph) -> None:
        """Keep statistics of the training data in buffers; the default keeps none.

        Called once, after :meth:`build`.

        Args:
            graph: A batch of training graphs, or the one graph of the data.

        Raises:
            ConfigError: If the data do not suit the task.
        """

    def expect(self, labeled: int, unlabeled: int) -> None:
        """Meet the numbers of items of a fine-tuning; the default does nothing.

        Called after :meth:`setup`, and only if the task uses unlabeled items.

        Args:
            labeled: Training items of the target.
            unlabeled: Items that :attr:`Batch.own` is drawn from.

        Raises:
            ConfigError: If they do not suit the task.
        """

    def meet(self, encoder: nn.Module, target: Task | None) -> None:
        """Meet the encoder and the labeled target before training; the default does nothing.

        Called by :class:`gtl.TaskModel` after :meth:`setup` of all tasks and before an optimizer
        is made. Modules whose size depends on the target, such as on its number of classes, are
        made here, once: a copy of the model calls it again.

        Args:
            encoder: What is trained.
            target: The labeled target, or ``None``.

        Raises:
            ConfigError: If the target does not suit the task.
        """

    @abstractmethod
    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """Make this step's view of a batch; leaves its graphs as they were.

        A task that needs one graph reads :attr:`Batch.source`.
        """

    @abstractmethod
    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Losses of the samples, ``(b,)``, from the vectors ``(n, width)`` of ``view.graph``.

        A view without samples (an empty graph) gives an empty tensor.
        """

    def gates(self, view: View) -> Mapping[str, Gate]:
        """Gates of a view by name, which loops log; none by default.

        The name of the only gate of a task may be empty.
        """
        return {}

    def after_step(self, model: nn.Module, progress: float) -> None:
        """Update slow averages, schedules and queues; the default does nothing.

        Called once with progress 0 before the first step of a training, and then after each step,
        when the optimizer has moved. What it keeps must be in buffers.

        Args:
            model: The :class:`gtl.TaskModel` that is trained: ``model.encoder`` is the encoder,
                ``model.target`` the labeled target with its predictor, or ``None``.
            progress: Share of all steps of the training that are done, in ``[0, 1]``.
        """

    def measures(self) -> dict[str, float]:
        """What the task measured in the epoch that ends, such as the share of open gates, by name.

        Called once at the end of each epoch; written to ``history["measures"]`` under the task's
        name. The default measures nothing.
        """
        return {}

    def _require_fit(self, schema: Schema, width: int) -> None:
        assert self._built_for is not None
        known, name = self._built_for, type(self).__name__
        if known[1] != width:
            raise ConfigError(
                f"{name} was set up for node vectors of `width` {known[1]}, now for {width}; make "
                "a new task for this encoder"
            )
        try:
            known[0].require(schema, f"the task {name}")
        except DataError as error:
            raise ConfigError(f"{error}, or make a new task for this data") from error
