"""A step encodes each graph once, leaves no trace when replayed, and norms follow the target."""

from __future__ import annotations

import pytest
import torch

import gtl
from gtl.encoders import GIN
from gtl.errors import ShapeError
from gtl.roles import Batch, Task, View
from gtl.tasks import AttributeMasking, EdgePrediction, Infomax, Supervised
from gtl.train.step import Step, TaskModel


@pytest.fixture
def setting(shapes):
    """Model, views and optimizer of a target with three auxiliary tasks."""
    tasks = {
        "target": Supervised(kind="binary", outputs=1),
        "masking": AttributeMasking(),
        "edges": EdgePrediction(),
        "infomax": Infomax(),
    }
    encoder = GIN(shapes.schema, width=8, depth=2, dropout=0.3)
    for task in tasks.values():
        task.setup(shapes.schema, 8)
    model = TaskModel(encoder, tasks)
    rng = torch.Generator().manual_seed(0)
    graph = shapes.batch(torch.arange(20))
    views = {name: task.view(Batch(graph), rng) for name, task in tasks.items()}
    return model, views, torch.optim.Adam(model.parameters())


def _statistics(encoder):
    return {name: value.clone() for name, value in encoder.named_buffers()}


def test_running_statistics_are_those_of_the_target_alone(setting):
    model, views, optimizer = setting
    model.eval()  # no dropout, so that one pass can be compared with several
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.train()
    start = {name: value.clone() for name, value in model.state_dict().items()}
    Step(model, views, optimizer, "target")
    seen = _statistics(model.encoder)
    model.load_state_dict(start)
    model.encoder(views["target"].graph)
    alone = _statistics(model.encoder)
    for name, value in alone.items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, seen[name]), name
    assert not torch.equal(alone["blocks.0.norm.running_mean"], torch.zeros(8))


def test_without_a_target_every_view_counts(setting):
    model, views, optimizer = setting
    before = _statistics(model.encoder)
    Step(model, {"masking": views["masking"]}, optimizer)
    after = _statistics(model.encoder)
    assert not torch.equal(
        before["blocks.0.norm.running_mean"], after["blocks.0.norm.running_mean"]
    )


def test_the_momentum_of_norms_is_put_back(setting):
    model, views, optimizer = setting
    Step(model, views, optimizer, "target")
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    assert [norm.momentum for norm in norms] == [0.1] * len(norms)


def test_equal_graphs_are_encoded_once(setting):
    model, views, optimizer = setting
    passes = []
    model.encoder.register_forward_hook(lambda *_: passes.append(1))
    Step(model, views, optimizer, "target")
    assert views["infomax"].graph is views["target"].graph
    assert len(passes) == 3


def test_a_replay_repeats_the_losses_and_leaves_no_trace(setting):
    model, views, optimizer = setting
    step = Step(model, views, optimizer, "target")
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    again = step.replay({name: value.detach() for name, value in step.parameters.items()})
    for name, losses in step.losses.items():
        assert torch.equal(losses, again[name]), name
    assert torch.equal(random, torch.get_rng_state())
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_every_sample_is_held_back_once_in_two_look_aheads(setting):
    step = Step(*setting, "target", seed=3)
    first, second = step.hold_back(0), step.hold_back(1)
    assert torch.equal(first, ~second)
    assert int(first.sum()) == 10
    assert not torch.equal(first, step.hold_back(2))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_of_an_odd_batch_the_larger_half_is_held_back_and_one_sample_twice(setting, shapes, count):
    model, views, optimizer = setting
    graph = shapes.batch(torch.arange(count))
    views = {"target": model.tasks["target"].view(Batch(graph), torch.Generator())}
    step = Step(model, views, optimizer, "target", seed=3)
    first, second = step.hold_back(4), step.hold_back(5)
    assert int(first.sum()) == int(second.sum()) == (count + 1) // 2
    assert bool((first | second).all())
    assert int((first & second).sum()) == count % 2


class Queue(Task):
    """Distance to the node vectors of the call before, which a buffer keeps."""

    def __init__(self):
        super().__init__()
        self.register_buffer("queue", torch.zeros(8))

    def view(self, batch, rng):
        return View(batch.source, {})

    def losses(self, nodes, view):
        losses = (nodes - self.queue).square().mean(1)
        self.queue.copy_(nodes.detach().mean(0) + 1)
        return losses


def test_every_replay_starts_from_the_buffers_before_the_step(setting):
    model, views, optimizer = setting
    model = TaskModel(model.encoder, {"target": model.tasks["target"], "queue": Queue()})
    views = {"target": views["target"], "queue": View(views["target"].graph, {})}
    step = Step(model, views, optimizer, "target")
    after = model.tasks["queue"].queue.clone()
    here = {name: value.detach() for name, value in step.parameters.items()}
    for _ in range(3):
        assert torch.equal(step.replay(here)["queue"], step.losses["queue"])
    assert torch.equal(model.tasks["queue"].queue, after)
    assert bool((after != 0).any())


def test_the_meta_loss_is_that_of_the_held_samples(setting):
    step = Step(*setting, "target")
    held = step.hold_back(0)
    here = {name: value.detach() for name, value in step.parameters.items()}
    assert step.meta_loss(here, held).item() == pytest.approx(
        step.losses["target"][held].mean().item()
    )


def test_a_meta_view_takes_the_place_of_held_samples(setting, shapes):
    model, views, optimizer = setting
    other = shapes.batch(torch.arange(30, 40))
    meta = model.tasks["target"].view(Batch(other), torch.Generator())
    step = Step(model, views, optimizer, "target", meta_view=meta)
    assert step.hold_back(0) is None
    here = {name: value.detach() for name, value in step.parameters.items()}
    assert step.meta_loss(here).item() != pytest.approx(step.losses["target"].mean().item())


def test_losses_that_are_not_one_per_sample_are_refused(setting, shapes):
    class Column(Task):
        def view(self, batch, rng):
            graph = batch.source
            return View(graph, {})

        def losses(self, nodes, view):
            return nodes[:, :1]

    model, views, optimizer = setting
    model = TaskModel(model.encoder, {"column": Column()})
    with pytest.raises(ShapeError, match=r'`losses\["column"\]` has shape .*squeeze'):
        Step(model, {"column": View(views["target"].graph, {})}, optimizer)


def test_auxiliary_views_do_not_spoil_what_the_target_sees_at_prediction_time(shapes):
    """Masked views once moved the running statistics: validation went up while training fell."""
    model = gtl.finetune(
        {"name": "gin", "width": 16, "depth": 2},
        shapes,
        auxiliary=[
            {"name": "attribute_masking", "rate": 0.9},
            {"name": "edge_prediction", "rate": 0.9},
        ],
        weighting={"name": "fixed", "weights": {"attribute_masking": 0.0, "edge_prediction": 0.0}},
        epochs=1,
        batch_size=10,
    )
    alone = gtl.finetune({"name": "gin", "width": 16, "depth": 2}, shapes, epochs=1, batch_size=10)
    for name, value in alone.encoder.named_buffers():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, model.encoder.get_buffer(name)), name
