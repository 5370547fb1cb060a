"""Consistency tasks on small graphs: what they use, what they compare, and what they refuse."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import nn

from gtl.encoders import GIN
from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema
from gtl.roles import Batch
from gtl.tasks import (
    L2SP,
    Delta,
    InterpolationConsistency,
    KnowledgeConsistency,
    MeanTeacher,
    PseudoLabel,
    RepresentationConsistency,
    Supervised,
    distances,
)
from gtl.tasks.certainty import (
    confidences,
    entropies,
    largest_entropy,
    probabilities,
    strength_of,
)
from gtl.tasks.consistency.prototypes import Prototypes
from gtl.tasks.items import all_inputs, unlabeled_inputs
from gtl.tasks.mmd import median_widths, mmd_losses
from gtl.testing.examples import SmallEncoder
from gtl.train.run import Run
from gtl.train.step import TaskModel

SCHEMA = Schema(Columns(width=3))
WIDTH = 5


def ring(nodes=12, seed=0):
    """One graph with two labeled nodes, and its other nodes as unlabeled items."""
    src = torch.arange(nodes)
    dst = src.roll(-1)
    x = torch.randn(nodes, 3, generator=torch.Generator().manual_seed(seed))
    graph = Graph(torch.cat([src, dst]), torch.cat([dst, src]), nodes, x)
    labeled = graph.replace(seeds=torch.tensor([0, 1]), y=torch.tensor([0, 1]))
    return Batch(labeled, graph.replace(seeds=torch.arange(2, nodes)))


def beside_target(task, kind="multiclass", outputs=2, schema=SCHEMA):
    torch.manual_seed(3)
    encoder = SmallEncoder(schema, WIDTH)
    target = Supervised(kind=kind, outputs=outputs)
    for part in (target, task):
        part.setup(schema, WIDTH)
    model = TaskModel(encoder, {"supervised": target, "task": task})
    task.after_step(model, 0.0)
    return model


def losses_of(model, view):
    return model.tasks["task"].losses(model.encoder(view.graph), view)


def moved(model, by=0.1):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(by * torch.randn(parameter.shape))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# -- items ---------------------------------------------------------------------------------------


def test_nodes_of_one_graph_need_no_encoder_pass_of_their_own():
    batch = ring()
    inputs = all_inputs(batch, (0.0, 0.0), generator(), None)
    assert inputs.graph is batch.graph
    assert inputs.labeled == 2 and inputs.items.seeds.tolist() == list(range(12))


def test_perturbed_inputs_keep_all_nodes_and_lack_edges():
    batch = ring(200)
    graph = unlabeled_inputs(batch, (0.5, 0.0), generator(), None).graph
    assert graph.num_nodes == 200 and 100 < graph.num_edges < 300
    assert torch.equal(graph.x, batch.graph.x)


def test_other_graphs_are_joined_to_the_labeled_ones():
    one, other = ring(5).graph.unlabeled(), ring(7, seed=1).graph.unlabeled()
    batch = Batch(one.replace(y=torch.zeros(1, 1)), other)
    inputs = all_inputs(batch, (0.0, 0.0), generator(), None)
    assert inputs.graph.sizes.tolist() == [5, 7] and inputs.labeled == 1 and inputs.graph.y is None


def test_labels_of_unlabeled_items_play_no_part():
    batch, found = ring(), []
    for y in (None, torch.zeros(10, dtype=torch.int64), torch.ones(10, dtype=torch.int64)):
        model = beside_target(PseudoLabel(threshold=0.1))
        view = model.tasks["task"].view(Batch(batch.graph, batch.own.replace(y=y)), generator())
        found.append(losses_of(model, view))
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@pytest.mark.parametrize(
    ("own", "words"),
    [(None, "no unlabeled items"), (ring().graph.unlabeled(), "the reverse")],
)
def test_a_batch_without_suitable_unlabeled_items_is_refused(own, words):
    model = beside_target(MeanTeacher())
    with pytest.raises(ConfigError, match=words):
        model.tasks["task"].view(Batch(ring().graph, own), generator())


def test_pairs_are_refused():
    graph = ring().graph.replace(seeds=None, y=None, pairs=torch.zeros(1, 2, dtype=torch.int64))
    model = beside_target(PseudoLabel())
    with pytest.raises(ConfigError, match="pairs of nodes; use l2_sp"):
        model.tasks["task"].view(Batch(graph, graph), generator())


def test_a_task_that_needs_a_target_says_so():
    task = MeanTeacher()
    task.setup(SCHEMA, WIDTH)
    with pytest.raises(ConfigError, match="MeanTeacher needs a labeled target"):
        task.after_step(TaskModel(SmallEncoder(SCHEMA, WIDTH), {"task": task}), 0.0)


def test_a_task_before_training_says_what_to_call():
    task = PseudoLabel()
    task.setup(SCHEMA, WIDTH)
    with pytest.raises(ConfigError, match=r"task\.after_step\(model, 0\.0\)"):
        task.view(ring(), generator())


# -- certainty -----------------------------------------------------------------------------------


def test_certainty_by_hand():
    scores = torch.tensor([[0.0, math.log(3)]]).double()
    expected = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert entropies(scores, "multiclass").item() == pytest.approx(expected)
    assert confidences(scores, "multiclass").item() == pytest.approx(0.75)
    both = entropies(scores, "binary").item()  # of 1/2 and of 3/4
    assert both == pytest.approx((math.log(2) + expected) / 2)
    assert confidences(-scores, "binary").tolist()[0] == pytest.approx([0.5, 0.75])
    assert largest_entropy("binary", 7) == math.log(2)
    assert largest_entropy("multiclass", 7) == math.log(7)
    assert torch.equal(probabilities(scores, "regression"), scores)


def test_extreme_scores_have_a_finite_entropy():
    for kind in ("binary", "multiclass"):
        found = entropies(torch.tensor([[1e4, -1e4]]), kind)
        assert found.tolist() == [0.0]


@pytest.mark.parametrize("task", [PseudoLabel, RepresentationConsistency])
def test_a_regression_has_no_certainty(task):
    with pytest.raises(ConfigError, match="kind 'regression', whose predictions have no certainty"):
        beside_target(task(), "regression", 1)


# -- tasks ---------------------------------------------------------------------------------------


def test_pseudo_labels_are_those_of_certain_items():
    model = beside_target(PseudoLabel(threshold=0.6, warmup=0))
    batch = ring(50)
    scores = model.target.predictor(batch.own, model.encoder(batch.own)).detach()
    p = scores.softmax(1).amax(1)
    view = model.tasks["task"].view(batch, generator())
    (gate,) = model.tasks["task"].gates(view).values()
    assert torch.equal(gate.open, p >= 0.6) and 0 < int(gate.open.sum()) < 48
    expected = torch.where(p >= 0.6, -p.log(), 0)  # the label is the likeliest class of the same
    found = losses_of(model, view)
    torch.testing.assert_close(found, expected)
    # As published, the mean is over all unlabeled items: one certain item counts as one of many.
    assert len(found) == 48


def test_strong_perturbation_changes_the_inputs_and_not_the_labels():
    batch = ring(50)
    plain = beside_target(PseudoLabel(threshold=0.5))
    strong = beside_target(PseudoLabel(threshold=0.5, strong=(0.5, 0.5)))
    one, two = (m.tasks["task"].view(batch, generator()) for m in (plain, strong))
    assert torch.equal(one.targets["labels"], two.targets["labels"])
    assert one.graph is batch.graph and two.graph.num_edges < batch.graph.num_edges


def test_each_column_of_a_binary_target_is_certain_or_not():
    task = PseudoLabel(threshold=0.9, warmup=0)
    model = beside_target(task, "binary", 2)
    view = task.view(ring(), generator())
    confidence = torch.full((10, 2), 0.5)
    confidence[3, 1], confidence[4] = 0.95, 0.95
    view.targets["confidence"] = confidence
    found = losses_of(model, view)
    scores = model.target.predictor(view.targets["items"], model.encoder(view.graph))
    each = nn.functional.softplus(-scores.abs())  # the loss of the more likely value
    expected = torch.zeros(10)
    expected[3], expected[4] = each[3, 1] / 2, each[4].mean()
    torch.testing.assert_close(found, expected)


def test_the_teacher_is_a_slow_average_of_the_model():
    task = MeanTeacher(decay=0.9, warmup=0)
    model = beside_target(task)
    start = model.encoder.own.weight.detach().clone()
    moved(model)
    new = model.encoder.own.weight.detach().clone()
    task.after_step(model, 0.1)
    first = (start + new) / 2  # after one step the average keeps 1 - 1 / 2
    torch.testing.assert_close(task.teacher.encoder.get_buffer("own/weight"), first)
    for _ in range(20):
        task.after_step(model, 0.2)
    kept = task.teacher.encoder.get_buffer("own/weight").clone()
    task.after_step(model, 0.2)
    expected = 0.9 * kept + 0.1 * new
    torch.testing.assert_close(task.teacher.encoder.get_buffer("own/weight"), expected)


def test_the_mean_teacher_compares_probabilities():
    task = MeanTeacher(rates=(0.0, 0.0), strength=1, warmup=0)
    model = beside_target(task)
    batch = ring()
    assert not losses_of(model, task.view(batch, generator())).any()  # teacher = model
    before = model.target.predictor(batch.own, model.encoder(batch.own)).softmax(1).detach()
    moved(model)
    view = task.view(batch, generator())
    after = model.target.predictor(batch.own, model.encoder(batch.own)).softmax(1)
    expected = (after - before).square().mean(1)
    found = losses_of(model, view)
    assert len(found) == 12  # labeled items, too
    torch.testing.assert_close(found[2:], expected)


def test_interpolation_compares_mixtures():
    task = InterpolationConsistency(strength=1, warmup=0)
    model = beside_target(task)
    batch = ring()
    teacher = model.target.predictor(batch.own, model.encoder(batch.own)).softmax(1).detach()
    moved(model, 0.5)
    view = task.view(batch, generator())
    share, partner = view.targets["share"], view.targets["partner"]
    assert sorted(partner.tolist()) == list(range(10)) and len(share.unique()) == 10
    h = model.encoder(batch.own)[batch.own.seeds]
    mixed = share * h + (1 - share) * h[partner]
    taught = share * teacher + (1 - share) * teacher[partner]
    expected = (model.target.predictor.linear(mixed).softmax(1) - taught).square().mean(1)
    torch.testing.assert_close(losses_of(model, view), expected)


def test_interpolation_needs_a_predictor_that_can_be_mixed():
    class Whole(nn.Module):
        def forward(self, graph, nodes):
            return nodes[graph.seeds]

    task = InterpolationConsistency()
    target = Supervised(Whole(), kind="multiclass", outputs=WIDTH)
    task.setup(SCHEMA, WIDTH)
    model = TaskModel(SmallEncoder(SCHEMA, WIDTH), {"supervised": target, "task": task})
    with pytest.raises(ConfigError, match="the predictor has no `features`"):
        task.after_step(model, 0.0)


@pytest.mark.parametrize("distance", ["mse", "cosine", "kl"])
def test_knowledge_is_that_of_the_start(distance):
    task = KnowledgeConsistency(distance, threshold=None, warmup=0, prototypes=3)
    model = beside_target(task)
    batch = ring()
    near = losses_of(model, task.view(batch, generator()))
    torch.testing.assert_close(near, torch.zeros(12), rtol=0, atol=1e-5)
    known = model.encoder(batch.graph).detach()
    moved(model, 0.5)
    view = task.view(batch, generator())
    torch.testing.assert_close(view.targets["known"], known)
    found = losses_of(model, view)
    assert len(found) == 12 and bool((found > 1e-4).all())
    if distance == "mse":
        expected = (model.encoder(batch.graph) - known).square().mean(1)
        torch.testing.assert_close(found, expected)


def test_a_source_of_batch_norms_keeps_its_statistics():
    task = KnowledgeConsistency(threshold=None)
    encoder = GIN(SCHEMA, width=WIDTH, depth=1)
    task.setup(SCHEMA, WIDTH)
    model = TaskModel(encoder, {"task": task}).train()
    task.after_step(model, 0.0)
    batch = ring()
    before = task.view(batch, generator()).targets["known"]
    for _ in range(3):
        model.encoder(batch.graph)  # moves the running statistics
    torch.testing.assert_close(task.view(batch, generator()).targets["known"], before)
    copy = GIN(SCHEMA, width=WIDTH, depth=1).eval()
    copy.load_state_dict(encoder.state_dict())
    moving = copy(batch.graph)
    assert not torch.allclose(moving, before)  # the test can fail


def test_the_head_of_the_source_has_no_dropout_and_keeps_its_statistics():
    torch.manual_seed(3)
    head = nn.Sequential(nn.BatchNorm1d(WIDTH), nn.Dropout(0.5), nn.Linear(WIDTH, 3))
    source = GIN(SCHEMA, width=WIDTH, depth=1)
    task = KnowledgeConsistency("kl", threshold=1.0).against(source, head)
    model = beside_target(task).train()
    assert task.head.training  # the loop puts all tasks in training mode
    state = {name: value.clone() for name, value in head.state_dict().items()}
    views = [task.view(ring(), generator()) for _ in range(2)]
    assert torch.equal(views[0].targets["entropy"], views[1].targets["entropy"])
    found = [losses_of(model, views[0]) for _ in range(2)]
    assert torch.equal(*found) and len(found[0]) == 12
    found[0].mean().backward()
    assert any(p.grad is not None and p.grad.any() for p in model.encoder.parameters())
    assert all(torch.equal(value, state[name]) for name, value in head.state_dict().items())
    assert head.training


def test_prototypes_are_uncertain_between_clusters():
    left, right = torch.randn(20, 2) * 0.1, torch.randn(20, 2) * 0.1 + 5
    prototypes = Prototypes(2, 2)
    prototypes.find(torch.cat([left, right]))
    points = torch.cat([left[:1], prototypes.centers.mean(0, keepdim=True)])
    found = entropies(prototypes.logits(points), "multiclass")
    assert found[0] < 0.01 and found[1] == pytest.approx(math.log(2), abs=1e-3)
    assert prototypes.largest_entropy == math.log(2)


def test_few_vectors_have_few_prototypes():
    prototypes = Prototypes(16, 2)
    prototypes.find(torch.zeros(0, 2))
    assert int(prototypes.found) == 0
    prototypes.find(torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]))
    assert int(prototypes.found) == 2


def test_prototypes_are_at_most_half_of_the_vectors_and_have_a_spread():
    points = torch.randn(9, 4, generator=generator())
    prototypes = Prototypes(16, 4)
    prototypes.find(points.repeat(3, 1))
    assert int(prototypes.found) == 4 and prototypes.logits(points).shape == (9, 4)
    total = float((points - points.mean(0)).square().sum(1).mean())
    assert float(prototypes.spread) > 0.05 * total
    prototypes.find(torch.eye(4)[:2])  # each its own center
    assert float(prototypes.spread) == pytest.approx(0.01 * 0.5)


def test_a_divergence_of_few_prototypes_stays_small():
    task = KnowledgeConsistency("kl", threshold=0.7, warmup=0)
    model = beside_target(task)
    batch = ring()
    assert int(task.view(batch, generator()).targets["entropy"].gt(0.01).sum()) > 0
    moved(model, 0.5)
    found = losses_of(model, task.view(batch, generator()))
    assert float(found.detach().max()) < 100


def test_a_source_without_differences_is_refused_with_a_remedy():
    batch = ring()
    flat = Batch(*(g.replace(x=torch.ones(12, 3)) for g in (batch.graph, batch.own)))
    tasks = [KnowledgeConsistency(), KnowledgeConsistency(threshold=None)]
    for task in tasks:
        task.setup(SCHEMA, WIDTH, lambda: flat.own.unlabeled())
    with pytest.raises(ConfigError, match=r"all 12 unlabeled items the same vector.*threshold="):
        beside_target(tasks[0])
    model = beside_target(tasks[1])
    assert len(losses_of(model, tasks[1].view(flat, generator()))) == 12


def test_prototypes_wait_for_a_step_whose_items_differ():
    batch = ring()
    flat = Batch(*(g.replace(x=torch.ones(12, 3)) for g in (batch.graph, batch.own)))
    task = KnowledgeConsistency("kl", warmup=0)
    model = beside_target(task)
    losses = losses_of(model, task.view(flat, generator()))
    assert losses.tolist() == [0.0] * 12 and int(task.centers.found) == 0
    task.view(batch, generator())
    assert int(task.centers.found) == 6


def test_the_nodes_of_one_unlabeled_graph_are_no_items():
    alone = ring().graph.unlabeled()
    task = KnowledgeConsistency()
    task.setup(SCHEMA, WIDTH, lambda: alone)
    task.expect(6, 1)
    model = beside_target(task)
    assert int(task.centers.found) == 0
    labeled = Graph.batch([ring(seed=seed).graph.unlabeled() for seed in range(1, 7)])
    known = task.view(Batch(labeled, alone), generator()).targets["known"]
    assert len(known) == 7 and int(task.centers.found) == 3
    torch.testing.assert_close(known[-1], model.encoder(alone).mean(0).detach())


def test_a_source_of_another_width_or_schema_is_refused():
    task = KnowledgeConsistency().against(GIN(SCHEMA, width=7, depth=1))
    with pytest.raises(ConfigError, match="`width` 7, the encoder that is trained of 5"):
        task.setup(SCHEMA, 5)
    task = KnowledgeConsistency().against(GIN(Schema(Columns(width=4)), width=5, depth=1))
    with pytest.raises(ConfigError, match="the source encoder"):
        task.setup(SCHEMA, 5)


def test_a_run_is_a_source_by_its_encoder_and_what_is_none_is_refused():
    encoder = GIN(SCHEMA, width=WIDTH, depth=1)
    assert KnowledgeConsistency().against(Run(encoder, {})).source.given is encoder
    for wrong in ("gin", {"name": "gin"}, None, nn.Linear(3, 5)):
        with pytest.raises(ConfigError, match=r"source is .*expected an encoder.*gtl.load_run"):
            KnowledgeConsistency().against(wrong)


def test_an_unknown_distance_is_refused():
    with pytest.raises(ConfigError, match="`distance` is 'l1'"):
        KnowledgeConsistency("l1")


def test_buffers_are_first_in_first_out():
    task = RepresentationConsistency(threshold=None, capacity=7, least=2)
    model = beside_target(task)
    batch = ring(6)  # two labeled nodes, four unlabeled ones
    vectors = []
    for _ in range(4):
        moved(model)
        task.view(batch, generator())
        vectors.append(model.encoder(batch.graph).detach())
    assert task.counts.tolist() == [7, 7]
    labeled = torch.cat([v[:2] for v in vectors])[-7:]
    unlabeled = torch.cat([v[2:] for v in vectors])[-7:]
    torch.testing.assert_close(task.labeled, labeled)
    torch.testing.assert_close(task.unlabeled, unlabeled)


def test_a_batch_larger_than_the_buffer_leaves_its_last_rows():
    task = RepresentationConsistency(threshold=None, capacity=3, least=2, warmup=0)
    model = beside_target(task)
    view = task.view(ring(12), generator())
    assert len(losses_of(model, view)) == 5  # two labeled rows and three of ten
    torch.testing.assert_close(task.unlabeled, model.encoder(view.graph).detach()[-3:])


def test_earlier_rows_are_constants():
    task = RepresentationConsistency(threshold=None, capacity=8, least=2, warmup=0)
    model = beside_target(task)
    task.view(ring(6), generator())
    view = task.view(ring(6), generator())
    nodes = model.encoder(view.graph).detach().requires_grad_()
    losses = task.losses(nodes, view)
    assert len(losses) == 4 + 8
    (gradient,) = torch.autograd.grad(losses.mean(), nodes)
    assert gradient.shape == (6, WIDTH) and bool(gradient.abs().sum(1).all())


def test_no_samples_before_the_buffers_have_enough_rows():
    task = RepresentationConsistency(threshold=None, capacity=8, least=4)
    model = beside_target(task)
    counts = [len(losses_of(model, task.view(ring(6), generator()))) for _ in range(2)]
    assert counts == [0, 4 + 8]


def test_a_buffer_larger_than_the_data_is_refused_or_cut():
    task = RepresentationConsistency(capacity=100)
    task.setup(SCHEMA, WIDTH)
    with pytest.raises(ConfigError, match="`capacity` is 100, and there are 35 labeled items"):
        task.expect(35, 2000)
    task = RepresentationConsistency()
    task.setup(SCHEMA, WIDTH)
    task.expect(35, 2000)
    assert task.sizes.tolist() == [35, 128]


def test_the_unbiased_estimate_is_zero_on_average_for_equal_distributions():
    rng = generator()
    points = [torch.randn(2, 20, 4, generator=rng).double() for _ in range(200)]
    widths = torch.tensor([4.0]).double()
    plain = torch.stack([mmd_losses(x, y, widths).mean() for x, y in points])
    biased = torch.stack([mmd_losses(x, y, widths, biased=True).mean() for x, y in points])
    error = plain.std() / len(plain) ** 0.5
    assert abs(plain.mean()) < 4 * error < 0.5 * biased.mean()


def test_the_terms_of_the_mmd_by_a_plain_loop():
    x, y = torch.randn(3, 2).double(), torch.randn(5, 2).double()
    widths = [0.7, 2.0]

    def kernel(a, b):
        return sum(math.exp(-float((a - b).square().sum()) / w) for w in widths) / 2

    xx = sum(kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / 6
    yy = sum(kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j) / 20
    xy = sum(kernel(a, b) for a in x for b in y) / 15
    found = mmd_losses(x, y, torch.tensor(widths).double())
    assert len(found) == 8
    assert float(found.mean()) == pytest.approx(xx + yy - 2 * xy)
    assert len(mmd_losses(x[:1], y, torch.ones(1))) == 0


def test_equal_points_have_a_positive_bandwidth():
    assert bool((median_widths(torch.ones(4, 2), [1.0]) > 0).all())
    assert median_widths(torch.ones(1, 2), [0.5, 2.0]).tolist() == [0.5, 2.0]


def test_l2_sp_is_the_distance_of_the_weights():
    task = L2SP(strength=2.0, head=0.5)
    model = beside_target(task)
    start = [p.detach().clone() for p in model.encoder.parameters()]
    moved(model)
    model.encoder.own.bias.requires_grad_(True)
    far = sum((p - q).square().sum() for p, q in zip(model.encoder.parameters(), start))
    length = sum(p.square().sum() for p in model.target.predictor.parameters())
    found = losses_of(model, task.view(ring(), generator()))
    torch.testing.assert_close(found, (far + 0.25 * length).reshape(1))
    found.backward()
    torch.testing.assert_close(
        model.encoder.own.bias.grad, 2 * (model.encoder.own.bias - start[-3])
    )


def test_delta_weighs_the_columns_that_the_target_needs():
    task = Delta(sharpness=50.0)
    model = beside_target(task)
    with torch.no_grad():
        model.target.predictor.linear.weight.zero_()
        model.target.predictor.linear.bias.zero_()
        batch = ring()
        one, two = model.encoder(batch.graph)[:2, 3].tolist()
        sign = 1 if two > one else -1  # the labels are 0 and 1: this column tells them apart
        model.target.predictor.linear.weight[1, 3] = sign * 5 / abs(two - one)
        model.target.predictor.linear.bias[1] = -sign * 2.5 / abs(two - one) * (one + two)
    view = task.view(batch, generator())
    weights = view.targets["weights"]
    assert int(weights.argmax()) == 3 and float(weights[3]) > 4.9
    assert float(weights.sum()) == pytest.approx(WIDTH, rel=1e-4)
    known = model.encoder(batch.graph).detach()[:2]
    moved(model)
    change = (model.encoder(batch.graph)[:2] - known).square()
    found = losses_of(model, task.view(batch, generator()))
    torch.testing.assert_close(found, (change * weights).mean(1))


@pytest.mark.parametrize(
    ("make", "default"),
    [
        (MeanTeacher, 100),
        (InterpolationConsistency, 100),
        (partial(RepresentationConsistency, None, least=2), 50),
    ],
)
def test_squared_differences_of_classes_count_much_by_default(make, default):
    one, many = (beside_target(make(warmup=0, **given)) for given in ({"strength": 1}, {}))
    batch, found = ring(), []
    for model in (one, many):
        torch.manual_seed(5)
        moved(model, 0.2)
        found.append(losses_of(model, model.tasks["task"].view(batch, generator())))
    assert bool(found[0].any())
    torch.testing.assert_close(found[1], default * found[0])


def test_a_regression_has_a_strength_of_one():
    assert strength_of(None, "regression") == 1 and strength_of(None, "binary") == 100
    assert strength_of(3.0, "regression") == 3


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MeanTeacher(strength=0), "`strength` is 0"),
        (lambda: PseudoLabel(threshold=1.5), "`threshold` is 1.5"),
        (lambda: PseudoLabel(strong=(0.5,)), "`strong` is"),
        (lambda: PseudoLabel(weak=(0.5, 1.0)), "`weak` is"),
        (lambda: MeanTeacher(decay=1.0), "`decay` is 1.0"),
        (lambda: InterpolationConsistency(alpha=0), "`alpha` is 0"),
        (lambda: RepresentationConsistency(factors=()), "`factors` is empty"),
        (lambda: RepresentationConsistency(capacity=10, least=20), "`least` is 20.*10 rows"),
        (lambda: RepresentationConsistency(least=200), "`least` is 200.*128 rows"),
        (lambda: KnowledgeConsistency(warmup=-1), "`warmup` is -1"),
        (lambda: L2SP(head=-1.0), "head"),
    ],
)
def test_options_out_of_range_are_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_assignments_hold_no_differences_of_all_vectors_to_all_prototypes(monkeypatch):
    monkeypatch.setattr(distances, "AT_ONCE", 1 << 10)
    points, sizes = torch.randn(300, 8, generator=generator()), []
    prototypes = Prototypes(4, 8)
    prototypes.find(points)

    class Sizes(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            found = function(*args, **(kwargs or {}))
            sizes.extend(v.numel() for v in (found,) if isinstance(v, torch.Tensor))
            return found

    with Sizes():
        found = prototypes.logits(points)
    assert max(sizes) <= 300 * 8  # 300 x 4 x 8 differences are 9,600
    known = torch.cdist(points, prototypes.centers).square() / prototypes.spread
    assert torch.allclose(found, -known, rtol=1e-4)
