"""Bootstrap: a slow target network, two copies, and a loss that sees the online network alone."""

from __future__ import annotations

import copy
from math import cos, pi

import pytest
import torch
from torch import nn

import gtl
from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema
from gtl.roles import Batch, View
from gtl.tasks import Bootstrap
from gtl.testing import check_task

SCHEMA = Schema(node=Columns(width=3))
GIN = {"name": "gin", "width": 8, "depth": 2, "dropout": 0.3}


def model_with(rng: torch.Generator, **options: object) -> gtl.TaskModel:
    """A GIN with batch norm and dropout, and the task, which has met it."""
    encoder = gtl.catalog.ENCODERS.build(GIN, SCHEMA)
    task = Bootstrap(hidden=7, **options)  # type: ignore[arg-type]
    task.setup(SCHEMA, 8)
    model = gtl.TaskModel(encoder, {"bootstrap": task}).double()
    task.after_step(model, 0.0)
    return model


def graph_of(path, rng: torch.Generator) -> Batch:
    graphs = [path(n, x=torch.randn(n, 3, generator=rng, dtype=torch.float64)) for n in (5, 11)]
    return Batch(Graph.batch(graphs))


def losses_of(model: gtl.TaskModel, view: View) -> torch.Tensor:
    return model.tasks["bootstrap"].losses(model.encoder(view.graph), view)


def moved(model: gtl.TaskModel, progress: float) -> None:
    """Change all parameters, as an optimizer would, and tell the task."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.tasks["bootstrap"].after_step(model, progress)


@pytest.mark.slow  # tests/laws has the defaults
def test_it_obeys_the_laws_of_tasks() -> None:
    check_task(Bootstrap(edge_rates=(0.5, 0), feature_rates=(0, 0.4), hidden=5, decay=0.7))


def test_agreement_costs_nothing_and_opposition_four() -> None:
    task = Bootstrap()
    task.setup(SCHEMA, 2)
    task.predictor = nn.Sequential()
    one = torch.tensor([[1.0, 0], [0, 2]], dtype=torch.float64)
    two = torch.tensor([[0.0, 5], [3, 0]], dtype=torch.float64)
    graph = Graph(*torch.empty(2, 0).long(), 4)
    nodes = torch.cat([one, two])
    for target, loss in ((torch.cat([two, one]), 0.0), (-torch.cat([two, one]), 4.0)):
        losses = task.losses(nodes, View(graph, {"target": target}))
        torch.testing.assert_close(losses, torch.full_like(losses, loss), atol=1e-5, rtol=0)
        assert losses.shape == (2,)


def test_the_target_network_starts_as_the_encoder_and_follows_it_slowly(path, rng) -> None:
    model = model_with(rng, decay=0.9)
    average = model.tasks["bootstrap"].average
    start = {name: value.detach().clone() for name, value in model.encoder.named_parameters()}
    assert all(torch.equal(average.get_buffer(n.replace(".", "/")), v) for n, v in start.items())
    moved(model, progress=0.25)
    decay = 1 - 0.1 * (1 + cos(pi / 4)) / 2
    for name, value in model.encoder.named_parameters():
        expected = decay * start[name] + (1 - decay) * value.detach()
        torch.testing.assert_close(average.get_buffer(name.replace(".", "/")), expected)
    before = copy.deepcopy(average.state_dict())
    moved(model, progress=1.0)
    assert all(torch.equal(value, before[name]) for name, value in average.state_dict().items())


def test_targets_are_those_of_a_copy_of_the_encoder_with_the_averaged_weights(path, rng) -> None:
    model, batch = model_with(rng), graph_of(path, rng)
    target = copy.deepcopy(model.encoder)  # of which only batch norms are in training mode
    for module in target.modules():
        module.training = isinstance(module, nn.BatchNorm1d)
    moved(model, progress=0.5)
    average = model.tasks["bootstrap"].average.state_dict()
    target.load_state_dict(
        {name.replace("/", "."): value for name, value in average.items()}, strict=False
    )
    modes = [module.training for module in model.encoder.modules()]
    buffers = copy.deepcopy(dict(model.encoder.named_buffers()))
    view = model.tasks["bootstrap"].view(batch, rng)
    torch.testing.assert_close(view.targets["target"], target(view.graph).detach())
    assert not view.targets["target"].requires_grad
    assert modes == [module.training for module in model.encoder.modules()]
    for name, value in model.encoder.named_buffers():
        assert torch.equal(value, buffers[name]), f"the view changed {name}"


def test_the_target_network_is_in_the_state_and_not_among_the_parameters(rng) -> None:
    model = model_with(rng)
    assert {name.partition(".")[0] for name, _ in model.tasks.named_parameters()} == {"bootstrap"}
    assert all(
        ".predictor." in f".{name}" for name, _ in model.tasks["bootstrap"].named_parameters()
    )
    stored = [name for name in model.state_dict() if "bootstrap.average" in name]
    assert len(stored) == len(list(model.encoder.parameters()))


def test_a_look_ahead_sees_the_online_network_alone_and_sees_it_right(path, rng) -> None:
    model, batch = model_with(rng), graph_of(path, rng)
    moved(model, progress=0.5)
    view = model.tasks["bootstrap"].view(batch, rng)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step = gtl.Step(model, {"bootstrap": view}, optimizer)
    slopes = torch.autograd.grad(step.losses["bootstrap"].sum(), list(step.parameters.values()))
    along = {name: torch.randn_like(value) for name, value in step.parameters.items()}
    size = 1e-6
    ahead, behind = (
        step.replay({n: v.detach() + sign * size * along[n] for n, v in step.parameters.items()})
        for sign in (1, -1)
    )
    difference = (ahead["bootstrap"] - behind["bootstrap"]).sum() / (2 * size)
    expected = sum((slope * along[n]).sum() for n, slope in zip(step.parameters, slopes))
    torch.testing.assert_close(difference, expected, rtol=1e-5, atol=1e-8)


def test_training_does_not_make_vectors_equal(path, rng) -> None:
    model = model_with(rng, decay=0.9)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    means, steps = [], 60
    for step in range(steps):
        view = model.tasks["bootstrap"].view(graph_of(path, torch.Generator().manual_seed(1)), rng)
        loss = losses_of(model, view).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.tasks["bootstrap"].after_step(model, (step + 1) / steps)
        means.append(loss.item())
    assert sum(means[-10:]) < 0.8 * sum(means[:10])
    vectors = model.encoder.eval()(view.graph).detach()
    assert torch.nn.functional.cosine_similarity(vectors, vectors.mean(0), dim=1).mean() < 0.97


def test_a_pretraining_is_resumed_bit_for_bit_and_loaded(shapes, tmp_path) -> None:
    options = {"tasks": ["bootstrap", "infomax"], "epochs": 4, "batch_size": 16}
    whole = gtl.pretrain(GIN, shapes, **options)
    step, taken = gtl.train.loop.train_step, []

    def killed(job, items):
        taken.append(len(items))
        if len(taken) == 11:  # in the third epoch of four steps each
            raise KeyboardInterrupt
        return step(job, items)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(gtl.train.loop, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(gtl.train.loop, "train_step", killed)
        gtl.pretrain(GIN, shapes, out=tmp_path, **options)
    resumed = gtl.pretrain(GIN, shapes, out=tmp_path, resume=True, **options)
    loaded = gtl.Run.load(tmp_path)
    expected = whole.tasks["bootstrap"].state_dict()
    assert any(name.startswith("average.") for name in expected)
    for run in (resumed, loaded):
        state = run.tasks["bootstrap"].state_dict()
        assert state.keys() == expected.keys()
        assert all(torch.equal(value, expected[name]) for name, value in state.items())
    assert [line["losses"] for line in resumed.history] == [
        line["losses"] for line in whole.history
    ]
    again = gtl.finetune(loaded, shapes, auxiliary=["bootstrap"], epochs=2)
    assert again.history[0]["losses"]["bootstrap"] > 0


def test_beside_an_adapter_only_what_is_trained_is_averaged(shapes) -> None:
    encoder = gtl.pretrain(GIN, shapes, ["infomax"], epochs=1).encoder
    model = gtl.finetune(
        encoder, shapes, auxiliary=["bootstrap"], adapter="film", epochs=1, weighting="equal"
    )
    assert model.history[0]["losses"]["bootstrap"] > 0


def test_wrong_options_and_a_missing_target_network_are_named(path, rng) -> None:
    with pytest.raises(ConfigError, match=r"`edge_rates` is \[0.2\], expected two shares"):
        Bootstrap(edge_rates=[0.2])
    with pytest.raises(ConfigError, match=r"`feature_rates` is \[0.2, 1\]"):
        Bootstrap(feature_rates=[0.2, 1])
    with pytest.raises(ConfigError, match="`decay` is 1"):
        Bootstrap(decay=1)
    with pytest.raises(ConfigError, match=r"call `task\.setup"):
        Bootstrap().view(Batch(path(3)), rng)
    task = Bootstrap()
    task.setup(SCHEMA, 3)
    with pytest.raises(ConfigError, match=r"call `task\.after_step\(model, 0\.0\)`"):
        task.view(Batch(path(3)), rng)
