"""Domain alignment against reference vectors: MMD, CORAL, gradient reversal, CDAN."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gtl.graph import Graph
from gtl.roles import View
from gtl.tasks import CDAN
from gtl.tasks.certainty import entropies
from gtl.tasks.domain.cdan import certainty_weights, multilinear, randomized
from gtl.tasks.domain.coral import coral_losses
from gtl.tasks.domain.critic import Adversary, domain_losses, reversed_gradient
from gtl.tasks.domain.task import Domains
from gtl.tasks.mmd import median_widths, mmd_losses

NEAR = {"rtol": 1e-11, "atol": 1e-13}


@pytest.fixture
def known(golden):
    with np.load(golden / "domain_alignment.npz") as file:
        return {name: torch.from_numpy(np.asarray(file[name])) for name in file}


def test_mmd_and_its_gradient(known):
    x, y = known["source"].requires_grad_(), known["target"]
    for kind, biased in (("biased", True), ("unbiased", False)):
        widths = 2 * known["mmd_bandwidths"].square()
        each = mmd_losses(x, y, widths, biased)
        torch.testing.assert_close(each.mean(), known[f"mmd2_{kind}_mean"], **NEAR)
        (grad,) = torch.autograd.grad(each.mean(), x)
        torch.testing.assert_close(grad, known[f"mmd2_{kind}_mean_grad_source"], **NEAR)


def test_mmd_at_the_median_distance(known):
    x, y = known["source"], known["target"]
    widths = median_widths(torch.cat([x, y]), [1.0])
    torch.testing.assert_close(widths[0], known["pooled_sq_distance_median"], **NEAR)
    found = mmd_losses(x, y, widths).mean()
    torch.testing.assert_close(found, known["mmd2_unbiased_median_sigma"], **NEAR)


def test_mmd_of_the_published_code_is_the_sum_of_kernels_and_a_constant(known):
    n = int(known["tllib_mkmmd_n"])
    x, y = known["source"][:n], known["target"][:n]
    pooled = torch.cat([x, y])
    mean = (pooled.unsqueeze(1) - pooled).square().sum(2).mean()
    widths = 2 * known["tllib_mkmmd_alphas"] * mean
    found = len(widths) * mmd_losses(x, y, widths).mean() + 2 / (n - 1)
    torch.testing.assert_close(found, known["tllib_mkmmd_value"], **NEAR)


def test_coral_and_its_gradient(known):
    x = known["source"].requires_grad_()
    loss = coral_losses(x, known["target"]).mean()
    torch.testing.assert_close(loss, known["coral_loss"], **NEAR)
    (grad,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(grad, known["coral_grad_source"], **NEAR)


def test_the_schedule_of_the_reversal(known):
    adversary = Adversary(1.0, 10.0, 4, 1)
    found = torch.stack([adversary.factor(p) for p in known["grl_progress"]])
    torch.testing.assert_close(found, known["grl_lambda_alpha10"], **NEAR)


def test_the_published_schedule_is_slower_than_that_of_the_paper(known):
    """thuml's library counts 1,000 steps for alpha 1: 0.46 there, where the paper's is near 1."""
    steps = known["grl_tllib_iteration"].double()
    at = known["grl_tllib_lambda"][steps == 1000]
    assert at.tolist() == pytest.approx([0.4621], abs=1e-4)
    assert Adversary(1.0, 10.0, 4, 1).factor(torch.tensor(1.0)) > 0.999


def test_gradient_reversal(known):
    x = known["source"].requires_grad_()
    empty = torch.empty(0, dtype=torch.int64)
    view = View(Graph(empty, empty, len(x)), {"reversal": known["grl_lambda"], "constants": {}})
    out = reversed_gradient(x, view)
    torch.testing.assert_close(out, known["source"], rtol=0, atol=0)
    loss = torch.nn.functional.softplus(out @ known["grl_w"]).mean()
    torch.testing.assert_close(loss, known["grl_loss"], **NEAR)
    (grad,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(grad, known["grl_grad_reversed"], **NEAR)


def test_maps_of_vectors_and_predictions(known):
    vectors = torch.cat([known["source"], known["target"]])
    p = known["cdan_softmax"]
    torch.testing.assert_close(multilinear(vectors, p), known["cdan_multilinear"], **NEAR)
    found = randomized(vectors, p, known["cdan_random_f"], known["cdan_random_g"])
    torch.testing.assert_close(found, known["cdan_randomised"], **NEAR)


def test_certainty_weights(known):
    scores = torch.cat([known["cdan_logits_source"], known["cdan_logits_target"]])
    entropy = entropies(scores, "multiclass")
    torch.testing.assert_close(entropy, known["cdan_entropy"], **NEAR)
    found = certainty_weights(entropy, len(known["cdan_logits_source"]))
    torch.testing.assert_close(found, known["cdan_weight_per_domain"], **NEAR)


def test_the_loss_is_the_mean_of_both_domain_means(known):
    p, sources = known["cdan_domain_probability"], len(known["cdan_logits_source"])
    domains = Domains(known["cdan_softmax"][:sources], known["cdan_softmax"][sources:])
    entropy = known["cdan_entropy"]
    each = domain_losses(p.logit(), domains) * certainty_weights(entropy, sources)
    torch.testing.assert_close(each.mean(), known["cdan_bce_per_domain"], rtol=1e-10, atol=1e-12)


def test_a_large_map_is_randomized_and_a_small_one_is_not(train):
    assert not hasattr(train({"name": "cdan"}).tasks["task"], "of_vectors")
    small, LARGEST = CDAN(features=7), "gtl.tasks.domain.cdan.LARGEST"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LARGEST, 5)  # 3 columns and 2 classes
        task = train(small).tasks["task"]
    assert task.of_vectors.shape == (3, 7) and task.of_classes.shape == (2, 7)
    assert {"of_vectors", "of_classes"} <= set(task.state_dict())
    assert task.conditioned(torch.ones(4, 3).double(), torch.ones(4, 2).double()).shape == (4, 7)
