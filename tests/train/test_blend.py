"""A blend averages predictions with weights that held-back labels justify."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import gtl
from gtl.errors import CheckpointError, ConfigError, DataError
from gtl.train.blend import BLEND, blended
from gtl.train.blend_weights import HeldBack, cross_fitted
from gtl.train.predicting import logits, probabilities

SMALL = {"name": "gin", "width": 8, "depth": 1}
NAN = float("nan")


def _logit(*values):
    return torch.logit(torch.tensor(values, dtype=torch.float64)).unsqueeze(1)


# -- weights -----------------------------------------------------------------------------------


def test_two_members_of_a_regression_have_the_weights_of_the_normal_equations():
    truth = torch.zeros(4, 1)
    first = torch.tensor([[1.0], [1.0], [1.0], [-1.0]])
    second = torch.tensor([[-1.0], [0.0], [1.0], [0.0]])
    held = HeldBack([first, second], truth, "regression")
    # errors a and b: w = (b.b - a.b) / (a.a - 2 a.b + b.b) = (2 - 0) / (4 - 0 + 2)
    assert np.allclose(held.weights(0.0), [1 / 3, 2 / 3], atol=1e-6)
    # shrunk, in units of the mean squared error s of the equal blend: 1 + 1/4 + 0 ... over 4
    s = (0.0 + 0.25 + 1.0 + 0.25) / 4
    # L = (4 w^2 + 2 (1 - w)^2) / 2s + 4 k (w - 1/2)^2
    k = 3.0
    w = (2 / s + 4 * k) / (6 / s + 8 * k)
    assert np.allclose(held.weights(k), [w, 1 - w], atol=1e-6)
    assert np.allclose(held.weights(1e9), [0.5, 0.5], atol=1e-6)


def test_a_member_that_is_always_wrong_has_no_weight_and_none_is_negative():
    truth = torch.tensor([[1.0], [0.0]] * 20)
    good, bad = _logit(*[0.9, 0.1] * 20), _logit(*[0.1, 0.9] * 20)
    held = HeldBack([good, bad, good], truth, "binary")
    weights = held.weights(0.0)
    assert weights[1] == 0 and weights.sum() == pytest.approx(1)
    equal = HeldBack([good, good], truth, "binary").weights(1.0)
    assert np.allclose(equal, 0.5)


def test_losses_by_hand_and_missing_labels_do_not_count():
    truth = torch.tensor([[1.0, NAN], [0.0, 1.0], [NAN, NAN]])
    first = logits(torch.tensor([[0.8, 0.5], [0.4, 0.2], [0.3, 0.3]]), "binary")
    held = HeldBack([first], truth, "binary")
    losses = held.losses(np.ones(1))
    assert np.allclose(losses, -np.log([0.8, 0.6, 0.2]))
    assert np.allclose(held.mean_by_item(losses), -np.log([0.8, (0.6 * 0.2) ** 0.5]))
    classes = torch.tensor([2, -1, 0])
    found = HeldBack([torch.log(torch.tensor([[0.2, 0.3, 0.5]] * 3))], classes, "multiclass")
    assert np.allclose(found.fits, [[0.5, 0.2]])


def test_cross_fitted_weights_of_an_item_do_not_depend_on_its_label():
    rng = torch.Generator().manual_seed(0)
    truth = (torch.rand(30, 1, generator=rng) > 0.5).double()
    outputs = [torch.randn(30, 1, generator=rng).double() for _ in range(3)]
    before = cross_fitted(HeldBack(outputs, truth, "binary"), outputs, 0.1, 5, 0)
    turned = truth.clone()
    turned[7] = 1 - turned[7]
    after = cross_fitted(HeldBack(outputs, turned, "binary"), outputs, 0.1, 5, 0)
    assert np.allclose(before[7], after[7])
    assert not np.allclose(before, after)
    assert np.allclose(before.sum(1), 1)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_predictions_are_averaged_as_probabilities(kind):
    first, second = torch.randn(5, 3).double(), torch.randn(5, 3).double()
    found = probabilities(blended([first, second], np.array([[0.25, 0.75]]), kind), kind)
    expected = 0.25 * probabilities(first, kind) + 0.75 * probabilities(second, kind)
    assert torch.allclose(found, expected)


# -- a blend is a run --------------------------------------------------------------------------


@pytest.fixture
def members(shapes):
    linear = {"name": "linear", "strength": 1.0}
    forest = {"name": "forest", "trees": 20, "max_features": "sqrt"}
    return {
        "forest": gtl.probe(SMALL, shapes, model=forest),
        "linear": gtl.probe(SMALL, shapes, model=linear),
        "tuned": gtl.finetune(SMALL, shapes, epochs=2),
    }


def test_a_blend_is_stored_with_its_members_and_read_bit_for_bit(shapes, members, tmp_path):
    made = gtl.blend(members, shapes, out=tmp_path / "a")
    made.save(tmp_path / "b")
    values = gtl.predict(made, shapes)
    for other in (gtl.load_run(tmp_path / "a"), tmp_path / "b", gtl.blend(members, shapes)):
        assert torch.equal(gtl.predict(other, shapes), values)
    parts = [w * gtl.predict(members[n], shapes).double() for n, w in made.weights.items()]
    assert torch.allclose(values, sum(parts))
    results = json.loads((tmp_path / "a" / "results.json").read_text())
    assert results["test"] == gtl.evaluate(tmp_path / "a", shapes)["rocauc"]
    assert sum(results["weights"].values()) == pytest.approx(1)
    again = gtl.blend(members, shapes, out=tmp_path / "a", resume=True)
    assert again.weights == made.weights


def test_folders_are_members_too(shapes, members, tmp_path):
    for name, member in members.items():
        member.save(tmp_path / name)
    folders = [tmp_path / name for name in members]
    found = gtl.blend(folders, shapes)
    assert found.weights == gtl.blend(members, shapes).weights


def test_members_that_were_trained_on_another_split_are_refused(tmp_path):
    data = gtl.load("demo:shapes", seed=0)
    folders = [tmp_path / "weak", tmp_path / "strong"]
    for strength, folder in zip((10.0, 1.0), folders):
        gtl.probe(SMALL, data, model={"name": "linear", "strength": strength}, out=folder)
    assert gtl.blend(folders, data).weights
    with pytest.raises(DataError, match="'weak' may have been trained on validation items"):
        gtl.blend(folders, gtl.load("demo:shapes", seed=1))


def test_the_guard_takes_a_member_that_is_clearly_better(shapes):
    from gtl.train.predicting import Predicting

    class Fixed(Predicting):
        def __init__(self, labels, sign):
            super().__init__(labels)
            self.sign, self.results = sign, {"valid": 0.5, "footprint": {}}

        def outputs(self, data, items):
            return self.sign * 4 * (2 * data.labels[items] - 1)

        def save(self, folder):
            raise NotImplementedError

    labels = gtl.train.labels.LabelNames.of(shapes)
    members = {"right": Fixed(labels, 1.0), "wrong": Fixed(labels, -1.0)}
    found = gtl.blend(members, shapes, shrinkage=100.0)
    assert found.results["selection"]["selected"] == "right"
    assert found.weights == {"right": 1.0, "wrong": 0.0}
    free = gtl.blend(members, shapes, shrinkage=100.0, guard=False)
    assert free.results["selection"]["selected"] == BLEND and free.weights["wrong"] > 0.2
    alike = {"one": Fixed(labels, 1.0), "two": Fixed(labels, 1.0)}
    assert gtl.blend(alike, shapes).results["selection"]["selected"] == BLEND


# -- bad input ---------------------------------------------------------------------------------


def test_unusable_members_are_named(shapes, members, tmp_path):
    with pytest.raises(ConfigError, match="two or more"):
        gtl.blend([members["tuned"]], shapes)
    with pytest.raises(ConfigError, match="expected a list"):
        gtl.blend("runs/a", shapes)
    with pytest.raises(ConfigError, match="too much alike"):
        gtl.blend({"a b": members["tuned"], "a-b": members["linear"]}, shapes)
    with pytest.raises(ConfigError, match="shrinkage"):
        gtl.blend(members, shapes, shrinkage=-1.0)
    other = replace(shapes, labels=shapes.labels.repeat(1, 2))
    with pytest.raises(DataError, match="predicts other labels"):
        gtl.blend(members, other)
    with pytest.raises(DataError, match="valid"):
        gtl.blend(members, replace(shapes, split={"train": shapes.split["train"]}))
    members["tuned"].save(tmp_path / "a")
    with pytest.raises(CheckpointError, match="not a blend"):
        gtl.train.blend.Blend.load(tmp_path / "a")
