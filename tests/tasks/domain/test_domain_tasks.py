"""What domain tasks have in common: items, labels, domains in one pass, and what they refuse."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from gtl.catalog import TASKS
from gtl.encoders import GCN
from gtl.errors import ConfigError, ShapeError
from gtl.graph import Columns, Graph, Schema
from gtl.roles import Batch
from gtl.tasks import Supervised
from gtl.train.step import Step, TaskModel

NAMES = [
    name for name in TASKS.names() if TASKS.get(name).__module__.startswith("gtl.tasks.domain")
]
CLASSES = ["cdan", "mcd", "mdd", "mcc", "target_entropy"]
TARGET_ONLY = ["adda", "mcd", "mcc", "target_entropy"]


def moving(name):
    """Options with which the task acts from the first step on."""
    if name in ("dann", "cdan", "mdd", "dsn"):
        return {"name": name, "alpha": None}
    return {"name": name, "rise": 0.0} if name == "target_entropy" else name


def test_there_are_the_methods_and_the_baselines():
    assert set(NAMES) == {
        *("dann", "cdan", "adda", "mcd", "wdgrl", "mdd", "dsn"),
        *("mk_mmd", "coral", "afn", "mcc", "target_entropy"),
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", [(6, 12), (14, 4)])
def test_seeds_of_unequal_batches_are_the_samples(name, sizes, domains, train, view, losses):
    """Not all nodes, as in published code: the first node of each graph is no seed."""
    model = train(moving(name))
    found = view(model, domains(*sizes))
    count = sizes[1] - 1 if name in TARGET_ONLY else sum(sizes) - 2
    each = losses(model, found)
    assert each.shape == (count,)
    nodes = model.encoder(found.graph).detach().requires_grad_()
    (grad,) = torch.autograd.grad(model.tasks["task"].losses(nodes, found).sum(), nodes)
    if name != "dsn":
        assert not grad[[0, sizes[0]]].any() and grad.any()


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_nodes_plays_no_part(name, domains, train, view, losses):
    batch = domains()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(4))
    place = order.argsort()
    own = batch.own.replace(x=batch.own.x[order], seeds=place[batch.own.seeds])
    values = []
    for target in (batch.own, own):
        model = train(moving(name))
        each = losses(model, view(model, Batch(batch.graph, target)))
        each.mean().backward()
        values.append((each.detach(), model.encoder.scale.grad))
    torch.testing.assert_close(values[0], values[1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_labels_of_the_target_play_no_part(name, domains, train, view, losses):
    batch, values = domains(), []
    for y in (None, torch.zeros(11, dtype=torch.int64)):
        model = train(moving(name))
        values.append(losses(model, view(model, Batch(batch.graph, batch.own.replace(y=y)))))
    assert torch.equal(*values)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("outputs", [1, 3])
def test_binary_labels_are_taken(name, outputs, domains, train, view, losses):
    batch = domains()
    y = (torch.rand(5, outputs, generator=torch.Generator().manual_seed(0)) < 0.5).double()
    y[0] = torch.nan
    model = train(moving(name), kind="binary", outputs=outputs)
    for step in range(3):
        each = losses(model, view(model, Batch(batch.graph.replace(y=y), batch.own), seed=step))
        assert len(each) and each.isfinite().all()
        model.tasks["task"].after_step(model, (step + 1) / 3)
    measured = model.tasks["task"].measures()
    assert measured and all(map(torch.isfinite, map(torch.tensor, measured.values())))


@pytest.mark.parametrize("name", NAMES)
def test_a_regression_is_taken_where_no_classes_are_read(name, domains, train, view, losses):
    if name in CLASSES:
        with pytest.raises(ConfigError, match="compares predicted classes, and the target is of"):
            train(name, kind="regression", outputs=1)
        return
    model = train(moving(name), kind="regression", outputs=1)
    assert losses(model, view(model, domains())).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_a_replay_repeats_the_losses_and_its_derivative_is_the_gradient(name, domains, train, view):
    """Also that of a difference, where a reversed gradient would have the other sign."""
    model, batch = train(moving(name)), domains()
    views = {"supervised": model.target.view(Batch(batch.graph), None), "task": view(model, batch)}
    step = Step(model, views, torch.optim.SGD(model.parameters(), lr=0.1), "supervised")
    live = step.losses["task"]
    assert torch.equal(step.replay({})["task"], live.detach())
    (slope,) = torch.autograd.grad(live.sum(), model.encoder.scale)
    way = torch.tensor([0.3, -0.2, 0.5]).double()
    at = [model.encoder.scale.detach() + size * way for size in (1e-6, -1e-6)]
    ahead, behind = (step.replay({"encoder.scale": value})["task"].sum() for value in at)
    found = float((ahead - behind).detach() / 2e-6)
    assert found == pytest.approx(float(slope @ way), rel=1e-5, abs=1e-8)
    assert torch.equal(step.replay({})["task"], live.detach())


def test_both_domains_are_encoded_once_and_the_target_with_them(domains, train, view):
    model, batch = train("dann"), domains()
    passes = []
    model.encoder.register_forward_hook(lambda _, inputs, __: passes.append(inputs[0].num_nodes))
    views = {"supervised": model.target.view(Batch(batch.graph), None), "task": view(model, batch)}
    losses, nodes = model(views, "supervised")
    assert passes == [18] and len(nodes["supervised"]) == 6 and len(nodes["task"]) == 18
    alone, _ = model({"supervised": views["supervised"]}, "supervised")
    torch.testing.assert_close(losses["supervised"], alone["supervised"])
    step = Step(model, views, torch.optim.SGD(model.parameters(), lr=0.1), "supervised")
    passes.clear()
    step.meta_loss({}, step.hold_back(0))
    assert passes == [18]


def test_the_union_of_whole_graphs_is_built_once(domains, train, view):
    model, batch = train("dann"), domains()
    other = Batch(batch.graph.replace(seeds=torch.tensor([2, 3]), y=None), batch.own)
    one, two = view(model, batch), view(model, other)
    assert one.graph is two.graph
    assert two.targets["items"].seeds.tolist() == [2, 3, *range(7, 18)]


def test_items_of_one_graph_need_no_union(domains, train, view, losses):
    graph = domains().graph
    model = train("dann")
    found = view(model, Batch(graph, graph.replace(y=None, seeds=torch.tensor([0]))))
    assert found.graph is graph and losses(model, found).shape == (6,)


def test_statistics_of_a_batch_norm_follow_both_domains(domains):
    """Vectors of the target are those that the task aligns, normalized by both domains."""
    schema, batch = Schema(Columns(width=3)), domains()
    torch.manual_seed(0)
    encoder = GCN(schema, width=4, depth=1, norm="batch", dropout=0.0)
    target, task = Supervised(kind="multiclass", outputs=2), TASKS.build("coral")
    for part in (target, task):
        part.setup(schema, 4)
    model = TaskModel(encoder, {"supervised": target, "task": task}).double()
    task.after_step(model, 0.0)
    alone = copy.deepcopy(model)
    views = {
        "supervised": target.view(Batch(batch.graph), None),
        "task": task.view(batch, torch.Generator()),
    }
    (norm,) = (m for m in encoder.modules() if isinstance(m, nn.BatchNorm1d))
    _, nodes = model(views, "supervised")
    assert torch.equal(nodes["supervised"], nodes["task"][:6])
    expected = copy.deepcopy(alone)
    expected.encoder(views["task"].graph)
    (other,) = (m for m in expected.encoder.modules() if isinstance(m, nn.BatchNorm1d))
    assert torch.equal(norm.running_mean, other.running_mean)


def test_measures_are_means_over_the_epoch(domains, train, view, losses):
    model = train({"name": "dann", "alpha": None})
    task, batch = model.tasks["task"], domains()
    assert task.measures() == {}
    for step in range(2):
        losses(model, view(model, batch))
        task.after_step(model, (step + 1) / 4)
    assert task.measures() == {"critic_accuracy": pytest.approx(0.5, abs=0.5), "reversal": 1.0}
    assert task.measures() == {}


@pytest.mark.parametrize("name", NAMES)
def test_empty_domains_have_no_effect(name, domains, train, view, losses):
    batch = domains()
    none = batch.graph.seeds[:0]
    for graph, own in ((none, batch.own.seeds), (batch.graph.seeds, none), (none, none)):
        model = train(moving(name))
        source = batch.graph.replace(seeds=graph, y=batch.graph.y[: len(graph)])
        each = losses(model, view(model, Batch(source, batch.own.replace(seeds=own))))
        assert each.isfinite().all()
        model.tasks["task"].after_step(model, 0.5)
        for buffer in model.buffers():
            assert buffer.isfinite().all()


def test_a_task_without_a_labeled_target_says_so(domains):
    task = TASKS.build("dann")
    task.setup(Schema(Columns(width=3)), 3)
    model = TaskModel(GCN(Schema(Columns(width=3)), width=3, depth=1), {"task": task})
    with pytest.raises(ConfigError, match="DANN needs a labeled target beside it"):
        task.after_step(model, 0.0)


def test_a_task_is_made_for_one_target(train):
    task = train("cdan").tasks["task"]
    with pytest.raises(ConfigError, match="2 outputs, now for 3, 'multiclass' and 3"):
        train(task, outputs=3)


def test_batches_without_unlabeled_items_or_of_pairs_are_refused(domains, train, view):
    model, graph = train("dann"), domains().graph
    with pytest.raises(ConfigError, match="no unlabeled items"):
        view(model, Batch(graph))
    pairs = graph.replace(seeds=None, y=None, pairs=torch.zeros(1, 2, dtype=torch.int64))
    with pytest.raises(ConfigError, match="items are pairs of nodes"):
        view(model, Batch(pairs, pairs))


def test_a_source_without_labels_is_refused_by_mcd(domains, train, view):
    batch = domains()
    with pytest.raises(ConfigError, match="no labels `y`"):
        view(train("mcd"), Batch(batch.graph.replace(y=None), batch.own))


def test_graphs_with_other_features_have_no_union(domains, train, view):
    batch = domains()
    own = batch.own.replace(x=batch.own.x[:, :2])
    with pytest.raises(ShapeError, match="`x` is"):
        view(train("dann"), Batch(batch.graph, own))


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"name": "adda", "after": 1.0}, "`after` is 1.0"),
        ({"name": "adda", "steps": 0}, "`steps` is 0"),
        ({"name": "wdgrl", "penalty": -1.0}, "`penalty` is -1.0"),
        ({"name": "wdgrl", "lr": 0.0}, "`lr` is 0.0"),
        ({"name": "mcd", "num_k": 0}, "`num_k` is 0"),
        ({"name": "mdd", "margin": 0.0}, "`margin` is 0.0"),
        ({"name": "dsn", "similarity": "cosine"}, "`similarity` is 'cosine', expected one of"),
        ({"name": "mk_mmd", "factors": []}, "`factors` is empty"),
        ({"name": "mk_mmd", "rows": 1}, "`rows` is 1"),
        ({"name": "afn", "step": 0.0}, "`step` is 0.0"),
        ({"name": "mcc", "temperature": 0.0}, "`temperature` is 0.0"),
        ({"name": "target_entropy", "rise": 2.0}, "`rise` is 2.0"),
        ({"name": "cdan", "features": 0}, "`features` is 0"),
    ],
)
def test_options_out_of_range_are_refused(part, words):
    with pytest.raises(ConfigError, match=words):
        TASKS.build(part)


def test_a_graph_vector_is_what_the_readout_gives(train):
    graph = Graph(torch.tensor([0]), torch.tensor([1]), 3, x=torch.eye(3).double())
    batch = graph.replace(sizes=torch.tensor([2, 1]), y=torch.zeros(2, dtype=torch.int64))
    model = train("coral")
    rows = model.tasks["task"].vectors(batch, graph.x)
    assert rows.tolist() == [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    model.target.predictor.readout = lambda items, nodes: 2 * nodes[:2]
    assert torch.equal(model.tasks["task"].vectors(batch, graph.x), 2 * graph.x[:2])
