"""Forward mode agrees with two backward passes through every operation, encoder and task."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.autograd import forward_ad

from gtl.catalog import ENCODERS, TASKS
from gtl.graph import Graph, ops
from gtl.roles import Batch
from gtl.tasks import Supervised
from gtl.train.step import Step, TaskModel
from gtl.weightings.look_ahead.hypergradient import forward_mode

LEFT_OUT = {"partition", "distillation"}  # of node level; with a teacher, which the laws give it
# Graphs of up to 7 nodes are too small for contexts, and a new head is certain of nothing.
EMPTY = {"context_prediction", "pseudo_label", "representation_consistency"}


def by_two_backward_passes(losses, parameters, direction):
    """Directional derivatives ``(b,)`` of losses ``(b,)``."""
    ones = torch.ones_like(losses.detach()).requires_grad_()
    total = (ones * losses).sum()
    found = torch.autograd.grad(total, parameters, create_graph=True, allow_unused=True)
    along = [(g * w).sum() for g, w in zip(found, direction) if g is not None]
    return torch.autograd.grad(torch.stack(along).sum(), ones)[0]


def along_a_random_direction(dataset, encoder, name):
    depth = {} if encoder == "embedding" else {"depth": 2}
    encoder = ENCODERS.build({"name": encoder, "width": 8, **depth}, dataset.schema)
    options = {"kind": dataset.kind, "outputs": dataset.num_outputs} if name == "supervised" else {}
    task = TASKS.build({"name": name, **options})
    task.setup(dataset.schema, encoder.width)
    tasks = {"task": task}
    if task.needs_target:
        target = Supervised(kind=dataset.kind, outputs=dataset.num_outputs)
        target.setup(dataset.schema, encoder.width)
        tasks = {"supervised": target, **tasks}
    model = TaskModel(encoder, tasks).double()
    task.after_step(model, 0.0)
    own = dataset.batch(torch.arange(6, 12)) if task.uses_unlabeled else None
    batch = Batch(dataset.batch(torch.arange(6)), own)
    view = task.view(batch, torch.Generator().manual_seed(0))
    step = Step(model, {"task": view}, torch.optim.Adam(model.parameters()))
    direction = {n: torch.randn_like(p) for n, p in step.parameters.items()}
    expected = by_two_backward_passes(
        step.losses["task"], list(step.parameters.values()), list(direction.values())
    )
    return forward_mode(step, direction)["task"], expected


@pytest.mark.parametrize("name", [name for name in TASKS.names() if name not in LEFT_OUT])
def test_through_every_task(shapes, name):
    task = TASKS.build(name)
    rows = torch.arange(len(shapes)).unsqueeze(1)
    read = {read: (rows + torch.arange(task.columns)) % 3 for read in task.properties}
    data = replace(shapes, graphs=replace(shapes.graphs, properties=read))
    came, expected = along_a_random_direction(data, "gin", name)
    assert len(expected) or name in EMPTY
    torch.testing.assert_close(came, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ENCODERS.names())
def test_through_every_encoder(shapes, name):
    came, expected = along_a_random_direction(shapes, name, "supervised")
    torch.testing.assert_close(came, expected, rtol=1e-9, atol=1e-9)


OPERATIONS = {
    "sum_neighbors": lambda g, h, e: ops.sum_neighbors(g, h),
    "weighted_sum_neighbors": lambda g, h, e: ops.weighted_sum_neighbors(g, h, e),
    "weighted_sum_of_constants": lambda g, h, e: ops.weighted_sum_neighbors(g, h.detach(), e),
    "weighted_sum_by_constants": lambda g, h, e: ops.weighted_sum_neighbors(g, h, e.detach()),
    "mean_neighbors": lambda g, h, e: ops.mean_neighbors(g, h),
    "scaled": lambda g, h, e: ops.scaled(h, torch.arange(5.0).double().unsqueeze(1)),
    "max_neighbors": lambda g, h, e: ops.max_neighbors(g, h),
    "sum_edges": lambda g, h, e: ops.sum_edges(g, e),
    "dot_on_edges": lambda g, h, e: ops.dot_on_edges(g, h, h.sin()),
    "softmax_on_edges": lambda g, h, e: ops.softmax_on_edges(g, e),
    "segment_max": lambda g, h, e: ops.segment_max(h, torch.tensor([3, 0, 2, 0])),
    "segment_softmax": lambda g, h, e: ops.segment_softmax(h, torch.tensor([3, 0, 2])),
    "empty_max": lambda g, h, e: ops.segment_max(h[:0], torch.tensor([0, 0])) + h.sum(),
}


@pytest.mark.parametrize("kernels", ["dgl", "torch"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_through_every_operation_along_a_graph(name, kernels):
    if kernels == "dgl":
        pytest.importorskip("dgl")
    graph = Graph(torch.tensor([0, 1, 2, 3, 4, 4, 0]), torch.tensor([1, 2, 0, 4, 3, 1, 1]), 5)
    h, e = torch.randn(5, 3, dtype=torch.float64), torch.randn(7, dtype=torch.float64)
    tangents = torch.randn_like(h), torch.randn_like(e)
    with ops.use_kernels(kernels):
        leaves = [h.clone().requires_grad_(), e.clone().requires_grad_()]
        out = OPERATIONS[name](graph, *leaves)
        expected = by_two_backward_passes(out.flatten(), leaves, tangents)
        with torch.no_grad(), forward_ad.dual_level():
            moving = [forward_ad.make_dual(x, t) for x, t in zip((h, e), tangents)]
            came, tangent = forward_ad.unpack_dual(OPERATIONS[name](graph, *moving))
            torch.testing.assert_close(came, out.detach())
            torch.testing.assert_close(tangent.flatten(), expected, rtol=1e-12, atol=1e-12)
