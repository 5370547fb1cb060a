"""Consistency regularization: each method on a small model, and against the published numbers."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import gtl
from gtl.catalog import TASKS
from gtl.errors import ConfigError, GtlWarning
from gtl.graph import Graph
from gtl.roles import Batch
from gtl.tasks.consistency.knowledge_consistency import KnowledgeConsistency, gated, k_means
from gtl.tasks.consistency.l2_sp import L2SP
from gtl.tasks.consistency.mean_teacher import MeanTeacher
from gtl.tasks.consistency.on_unlabeled import Gate, certain_losses, relative_entropy
from gtl.tasks.consistency.pseudo_label import PseudoLabel
from gtl.tasks.consistency.representation_consistency import (
    RepresentationConsistency,
    discrepancy,
)
from gtl.train.model import TARGET, build_target
from gtl.train.step import TaskModel

NODES, CLASSES = 40, 3


class Map(nn.Module):
    """Features times a matrix, with dropout."""

    def __init__(self):
        super().__init__()
        self.width = 5
        self.map, self.dropout = nn.Linear(4, 5), nn.Dropout(0.5)

    def forward(self, graph: Graph) -> torch.Tensor:
        return self.dropout(self.map(graph.x))


def graph(labels: int = 10) -> Graph:
    rng = torch.Generator().manual_seed(0)
    ends = torch.randint(NODES, (2, 100), generator=rng)
    x = torch.randn(NODES, 4, generator=rng)
    y = torch.randint(CLASSES, (labels,), generator=rng)
    return Graph(*ends, NODES, x=x, y=y, seeds=torch.arange(labels))


def model_with(task, kind: str = "multiclass") -> TaskModel:
    torch.manual_seed(1)
    encoder = Map()
    target = build_target(
        encoder, {"kind": kind, "outputs": CLASSES, "level": "node"}, "linear", None
    )
    target.setup(gtl.graph.Schema.of(graph()), 5)
    task.setup(gtl.graph.Schema.of(graph()), 5)
    model = TaskModel(encoder, {TARGET: target, "task": task})
    task.after_step(model, 0.0)
    return model


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- golden numbers ------------------------------------------------------------------------------


@pytest.fixture
def numbers(golden):
    with np.load(golden / "akc_arc.npz", allow_pickle=False) as file:
        return {key: torch.as_tensor(file[key]) for key in file.files}


@pytest.mark.parametrize("case", ["", "_thr09", "_allmasked"])
def test_knowledge_consistency_is_the_published_loss(numbers, case):
    entropy = relative_entropy(numbers["akc_source_logits"].softmax(1), binary=False)
    passed = entropy <= float(numbers[f"akc_threshold{case}"])
    assert torch.equal(passed.double(), numbers[f"akc_mask{case}"])
    torch.testing.assert_close(
        entropy * torch.tensor(1000.0).double().log(), numbers["akc_source_entropy"]
    )
    features = numbers["akc_target_feature_map"].clone().requires_grad_()
    pooled = features.mean((2, 3))
    each = (pooled - numbers["akc_source_pooled"]).square().mean(1)
    loss = gated(each, passed).mean() * pooled.shape[1]  # published: sums over the columns
    torch.testing.assert_close(
        loss.detach(), numbers[f"akc_loss_unscaled{case}"], rtol=1e-10, atol=1e-13
    )
    (grad,) = torch.autograd.grad(loss / 1e4, features)
    expected = numbers[f"akc_grad_target_feature_map{case}"]
    torch.testing.assert_close(grad, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("case", ["", "_empty"])
def test_representation_consistency_is_the_published_loss(numbers, case):
    task = RepresentationConsistency(
        threshold=float(numbers["arc_threshold"]),
        capacity=int(numbers["arc_capacity"]),
        least=2,
        bandwidths=None,
        unbiased=False,
    )
    task.setup(gtl.graph.Schema.of(graph()), 5)
    task.double()
    found, current = [], {}
    for part, name in enumerate(("labelled", "unlabelled")):
        gate = (task.labeled_gate, task.unlabeled_gate)[part]
        passed = gate(numbers[f"arc_logits_{name}"].softmax(1), binary=False)
        assert torch.equal(passed.double(), numbers[f"arc_mask_{name}"])
        if not case:
            task._appended(part, numbers[f"arc_buffer_{name}_pooled"])
        current[name] = numbers[f"arc_feature_map_{name}"].clone().requires_grad_()
        found.append(task._appended(part, current[name].mean((2, 3))[passed]))
        expected = numbers[f"arc_new_buffer_{name}{case}"]
        torch.testing.assert_close(found[-1].detach(), expected, rtol=1e-10, atol=1e-13)
        queue = (task.labeled_queue, task.unlabeled_queue)[part]
        torch.testing.assert_close(queue[: len(expected)], expected, rtol=1e-10, atol=1e-13)
    loss = discrepancy(*found, None, unbiased=False)
    torch.testing.assert_close(loss.detach(), numbers[f"arc_loss{case}"], rtol=1e-10, atol=1e-13)
    grads = torch.autograd.grad(loss, list(current.values()))
    for grad, name in zip(grads, current):
        expected = numbers[f"arc_grad_{name}{case}"]
        torch.testing.assert_close(grad, expected, rtol=1e-9, atol=1e-13)


def test_the_biased_discrepancy_is_the_published_one(numbers):
    value = discrepancy(numbers["mmd_x"], numbers["mmd_y"], None, unbiased=False)
    torch.testing.assert_close(value, numbers["mmd_value"], rtol=1e-10, atol=1e-13)


# -- discrepancy and gates -----------------------------------------------------------------------


def test_the_unbiased_discrepancy_of_equal_distributions_is_zero_on_average():
    draws = torch.Generator().manual_seed(0)
    values = {True: [], False: []}
    for _ in range(200):
        x, y = (torch.randn(20, 4, generator=draws) for _ in range(2))
        for unbiased in values:
            values[unbiased].append(float(discrepancy(x, y, (1.0,), unbiased)))
    mean = {key: sum(found) / len(found) for key, found in values.items()}
    assert abs(mean[True]) < 0.003
    assert mean[False] > 0.03


def test_the_discrepancy_sees_a_shift_of_normalized_vectors_of_many_columns():
    """With the published width it vanishes: 2e-4 at 2,048 columns."""
    draws = torch.Generator().manual_seed(0)
    x, y = (torch.randn(64, 2048, generator=draws) for _ in range(2))
    x, y = nn.functional.normalize(x), nn.functional.normalize(y + 0.5)
    assert float(discrepancy(x, y, None)) < 1e-3
    assert float(discrepancy(x, y, (0.25, 1.0, 4.0))) > 0.05


def test_entropies_are_shares_of_the_largest():
    even = torch.full((2, 4), 0.25)
    sure = torch.eye(4)[:2]
    assert relative_entropy(even, binary=False).tolist() == pytest.approx([1, 1])
    assert relative_entropy(sure, binary=False).tolist() == pytest.approx([0, 0])
    half = torch.tensor([[0.5, 1.0]])
    assert relative_entropy(half, binary=True).tolist() == pytest.approx([0.5])


def test_a_gate_that_never_opens_is_named_with_what_it_saw():
    gate = Gate(0.1)
    gate(torch.tensor([[0.6, 0.4], [0.5, 0.5]]), binary=False)
    assert gate.share() == 0.0
    with pytest.warns(GtlWarning, match=r"the gate of x let no item.*0\.1.*0\.97"):
        gate.warn_if_never_open("the gate of x")
    gate(torch.tensor([[1.0, 0.0], [0.5, 0.5]]), binary=False)
    assert gate.share() == 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gate.warn_if_never_open("the gate of x")
        Gate(0.1).warn_if_never_open("one that saw nothing")


@pytest.mark.parametrize("name", ["knowledge_consistency", "representation_consistency"])
def test_a_training_whose_gate_never_opened_says_so_once(name, shapes):
    auxiliary = {"name": name, "threshold": 1e-6}
    how = {"weighting": "equal", "guard": False, "epochs": 2}
    with pytest.warns(GtlWarning) as seen:
        gtl.finetune(
            {"name": "gin", "width": 8, "depth": 1}, few(shapes), auxiliary=auxiliary, **how
        )
    said = [str(one.message) for one in seen if "let no item" in str(one.message)]
    assert len(said) == (1 if name == "knowledge_consistency" else 2)


def test_certain_columns_alone_count_in_binary_losses():
    logits = torch.tensor([[2.0, -1.0]])
    labels, certain = torch.tensor([[True, False]]), torch.tensor([[True, False]])
    expected = nn.functional.softplus(torch.tensor(-2.0)) / 2
    torch.testing.assert_close(certain_losses(logits, labels, certain), expected.reshape(1))


def test_k_means_finds_separate_directions():
    centers = torch.eye(3).repeat_interleave(20, 0)
    x = centers + 0.05 * torch.randn(60, 3, generator=rng())
    found = k_means(x, 3, rng(1)) @ torch.eye(3)
    assert (k_means(x, 8, rng(1)) @ torch.eye(3)).max(0).values.min() > 0.95
    assert found.shape == (3, 3)


# -- tasks ---------------------------------------------------------------------------------------


def test_unlabeled_nodes_are_the_others_and_labels_are_not_read():
    task = PseudoLabel(strong=0.0, weak=0.0)
    model_with(task)
    one = task.unlabeled(Batch(graph()))
    assert one.y is None
    assert one.seeds.tolist() == list(range(10, NODES))
    view = task.view(Batch(graph()), rng())
    other = task.view(Batch(graph().replace(y=torch.zeros(10, dtype=torch.int64))), rng())
    assert torch.equal(view.targets["labels"], other.targets["labels"])


def test_pseudo_labels_are_predictions_without_dropout_where_these_are_certain():
    task = PseudoLabel(threshold=0.5, weak=0.0, strong=0.3)
    model = model_with(task).train()
    state = copy.deepcopy(model.state_dict())
    view = task.view(Batch(graph()), rng())
    model.eval()
    whole = graph().replace(y=None, seeds=torch.arange(10, NODES))
    found = model.tasks[TARGET].predict(whole, model.encoder(whole)).softmax(1)
    assert torch.equal(view.targets["labels"], found.argmax(1))
    assert torch.equal(view.targets["certain"], found.max(1).values >= 0.5)
    assert 0 < int(view.targets["certain"].sum()) < 30
    losses = task.losses(model.encoder(view.graph), view)
    assert bool((losses[~view.targets["certain"]] == 0).all())
    assert bool((losses[view.targets["certain"]] > 0).all())
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(state[f"encoder.{name}"], value)
    share = float(view.targets["certain"].float().mean())
    assert task.measures() == {"certain labels": pytest.approx(share)}


def test_the_teacher_is_the_average_of_the_model_at_first():
    task = MeanTeacher(decay=0.9, rate=0.0, warmup=0.0)
    model = model_with(task).eval()
    seen = []
    for step in range(1, 4):
        with torch.no_grad():
            model.encoder.map.weight.add_(step)
        task.after_step(model, step / 10)
        seen.append(model.encoder.map.weight.detach().clone())
    start = seen[0] - 1
    expected = torch.stack([start, *seen]).mean(0)
    torch.testing.assert_close(task.encoder_average.values()["map.weight"], expected)
    whole = graph().replace(y=None, seeds=torch.arange(10, NODES))
    other = copy.deepcopy(model.encoder)
    with torch.no_grad():
        other.map.weight.copy_(expected)
    target = model.tasks[TARGET]
    torch.testing.assert_close(
        task.taught(whole), target.predict(whole, other(whole)).softmax(1).detach()
    )


def test_losses_rise_during_the_warm_up():
    task = MeanTeacher(rate=0.6, warmup=0.5)
    model = model_with(task).eval()
    view = task.view(Batch(graph()), rng())
    seen = []
    for progress in (0.0, 0.25, 0.5, 1.0):
        task.level.fill_(min(1.0, progress / 0.5))
        seen.append(float(task.losses(model.encoder(view.graph), view).detach().sum()))
    assert seen[0] == 0
    assert seen[1] == pytest.approx(seen[2] / 2)
    assert seen[2] == seen[3] > 0
    task.after_step(model, 0.25)
    assert float(task.level) == 0.5


def test_interpolated_predictions_are_compared_with_interpolated_ones_of_the_teacher():
    task = TASKS.build({"name": "interpolation_consistency", "warmup": 0.0})
    model = model_with(task).eval()
    view = task.view(Batch(graph()), rng())
    weight, order = view.targets["weight"], view.targets["order"]
    assert bool(((weight > 0) & (weight < 1)).all())
    assert float(weight.std()) > 0.1
    whole = graph().replace(y=None, seeds=torch.arange(10, NODES))
    nodes = model.encoder(whole)
    x = nodes[10:]
    teacher = model.tasks[TARGET].predict(whole, nodes).softmax(1)
    mixed = model.tasks[TARGET].predictor.head(weight * x + (1 - weight) * x[order]).softmax(1)
    expected = (mixed - weight * teacher - (1 - weight) * teacher[order]).square().mean(1)
    torch.testing.assert_close(task.losses(nodes, view), expected)


@pytest.mark.parametrize("distance", ["mse", "cosine", "kl"])
def test_knowledge_is_that_of_the_start(distance):
    task = KnowledgeConsistency(distance, threshold=1.0)
    model = model_with(task).eval()
    source = model.encoder(graph()).detach()
    view = task.view(Batch(graph()), rng())
    zero = task.losses(model.encoder(view.graph), view)
    torch.testing.assert_close(zero, torch.zeros(NODES), rtol=0, atol=1e-6)
    with torch.no_grad():
        model.encoder.map.weight.add_(0.3 * torch.randn(5, 4, generator=rng()))
    task.after_step(model, 0.5)
    view = task.view(Batch(graph()), rng())
    torch.testing.assert_close(view.targets["source"], source)
    now = model.encoder(view.graph)
    losses = task.losses(now, view)
    if distance == "mse":
        torch.testing.assert_close(losses, (now - source).square().mean(1))
    assert float(losses.detach().mean()) > 1e-4


def test_the_queues_lose_their_oldest_vectors():
    task = RepresentationConsistency(capacity=5, least=2)
    task.setup(gtl.graph.Schema.of(graph()), 3)
    rows = torch.arange(24.0).view(8, 3)
    for part in rows.split(2):
        task._appended(0, part)
    assert torch.equal(task.labeled_queue, rows[-5:])
    assert task.filled.tolist() == [5, 0]


def test_l2_sp_is_half_the_squared_distance_from_the_start():
    task = L2SP()
    model = model_with(task).eval()
    view = task.view(Batch(graph()), rng())
    with torch.no_grad():
        model.encoder.map.weight.add_(0.5)
    loss = task.losses(model.encoder(view.graph), view)
    torch.testing.assert_close(loss.detach(), torch.tensor([0.5 * 20 * 0.25]))
    (grad,) = torch.autograd.grad(loss.sum(), model.encoder.map.weight)
    torch.testing.assert_close(grad, torch.full((5, 4), 0.5))


# -- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pseudo_label", "mean_teacher", "representation_consistency"])
def test_without_unlabeled_items_there_is_a_remedy(name):
    task = TASKS.build(name)
    model_with(task)
    with pytest.raises(ConfigError, match=r"no unlabeled items.*task\.on"):
        task.view(Batch(graph(NODES)), rng())


def test_a_regression_has_no_probabilities():
    task = PseudoLabel()
    model_with(task, "regression")
    with pytest.raises(ConfigError, match="regression"):
        task.view(Batch(graph()), rng())


def test_pre_training_has_no_target(shapes):
    with pytest.raises(ConfigError, match="labeled target"):
        gtl.pretrain({"name": "gin", "width": 8, "depth": 1}, shapes, ["pseudo_label"], epochs=1)


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "pseudo_label", "threshold": 0},
        {"name": "pseudo_label", "strong": 1.0},
        {"name": "mean_teacher", "decay": 1.0},
        {"name": "mean_teacher", "rate": -0.1},
        {"name": "mean_teacher", "warmup": 1.0},
        {"name": "interpolation_consistency", "alpha": 0},
        {"name": "knowledge_consistency", "distance": "l1"},
        {"name": "knowledge_consistency", "prototypes": 1},
        {"name": "representation_consistency", "threshold": 1.5},
        {"name": "representation_consistency", "capacity": 5, "least": 6},
        {"name": "representation_consistency", "bandwidths": []},
    ],
)
def test_options_out_of_range_are_refused(spec):
    with pytest.raises(ConfigError):
        TASKS.build(spec)


# -- trainings -----------------------------------------------------------------------------------


def few(shapes):
    """A data set of which most training graphs have no label."""
    labels = shapes.labels.clone()
    labels[shapes.split["train"][20:]] = torch.nan
    return replace(shapes, labels=labels)


@pytest.mark.parametrize("weighting", ["equal", {"name": "aux_ts", "refresh": 1}])
def test_all_together_train_a_target_with_unlabeled_graphs(shapes, weighting, tmp_path):
    loose = {"threshold": 1.0}
    tasks = [
        {"name": "knowledge_consistency", **loose},
        {"name": "representation_consistency", "least": 2, **loose},
        {"name": "pseudo_label", "threshold": 0.5},
        "mean_teacher",
        "interpolation_consistency",
        "l2_sp",
    ]
    how = {"auxiliary": tasks, "weighting": weighting, "guard": False, "batch_size": 10, "seed": 0}
    encoder = {"name": "gin", "width": 8, "depth": 1}
    whole = gtl.finetune(encoder, few(shapes), epochs=2, out=tmp_path / "a", **how)
    measured = whole.history[-1]["measures"]
    assert measured["knowledge_consistency"] == {"items that pass": 1.0}
    assert measured["representation_consistency"] == {
        "labeled items that pass": 1.0,
        "unlabeled items that pass": 1.0,
    }
    assert 0 <= measured["pseudo_label"]["certain labels"] <= 1
    assert all(v is not None for v in whole.history[-1]["losses"].values())
    again = gtl.finetune(encoder, few(shapes), epochs=2, **how)
    for one, two in zip(whole.state_dict().values(), again.state_dict().values()):
        assert torch.equal(one, two)


def test_unlabeled_training_graphs_are_used_and_test_graphs_are_not(shapes, monkeypatch):
    data, seen = few(shapes), []
    original = PseudoLabel.unlabeled

    def watched(self, batch):
        seen.append(self.data)
        return original(self, batch)

    monkeypatch.setattr(PseudoLabel, "unlabeled", watched)
    encoder = {"name": "gin", "width": 8, "depth": 1}
    gtl.finetune(encoder, data, auxiliary=["pseudo_label"], weighting="equal", epochs=1)
    assert seen[0].split.keys() == {"train"}
    assert seen[0].split["train"].tolist() == sorted(data.split["train"][20:].tolist())


def test_nodes_that_are_not_labeled_serve_at_node_level():
    rng = torch.Generator().manual_seed(0)
    n = 60
    y = torch.arange(n) % 2
    x = torch.randn(n, 4, generator=rng) + 2.0 * y.unsqueeze(1)
    ends = torch.randint(n, (2, 200), generator=rng)
    split = {"train": torch.arange(6), "valid": torch.arange(6, 26), "test": torch.arange(26, n)}
    data = gtl.Dataset("nodes", graph=Graph(*ends, n, x=x), labels=y, split=split, level="node")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GtlWarning)
        model = gtl.finetune(
            "gcn", data, auxiliary=["pseudo_label"], weighting="equal", epochs=3, guard=False
        )
    assert "certain labels" in model.history[-1]["measures"]["pseudo_label"]
