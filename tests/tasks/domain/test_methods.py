"""Each method of domain adaptation by values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from gtl.errors import ConfigError
from gtl.roles import Batch
from gtl.tasks.domain.classes import class_probabilities, label_losses
from gtl.tasks.domain.dsn import difference_losses
from gtl.tasks.domain.mcc import class_logs, confusion_losses
from gtl.tasks.domain.mcd import discrepancy
from gtl.tasks.domain.mdd import log_shares, predicted
from gtl.tasks.domain.task import Domains
from gtl.tasks.domain.wdgrl import gradient_penalty, points_between
from gtl.train.step import Step


def sides_of(model, view):
    """Vectors of both domains of a view."""
    rows = model.tasks["task"].vectors(view.targets["items"], model.encoder(view.graph)).detach()
    return Domains(rows[: view.targets["labeled"]], rows[view.targets["labeled"] :])


# -- classes -------------------------------------------------------------------------------------


def test_one_binary_column_is_the_same_as_two_classes():
    scores = torch.tensor([[0.7], [-1.2]]).double()
    two = torch.cat([scores, torch.zeros(2, 1).double()], 1)
    one = class_probabilities(scores, "binary")
    torch.testing.assert_close(one, class_probabilities(two, "multiclass"))
    torch.testing.assert_close(class_logs(scores, "binary"), class_logs(two, "multiclass"))
    same, other = log_shares(scores, predicted(scores, "binary"), "binary")
    known = log_shares(two, predicted(two, "multiclass"), "multiclass")
    torch.testing.assert_close((same, other), known)


def test_items_without_a_label_have_no_loss():
    scores = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, math.log(3)]])
    found = label_losses(scores, torch.tensor([1, -1, 1]), "multiclass")
    assert found.tolist() == pytest.approx([math.log(2), -math.log(0.75)])
    y = torch.tensor([[1.0, torch.nan], [torch.nan, torch.nan], [0.0, 1.0]])
    found = label_losses(scores, y, "binary").tolist()
    assert found == pytest.approx([math.log(2), (math.log(2) - math.log(0.75)) / 2])


# -- CDAN ----------------------------------------------------------------------------------------


def test_no_gradient_reaches_the_predictor_through_conditions(domains, train, view, losses):
    model = train({"name": "cdan", "alpha": None, "entropy": True})
    losses(model, view(model, domains())).mean().backward()
    assert model.encoder.scale.grad.any()
    assert all(p.grad is None for p in model.target.parameters())


def test_certain_items_count_more_in_cdan_e(domains, train, view, losses):
    values = {}
    for entropy in (False, True):
        model = train({"name": "cdan", "alpha": None, "entropy": entropy})
        found = view(model, domains())
        values[entropy] = losses(model, found)
    scores = found.targets["constants"]["scores"]
    p = scores.softmax(1)
    weights = 1 + torch.exp((p * p.log()).sum(1))
    ratio = values[True] / values[False]
    for side in (slice(0, 5), slice(5, None)):
        torch.testing.assert_close(ratio[side], weights[side] / weights[side].mean())


# -- WDGRL ---------------------------------------------------------------------------------------


def test_the_mean_of_the_losses_is_the_estimate(domains, train, view, losses):
    model = train("wdgrl")
    found = view(model, domains())
    each, sides = losses(model, found), sides_of(model, found)
    critic = model.tasks["task"].critic
    expected = critic(sides.source).mean() - critic(sides.target).mean()
    torch.testing.assert_close(each.mean(), expected, check_dtype=False)


def test_the_critic_moves_before_the_losses_and_raises_its_objective(domains, train, view, losses):
    """As in the box of the paper: the encoder's losses are those of the critic after its steps."""
    model = train({"name": "wdgrl", "steps": 40, "lr": 1e-2})
    task, batch = model.tasks["task"], domains()
    found = view(model, batch)
    sides = sides_of(model, found)
    before = float(task.critic(sides.source).mean() - task.critic(sides.target).mean())
    assert int(task.critic.count) == 0
    estimate = losses(model, found).mean()
    assert int(task.critic.count) == 40
    after = task.critic(sides.source).mean() - task.critic(sides.target).mean()
    assert float(after) > before
    torch.testing.assert_close(estimate, after, check_dtype=False)
    slopes = gradient_penalty(task.critic, torch.cat([sides.source, sides.target]))
    assert float(slopes.detach()) < 0.2  # slopes near 1
    task.after_step(model, 0.5)
    assert int(task.critic.count) == 40


def test_a_replay_has_the_critic_of_the_step_and_leaves_it_as_it_is(domains, train, view):
    model = train({"name": "wdgrl", "steps": 3, "lr": 1e-1})
    batch = domains()
    views = {"supervised": model.target.view(Batch(batch.graph), None), "task": view(model, batch)}
    step = Step(model, views, torch.optim.SGD(model.parameters(), 0.1), "supervised")
    state = {name: value.clone() for name, value in model.state_dict().items()}
    assert torch.equal(step.replay({})["task"], step.losses["task"])
    model.tasks["task"].after_step(model, 0.5)
    view(model, batch)
    assert torch.equal(step.replay({})["task"], step.losses["task"])
    kept = model.tasks["task"].critic.state_dict()
    assert all(torch.equal(value, state[f"tasks.task.critic.{n}"]) for n, value in kept.items())


def test_the_penalty_of_a_linear_critic_by_hand():
    way = torch.tensor([3.0, 4.0])
    found = gradient_penalty(lambda rows: rows @ way, torch.zeros(7, 2))
    assert float(found) == pytest.approx(16.0)  # (5 - 1)^2


def test_points_lie_between_pairs_of_unequal_samples():
    rng = torch.Generator().manual_seed(0)
    points = points_between(torch.zeros(2, 3), torch.ones(5, 3), rng)
    assert points.shape == (5, 3) and bool(((points > 0) & (points < 1)).all())
    assert torch.equal(points[:, 0], points[:, 1])


# -- ADDA ----------------------------------------------------------------------------------------


def test_the_target_is_compared_with_the_encoder_at_the_start(domains, train, view, losses):
    model, batch = train("adda"), domains()
    task, start = model.tasks["task"], model.encoder.scale.detach().clone()
    with torch.no_grad():
        model.encoder.scale.mul_(3)
    found = view(model, batch)
    torch.testing.assert_close(found.targets["known"], batch.graph.x[1:] * start)
    each = losses(model, found)
    inverted = F.softplus(-task.critic(batch.own.x[1:] * 3 * start))
    torch.testing.assert_close(each, inverted)
    weights = {name: w.clone() for name, w in task.critic.weights().items()}
    task.after_step(model, 0.5)
    changed = task.critic.weights()
    assert any(not torch.equal(changed[name], w) for name, w in weights.items())


def test_the_second_stage_begins_after_a_share_of_the_training(domains, train, view, losses):
    model, batch = train({"name": "adda", "after": 0.5}), domains()
    task = model.tasks["task"]
    first = view(model, batch)
    assert first.graph is batch.graph and not len(losses(model, first))
    with torch.no_grad():
        model.encoder.scale.fill_(2.0)
    task.after_step(model, 0.4)
    assert not len(losses(model, view(model, batch)))
    task.after_step(model, 0.5)
    with torch.no_grad():
        model.encoder.scale.fill_(5.0)
    found = view(model, batch)
    torch.testing.assert_close(found.targets["known"], 2 * batch.graph.x[1:])
    assert len(losses(model, found)) == 11


# -- MCD -----------------------------------------------------------------------------------------


def test_the_discrepancy_by_hand():
    one = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    other = torch.tensor([[math.log(3), 0.0], [math.log(3), 0.0]])
    assert discrepancy((one, other), "multiclass").tolist() == pytest.approx([0.25, 0.0])
    assert discrepancy((one, other), "binary").tolist() == pytest.approx([0.125, 0.0])


def test_classifiers_learn_labels_each_step_and_disagree_after_every_num_k(
    domains, train, view, losses
):
    model, batch = train({"name": "mcd", "num_k": 3}), domains()
    task, counts = model.tasks["task"], []
    for step in range(6):
        losses(model, view(model, batch))
        task.after_step(model, (step + 1) / 6)
        counts.append(int(task.classifiers.count))
    assert counts == [1, 2, 4, 5, 6, 8]


def test_step_b_raises_the_discrepancy(domains, train, view, losses):
    batch, found = domains(), {}
    for num_k in (1, 100):
        model = train({"name": "mcd", "num_k": num_k})
        for step in range(30):
            seen = view(model, batch)
            found[num_k] = float(losses(model, seen).mean().detach())
            model.tasks["task"].after_step(model, (step + 1) / 30)
    assert found[1] > 2 * found[100]


# -- MDD -----------------------------------------------------------------------------------------


def test_the_losses_of_both_domains(domains, train, view, losses):
    model = train({"name": "mdd", "alpha": None, "margin": 3.0})
    found = view(model, domains())
    each, sides = losses(model, found), sides_of(model, found)
    labels = found.targets["constants"]["scores"].argmax(1)
    p = model.tasks["task"].adversary(sides.vectors).softmax(1)
    chosen = p.gather(1, labels.unsqueeze(1)).squeeze(1)
    source, target = -3 * chosen[:5].log(), -(1 - chosen[5:]).log()
    torch.testing.assert_close(each.mean(), source.mean() + target.mean())


def test_one_class_is_refused_by_mdd(train):
    with pytest.raises(ConfigError, match="the target has 1 class; give labels of two"):
        train("mdd", outputs=1)
    train("mdd", kind="binary", outputs=1)  # which are two


def test_extreme_scores_have_finite_shares():
    scores = torch.tensor([[300.0, 0.0], [-300.0, 0.0]]).requires_grad_()
    for kind, labels in (("multiclass", torch.tensor([0, 0])), ("binary", scores > 0)):
        same, other = log_shares(scores, labels, kind)
        assert same.isfinite().all() and other.isfinite().all()
        (grad,) = torch.autograd.grad((same + other).sum(), scores)
        assert grad.isfinite().all()


# -- DSN -----------------------------------------------------------------------------------------


def test_differences_are_terms_of_the_squared_norm():
    rng = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 7, 3, generator=rng, dtype=torch.float64)
    h, p = (x - x.mean(0) for x in (one, other))
    h, p = (x / x.square().sum(1).mean().sqrt() for x in (h, p))
    expected = (h.T @ p).square().sum() / 49
    torch.testing.assert_close(difference_losses(one, other).sum(), expected)
    torch.testing.assert_close(difference_losses(3 * one, other).sum(), expected)


def test_private_encoders_are_trained_and_the_shared_one_predicts(domains, train, view, losses):
    model = train({"name": "dsn", "alpha": None, "rows": 4})
    task = model.tasks["task"]
    assert [p.shape for p in task.private.parameters()] == [(3,), (3,)]
    found = view(model, domains())
    assert [len(rows) for rows in found.targets["rows"]] == [4, 4]
    losses(model, found).mean().backward()
    assert all(p.grad.any() for p in task.private.parameters())
    assert task.decoder.weight.grad.any() and model.encoder.scale.grad.any()


def test_reconstruction_is_balanced_whatever_is_drawn(domains, train, view, losses):
    options = {"name": "dsn", "alpha": None, "likeness": 0.0, "difference": 0.0}
    model = train({**options, "reconstruction": 1.0})
    batch = domains()
    found = view(model, batch)
    each, task = losses(model, found), model.tasks["task"]
    means = []
    for graph in (batch.graph, batch.own):
        vectors = graph.x * (model.encoder.scale + task.private[0].scale)  # copies of it
        errors = 1 - F.cosine_similarity(task.decoder(vectors), graph.x)
        means.append(errors[1:].mean())
    torch.testing.assert_close(each.mean(), sum(means) / 2)


# -- baselines -----------------------------------------------------------------------------------


def test_rows_of_a_large_batch_are_drawn(domains, train, view, losses):
    model = train({"name": "mk_mmd", "rows": 3})
    found = view(model, domains())
    assert len(losses(model, found)) == 6
    assert len(set(found.targets["of_target"].tolist())) == 3
    other = view(model, domains(), seed=1)
    assert not torch.equal(found.targets["of_target"], other.targets["of_target"])


def test_afn_makes_vectors_longer_by_a_step(domains, train, view, losses):
    model = train({"name": "afn", "step": 2.0, "strength": 1.0})
    found = view(model, domains())
    assert float(losses(model, found).mean()) == pytest.approx(4.0)
    before = sides_of(model, found).vectors.norm(dim=1)
    losses(model, found).mean().backward()
    with torch.no_grad():
        model.encoder.scale.sub_(0.01 * model.encoder.scale.grad)
    assert bool((sides_of(model, found).vectors.norm(dim=1) > before).all())


def test_the_confusion_is_that_of_the_matrix(domains, train, view, losses):
    model = train({"name": "mcc", "temperature": 2.0})
    found = view(model, domains())
    each, target = losses(model, found), sides_of(model, found).target
    p = (model.target.predictor.linear(target) / 2).softmax(1)
    weights = 1 + torch.exp((p * p.log()).sum(1))
    matrix = p.T @ torch.diag(weights) @ p
    matrix = matrix / matrix.sum(1, keepdim=True)
    torch.testing.assert_close(each.mean(), (matrix.sum() - matrix.trace()) / 2)


def test_a_class_that_nothing_is_has_no_confusion():
    p = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]])
    assert confusion_losses(p, torch.ones(2, 1)).tolist() == [0.0, 0.0]


def test_target_entropy_rises_with_the_progress(domains, train, view, losses):
    model = train({"name": "target_entropy", "strength": 2.0, "rise": 0.5})
    batch, task = domains(), model.tasks["task"]
    rows = model.target.predictor.linear(sides_of(model, view(model, batch)).target)
    entropy = -(rows.softmax(1) * rows.log_softmax(1)).sum(1)
    for progress, factor in ((0.0, 0.0), (0.25, 1.0), (0.5, 2.0), (1.0, 2.0)):
        if progress:
            task.after_step(model, progress)
        torch.testing.assert_close(losses(model, view(model, batch)), factor * entropy)


def test_source_predictions_have_no_entropy_to_lower(domains, train, view, losses):
    batch, model = domains(), train({"name": "target_entropy", "rise": 0.0})
    one = losses(model, view(model, batch))
    other = Batch(batch.graph.replace(x=batch.graph.x + 7), batch.own)
    torch.testing.assert_close(losses(model, view(model, other)), one)
