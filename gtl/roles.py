"""The six roles: the only things that loops know about parts, and all that a plug-in implements.

Each class is abstract and small. Concrete parts derive from it directly and override nothing that
is implemented here. :mod:`gtl.testing` checks the laws that every part of a role obeys.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError, ShapeError
from gtl.graph.graph import Graph
from gtl.graph.schema import Schema


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
            bound = inspect.signature(cls.__init__).bind_partial(part, *args, **kwargs)
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
class View:
    """What a task wants encoded and what it wants to compare the result with.

    Attributes:
        graph: The graph to encode. Two augmentations, or a source and a target batch, are one
            disjoint graph. The unchanged input graph itself costs no encoder pass of its own.
        targets: Anything :meth:`Task.losses` needs: tensors by name.
    """

    graph: Graph
    targets: Mapping[str, Any]


class Task(Recorded, ABC, nn.Module):
    """A training signal: makes a view and turns its node vectors into one loss per sample.

    Options go to the constructor; modules and buffers whose size depends on the data are made in
    :meth:`setup`. Random choices are made in :meth:`view` alone, from the generator handed in.
    State that changes while training (queues, averages) lives in buffers and is changed in place.

    Attributes:
        data: A data set of the task's own, given by :meth:`on`; ``None`` means that of the loop.
    """

    data: Any = None

    def on(self, dataset: Any) -> Task:
        """Draw this task's graphs from ``dataset`` instead of the loop's; returns the task."""
        self.data = dataset
        return self

    def setup(self, schema: Schema, width: int) -> None:
        """Make the modules that depend on the data; called before the first view.

        Must be safe to call again with the same arguments: a task that was trained keeps its
        parameters. The default does nothing.

        Args:
            schema: What the graphs look like.
            width: Columns of the node vectors.
        """

    @abstractmethod
    def view(self, graph: Graph, rng: torch.Generator) -> View:
        """Make this step's view of ``graph``; leaves ``graph`` as it was."""

    @abstractmethod
    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Losses of the samples, ``(b,)``, from the vectors ``(n, width)`` of ``view.graph``.

        A view without samples (an empty graph) gives an empty tensor.
        """


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
        """Which target samples sit out look-ahead number ``fold`` and judge it, boolean ``(b,)``.

        ``None`` if :meth:`meta_loss` has data of its own.
        """

    def meta_loss(self, parameters: Mapping[str, Tensor], held: Tensor | None = None) -> Tensor:
        """Mean loss ``()`` of the held-back labeled target samples at other parameters."""


class Weighting(Recorded, ABC, nn.Module):
    """Decides how much each task's, each sample's, loss counts.

    Attributes:
        consistency: The latest cosine of each auxiliary task with the target, by name; empty for
            weightings that do not measure it.
        choices: The same weighting with other settings, which no single step can judge: loops
            with validation data train them side by side and keep the best. Empty if there is
            nothing to choose.
    """

    consistency: dict[str, float]
    choices: Sequence[Weighting]

    def __init__(self) -> None:
        super().__init__()
        self.consistency = {}
        self.choices = ()

    def setup(self, tasks: Sequence[str], target: str | None) -> None:
        """Make what depends on the tasks; called before the first step. Safe to call again."""

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
