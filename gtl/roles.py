"""The six roles: the only things that loops know about parts, and all that a plug-in implements.

Each class is abstract and small. Concrete parts derive from it directly and override nothing that
is implemented here. :mod:`gtl.testing` checks the laws that every part of a role obeys.
"""

from __future__ import annotations

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, final

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError, DataError, ShapeError
from gtl.former_parts import accept_former_task
from gtl.graph.graph import Graph
from gtl.graph.schema import Schema
from gtl.renamed import present_options


class Recorded:
    """Remembers the constructor's arguments, so that a run folder can build the part again.

    Attributes:
        arguments: What the part was built with, by name; defaults that were not given are absent.
    """

    arguments: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Recorded:
        """Record, then construct as usual."""
        part = super().__new__(cls)
        try:
            options = present_options(cls.__init__, kwargs)
            bound = inspect.signature(cls.__init__).bind_partial(part, *args, **options)
            given = dict(list(bound.arguments.items())[1:])
        except TypeError:  # wrong arguments: the constructor itself says so better
            given = {}
        object.__setattr__(part, "arguments", given)
        return part


class Encoder(Recorded, ABC, nn.Module):
    """Turns a Graph into one vector per node.

    An encoder is ``embed`` followed by ``blocks``; adapters attach to the blocks.

    Attributes:
        embed: Module, ``embed(graph) -> (n, h)``.
        blocks: Modules, each ``block(graph, h) -> (n, h)``.
        schema: What graphs must look like.
        width: Columns of the output.
    """

    embed: nn.Module
    blocks: nn.ModuleList
    schema: Schema
    width: int

    def layers(self, graph: Graph) -> list[Tensor]:
        """Node vectors after the input embedding and after each block, each ``(n, h)``."""
        vectors = [self.embed(graph)]
        for block in self.blocks:
            vectors.append(block(graph, vectors[-1]))
        return vectors

    @abstractmethod
    def forward(self, graph: Graph) -> Tensor:
        """Node vectors ``(n, width)``."""


@dataclass(frozen=True)
class Site:
    """A module inside an encoder, around which an adapter can act.

    Attributes:
        path: Its name, as in ``named_modules``.
        module: The module itself. An adapter may store the path, never the module: modules of a
            frozen encoder are no parts of an adapter.
        inputs: Columns of the node vectors that it reads; 0 if it reads none.
        width: Columns of those that it returns.
    """

    path: str
    module: nn.Module
    inputs: int
    width: int


@dataclass(frozen=True)
class Sites:
    """Where adapters can act in an encoder.

    Attributes:
        embed: The input embedding; ``None`` for a module that is no :class:`Encoder`, where it is
            not known.
        blocks: Its layers, in order.
        norms: The normalizations inside each block, in order; a block may have none.
        width: Columns of the encoder's output.
        schema: What its graphs look like; ``None`` for a module that is no :class:`Encoder`.
    """

    embed: Site | None
    blocks: Sequence[Site]
    norms: Sequence[Sequence[Site]]
    width: int
    schema: Schema | None = None


class Adapter(Recorded, ABC, nn.Module):
    """A few trainable parameters in and around a frozen encoder.

    Options go to the constructor; parameters, whose sizes depend on the encoder, are made in
    :meth:`setup`, and so that an untrained adapter changes no output. Everything that it has as a
    parameter is trained.

    Attributes:
        width: Columns of the output, where :meth:`output` changes them; ``None`` where not.
        mergeable: Whether :meth:`merge` can write the adapter into the weights of the encoder;
            known after :meth:`setup`.
    """

    width: int | None = None
    mergeable: bool = False

    @abstractmethod
    def setup(self, sites: Sites) -> None:
        """Make the parameters for an encoder; called once, before anything else.

        Raises:
            ConfigError: If the encoder has no sites that this adapter could act at.
        """

    def wraps(self) -> Mapping[str, Callable[..., Tensor]]:
        """Functions to call in the place of modules of the encoder, by path.

        In the place of ``module(*inputs)`` stands ``wrap(call, *inputs)``. There ``call(*inputs)``
        is the module with the adapters that act before this one, and ``call.module`` the module
        (see :class:`gtl.adapters.module_views.Call`). A block of an :class:`Encoder` has the inputs
        ``graph, h``, its embedding ``graph``. The default wraps nothing.
        """
        return {}

    def output(self, layers: list[Tensor], out: Tensor) -> Tensor:
        """The encoder's output ``(n, width)``, given every layer and the output so far.

        The default returns ``out``.

        Args:
            layers: Outputs of the embedding (if it is known) and of each block.
            out: What the encoder returns.
        """
        return out

    def merge(self, sites: Sites) -> None:
        """Change the weights of the encoder so that it computes without the adapter the same.

        Raises:
            ConfigError: If the adapter is not linear.
        """
        raise ConfigError(
            f"a {type(self).__name__} adapter is not linear in the weights of this encoder and "
            "cannot be merged; keep it attached"
        )

    def findings(self) -> dict[str, Any]:
        """What a trained adapter reveals about the task, plain values by name; none by default."""
        return {}


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


class Task(Recorded, ABC, nn.Module):
    """A training signal: makes a view and turns its node vectors into one loss per sample.

    The life of a task: options go to the constructor; :meth:`setup` calls :meth:`build`, which
    makes the modules and buffers whose size depends on the data; :meth:`after_step` with progress
    0 shows the task the model before training; then each step calls :meth:`view`,
    :meth:`losses` and, when the optimizer has moved, :meth:`after_step`.

    Random choices are made in :meth:`view` alone, from the generator handed in. State that changes
    while training (queues, averages, schedules) lives in buffers and is changed in place: so it is
    saved with the run, and a replay of a step leaves no trace in it.

    ``build`` and ``after_step`` do nothing by default; ``view`` and ``losses`` are abstract; the
    rest is final.

    Attributes:
        data: A data set of the task's own, given by :meth:`on`; ``None`` means that of the loop.
    """

    data: Any = None
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
    def setup(self, schema: Schema, width: int) -> None:
        """Build the task once, before its first view.

        A later call for the same ``width`` and data that fit ``schema`` does nothing, so a trained
        task keeps its parameters.

        Args:
            schema: What the graphs look like.
            width: Columns of the node vectors.

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

    def after_step(self, model: nn.Module, progress: float) -> None:
        """Update slow averages, schedules and queues; the default does nothing.

        Called once with progress 0 before the first step of a training, and then after each step,
        when the optimizer has moved. What it keeps must be in buffers.

        Args:
            model: The :class:`gtl.TaskModel` that is trained; ``model.encoder`` is the encoder.
            progress: Share of all steps of the training that are done, in ``[0, 1]``.
        """

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
    """

    needs_target: ClassVar[bool] = False
    tasks: tuple[str, ...]
    consistency: dict[str, float]
    choices: Sequence[Weighting]

    def __init__(self) -> None:
        super().__init__()
        self.tasks = ()
        self._prepared_for: tuple[tuple[str, ...], str | None] | None = None
        self.consistency = {}
        self.choices = ()

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


class Head(Recorded, ABC, nn.Module):
    """Turns features ``(b, h)`` into predictions ``(b, c)``."""

    def penalty(self) -> Tensor | None:
        """What training adds to the mean loss, ``()``; the default is nothing."""
        return None

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Predictions ``(b, c)``: logits, or values for a regression."""


class Readout(Recorded, ABC, nn.Module):
    """Turns node vectors ``(n, h)`` of a batch into graph vectors ``(g, h)``.

    A graph without nodes gets zeros.

    Args:
        width: Columns of the node vectors.

    Attributes:
        width: Columns of the output.
    """

    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, graph: Graph, nodes: Tensor) -> Tensor:
        """Graph vectors ``(g, h)``.

        Args:
            graph: The batch that the vectors belong to.
            nodes: Node vectors ``(n, h)``.

        Raises:
            ShapeError: If there is not one vector of ``width`` columns per node.
        """
        if nodes.shape != (graph.num_nodes, self.width):
            raise ShapeError(
                f"`nodes` has shape {tuple(nodes.shape)}, expected "
                f"{(graph.num_nodes, self.width)}, one vector per node"
            )
        return self.pool(nodes, graph.graph_sizes())

    @abstractmethod
    def pool(self, nodes: Tensor, sizes: Tensor) -> Tensor:
        """Vectors ``(g, h)`` of consecutive groups of ``sizes`` ``(g,)`` rows."""


Scorer = Callable[[Tensor], Tensor]


class FewShotMethod(Recorded, ABC):
    """A way to recognize classes of which there are few samples."""

    @abstractmethod
    def fit(self, problem: Any) -> Scorer:
        """Learn from training samples.

        Args:
            problem: A :class:`gtl.fewshot.problem.Problem`.

        Returns:
            What gives queries ``(q, h)`` their scores ``(q, c)``, logits where the method has
            them; the best class has the highest.
        """
