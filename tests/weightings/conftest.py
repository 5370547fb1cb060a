"""Small problems for weightings: an encoder, a target, auxiliary tasks, and steps to take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gtl.graph import Graph
from gtl.graph.ops import (
    dot_on_edges,
    mean_neighbors,
    softmax_on_edges,
    sum_neighbors,
    weighted_sum_neighbors,
)
from gtl.roles import Batch, Task, View
from gtl.train.step import Step, TaskModel

WIDTH, CLASSES, NODES, EDGES = 7, 3, 23, 61


class SumEncoder(nn.Module):
    def __init__(self, inputs: int):
        super().__init__()
        self.first, self.second = nn.Linear(inputs, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, graph: Graph) -> Tensor:
        h = torch.tanh(self.first(graph.x))
        return torch.tanh(self.second(h + 0.3 * sum_neighbors(graph, h)))


class AttentionEncoder(nn.Module):
    def __init__(self, inputs: int):
        super().__init__()
        self.embed, self.left, self.right = (nn.Linear(inputs, WIDTH) for _ in range(3))

    def forward(self, graph: Graph) -> Tensor:
        scores = dot_on_edges(graph, self.left(graph.x), self.right(graph.x))
        h = torch.tanh(self.embed(graph.x))
        return h + weighted_sum_neighbors(graph, h, softmax_on_edges(graph, scores))


class NoisyEncoder(SumEncoder):
    """Dropout and batch norm in training mode."""

    def __init__(self, inputs: int):
        super().__init__(inputs)
        self.norm, self.drop = nn.BatchNorm1d(WIDTH), nn.Dropout(0.3)

    def forward(self, graph: Graph) -> Tensor:
        return self.drop(self.norm(super().forward(graph)))


class Classify(Task):
    """Cross-entropy of the labels at the seeds."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(WIDTH, CLASSES)

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        graph = batch.source
        return View(graph, {"y": graph.y})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        logits = self.head(nodes[view.graph.seeds])
        return nn.functional.cross_entropy(logits, view.targets["y"], reduction="none")


class Regress(Task):
    """Squared error at every node of numbers that are fixed, or drawn anew in each view."""

    def __init__(self, values: Tensor | None = None, noise: float = 0.0):
        super().__init__()
        self.head, self.values, self.noise = nn.Linear(WIDTH, 1), values, noise

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        graph = batch.source
        values = torch.zeros(graph.num_nodes) if self.values is None else self.values
        drawn = torch.randn(graph.num_nodes, generator=rng)
        return View(graph.replace(), {"values": (values + self.noise * drawn).to(graph.x.dtype)})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        return (self.head(nodes).squeeze(1) - view.targets["values"]) ** 2


class Queue(Regress):
    """A task with a buffer that every call changes."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        self.calls += 1
        return super().losses(nodes, view)


class Nothing(Task):
    """A task whose views never hold a sample."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(WIDTH, 1)

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        graph = batch.source
        return View(graph, {})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        return self.head(nodes[:0]).squeeze(1)


ENCODERS = {"sum": SumEncoder, "attention": AttentionEncoder, "noisy": NoisyEncoder}


class Problem(SimpleNamespace):
    """A graph and a model; :meth:`step` makes a step with an optimizer."""

    def step(self, optimizer: torch.optim.Optimizer, seed: int = 0, **options: Any) -> Step:
        views = {n: t.view(Batch(self.graph), self.rng) for n, t in self.model.tasks.items()}
        return Step(self.model, views, optimizer, "target", seed=seed, **options)


@pytest.fixture
def parts() -> SimpleNamespace:
    """The classes above, for tests that compose their own problem."""
    return SimpleNamespace(
        Classify=Classify, Regress=Regress, Queue=Queue, Nothing=Nothing, ENCODERS=ENCODERS
    )


@pytest.fixture
def problem() -> Callable[..., Problem]:
    """Builds a problem in float64: ``problem(encoder="sum", auxiliary={...})``."""

    def build(
        encoder: str | nn.Module = "sum",
        auxiliary: Mapping[str, Task] | None = None,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> Problem:
        torch.manual_seed(seed)
        rng = torch.Generator().manual_seed(seed)
        inputs = 5
        graph = Graph(
            torch.randint(NODES, (EDGES,), generator=rng),
            torch.randint(NODES, (EDGES,), generator=rng),
            NODES,
            x=torch.randn(NODES, inputs, generator=rng, dtype=torch.float64).to(dtype),
            seeds=torch.randperm(NODES, generator=rng)[:11],
            y=torch.randint(CLASSES, (11,), generator=rng),
        )
        if auxiliary is None:
            auxiliary = {"first": Regress(torch.linspace(-1, 1, NODES)), "second": Regress()}
        module = ENCODERS[encoder](inputs) if isinstance(encoder, str) else encoder
        model = TaskModel(module, {"target": Classify(), **auxiliary}).to(dtype)
        return Problem(graph=graph, model=model, rng=rng)

    return build


@pytest.fixture
def optimizers() -> dict[str, Callable[..., torch.optim.Optimizer]]:
    """Every supported kind, with settings that leave no term at zero."""
    sgd, adam, adamw = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
    return {
        "sgd": lambda p: sgd(p, lr=0.1, weight_decay=0.02),
        "momentum": lambda p: sgd(p, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.02),
        "nesterov": lambda p: sgd(p, lr=0.1, momentum=0.9, nesterov=True),
        "adam": lambda p: adam(p, lr=0.01, weight_decay=0.02),
        "amsgrad": lambda p: adam(p, lr=0.01, amsgrad=True),
        "adamw": lambda p: adamw(p, lr=0.01, weight_decay=0.1),
    }


class ByHand:
    """A step whose losses and gradients are written down.

    The loss of a task is ``value + pull @ shared + 2 own``, at zero; ``own`` is a parameter of
    its own. All samples of a task are alike.
    """

    def __init__(
        self,
        pulls: Mapping[str, Sequence[float]],
        values: Mapping[str, float] | None = None,
        target: str | None = "target",
        samples: int = 3,
    ):
        width = len(next(iter(pulls.values())))
        zeros = {"encoder.last": width, **dict.fromkeys(pulls, 1)}
        self.parameters = {
            name: nn.Parameter(torch.zeros(size, dtype=torch.float64))
            for name, size in zeros.items()
        }
        shared = self.parameters["encoder.last"]
        self.losses = {
            name: ((values or {}).get(name, 1.0) + shared @ shared.new_tensor(list(pull)))
            + 2 * self.parameters[name].expand(samples)
            for name, pull in pulls.items()
        }
        self.target, self.shared, self.representations = target, ("encoder.last",), {}
        self.optimizer = torch.optim.SGD(self.parameters.values(), lr=0.1)

    def pull(self, name: str = "encoder.last") -> list[float] | None:
        """What ``.grad`` of a parameter holds."""
        gradient = self.parameters[name].grad
        return None if gradient is None else gradient.tolist()


@pytest.fixture
def by_hand() -> type[ByHand]:
    """See :class:`ByHand`."""
    return ByHand


class Parabolas:
    """A step whose look-ahead can be worked out by hand: one parameter ``w``, losses ``(w - c)^2``.

    Args:
        centers: ``c`` of each sample, by task; the target's first.
        meta: Center of the held-out target loss; ``None`` if samples are held back.
        held: Which of the target's samples are held back.
    """

    target, shared = "target", ("encoder.w",)

    def __init__(
        self,
        centers: Mapping[str, Sequence[float]],
        meta: float | None = 1.0,
        held: Sequence[bool] | None = None,
        lr: float = 0.5,
    ):
        self.centers = {n: torch.tensor(c, dtype=torch.float64) for n, c in centers.items()}
        self.meta, self.held = meta, None if held is None else torch.tensor(held)
        self.parameters = {"encoder.w": nn.Parameter(torch.zeros(1, dtype=torch.float64))}
        self.optimizer = torch.optim.SGD(self.parameters.values(), lr=lr)
        self.losses = self.replay(self.parameters)

    def replay(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {n: (parameters["encoder.w"] - c) ** 2 for n, c in self.centers.items()}

    def hold_back(self, fold: int) -> Tensor | None:
        return self.held

    def meta_loss(self, parameters: Mapping[str, Tensor], held: Tensor | None = None) -> Tensor:
        if self.meta is not None:
            return (parameters["encoder.w"] - self.meta).square().sum()
        return self.replay(parameters)["target"][held].mean()

    def permuted_losses(self, seed: int) -> dict[str, Tensor]:
        return {}

    def pull(self) -> float:
        """What ``.grad`` of ``w`` holds."""
        return float(self.parameters["encoder.w"].grad)


@pytest.fixture
def parabolas() -> type[Parabolas]:
    """See :class:`Parabolas`."""
    return Parabolas


@pytest.fixture
def useful_and_noise() -> Callable[..., Iterator[Step]]:
    """Yields steps with a task that has the target's labels and one of random labels."""

    def steps(turns: int, seed: int = 0) -> Iterator[Step]:
        torch.manual_seed(seed)
        rng = torch.Generator().manual_seed(seed)
        n = 400
        x = torch.randn(n, 5, generator=rng)
        graph = Graph(*(torch.randint(n, (2 * n,), generator=rng) for _ in range(2)), n, x=x)
        around = x + mean_neighbors(graph, x)
        labels = (around[:, 0] > 0).long() + (around[:, 1] > 0).long()

        def view(task: Task, values: Tensor, count: int) -> View:
            seeds = torch.randperm(n, generator=rng)[:count]
            return task.view(Batch(graph.replace(seeds=seeds, y=values[seeds])), rng)

        tasks = {name: Classify() for name in ("target", "useful", "noise")}
        model = TaskModel(SumEncoder(5), tasks)
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        for _ in range(turns):
            random = torch.randint(CLASSES, (n,), generator=rng)
            views = {
                "target": view(tasks["target"], labels, 24),
                "useful": view(tasks["useful"], labels, 100),
                "noise": view(tasks["noise"], random, 24),
            }
            yield Step(model, views, optimizer, "target", seed=seed)
            optimizer.step()

    return steps


def warm_up(problem: Problem, optimizer: torch.optim.Optimizer, steps: int = 5) -> None:
    """Take plain steps, so that the optimizer has a state."""
    for _ in range(steps):
        step = problem.step(optimizer)
        optimizer.zero_grad()
        torch.stack(
            [losses.mean() for losses in step.losses.values() if len(losses)]
        ).sum().backward()
        optimizer.step()


@pytest.fixture
def warm() -> Callable[..., None]:
    """See :func:`warm_up`."""
    return warm_up
