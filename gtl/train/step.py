"""Model of an encoder and its tasks, and one replayable training step of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gtl.adapters import Adapted
from gtl.errors import ConfigError, ShapeError
from gtl.graph import Graph
from gtl.graph.union import begins_with
from gtl.roles import Encoder, Task, View
from gtl.train.distributed.sharing import Sharing

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}


class TaskModel(nn.Module):
    """An encoder and the tasks that train it: views in, losses of each sample out.

    Args:
        encoder: Any module that turns a Graph into node vectors ``(n, h)``.
        tasks: Tasks by name; the target, if there is one, comes first.
        precision: Of the encoder's matrix products, a key of :data:`PRECISIONS`; vectors, losses
            and parameters stay as they are.
    """

    def __init__(self, encoder: nn.Module, tasks: Mapping[str, Task], precision: str = "float32"):
        super().__init__()
        self.precision = precision
        self.encoder = encoder
        self.tasks = nn.ModuleDict(tasks)
        for _, task in self.named_tasks():
            task.meet(encoder, self.target)

    @property
    def target(self) -> Task | None:
        """The labeled target, which is called ``supervised``; ``None`` where there is none."""
        return dict(self.named_tasks()).get("supervised")

    def named_tasks(self) -> Iterator[tuple[str, Task]]:
        """Names and tasks, in order."""
        yield from self.tasks.items()  # type: ignore[misc]

    def forward(
        self,
        views: Mapping[str, View],
        target: str | None = None,
        beside: Mapping[str, View] | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses ``(b_k,)`` and node vectors of each view; equal graphs are encoded once.

        A graph with which the union of a domain task begins is encoded as part of it. Vectors of
        the target are then those that the task compares, also where a batch norm sees all nodes:
        normalized by both domains, as predictions on either will be.

        Args:
            views: A view per task.
            target: The task whose view running statistics of batch norms follow; all if ``None``.
                Predictions are made on graphs like the target's: statistics of masked or cut
                graphs would spoil them.
            beside: Views with whose graphs these are encoded; they themselves by default.
        """
        encoded: dict[int, Tensor] = {}
        losses, representations = {}, {}
        graphs = _encoded_graphs(views, beside or views)
        for name, view in views.items():
            graph = graphs[name]
            if id(graph) not in encoded:
                followed = target is None or graph is graphs[target]
                with nullcontext() if followed else _statistics_kept(self.encoder):
                    encoded[id(graph)] = self._encode(graph)
            nodes = encoded[id(graph)]
            representations[name] = nodes if graph is view.graph else nodes[: view.graph.num_nodes]
            seen = self.completed(view)
            losses[name] = self.tasks[name].losses(representations[name], seen)  # type: ignore[operator]
            if losses[name].dim() != 1:
                raise ShapeError(
                    f'`losses["{name}"]` has shape {tuple(losses[name].shape)}, expected one loss '
                    "per sample, (b,); squeeze the last axis or drop the mean"
                )
        return losses, representations

    def completed(self, view: View) -> View:
        """The view, with the vectors of relations among its targets if the encoder makes some."""
        made = relations_by(self.encoder, view.graph)
        return view if made is None else View(view.graph, {**view.targets, "relations": made})

    def _encode(self, graph: Graph) -> Tensor:
        dtype = PRECISIONS[self.precision]
        if dtype is None:
            nodes: Tensor = self.encoder(graph)
            return nodes
        with torch.autocast(graph.device.type, dtype):
            nodes = self.encoder(graph)
        return nodes.to(torch.get_default_dtype())


class Step:
    """One step: live losses, and the same losses at other parameters.

    Args:
        model: Encoder and tasks.
        views: A view per task, the target's first.
        optimizer: The optimizer that will take the step.
        target: Name of the target task; ``None`` when pre-training.
        meta_view: A view of held-out labeled samples for :meth:`meta_loss`; without one, part of
            the target's own samples is held back (see :meth:`hold_back`).
        seed: Decides which samples are held back.
        sharing: How the processes of a data-parallel training share the step. Losses are those of
            all of them then, and gradients sums over them; node vectors are those of this process.
    """

    def __init__(
        self,
        model: TaskModel,
        views: Mapping[str, View],
        optimizer: torch.optim.Optimizer,
        target: str | None = None,
        meta_view: View | None = None,
        seed: int = 0,
        sharing: Sharing | None = None,
    ):
        self.model, self.views, self.optimizer, self.target = model, views, optimizer, target
        self.parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.shared: Sequence[str] = [n for n in self.parameters if n.startswith("encoder.")]
        self._meta_view, self._seed, self._sharing = meta_view, seed, sharing
        self._buffers = {name: value.clone() for name, value in _moving_buffers(model)}
        self._random = _random_state(model)
        self.losses: dict[str, Tensor]
        self.representations: dict[str, Tensor]
        self.losses, self.representations = (
            model(views, target)
            if sharing is None
            else sharing.losses_of(model, self.parameters, {}, (views, target))
        )

    def total(self, values: Tensor) -> Tensor:
        """Sum over the processes that share the step; in one process the values themselves."""
        return values if self._sharing is None else self._sharing.total(values)

    def replay(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same losses at other parameters: same views, same dropout, no trace left behind.

        Args:
            parameters: Values by name; parameters that are not named stay as they are.
        """
        return self._call(parameters, self.views)

    def hold_back(self, fold: int) -> Tensor | None:
        """Target samples of the meta loss, which the look-ahead leaves out, boolean ``(b,)``.

        Folds ``2 i`` and ``2 i + 1`` are the two halves of one random partition, so that every
        sample is held back once in two look-aheads. ``None`` if a meta view was given.
        """
        if self._meta_view is not None or self.target is None:
            return None
        losses = self.losses[self.target]
        halves = torch.Generator().manual_seed(self._seed * 1_000_003 + fold // 2)
        order = torch.randperm(len(losses), generator=halves).to(losses.device)
        half = (len(losses) + 1) // 2
        held = torch.zeros(len(losses), dtype=torch.bool, device=losses.device)
        held[order[:half] if fold % 2 == 0 else order[len(losses) - half :]] = True
        return held

    def meta_loss(self, parameters: Mapping[str, Tensor], held: Tensor | None = None) -> Tensor:
        """Mean target loss ``()`` at other parameters: of the meta view or held-back samples."""
        assert self.target is not None
        view = self._meta_view or self.views[self.target]
        beside = None if self._meta_view else self.views
        losses = self._call(parameters, {self.target: view}, beside)[self.target]
        return (losses if held is None else losses[held]).mean()

    @torch.no_grad()
    def permuted_losses(self, seed: int) -> dict[str, Tensor]:
        """Losses ``(b_k,)`` of the auxiliary tasks after a permutation of their node vectors.

        Costs a pass through each task and none through the encoder; leaves no trace behind. Tasks
        that compare distributions are left out.

        Args:
            seed: Decides the permutations.
        """
        found = {}
        draws = torch.Generator().manual_seed(seed)
        for name, view in self.views.items():
            task = self.model.tasks[name]
            if name == self.target or task.compares_distributions:
                continue
            nodes = self.representations[name].detach()
            permuted = (
                nodes[torch.randperm(len(nodes), generator=draws).to(nodes.device)]
                if self._sharing is None
                else self._sharing.permuted(nodes, draws)
            )
            part, prefix = _Losses(task), f"tasks.{name}."
            buffers = {
                "task." + key.removeprefix(prefix): value.clone()
                for key, value in self._buffers.items()
                if key.startswith(prefix)
            }
            with _randomness(self._random):
                seen = self.model.completed(view)
                found[name] = functional_call(part, buffers, (permuted, seen))
        return found if self._sharing is None else self._sharing.joined(found)

    def _call(
        self,
        parameters: Mapping[str, Tensor],
        views: Mapping[str, View],
        beside: Mapping[str, View] | None = None,
    ) -> dict[str, Tensor]:
        # Buffers are handed in as copies: batch-norm statistics and queues see no replay.
        buffers = {name: value.clone() for name, value in self._buffers.items()}
        with _randomness(self._random):
            arguments = (views, self.target, beside)
            losses: dict[str, Tensor]
            if self._sharing is None:
                losses, _ = functional_call(self.model, {**buffers, **parameters}, arguments)
            else:
                losses, _ = self._sharing.losses_of(self.model, parameters, buffers, arguments)
        return losses


class _Losses(nn.Module):
    """The losses of a task as a module's ``forward``."""

    def __init__(self, task: nn.Module):
        super().__init__()
        self.task = task

    def forward(self, nodes: Tensor, view: View) -> Tensor:
        return self.task.losses(nodes, view)  # type: ignore[no-any-return,operator]


def relations_by(encoder: nn.Module, graph: Graph) -> Tensor | None:
    """Vectors of relations ``(r, k)`` that an encoder makes; ``None`` if it makes none."""
    return encoder.relations(graph) if isinstance(encoder, Encoder) else None


def check_precision(precision: str) -> str:
    """Refuse what is no key of :data:`PRECISIONS`.

    Raises:
        ConfigError: If it is something else.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"`precision` is {precision!r}, expected one of {tuple(PRECISIONS)}")
    return precision


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """Normalize by the batch as in training, but do not follow it with running statistics."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum


def _encoded_graphs(views: Mapping[str, View], beside: Mapping[str, View]) -> dict[str, Graph]:
    """The graph that is encoded for each view: its own, or a union that begins with it."""
    known = [view.graph for view in beside.values()]
    return {
        name: next((whole for whole in known if begins_with(whole, view.graph)), view.graph)
        for name, view in views.items()
    }


def _moving_buffers(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Buffers that a forward pass may change: those of frozen encoders stay as they are."""
    adapted = [part for part in model.modules() if isinstance(part, Adapted) and part.is_frozen]
    fixed = {id(buffer) for part in adapted for buffer in part.base.buffers()}
    return [(name, value) for name, value in model.named_buffers() if id(value) not in fixed]


def _random_state(model: nn.Module) -> dict[torch.device, Tensor]:
    devices = {p.device for p in model.parameters() if p.is_cuda}
    states = {device: torch.cuda.get_rng_state(device) for device in devices}
    return {torch.device("cpu"): torch.get_rng_state(), **states}


@contextmanager
def _randomness(states: Mapping[torch.device, Tensor]) -> Iterator[None]:
    """Draw the same random numbers as when ``states`` were taken; forget about it afterwards."""
    devices = [device for device in states if device.type == "cuda"]
    with torch.random.fork_rng(devices):
        for device, state in states.items():
            if device.type == "cuda":
                torch.cuda.set_rng_state(state, device)
            else:
                torch.set_rng_state(state)
        yield
