"""Every registered head obeys the laws, and each law catches a head that breaks it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gtl.catalog import HEADS
from gtl.errors import LawError
from gtl.roles import Head
from gtl.testing import HEAD_LAWS, check_head

# Options worth trying beside those that a head has by itself.
CLASSES = [[[0, 1, 0.5], [1, 0, 0.3], [2, 2, 2.0]], [[2, 0, 0.7]]]
CASES = {
    "mlp": [{}, {"depth": 3, "hidden": 7, "dropout": 0.5}],
    "prototype": [{}, {"similarity": "cosine"}],
    "gaussian": [
        {"prior": "empirical"},
        {"kind": "qda", "task": "within"},
        {"kind": "proto"},
    ],
    "shrinkage": [{"graphs": CLASSES}, {"graphs": CLASSES[:1], "metric": "plain"}],
    "kgtn": [
        {"graphs": CLASSES},
        {"graphs": CLASSES[:1], "residual": False},
        {"graphs": CLASSES[:1], "classifier": "cosine", "steps": 3},
        {"graphs": CLASSES, "classifier": "pearson", "combine": "max"},
    ],
}


@pytest.mark.parametrize("name", HEADS.names())
def test_a_head_obeys_the_laws(name):
    for options in CASES.get(name, [{}]):
        check_head(lambda *sizes, options=options: HEADS.build({"name": name, **options}, *sizes))


# -- the laws themselves -------------------------------------------------------------------------


class Good(Head):
    def __init__(self, width, outputs):
        super().__init__()
        self.map = nn.Linear(width, outputs)

    def forward(self, features):
        return torch.tanh(self.map(features))


class OneNumber(Good):
    def forward(self, features):
        return super().forward(features).sum(1)


class Centers(Good):
    def forward(self, features):
        return super().forward(features - features.mean(0))


class WritesIntoTheFeatures(Good):
    def forward(self, features):
        return super().forward(features.mul_(2))


class DividesByTheNorm(Good):
    def forward(self, features):
        return super().forward(features / features.norm(dim=1, keepdim=True))


class WrongSecondDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        ctx.save_for_backward(values)
        return values.exp()

    @staticmethod
    def backward(ctx, grad):
        (values,) = ctx.saved_tensors
        return values.detach().exp() * grad


class Fused(Good):
    def forward(self, features):
        return WrongSecondDerivative.apply(super().forward(features))


class KeepsWeightsToItself(Good):
    def __init__(self, width, outputs):
        super().__init__(width, outputs)
        self.hidden = [0.0]

    def forward(self, features):
        if self.training:
            self.hidden[0] += 1.0
        return super().forward(features) + self.hidden[0]


BROKEN = {
    "one_prediction_per_row": OneNumber,
    "a_row_does_not_know_the_others": Centers,
    "features_stay_as_they_were": WritesIntoTheFeatures,
    "gradients_reach_everything": DividesByTheNorm,
    "derivatives_are_true": Fused,
    "saving_and_loading_changes_nothing": KeepsWeightsToItself,
}


def test_a_head_that_does_everything_right_passes():
    check_head(Good)


def test_each_law_has_a_head_that_breaks_it():
    assert list(BROKEN) == [law.__name__ for law in HEAD_LAWS]


@pytest.mark.parametrize("law", BROKEN)
def test_a_broken_head_is_caught(law):
    with pytest.raises(LawError, match=f"{BROKEN[law].__name__}.*`{law}`"):
        check_head(BROKEN[law], skip=set(BROKEN) - {law})
