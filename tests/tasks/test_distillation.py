"""Distillation: values by hand, teachers alone and together, and what it refuses."""

from __future__ import annotations

import copy
import json
import math
import shutil

import pytest
import torch
from torch.nn import functional as F

import gtl
from gtl.errors import ConfigError
from gtl.graph import Graph
from gtl.roles import Batch
from gtl.tasks import Distillation
from gtl.tasks.distillation import soft_losses
from gtl.train.model import Model, build_target

GCN = {"name": "gcn", "width": 8, "depth": 2, "norm": None, "last_linear": True}
MLP = {"name": "mlp", "width": 8, "depth": 2, "norm": None}


def test_soft_losses_of_classes_are_divergences_times_the_square_of_the_temperature():
    scores, temperature = torch.tensor([[1.0, 3.0]]).double(), 2.0
    taught = torch.tensor([[0.25, 0.75]]).double()
    own = 1 / (1 + math.exp(1.0))  # of the first class: scores differ by 2, halved
    by_hand = 0.25 * math.log(0.25 / own) + 0.75 * math.log(0.75 / (1 - own))
    found = soft_losses(scores, taught, "multiclass", temperature)
    torch.testing.assert_close(found, torch.tensor([4 * by_hand]).double())


def test_soft_losses_of_columns_are_averaged():
    scores, taught = torch.tensor([[0.0, 2.0]]).double(), torch.tensor([[0.5, 0.9]]).double()
    p = 1 / (1 + math.exp(-2.0))
    second = 0.9 * math.log(0.9 / p) + 0.1 * math.log(0.1 / (1 - p))
    found = soft_losses(scores, taught, "binary", 1.0)
    torch.testing.assert_close(found, torch.tensor([second / 2]).double())
    squares = soft_losses(scores, taught, "regression", 1.0)
    torch.testing.assert_close(squares, torch.tensor([(0.25 + 1.1**2) / 2]).double())


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_a_student_that_agrees_has_no_loss_and_no_gradient(kind):
    scores = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    taught = scores.detach()
    if kind != "regression":
        soft = (taught / 3.0).softmax(1) if kind == "multiclass" else (taught / 3.0).sigmoid()
        taught = soft
    losses = soft_losses(scores, taught, kind, 3.0)
    torch.testing.assert_close(losses, torch.zeros(5).double(), rtol=0, atol=1e-12)
    (grad,) = torch.autograd.grad(losses.sum(), scores)
    torch.testing.assert_close(grad, torch.zeros(5, 3).double(), rtol=0, atol=1e-12)


def test_at_a_high_temperature_the_gradient_is_that_of_the_difference_of_scores():
    # Hinton et al. 2015, Eq. 4: for centered scores it is (s - z) / c, whatever the temperature.
    scores = torch.randn(1, 4, dtype=torch.float64)
    scores = (scores - scores.mean()).requires_grad_()
    teacher = torch.randn(1, 4, dtype=torch.float64)
    teacher = teacher - teacher.mean()
    losses = soft_losses(scores, (teacher / 1e4).softmax(1), "multiclass", 1e4)
    (grad,) = torch.autograd.grad(losses.sum(), scores)
    torch.testing.assert_close(grad, (scores.detach() - teacher) / 4, rtol=1e-3, atol=1e-5)


def _teacher(data, kind="multiclass", outputs=3, seed=0):
    torch.manual_seed(seed)
    encoder = gtl.encoders.GCN(data.schema, width=6, depth=1, norm=None)
    shape = {"kind": kind, "outputs": outputs, "level": data.level}
    return Model(encoder, build_target(encoder, shape, "linear", "mean")).eval()


def _ready(task, data, kind="multiclass", outputs=3):
    model = _teacher(data, kind, outputs, seed=9)
    task.setup(data.schema, 6)
    whole = gtl.TaskModel(model.encoder, {"supervised": model.target, "task": task})
    task.after_step(whole, 0.0)
    return whole


def test_teachers_are_averaged_and_items_without_labels_are_samples(communities):
    teachers = [_teacher(communities, seed=seed) for seed in (1, 2)]
    task = Distillation(temperature=2.0, unlabeled=True).taught_by(*teachers)
    _ready(task, communities)
    graph, own = (communities.batch(torch.tensor(rows)) for rows in ([0, 1], [5, 6, 7]))
    view = task.view(Batch(graph, own), torch.Generator())
    assert view.graph.src is graph.src  # no encoder pass of its own
    rows = torch.tensor([0, 1, 5, 6, 7])
    mean = torch.stack([(gtl.predict(t, communities, raw=True)[rows] / 2).softmax(1)
                        for t in teachers]).mean(0)  # fmt: skip
    torch.testing.assert_close(view.targets["taught"], mean)
    alone = task.view(Batch(graph), torch.Generator())
    torch.testing.assert_close(alone.targets["taught"], mean[:2])


def test_factors_sharpen_each_teacher(communities):
    teachers = [_teacher(communities, seed=seed) for seed in (1, 2)]
    task = Distillation(temperature=2.0).taught_by(*teachers, factors=[3.0, 0.5])
    _ready(task, communities)
    view = task.view(Batch(communities.batch(torch.tensor([0, 1]))), torch.Generator())
    mean = torch.stack([(f * gtl.predict(t, communities, raw=True)[:2] / 2).softmax(1)
                        for f, t in zip((3.0, 0.5), teachers)]).mean(0)  # fmt: skip
    torch.testing.assert_close(view.targets["taught"], mean)
    with pytest.raises(ConfigError, match="1 `factors` for 2 teachers"):
        task.taught_by(*teachers, factors=[1.0])


def test_a_whole_graph_is_encoded_by_the_teacher_once(communities):
    teacher, calls = _teacher(communities), []
    task = Distillation().taught_by(teacher)
    task._teachers[0].encoder.register_forward_hook(lambda *given: calls.append(0))
    _ready(task, communities)
    for rows in ([0, 1], [2, 3], [4]):
        task.view(Batch(communities.batch(torch.tensor(rows))), torch.Generator())
    assert len(calls) == 1
    other = communities.graph.replace(x=communities.graph.x + 1, seeds=torch.tensor([0]))
    task.view(Batch(other.replace(y=communities.labels[:1])), torch.Generator())
    assert len(calls) == 2


def test_values_of_a_regression_are_compared_in_the_unit_of_the_loss(communities):
    teacher = _teacher(communities, "regression", 1)
    teacher.target.standardize(torch.tensor([[10.0], [30.0]]))
    task = Distillation().taught_by(teacher)
    model = _ready(task, communities, "regression", 1)
    model.target.standardize(torch.tensor([[0.0], [4.0]]))  # mean 2, spread 2
    graph = communities.batch(torch.tensor([3, 4])).replace(y=torch.zeros(2, 1))
    found = task.view(Batch(graph), torch.Generator()).targets["taught"]
    values = gtl.predict(teacher, communities, raw=True)[[3, 4]]
    torch.testing.assert_close(found, (values - 2) / 2)


def test_vectors_are_compared_through_a_learned_map(communities):
    teachers = [_teacher(communities, seed=seed) for seed in (1, 2)]
    task = Distillation(features=0.5).taught_by(*teachers)
    model = _ready(task, communities)
    assert task.map.weight.shape == (12, 6)
    view = task.view(Batch(communities.batch(torch.tensor([0, 1]))), torch.Generator())
    nodes = model.encoder(view.graph)
    plain = copy.copy(task)
    plain._modules = {**task._modules, "map": None}
    change = task.losses(nodes, view) - plain.losses(nodes, view)
    mine = F.linear(nodes[:2], task.map.weight, task.map.bias)
    theirs = torch.cat([t.encoder(communities.graph)[:2] for t in teachers], 1)
    torch.testing.assert_close(change, 0.5 * (mine - theirs).square().mean(1))


def test_teachers_are_constant_and_not_among_what_is_saved(communities):
    teacher = _teacher(communities)
    task = Distillation().taught_by(teacher)
    model = _ready(task, communities)
    assert set(task.state_dict()) == {"steps"} and not list(task.parameters())
    view = task.view(Batch(communities.batch(torch.tensor([0, 1]))), torch.Generator())
    task.losses(model.encoder(view.graph), view).sum().backward()
    assert all(p.grad is None for p in task._teachers[0].parameters())
    assert all(p.requires_grad for p in teacher.parameters())  # the given one stays as it was


def test_a_student_without_edges_learns_from_a_folder_under_a_learned_weighting(
    communities, tmp_path
):
    gtl.finetune(GCN, communities, epochs=40, out=tmp_path / "teacher")
    task = {"name": "distillation", "teacher": str(tmp_path / "teacher"), "unlabeled": True}
    how = {"auxiliary": [task], "epochs": 40}
    student = gtl.finetune(MLP, communities, weighting="aux_ts", out=tmp_path / "student", **how)
    config = json.loads((tmp_path / "student" / "config.json").read_text())
    assert config["tasks"]["distillation"] == task
    losses = [line["losses"]["distillation"] for line in student.history]
    assert losses[-1] < losses[0]
    # The run opens again without its teacher, and a training goes on from it with one.
    assert not gtl.Run.load(tmp_path / "student").tasks
    again = gtl.finetune(str(tmp_path / "student"), communities, weighting="equal", **how)
    assert again.history[0]["losses"]["distillation"] < losses[0]


def test_a_student_is_loaded_without_its_teacher(communities, tmp_path):
    gtl.finetune(GCN, communities, epochs=2, out=tmp_path / "teacher")
    task = {"name": "distillation", "teacher": [str(tmp_path / "teacher")], "features": 1.0}
    how = {"auxiliary": [task], "weighting": "equal", "guard": False, "epochs": 2}
    student = gtl.finetune(MLP, communities, out=tmp_path / "student", **how)
    shutil.rmtree(tmp_path / "teacher")
    loaded = gtl.Model.load(tmp_path / "student")
    assert torch.equal(gtl.predict(loaded, communities), gtl.predict(student, communities))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "has no teacher"),
        ({"teacher": "nowhere"}, "nowhere"),
        ({"temperature": 0.0}, "temperature"),
        ({"features": -1.0}, "`features` is -1.0"),
    ],
)
def test_bad_options_are_named(communities, options, message):
    with pytest.raises(gtl.GtlError, match=message):
        gtl.finetune(MLP, communities, auxiliary=[{"name": "distillation", **options}], epochs=1)


def test_a_teacher_of_something_else_is_refused(communities, shapes):
    with pytest.raises(ConfigError, match=r"expected a gtl\.Model"):
        Distillation().taught_by(gtl.encoders.GCN(communities.schema))
    task = Distillation().taught_by(_teacher(communities, "binary", 3))
    with pytest.raises(ConfigError, match="predicts 'binary' labels"):
        gtl.finetune(MLP, communities, auxiliary=[task], epochs=1)
    task = Distillation().taught_by(_teacher(communities, outputs=5))
    with pytest.raises(gtl.GtlError, match="teacher that was trained on this target"):
        gtl.finetune(MLP, communities, auxiliary=[task], epochs=1)


def test_pairs_are_refused(communities):
    task = Distillation().taught_by(_teacher(communities))
    _ready(task, communities)
    graph: Graph = communities.graph.replace(pairs=torch.tensor([[0, 1]]))
    with pytest.raises(ConfigError, match="pairs"):
        task.view(Batch(graph), torch.Generator())
