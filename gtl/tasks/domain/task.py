"""Domain tasks: what they have in common, from the two domains of a step to their losses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.graph import Graph
from gtl.roles import Batch, Task, View
from gtl.tasks.items import item_vectors, joined_inputs
from gtl.tasks.model_task import ModelTask
from gtl.tasks.supervised import Supervised

SOURCE, TARGET = 0, 1


@dataclass(frozen=True)
class Beside:
    """The training that a domain task is part of.

    Attributes:
        encoder: What is trained.
        width: Columns of the item vectors.
        kind: Of the labels: ``"multiclass"``, ``"binary"`` (several columns are multi-label), or
            ``"regression"``; ``None`` if it is not known.
        outputs: Classes, or columns of labels.
    """

    encoder: nn.Module
    width: int
    kind: str | None
    outputs: int


@dataclass(frozen=True)
class Domains:
    """Item vectors of a step by domain.

    Attributes:
        source: Of the items of the loop's batch, ``(b_s, h)``.
        target: Of the unlabeled items, ``(b_t, h)``.
    """

    source: Tensor
    target: Tensor

    @property
    def vectors(self) -> Tensor:
        """Of all items, the source first, ``(b, h)``."""
        return torch.cat([self.source, self.target])

    def __len__(self) -> int:
        return len(self.source) + len(self.target)

    def both_have(self, rows: int) -> bool:
        """Whether both domains have so many items at least."""
        return min(len(self.source), len(self.target)) >= rows


class DomainTask(ModelTask):
    """A task that brings the encoder's vectors of two domains together.

    The labeled items of the loop are the source domain, the unlabeled ones the target domain. Both
    are encoded as one disjoint graph. Items count, not all nodes of their graphs: the vector of a
    node that is a seed is its own, that of a graph is what the readout of the target gives, the
    mean of its nodes where there is none.

    The mean of the losses is the objective of the method, also for batches of unequal sizes: losses
    of an average over one domain are multiplied by :func:`side_weights`.

    For the encoder some factors of an objective are constants: vectors whose gradient is reversed,
    predictions that are conditions, weights of items. Their value is that of the first evaluation
    of a view, the step itself, and is kept with it (:func:`constant`): a replay at other parameters
    has the same, so that derivatives by whatever method agree with the gradient that is used.

    A concrete task implements :meth:`of_domains` and, as far as it needs them, :meth:`make`,
    :meth:`extras`, :meth:`start`, :meth:`waits`, :meth:`advance` and :meth:`learn`.

    Args:
        warmup: Steps over which the losses rise linearly to their full size.
    """

    compares_distributions: ClassVar[bool] = True
    reads_classes: ClassVar[bool] = False
    quantities: ClassVar[tuple[str, ...]] = ()
    progress: Tensor
    measured: Tensor

    def __init__(self, warmup: int = 0):
        super().__init__(warmup)
        self._made_for: tuple[int, str | None, int] | None = None
        self.register_buffer("progress", torch.zeros(()))
        self.register_buffer("measured", torch.zeros(len(self.quantities) + 1))
        self._view: View | None = None

    def make(self, beside: Beside) -> None:
        """Make modules and buffers; the default makes none."""

    def extras(self, batch: Batch, rng: torch.Generator) -> Mapping[str, Any]:
        """More targets of a view, random choices among them; the default has none."""
        return {}

    def start(self, encoder: nn.Module) -> None:
        """Meet the model before the first step; the default does nothing."""

    def waits(self) -> bool:
        """Whether the task has no losses yet; the default is no."""
        return False

    def advance(self, encoder: nn.Module, progress: float) -> None:
        """Follow the model after a step; the default does nothing."""

    def learn(self, view: View) -> None:
        """Let a critic take steps of its own after one of the loop; the default takes none.

        Args:
            view: Of the step that was taken; its losses were evaluated.
        """

    @abstractmethod
    def of_domains(self, domains: Domains, nodes: Tensor, view: View) -> Tensor:
        """Losses of the samples ``(b,)`` before the warm-up factor; empty without samples."""

    @final
    def meet(self, encoder: nn.Module, target: Task | None) -> None:
        """Make the parts that depend on the target, once.

        Raises:
            ConfigError: If the method needs classes and the target has none, or the task was made
                for another target.
        """
        if not isinstance(target, Supervised) or target.predictor is None:
            return
        width = _width(encoder, target.predictor)
        beside = Beside(encoder, width, target.kind, target.outputs or 1)
        shape = beside.width, beside.kind, beside.outputs
        if self._made_for is None:
            self._require_classes(target.kind)
            self.make(beside)
            self._made_for = shape
        elif self._made_for != shape:
            known = self._made_for
            raise ConfigError(
                f"{type(self).__name__} was made for a target with vectors of width {known[0]}, "
                f"kind {known[1]!r} and {known[2]} outputs, now for {shape[0]}, {shape[1]!r} and "
                f"{shape[2]}; make a new task for this target"
            )

    @final
    def begin(self, encoder: nn.Module) -> None:
        """Start the schedule."""
        self.progress.zero_()
        self.measured.zero_()
        self.start(encoder)

    @final
    def follow(self, encoder: nn.Module, progress: float) -> None:
        """Advance the schedule, count what was measured, let the critic take its own steps."""
        self.progress.fill_(progress)
        self.advance(encoder, progress)
        view, self._view = self._view, None
        constants = {} if view is None else view.targets["constants"]
        if "measures" in constants:
            self.measured[:-1] += constants["measures"].to(self.measured)
            self.measured[-1] += 1
        if view is not None and constants:
            self.learn(view)

    @final
    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """Both domains as one graph, and what is constant in this step."""
        if self.waits():
            return View(batch.graph, {})
        inputs = joined_inputs(batch)
        found = {"items": inputs.items, "labeled": inputs.labeled, "factor": self.factor}
        found |= {"constants": {}, **self.extras(batch, rng)}
        self._view = View(inputs.graph, found)
        return self._view

    @final
    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Losses of the samples, ``(b,)``."""
        if "items" not in view.targets:
            return nodes.sum(1)[:0]
        domains = Domains(*_halves(self.vectors(view.targets["items"], nodes), view))
        each = self.of_domains(domains, nodes, view)
        return each * view.targets["factor"].to(each)

    def measures(self) -> dict[str, float]:
        """Means of :attr:`quantities` over the steps of the epoch that ends."""
        *sums, steps = self.measured.tolist()
        self.measured.zero_()
        return {name: value / steps for name, value in zip(self.quantities, sums)} if steps else {}

    def vectors(self, items: Graph, nodes: Tensor) -> Tensor:
        """Vectors of items ``(b, h)`` from those of nodes."""
        readout = getattr(self.predictor, "readout", None)
        if items.seeds is not None or readout is None:
            return item_vectors(items, nodes)
        found: Tensor = readout(items, nodes)
        return found

    def scores(self, nodes: Tensor, view: View) -> tuple[Tensor, Tensor]:
        """What the predictor gives for the items of the source and of the target, ``(b_d, c)``."""
        found = self.predictor(view.targets["items"], nodes)
        source, target = _halves(found, view)
        return source, target

    def known_scores(self, nodes: Tensor, view: View) -> Tensor:
        """What the predictor gives for all items in this step, constant, without dropout."""
        return constant(view, "scores", lambda: self.scores_now(view.targets["items"], nodes))

    def measure(self, view: View, values: Callable[[], list[Tensor]]) -> None:
        """Count a value of each of :attr:`quantities` for this step, if it has none yet."""
        constant(view, "measures", lambda: torch.stack([value.detach() for value in values()]))

    def _require_classes(self, kind: str | None) -> None:
        if self.reads_classes and kind not in ("binary", "multiclass"):
            raise ConfigError(
                f"{type(self).__name__} compares predicted classes, and the target is of kind "
                f"{kind!r}; use dann, mk_mmd, coral, wdgrl, adda, afn or dsn, which read vectors "
                "alone, or give the target its `kind`"
            )


def constant(view: View, name: str, value: Tensor | Callable[[], Tensor]) -> Tensor:
    """The value that something had in the first evaluation of a view, detached.

    Args:
        view: The view, which keeps it.
        name: Under this name.
        value: Its present value, or what computes it, called the first time.
    """
    known: dict[str, Tensor] = view.targets["constants"]
    if name not in known:
        with torch.no_grad():
            known[name] = (value() if callable(value) else value).detach()
    return known[name]


def side_weights(source: Tensor, target: Tensor) -> Tensor:
    """Factors of the items ``(b,)`` that make their mean the mean of both domain means.

    Items of a domain with ``b_d`` of all ``b`` items have ``b / (2 b_d)``, or 1 if the other one is
    empty.

    Example:
        >>> side_weights(torch.zeros(1, 2), torch.zeros(3, 2)).tolist()
        [2.0, 0.6666666865348816, 0.6666666865348816, 0.6666666865348816]
    """
    sides = [source.new_ones(len(rows)) for rows in (source, target)]
    if all(map(len, sides)):
        total = len(source) + len(target)
        sides = [side * (total / (2 * len(side))) for side in sides]
    return torch.cat(sides)


def _halves(rows: Tensor, view: View) -> tuple[Tensor, ...]:
    labeled = view.targets["labeled"]
    return rows.split([labeled, len(rows) - labeled])


def _width(encoder: Any, predictor: nn.Module) -> int:
    width: int = getattr(getattr(predictor, "readout", None), "width", encoder.width)
    return width
