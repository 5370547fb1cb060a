"""A training step gives tasks, weighting and optimizer what the user asked for."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

import gtl
from gtl.catalog import TASKS
from gtl.data.dataset import Dataset
from gtl.graph import Graph
from gtl.graph.pack import PackedGraphs
from gtl.roles import Batch, Task, View
from gtl.tasks import Supervised
from gtl.testing import Example
from gtl.testing.laws import generator, same
from gtl.train import loop
from gtl.train.optimizers import build_optimizer
from gtl.weightings.equal import Equal

GIN = {"name": "gin", "width": 8, "depth": 2}
GCN = {"name": "gcn", "width": 8, "depth": 2}
ONE = {"weighting": "equal", "guard": False}  # one training, of the parts that are given


class Spy(Task):
    """Keeps what the loop gives it; a loss with a slow average and a schedule, both in buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[Batch] = []
        self.progress: list[float] = []

    def build(self, schema, width):
        self.map = nn.Linear(width, 1)
        self.register_buffer("average", torch.zeros(width))
        self.register_buffer("share", torch.zeros(()))

    def view(self, batch, rng):
        self.batches.append(batch)
        return View(batch.source, {})

    def losses(self, nodes, view):
        far = (nodes - self.average.clone()).square().mean(1)
        return self.map(nodes).squeeze(1).square() + self.share.clone() * far

    def after_step(self, model, progress):
        self.progress.append(progress)
        self.average.lerp_(next(model.encoder.parameters()).detach().mean(0), 0.1)
        self.share.fill_(progress)


def of_sizes(sizes: range, like: Dataset, train: list[int]) -> Dataset:
    """Graphs without edges, item ``i`` with ``sizes[i]`` nodes."""
    assert like.graphs is not None
    one = like.graphs[0]
    none = torch.empty(0, dtype=torch.int64)
    graphs = [Graph(none, none, n, one.x[:1].repeat(n, 1), one.e[:0]) for n in sizes]
    packed = PackedGraphs.pack(graphs, like.schema)
    split = {"train": torch.tensor(train), "valid": none, "test": none}
    return Dataset("test:sizes", packed, split=split)


# -- the data of a task's own ----------------------------------------------------------------------


def test_a_task_gets_the_training_part_of_its_own_data_beside_the_graph_of_the_loop(shapes):
    task = Spy()
    task.on(of_sizes(range(20, 40), shapes, train=[3, 5, 7]))
    gtl.finetune(GIN, shapes, auxiliary=[task], epochs=3, batch_size=10, **ONE)
    assert len(task.batches) == 9
    drawn = torch.cat([batch.own.sizes for batch in task.batches])
    assert set(drawn.tolist()) == {23, 25, 27}
    assert all(batch.graph.sizes.max() < 10 for batch in task.batches)


def test_without_data_of_its_own_a_task_gets_the_graph_of_the_loop_alone(shapes):
    task = Spy()
    gtl.finetune(GIN, shapes, auxiliary=[task], epochs=1, batch_size=10, **ONE)
    assert all(batch.own is None and batch.source is batch.graph for batch in task.batches)


SELF_SUPERVISED = [
    name
    for name in TASKS.names()
    if name != "supervised" and not (TASKS.get(name).uses_unlabeled or TASKS.get(name).needs_target)
]


@pytest.mark.parametrize("name", SELF_SUPERVISED)
def test_every_self_supervised_task_reads_its_own_data(name):
    task = TASKS.build(name)
    properties = {read: task.columns for read in task.properties}
    example = Example(level="node") if name == "partition" else Example(properties=properties)
    loops, own = (example.graph([5, 13, 7, 11], seed=seed) for seed in (0, 1))
    task.setup(example.schema, 4)
    model = gtl.TaskModel(gtl.testing.SmallEncoder(example.schema, 4), {name: task})
    task.after_step(model, 0.0)
    views = [task.view(batch, generator(3)) for batch in (Batch(loops, own=own), Batch(own))]
    assert same(views[0].graph, views[1].graph) and same(views[0].targets, views[1].targets)


# -- progress --------------------------------------------------------------------------------------


def test_progress_is_the_share_of_all_steps_also_in_a_run_that_is_resumed(shapes, tmp_path):
    whole, killed, resumed = Spy(), Spy(), Spy()
    how = {"epochs": 3, "batch_size": 8, **ONE}  # of 30 items: four steps an epoch
    models = [gtl.finetune(GIN, shapes, auxiliary=[whole], **how)]
    assert whole.progress == [step / 12 for step in range(13)]
    train_step, taken = loop.train_step, []

    def stop(job, items):
        taken.append(items)
        if len(taken) == 10:
            raise KeyboardInterrupt
        return train_step(job, items)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(loop, "train_step", stop)
        gtl.finetune(GIN, shapes, auxiliary=[killed], out=tmp_path, **how)
    models.append(gtl.finetune(GIN, shapes, auxiliary=[resumed], out=tmp_path, resume=True, **how))
    assert resumed.progress == [0.0, *(step / 12 for step in range(9, 13))]
    assert same(whole.state_dict(), resumed.state_dict())
    assert same(models[0].state_dict(), models[1].state_dict())


# -- the part set aside for the meta loss ----------------------------------------------------------


class Watch(Equal):
    """Equal weights; keeps what each step holds back of the target's samples."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[object] = []

    def backward(self, step):
        self.held.append(step.hold_back(0))
        return super().backward(step)


def test_the_meta_share_is_seen_by_look_aheads_alone_and_the_rest_by_the_training(
    communities, monkeypatch
):
    seen, view = [], Supervised.view

    def watched(self, batch, rng):
        seen.append(batch.graph.seeds)
        return view(self, batch, rng)

    monkeypatch.setattr(Supervised, "view", watched)
    how = Watch()
    options = {"meta_share": 0.2, "epochs": 2, "guard": False}
    gtl.finetune(GCN, communities, auxiliary=["infomax"], weighting=how, **options)
    assert [len(seeds) for seeds in seen] == [12, 3, 12, 3]
    for train, meta in (seen[:2], seen[2:]):
        both = torch.cat([train, meta]).sort().values
        assert torch.equal(both, communities.split["train"].sort().values)
    assert how.held == [None, None]  # so the meta loss is that of the part set aside


def test_without_a_meta_share_part_of_each_batch_is_held_back(communities):
    how = Watch()
    gtl.finetune(GCN, communities, auxiliary=["infomax"], weighting=how, epochs=1, guard=False)
    assert [int(held.sum()) for held in how.held] == [8]  # half of 15


# -- optimizer and labels --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("rates", [None, {"encoder": 0.5}])
def test_weight_decay_reaches_every_group_of_the_optimizer(shapes, name, rates):
    encoder = gtl.catalog.ENCODERS.build(GIN, shapes.schema)
    task = Supervised(kind="binary", outputs=1)
    task.setup(shapes.schema, 8)
    model = gtl.TaskModel(encoder, {"supervised": task})
    optimizer = build_optimizer(model, name, 0.1, 0.03, rates)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.03] * (
        2 if rates else 1
    )


def test_weight_decay_of_a_run_makes_its_weights_smaller(shapes):
    how = {"epochs": 1, "batch_size": 5, "lr": 0.01}  # one epoch, so that no other can be chosen
    plain, decayed = (
        gtl.finetune(GIN, shapes, optimizer="adamw", weight_decay=decay, **how)
        for decay in (0.0, 20.0)
    )
    norms = [sum(p.detach().square().sum() for p in m.parameters()) for m in (plain, decayed)]
    assert norms[1] < 0.5 * norms[0]


@pytest.mark.parametrize("meta_share", [0.0, 0.2])
def test_labels_are_scaled_by_the_items_that_are_trained_on_alone(shapes, meta_share):
    train = shapes.split["train"]
    labels = torch.full((60, 1), 1000.0)
    labels[train, 0] = torch.arange(30.0)
    data = dataclasses.replace(shapes, labels=labels, kind="regression", metric="rmse")
    task = Spy()
    model = gtl.finetune(
        GIN, data, auxiliary=[task], epochs=1, batch_size=0, meta_share=meta_share, **ONE
    )
    known = task.batches[0].graph.y.flatten().sort().values
    assert len(known) == (24 if meta_share else 30) and known.max() < 30
    torch.testing.assert_close(model.target.mean, known.mean().reshape(1))
    torch.testing.assert_close(model.target.scale, known.std(correction=0).reshape(1))


def test_a_last_batch_of_one_graph_is_part_of_the_one_before():
    around = torch.arange(4)
    ring = gtl.Graph(around, around.roll(1), 4)  # without features: one graph alone has no infomax
    encoder = {"name": "gin", "width": 4, "depth": 1}
    run = gtl.pretrain(encoder, [ring] * 9, ["infomax"], epochs=2, batch_size=4, seed=0)
    assert len(run.history) == 2
    x = ring.replace(x=torch.randn(4, 3))
    task = {"name": "contrast", "augmentations": ["drop_nodes", "subgraph"]}
    assert gtl.pretrain(encoder, [x] * 5, [task], epochs=1, batch_size=4, seed=0).history
