"""Laws of a task, which loops, look-aheads and resumed runs rely on."""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gtl.errors import ConfigError, LawError
from gtl.graph import Graph
from gtl.roles import Batch, Task, View
from gtl.tasks import Supervised
from gtl.testing.examples import POINTS, TYPED, Example, SmallEncoder
from gtl.testing.laws import (
    copied,
    describe,
    generator,
    graph_fields,
    loosened,
    obey,
    require,
    require_close,
    require_finite,
    require_true_derivatives,
    same,
)
from gtl.train.step import Step, TaskModel

log = logging.getLogger(__name__)
EXAMPLES = (
    Example(),
    Example(POINTS, level="node", kind="multiclass", outputs=3),
    Example(TYPED, level="node", kind="multiclass", outputs=3),
)
_SIZES = (5, 13, 7, 11)


def check_task(
    task: Task, examples: Sequence[Example] = EXAMPLES, width: int = 6, skip: Collection[str] = ()
) -> None:
    """Check that a task obeys the laws of its role.

    A task may refuse a kind of data by raising :class:`gtl.errors.ConfigError` in ``setup`` or
    ``view``; it must take at least one example.

    Args:
        task: The task; it is copied, never changed.
        examples: Data to try it on: molecule-like batches, and single graphs with float features,
            one of them with types.
        width: Columns of the node vectors.
        skip: Names of laws that do not apply, such as ``ten_steps_lower_the_loss`` for an
            adversary.

    Raises:
        LawError: Naming the law, what came and what was expected.
    """
    refusals = []
    for example in examples:
        trial = TaskTrial(task, example, width)
        try:
            trial.refuses()
        except ConfigError as error:
            refusals.append(str(error))
            continue
        obey(task, trial, TASK_LAWS, skip)
    if len(refusals) == len(examples):
        raise LawError(
            f"{describe(task)} refuses every example ({'; '.join(refusals)}); "
            "expected it to take at least one, or give `examples` that it takes"
        )


@dataclass(frozen=True)
class TaskTrial:
    """A task on one kind of data; every law starts from an untouched copy."""

    task: Task = field(repr=False)
    example: Example
    width: int = field(repr=False)

    def model(self, dtype: torch.dtype = torch.float64) -> TaskModel:
        """A small encoder and a copy of the task, set up."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            encoder, task = SmallEncoder(self.example.schema, self.width), copy.deepcopy(self.task)
            task.setup(self.example.schema, self.width)
            model = TaskModel(encoder, {**self._target(), "task": task})
        model.to(dtype)
        task.after_step(model, 0.0)
        return model

    def graph(self, dtype: torch.dtype = torch.float64) -> Graph:
        """An ordinary graph, or batch."""
        return self.example.graph(_SIZES).to(dtype=dtype)

    def own_graph(self, dtype: torch.dtype = torch.float64) -> Graph:
        """Another graph, or batch, as of a data set of the task's own."""
        return self.example.graph(_SIZES, seed=1).to(dtype=dtype)

    def _target(self) -> dict[str, Task]:
        """The labeled target of a task that needs one."""
        if not self.task.needs_target:
            return {}
        target = Supervised(kind=self.example.kind, outputs=self.example.outputs)
        target.setup(self.example.schema, self.width)
        return {"supervised": target}

    def refuses(self) -> None:
        """Raise the ConfigError of a task that does not take this data."""
        try:
            _view(self.model(), self.graph())
        except ConfigError:
            raise
        except Exception as error:  # the laws make the same view and report the fault
            log.debug("left to the laws: %s", error)


def _view(model: TaskModel, graph: Graph, seed: int = 0) -> View:
    task = _task(model)
    own = _others(graph) if task.uses_unlabeled else None
    return task.view(Batch(graph, own), generator(seed))


def _others(graph: Graph) -> Graph:
    """Other items than those with labels: other nodes of the graph, or graphs with other nodes."""
    if graph.seeds is not None:
        return graph.replace(y=None, seeds=torch.arange(graph.num_nodes)[1::2])
    return graph.replace(y=None, x=None if graph.x is None else graph.x.flip(0))


def _task(model: TaskModel) -> Task:
    return model.tasks["task"]  # type: ignore[return-value]


def _losses(model: TaskModel, view: View) -> Tensor:
    nodes = model.encoder(view.graph)
    return _task(model).losses(nodes, view)


def _step(model: TaskModel, view: View) -> Step:
    return Step(model, {"task": view}, torch.optim.SGD(model.parameters(), lr=0.1), target="task")


def _train(model: TaskModel, view: View, steps: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        _losses(model, view).mean().backward()
        optimizer.step()


def _run(model: TaskModel, graph: Graph, steps: Sequence[int], of: int) -> list[Tensor]:
    """Take some steps of a training of ``of`` steps, as a loop does; the losses of each."""
    optimizer, every = torch.optim.SGD(model.parameters(), lr=0.01), []
    for step in steps:
        optimizer.zero_grad()
        losses = _losses(model, _view(model, graph, seed=step))
        losses.mean().backward()
        optimizer.step()
        _task(model).after_step(model, (step + 1) / of)
        every.append(losses.detach())
    return every


# -- laws ----------------------------------------------------------------------------------------


def one_finite_loss_per_sample(trial: TaskTrial) -> None:
    """Losses are one finite number per sample, ``(b,)``, in the dtype of the node vectors."""
    for dtype in (torch.float32, torch.float64):
        model = trial.model(dtype)
        losses = _losses(model, _view(model, trial.graph(dtype)))
        require(losses.dim() == 1, f"losses of shape {tuple(losses.shape)}", "(b,)")
        require(len(losses) > 0, "no losses for an ordinary batch", "at least one")
        require(losses.dtype == dtype, f"{losses.dtype} for vectors of {dtype}", f"{dtype}")
        require_finite("the losses", losses)


def losses_reach_the_node_vectors(trial: TaskTrial) -> None:
    """The gradient of the losses with respect to the node vectors is finite and not all zero."""
    model = trial.model()
    view = _view(model, trial.graph())
    nodes = model.encoder(view.graph).detach().requires_grad_()
    losses = _task(model).losses(nodes, view)
    require(losses.requires_grad, "losses without a gradient", "losses that depend on the vectors")
    (grad,) = torch.autograd.grad(losses.sum(), nodes, allow_unused=True)
    require(grad is not None and bool(grad.any()), "no gradient at the node vectors", "one")
    require_finite("the gradient", grad)


def a_view_leaves_the_batch_as_it_was(trial: TaskTrial) -> None:
    """Making a view changes no tensor of the graphs of the batch that it is made of."""
    for has_own in (True,) if trial.task.uses_unlabeled else (False, True):
        model, batch = trial.model(), Batch(trial.graph(), trial.own_graph() if has_own else None)
        before = [copied(graph) for graph in (batch.graph, batch.source)]
        view = _task(model).view(batch, generator(0))
        _losses(model, view).sum().backward()
        for old, graph in zip(before, (batch.graph, batch.source)):
            for name, value in graph_fields(graph).items():
                unchanged = same(value, getattr(old, name))
                require(unchanged, f"`{name}` of a graph of the batch changed", "no change")


def a_view_is_a_valid_graph(trial: TaskTrial) -> None:
    """A view's graph has all fields of the graph and passes ``validate``: encoders can read it."""
    model, graph = trial.model(), trial.graph()
    view = _view(model, graph)
    require(isinstance(view, View), f"a {type(view).__name__}", "a gtl.roles.View")
    copied(view.graph).validate()
    for name in ("x", "e", "node_type", "edge_type"):
        lost = getattr(graph, name) is not None and getattr(view.graph, name) is None
        require(not lost, f"a graph without `{name}`", f"`{name}`, which the given graph has")


def one_seed_gives_one_view(trial: TaskTrial) -> None:
    """The same generator seed gives the same view and the same losses, bit for bit."""
    model, again = trial.model(), trial.model()
    one, two = _view(model, trial.graph(), seed=7), _view(again, trial.graph(), seed=7)
    require(same(one.graph, two.graph), "two different graphs of one seed", "the same view")
    require(same(one.targets, two.targets), "different targets of one seed", "the same view")
    torch.manual_seed(1)
    first = _losses(model, one)
    torch.manual_seed(1)
    require(same(first, _losses(again, two)), "different losses of one seed", "the same losses")


def randomness_comes_from_the_generator(trial: TaskTrial) -> None:
    """A view draws from the generator alone, and losses draw nothing (dropout apart)."""
    model = trial.model().eval()
    before = torch.get_rng_state()
    view = _view(model, trial.graph())
    require(
        torch.equal(before, torch.get_rng_state()),
        "`view` drew from the global generator",
        "draws from the generator handed in",
    )
    _losses(model, view)
    require(
        torch.equal(before, torch.get_rng_state()),
        "`losses` drew random numbers in eval mode",
        "random choices in `view` alone",
    )


def corner_graphs_are_accepted(trial: TaskTrial) -> None:
    """Empty graphs, one-node graphs and graphs without edges give finite losses and gradients."""
    for name, graph in trial.example.corners().items():
        model = trial.model()
        losses = _losses(model, _view(model, graph.to(dtype=torch.float64)))
        require(losses.dim() == 1, f"losses of shape {tuple(losses.shape)} for {name}", "(b,)")
        require_finite(f"the losses of {name}", losses)
        if losses.requires_grad:
            losses.sum().backward()
        for parameter, tensor in model.named_parameters():
            if tensor.grad is not None:
                require_finite(f"the gradient of `{parameter}` for {name}", tensor.grad)


def large_and_zero_vectors_stay_finite(trial: TaskTrial) -> None:
    """Node vectors that are all zero or very long give finite losses and gradients in float32."""
    for scale, name in ((0.0, "zero vectors"), (300.0, "vectors 300 times as long")):
        model = trial.model(torch.float32)
        view = _view(model, trial.graph(torch.float32))
        nodes = (scale * model.encoder(view.graph)).detach().requires_grad_()
        losses = _task(model).losses(nodes, view)
        require_finite(f"the losses of {name}", losses)
        (grad,) = torch.autograd.grad(losses.sum(), nodes, allow_unused=True)
        if grad is not None:
            require_finite(f"the gradient for {name}", grad)


def setup_twice_keeps_the_parameters(trial: TaskTrial) -> None:
    """A second ``setup`` leaves a trained task's parameters and buffers as they are."""
    model = trial.model()
    _train(model, _view(model, trial.graph()), 2)
    task = _task(model)
    before, held = copied(task.state_dict()), dict(task.named_parameters())
    task.setup(trial.example.schema, trial.width)
    require(same(before, task.state_dict()), "parameters changed in a second `setup`", "the same")
    for name, tensor in task.named_parameters():
        require(
            tensor is held.get(name), f"a new `{name}`", "the tensor that the optimizer already has"
        )


def a_replay_leaves_no_trace(trial: TaskTrial) -> None:
    """Replaying a step repeats its losses and leaves the task as it was: state is in buffers."""
    model = trial.model()
    _losses(model, _view(model, trial.graph(), seed=1))
    step = _step(model, _view(model, trial.graph(), seed=2))
    untouched = copy.deepcopy(model)
    for _ in range(2):
        replayed = step.replay({})["task"]
        require_close("a replayed loss", replayed, step.losses["task"].detach(), 1e-12)
    require(
        same(model.state_dict(), untouched.state_dict()), "a replay changed the state", "no trace"
    )
    view = _view(model, trial.graph(), seed=3)
    require(
        same(_losses(model, view), _losses(untouched, _view(untouched, trial.graph(), seed=3))),
        "the step after a replay has other losses",
        "state in buffers, changed in place, so that a replay leaves no trace",
    )


def ten_steps_lower_the_loss(trial: TaskTrial) -> None:
    """Ten training steps of a small encoder lower the mean loss of a fixed view."""
    model = trial.model()
    view = _view(model, trial.graph())
    start = _step(model, view)
    before = float(start.losses["task"].detach().mean())
    _train(model, view, 10)
    # Replayed, so that queues and dropout are those of the first step: only parameters moved.
    after = float(start.replay(dict(model.named_parameters()))["task"].detach().mean())
    require(after < before, f"the loss went from {before:.4g} to {after:.4g}", "a lower one")


def derivatives_are_true(trial: TaskTrial) -> None:
    """First and second derivatives by autograd agree with differences of the losses."""
    model = trial.model()
    loosened(model)
    step = _step(model, _view(model, trial.graph()))
    require_true_derivatives(
        lambda point: step.replay(point)["task"].sum(),
        {name: tensor.detach() for name, tensor in step.parameters.items()},
    )


def saving_and_loading_changes_nothing(trial: TaskTrial) -> None:
    """A task loaded from a trained one's ``state_dict`` gives the same losses."""
    model, loaded = trial.model(), trial.model()
    _train(model, _view(model, trial.graph()), 3)
    with torch.no_grad():
        for tensor in loaded.parameters():
            tensor.zero_()
    loaded.load_state_dict(copied(model.state_dict()))
    model.eval(), loaded.eval()
    one = _losses(model, _view(model, trial.graph(), seed=4))
    two = _losses(loaded, _view(loaded, trial.graph(), seed=4))
    require(same(one, two), "other losses after loading", "the same losses")


def a_training_that_is_saved_goes_on_the_same(trial: TaskTrial) -> None:
    """Steps after loading a ``state_dict`` give what they would have given without a break."""
    model, graph = trial.model(), trial.graph()
    _run(model, graph, [0, 1, 2], of=5)
    loaded = trial.model()
    loaded.load_state_dict(copied(model.state_dict()))
    whole, resumed = (_run(each, graph, [3, 4], of=5) for each in (model, loaded))
    for one, two in zip(whole, resumed):
        require_finite("the losses after `after_step`", one)
        require(same(one, two), "other losses after loading", "what `after_step` keeps in buffers")
    state = loaded.state_dict()
    require(same(model.state_dict(), state), "another state after loading", "the same state")
    for name, value in state.items():
        require_finite(f"`{name}` after `after_step`", value)


TASK_LAWS = (
    one_finite_loss_per_sample,
    losses_reach_the_node_vectors,
    a_view_leaves_the_batch_as_it_was,
    a_view_is_a_valid_graph,
    one_seed_gives_one_view,
    randomness_comes_from_the_generator,
    corner_graphs_are_accepted,
    large_and_zero_vectors_stay_finite,
    setup_twice_keeps_the_parameters,
    a_replay_leaves_no_trace,
    ten_steps_lower_the_loss,
    derivatives_are_true,
    saving_and_loading_changes_nothing,
    a_training_that_is_saved_goes_on_the_same,
)
