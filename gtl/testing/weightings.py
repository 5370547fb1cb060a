"""Laws of a weighting: it sets gradients, as ``loss.backward()`` does, and changes nothing else."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.graph import Graph
from gtl.roles import Batch, Task, View, Weighting
from gtl.testing.examples import POINTS, Example, SmallEncoder
from gtl.testing.laws import copied, generator, obey, require, require_close, require_finite, same
from gtl.train.step import Step, TaskModel

_WIDTH = 5


def check_weighting(weighting: Weighting, skip: Collection[str] = ()) -> None:
    """Check that a weighting obeys the laws of its role.

    The model is small and has batch norm and dropout. The tasks are a target, a useful auxiliary
    task, one of noise, and one with a queue in a buffer.

    Args:
        weighting: The weighting, not yet set up; it is copied, never changed.
        skip: Names of laws that do not apply.

    Raises:
        LawError: Naming the law, what came and what was expected.
    """
    obey(weighting, WeightingTrial(weighting), WEIGHTING_LAWS, skip)


class Fit(Task):
    """Squared error of a linear map of the vectors of random nodes.

    Args:
        samples: Nodes that have a value; 0 makes every view empty.
        noise: Share of noise in the values, in ``[0, 1]``.
    """

    def __init__(self, samples: int = 6, noise: float = 0.0):
        super().__init__()
        self.samples, self.noise = samples, noise
        self.map, self.dropout = nn.Linear(_WIDTH, 1), nn.Dropout(0.3)

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """Values are the sum of a node's features, mixed with noise."""
        graph = batch.source
        nodes = torch.randperm(graph.num_nodes, generator=rng)[: self.samples]
        assert graph.x is not None
        clean = graph.x[nodes].sum(1)
        noise = torch.randn(len(nodes), generator=rng, dtype=clean.dtype)
        values = (1 - self.noise) * clean + self.noise * noise
        return View(graph, {"nodes": nodes, "values": values})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Squared errors ``(b,)``."""
        # Dropout acts on all nodes, so that the order of the samples has no influence.
        predictions = self.map(self.dropout(nodes))[view.targets["nodes"]]
        return (predictions.squeeze(1) - view.targets["values"]).square()


class Remember(Task):
    """Squared distance of node vectors to those of the previous step, from a queue."""

    queue: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(_WIDTH, _WIDTH)
        self.register_buffer("queue", torch.ones(3, _WIDTH))

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph itself."""
        graph = batch.source
        return View(graph, {})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Squared distances ``(3,)``; updates the queue."""
        now = self.map(nodes[:3])
        losses = (now - self.queue).square().mean(1)
        self.queue.copy_(now.detach())
        return losses


class Noisy(nn.Module):
    """A small encoder with batch norm and dropout, which a replay must not change."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = SmallEncoder(POINTS, _WIDTH)
        self.norm, self.dropout = nn.BatchNorm1d(_WIDTH), nn.Dropout(0.3)

    def forward(self, graph: Graph) -> Tensor:
        """Node vectors ``(n, 5)``."""
        return self.dropout(self.norm(self.inner(graph)))


@dataclass(frozen=True)
class WeightingTrial:
    """A weighting and a small model; every law starts from a new copy."""

    weighting: Weighting = field(repr=False)

    def start(self, tasks: Callable[[], dict[str, Task]] | None = None) -> Job:
        """A fresh model of ``tasks()`` and a copy of the weighting, set up."""
        torch.manual_seed(5)
        model = TaskModel(Noisy(), (tasks or _four_tasks)()).double()
        weighting = copy.deepcopy(self.weighting)
        weighting.setup(list(model.tasks), "target")
        return Job(model, weighting, torch.optim.Adam(model.parameters(), lr=0.01))


def _four_tasks() -> dict[str, Task]:
    return {"target": Fit(), "useful": Fit(), "noise": Fit(noise=1.0), "queue": Remember()}


@dataclass
class Job:
    """A model, the weighting that trains it and the optimizer."""

    model: TaskModel
    weighting: Weighting
    optimizer: torch.optim.Optimizer

    def step(self, seed: int, held_out: bool = False, shuffled: bool = False) -> Step:
        """The live losses of one step.

        Args:
            seed: Decides the graph, the views and the dropout.
            held_out: Whether the meta loss has data of its own.
            shuffled: Whether the samples are in another order.
        """
        torch.manual_seed(seed)
        graph = _graph(seed)
        tasks: dict[str, Any] = dict(self.model.tasks.items())
        views = {
            name: task.view(Batch(graph), generator(100 * seed + i))
            for i, (name, task) in enumerate(tasks.items())
        }
        if shuffled:
            views = {name: _shuffled(view) for name, view in views.items()}
        held = tasks["target"].view(Batch(_graph(seed + 1)), generator(seed)) if held_out else None
        target = "target" if "target" in tasks else None
        return Step(self.model, views, self.optimizer, target, held, seed)

    def train(self, seeds: range) -> list[dict[str, float]]:
        """Take a step for each seed; the weights of each."""
        weights = []
        for seed in seeds:
            self.optimizer.zero_grad()
            weights.append(self.weighting.backward(self.step(seed)))
            self.optimizer.step()
        return weights

    def gradients(self) -> dict[str, Tensor]:
        """Values of ``.grad`` of the parameters, where there is one."""
        return {
            name: tensor.grad.clone()
            for name, tensor in self.model.named_parameters()
            if tensor.grad is not None
        }


def _graph(seed: int) -> Graph:
    return Example(POINTS).graph([7, 3, 5], seed=seed).to(dtype=torch.float64)


def _shuffled(view: View) -> View:
    count = max((len(value) for value in view.targets.values()), default=0)
    order = torch.randperm(count, generator=generator(4))
    return View(view.graph, {name: value[order] for name, value in view.targets.items()})


def _reached(step: Step) -> dict[str, Tensor]:
    """Gradient of the sum of the mean losses by each parameter that a loss depends on."""
    total = torch.stack([losses.mean() for losses in step.losses.values() if len(losses)]).sum()
    grads = torch.autograd.grad(
        total, list(step.parameters.values()), retain_graph=True, allow_unused=True
    )
    return {name: grad for name, grad in zip(step.parameters, grads) if grad is not None}


# -- laws ----------------------------------------------------------------------------------------


def every_reached_parameter_gets_a_gradient(trial: WeightingTrial) -> None:
    """``.grad`` is set and finite for trained parameters that a loss depends on, and no others."""
    job = trial.start()
    job.model.get_parameter("tasks.useful.map.bias").requires_grad_(False)
    for seed in range(6):
        job.optimizer.zero_grad()
        step = job.step(seed)
        reached = _reached(step)
        job.weighting.backward(step)
        grads = job.gradients()
        missed = sorted(reached.keys() - grads.keys())
        require(not missed, f"no `.grad` at {', '.join(missed)}", "one")
        extra = sorted(grads.keys() - reached.keys())
        require(not extra, f"a `.grad` at {', '.join(extra)}, which is frozen", "none")
        for name, grad in grads.items():
            require_finite(f"the gradient of `{name}`", grad)
        job.optimizer.step()


def gradients_are_set_not_accumulated(trial: WeightingTrial) -> None:
    """The value of ``.grad`` before the step has no influence."""
    clean, stale = trial.start(), trial.start()
    for parameter in stale.model.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    for job in (clean, stale):
        job.weighting.backward(job.step(0))
    for name, grad in clean.gradients().items():
        require_close(f"the gradient of `{name}`", stale.gradients()[name], grad)


def nothing_but_gradients_changes(trial: WeightingTrial) -> None:
    """Parameters, buffers, optimizer state, modes and the global random state stay as they were."""
    job = trial.start()
    job.train(range(2))
    for seed in range(2, 7):
        job.optimizer.zero_grad()
        step = job.step(seed)
        state, random = copied(job.model.state_dict()), torch.get_rng_state()
        moments = copied(job.optimizer.state_dict())
        frozen = {name: p.requires_grad for name, p in job.model.named_parameters()}
        job.weighting.backward(step)
        for name, value in job.model.state_dict().items():
            require(same(value, state[name]), f"`{name}` changed", "no change")
        require(same(moments, copied(job.optimizer.state_dict())), "optimizer changed", "no change")
        require(
            torch.equal(random, torch.get_rng_state()), "global random state moved", "as it was"
        )
        now = {name: p.requires_grad for name, p in job.model.named_parameters()}
        require(now == frozen, "`requires_grad` changed", "as it was")
        require(job.model.training, "the model left train mode", "train mode")
        job.optimizer.step()


def one_weight_per_task(trial: WeightingTrial) -> None:
    """``backward`` returns a finite float for each task by name, and cosines lie in [-1, 1]."""
    job = trial.start()
    for weights in job.train(range(6)):
        require(
            set(weights) == set(job.model.tasks),
            f"weights for {sorted(weights)}",
            f"one for each of {sorted(job.model.tasks)}",
        )
        for name, weight in weights.items():
            require(isinstance(weight, float), f"`{name}` weighs {weight!r}", "a float")
            require(math.isfinite(weight), f"`{name}` weighs {weight}", "a finite number")
    for name, cosine in job.weighting.consistency.items():
        require(name in job.model.tasks and name != "target", f"consistency of {name!r}", "a task")
        require(-1 - 1e-6 <= cosine <= 1 + 1e-6, f"a cosine of {cosine}", "one in [-1, 1]")


def without_auxiliary_tasks_it_is_plain_training(trial: WeightingTrial) -> None:
    """With the target alone the gradient is that of the target's mean loss."""
    job = trial.start(lambda: {"target": Fit()})
    for seed in range(5):
        job.optimizer.zero_grad()
        step = job.step(seed)
        expected = _reached(step)
        job.weighting.backward(step)
        grads = job.gradients()
        for name, grad in expected.items():
            require(name in grads, f"no gradient at `{name}`", "one")
            require_close(f"the gradient of `{name}`", grads[name], grad)
        job.optimizer.step()


def pretraining_works_or_is_refused(trial: WeightingTrial) -> None:
    """Without a target there are gradients, or setup raises a ConfigError."""
    job = trial.start(_two_tasks) if _takes_no_target(trial) else None
    if job is None:
        return
    for seed in range(3):
        job.weighting.backward(job.step(seed))
        for name, grad in job.gradients().items():
            require_finite(f"the gradient of `{name}`", grad)


def _two_tasks() -> dict[str, Task]:
    return {"one": Fit(), "two": Remember()}


def _takes_no_target(trial: WeightingTrial) -> bool:
    weighting = copy.deepcopy(trial.weighting)
    try:
        weighting.setup(["one", "two"], None)
    except ConfigError:
        return False
    return True


def empty_losses_are_accepted(trial: WeightingTrial) -> None:
    """Tasks without samples, the target too, give zeros and never a NaN."""
    cases: dict[str, Callable[[], dict[str, Task]]] = {
        "an auxiliary task": lambda: {"target": Fit(), "useful": Fit(0), "queue": Remember()},
        "every auxiliary task": lambda: {"target": Fit(), "useful": Fit(0), "noise": Fit(0)},
        "the target": lambda: {"target": Fit(0), "useful": Fit()},
        "every task": lambda: {"target": Fit(0), "useful": Fit(0)},
        "all but one sample of the target": lambda: {"target": Fit(1), "useful": Fit()},
    }
    for case, tasks in cases.items():
        job = trial.start(tasks)
        for seed in range(5):
            job.optimizer.zero_grad()
            weights = job.weighting.backward(job.step(seed))
            for name, weight in weights.items():
                require(math.isfinite(weight), f"{case} empty: {name} weighs {weight}", "a number")
            for name, grad in job.gradients().items():
                require_finite(f"the gradient of `{name}` when {case} is empty", grad)
            job.optimizer.step()
        for name, value in job.weighting.state_dict().items():
            if isinstance(value, Tensor) and value.is_floating_point():
                require_finite(f"`{name}` of the weighting when {case} is empty", value)


def the_order_of_samples_does_not_matter(trial: WeightingTrial) -> None:
    """Samples in another order give the same gradient, given held-out data of its own."""
    for warm in (0, 3):
        plain, mixed = trial.start(), trial.start()
        for job in (plain, mixed):
            job.train(range(warm))
            job.optimizer.zero_grad()
        plain.weighting.backward(plain.step(9, held_out=True))
        mixed.weighting.backward(mixed.step(9, held_out=True, shuffled=True))
        for name, grad in plain.gradients().items():
            require_close(f"the gradient of `{name}`", mixed.gradients()[name], grad, 1e-6)


def setup_twice_keeps_the_state(trial: WeightingTrial) -> None:
    """A second ``setup`` leaves what was learned as it is."""
    job = trial.start()
    job.train(range(3))
    before = copied(job.weighting.state_dict())
    job.weighting.setup(list(job.model.tasks), "target")
    require(same(before, copied(job.weighting.state_dict())), "the state changed", "no change")


def it_continues_from_its_state(trial: WeightingTrial) -> None:
    """Training goes on from a ``state_dict`` bit for bit as without an interruption."""
    for steps in (1, 3):
        job = trial.start()
        job.train(range(steps))
        other = trial.start()
        other.model.load_state_dict(copied(job.model.state_dict()))
        other.optimizer.load_state_dict(copy.deepcopy(job.optimizer.state_dict()))
        other.weighting.load_state_dict(copy.deepcopy(job.weighting.state_dict()))
        ahead = range(steps, steps + 6)
        one, two = job.train(ahead), other.train(ahead)
        require(same(one, two), f"weights {two} after loading", f"{one}")
        for name, value in job.model.state_dict().items():
            require(
                same(value, other.model.state_dict()[name]), f"another `{name}`", "the same value"
            )


WEIGHTING_LAWS = (
    every_reached_parameter_gets_a_gradient,
    gradients_are_set_not_accumulated,
    nothing_but_gradients_changes,
    one_weight_per_task,
    without_auxiliary_tasks_it_is_plain_training,
    pretraining_works_or_is_refused,
    empty_losses_are_accepted,
    the_order_of_samples_does_not_matter,
    setup_twice_keeps_the_state,
    it_continues_from_its_state,
)
