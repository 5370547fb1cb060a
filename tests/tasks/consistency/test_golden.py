"""AKC, ARC and imprinting against vectors of the published code (Abuduweili et al. 2021)."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from gtl.encoders import GIN
from gtl.graph import Columns, Graph, Schema
from gtl.roles import Batch
from gtl.tasks import KnowledgeConsistency, RepresentationConsistency, Supervised
from gtl.tasks.mmd import median_widths, mmd_losses
from gtl.train.fitted_head import class_directions
from gtl.train.step import TaskModel

NEAR = {"rtol": 1e-10, "atol": 1e-13}


@pytest.fixture
def akc_arc(golden):
    with np.load(golden / "akc_arc.npz") as file:
        return {name: torch.from_numpy(np.asarray(file[name])) for name in file}


@pytest.fixture
def alignment(golden):
    with np.load(golden / "domain_alignment.npz") as file:
        return {name: torch.from_numpy(np.asarray(file[name])) for name in file}


class Features(nn.Module):
    """An encoder whose node vectors are the features."""

    def __init__(self, x=None):
        super().__init__()
        self.schema, self.width = Schema(Columns(width=5)), 5
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, graph):
        return graph.x * self.scale


class Known(nn.Module):
    """Scores that are stored in the graph's properties: by the seeds' numbers."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def forward(self, graph, nodes):
        return self.scores[graph.seeds]


def lone_nodes(x, seeds):
    none = torch.empty(0, dtype=torch.int64)
    return Graph(none, none, len(x), x, seeds=seeds)


class Logits(nn.Module):
    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, vectors):
        return self.logits[: len(vectors)]


@pytest.mark.parametrize("case", ["", "_thr09", "_allmasked"])
def test_knowledge_consistency_is_the_published_loss(akc_arc, case):
    own, known = akc_arc["akc_target_pooled"], akc_arc["akc_source_pooled"]
    threshold = float(akc_arc[f"akc_threshold{case}"])
    task = KnowledgeConsistency(threshold=threshold or 1e-9, divisor=1e4, warmup=0)
    source = GIN(Schema(Columns(width=5)), width=5, depth=1).double()
    task.against(source, Logits(akc_arc["akc_source_logits"]))
    task.setup(Schema(Columns(width=5)), 5)
    task.source.nodes = lambda encoder, graph: known
    model = TaskModel(Features(), {"task": task})
    task.after_step(model, 0.0)
    graph = lone_nodes(own, torch.arange(9))
    batch = Batch(graph, graph.replace(seeds=torch.arange(9, 24)))
    view = task.view(batch, torch.Generator())
    (gate,) = task.gates(view).values()
    torch.testing.assert_close(view.targets["entropy"], akc_arc["akc_source_entropy"], **NEAR)
    assert torch.equal(gate.open.double(), akc_arc[f"akc_mask{case}"])
    nodes = own.clone().requires_grad_()
    losses = task.losses(nodes, view)
    assert len(losses) == int(gate.open.sum())
    loss = losses.sum() / max(len(losses), 1)
    torch.testing.assert_close(loss.detach(), akc_arc[f"akc_loss{case}"], **NEAR)
    loss.backward()
    # The published gradient is that of feature maps, whose mean is pooled: their sum is ours.
    expected = akc_arc[f"akc_grad_target_feature_map{case}"].sum((2, 3))
    torch.testing.assert_close(nodes.grad, expected, rtol=1e-10, atol=1e-18)


@pytest.fixture
def arc(akc_arc):
    """The task of the published run, and a batch of its labeled and unlabeled samples."""
    capacity = int(akc_arc["arc_capacity"])
    task = RepresentationConsistency(
        threshold=float(akc_arc["arc_threshold"]),
        capacity=capacity,
        least=2,
        width=5.0,
        biased=True,
        strength=1.0,
        warmup=0,
    )
    pooled = [
        akc_arc[f"arc_feature_map_{side}"].mean((2, 3)) for side in ("labelled", "unlabelled")
    ]
    logits = torch.cat([akc_arc["arc_logits_labelled"], akc_arc["arc_logits_unlabelled"]])
    schema = Schema(Columns(width=5))
    target = Supervised(Known(logits), kind="multiclass", outputs=7)
    task.setup(schema, 5)
    model = TaskModel(Features(), {"supervised": target, "task": task}).double()
    task.after_step(model, 0.0)
    x = torch.cat(pooled)
    first = len(pooled[0])
    graph = lone_nodes(x, torch.arange(first))
    batch = Batch(graph, graph.replace(seeds=torch.arange(first, len(x))))
    return SimpleNamespace(task=task, batch=batch, x=x, first=first, model=model)


@pytest.mark.parametrize("case", ["", "_empty"])
def test_representation_consistency_is_the_published_loss(akc_arc, arc, case):
    task = arc.task
    if not case:
        for place, side in enumerate(("labelled", "unlabelled")):
            task._fill(place, akc_arc[f"arc_buffer_{side}_pooled"])
    view = task.view(arc.batch, torch.Generator())
    gates = task.gates(view)
    for ours, theirs in (("labeled", "labelled"), ("unlabeled", "unlabelled")):
        gate = gates[ours]
        torch.testing.assert_close(gate.values, akc_arc[f"arc_entropy_{theirs}"], **NEAR)
        assert torch.equal(gate.open.double(), akc_arc[f"arc_mask_{theirs}"])
    for place, side in enumerate(("labelled", "unlabelled")):
        expected = akc_arc[f"arc_new_buffer_{side}{case}"]
        torch.testing.assert_close(task._rows(place), expected, **NEAR)
    nodes = arc.x.clone().requires_grad_()
    loss = task.losses(nodes, view).mean()
    torch.testing.assert_close(loss.detach(), akc_arc[f"arc_loss{case}"], **NEAR)
    loss.backward()
    sides = nodes.grad.split([arc.first, len(arc.x) - arc.first])
    for side, found in zip(("labelled", "unlabelled"), sides):
        expected = akc_arc[f"arc_grad_{side}{case}"].sum((2, 3))
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)


def test_the_biased_estimate_on_plain_arrays(akc_arc):
    found = mmd_losses(akc_arc["mmd_x"], akc_arc["mmd_y"], torch.tensor([5.0]).double(), True)
    torch.testing.assert_close(found.mean(), akc_arc["mmd_value"], **NEAR)


@pytest.mark.parametrize("biased", [True, False])
def test_both_estimates_with_several_bandwidths(alignment, biased):
    kind = "biased" if biased else "unbiased"
    x = alignment["source"].clone().requires_grad_()
    widths = 2 * alignment["mmd_bandwidths"].square()
    value = mmd_losses(x, alignment["target"], widths, biased).mean()
    torch.testing.assert_close(value.detach(), alignment[f"mmd2_{kind}_mean"], **NEAR)
    value.backward()
    expected = alignment[f"mmd2_{kind}_mean_grad_source"]
    torch.testing.assert_close(x.grad, expected, rtol=1e-9, atol=1e-12)


def test_the_median_bandwidth(alignment):
    points = torch.cat([alignment["source"], alignment["target"]])
    found = median_widths(points, [1.0])
    torch.testing.assert_close(found[0], alignment["pooled_sq_distance_median"], **NEAR)
    for biased, kind in ((True, "biased"), (False, "unbiased")):
        value = mmd_losses(alignment["source"], alignment["target"], found, biased).mean()
        torch.testing.assert_close(value, alignment[f"mmd2_{kind}_median_sigma"], **NEAR)


def test_the_warm_up_is_the_published_one(akc_arc):
    task = KnowledgeConsistency(warmup=int(akc_arc["warmup_length"]))
    for iteration, expected in zip(akc_arc["warmup_iteration"], akc_arc["warmup_lambda"]):
        task.steps.fill_(iteration)
        factor = task.factor.double() * akc_arc["warmup_base"]
        torch.testing.assert_close(factor, expected, rtol=1e-6, atol=0)


def test_imprinted_weights(akc_arc):
    present, found = class_directions(akc_arc["imprint_features"], akc_arc["imprint_labels"])
    assert present.tolist() == [0, 1, 2]
    torch.testing.assert_close(found, akc_arc["imprint_weight"], **NEAR)
