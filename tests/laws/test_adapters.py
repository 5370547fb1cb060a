"""Every registered adapter obeys the laws, and each law catches an adapter that breaks it."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import torch
from torch import nn

from gtl.catalog import ADAPTERS
from gtl.encoders import GIN
from gtl.errors import LawError
from gtl.roles import Adapter
from gtl.testing import ADAPTER_LAWS, MOLECULES, check_adapter

# Options worth trying beside those that an adapter has by itself.
CASES: dict[str, list[dict[str, object]]] = {
    "bottleneck": [{}, {"hidden": 3, "activation": "gelu", "norm": "after", "dropout": 0.2}],
    "layerwise": [{}, {"hidden": 5, "residual": False}],
    "parallel": [{"groups": 2}, {"kind": "bottleneck", "scale": 0.5}],
    "lora": [{"rank": 2, "alpha": 3.0}],
    "prompt": [{}, {"count": 3}],
    # Graphs of different sizes are windows of one step each; tests/adapters has longer ones.
    "spatio_temporal": [{"history": 1}, {"history": 1, "parts": ["joint"], "hidden": 2}],
}
SKIP = {
    # The published norm makes the first steps as large as if the branch were: the loss may rise.
    "bottleneck": [set(), {"it_learns"}],
    # The published form stands in the place of the encoder's output.
    "layerwise": [set(), {"untrained_it_changes_nothing"}],
}


@pytest.mark.parametrize("name", ADAPTERS.names())
def test_an_adapter_obeys_the_laws(name):
    for i, options in enumerate(CASES.get(name, [{}])):
        skip = SKIP[name][i] if name in SKIP else ()
        check_adapter(lambda options=options: ADAPTERS.build({"name": name, **options}), skip=skip)


# -- the laws themselves -------------------------------------------------------------------------


class Good(Adapter):
    def setup(self, sites):
        self.paths = [block.path for block in sites.blocks]
        self.gains = nn.ParameterList(torch.zeros(block.width) for block in sites.blocks)

    def wraps(self):
        return {path: partial(self.around, i) for i, path in enumerate(self.paths)}

    def around(self, i, call, *inputs):
        out = call(*inputs)
        return out + self.added(out) * self.gains[i]

    def added(self, out):
        return torch.tanh(out)


class StartsAtOne(Good):
    def setup(self, sites):
        super().setup(sites)
        self.gains = nn.ParameterList(torch.ones(block.width) for block in sites.blocks)


class HoldsTheBlock(Good):
    def setup(self, sites):
        super().setup(sites)
        self.block = sites.blocks[0].module


class TrainsTheBatchNorms(Good):
    def around(self, i, call, *inputs):
        call.module.train(self.training)
        return super().around(i, call, *inputs)


class FreezesForGood(Good):
    def setup(self, sites):
        super().setup(sites)
        sites.blocks[0].module.requires_grad_(False)


class Uphill(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        return values.clone()

    @staticmethod
    def backward(ctx, grad):
        return -grad


class Climbs(Good):
    def around(self, i, call, *inputs):
        out = call(*inputs)
        return out + torch.tanh(out) * Uphill.apply(self.gains[i])


class LeftOver(Good):
    def setup(self, sites):
        super().setup(sites)
        self.unused = nn.Parameter(torch.ones(1))


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
    def around(self, i, call, *inputs):
        return call(*inputs) * WrongSecondDerivative.apply(self.gains[i])


class KeepsWeightsToItself(Good):
    def setup(self, sites):
        super().setup(sites)
        self.steps = 0

    def added(self, out):
        self.steps += self.training
        return super().added(out) * (1 + self.steps)


class NeverTheSame(Good):
    calls = itertools.count()

    def added(self, out):
        return super().added(out) + next(self.calls)


class MergesInNameOnly(Good):
    mergeable = True

    def merge(self, sites):
        pass


class LooksAtTheWholeBatch(Good):
    def added(self, out):
        return super().added(out) + out.sum(0)


class CannotBeCopied(Good):
    def __deepcopy__(self, memo):
        return self


BROKEN = {
    "untrained_it_changes_nothing": StartsAtOne,
    "the_adapter_alone_may_move": HoldsTheBlock,
    "training_leaves_the_encoder_alone": TrainsTheBatchNorms,
    "detaching_gives_the_encoder_back": FreezesForGood,
    "it_learns": Climbs,
    "gradients_reach_every_parameter": LeftOver,
    "derivatives_are_true": Fused,
    "its_state_is_all_that_it_knows": KeepsWeightsToItself,
    "it_is_repeatable": NeverTheSame,
    "merging_keeps_every_answer": MergesInNameOnly,
    "adapted_it_is_an_encoder": LooksAtTheWholeBatch,
    "a_copy_is_a_copy": CannotBeCopied,
}


def test_an_adapter_that_does_everything_right_passes():
    check_adapter(Good)


def test_each_law_has_an_adapter_that_breaks_it():
    assert list(BROKEN) == [law.__name__ for law in ADAPTER_LAWS]


@pytest.mark.parametrize("law", BROKEN)
def test_a_broken_adapter_is_caught(law):
    encoder = GIN(MOLECULES, width=6, depth=2)
    with pytest.raises(LawError, match=f"{BROKEN[law].__name__} with GIN.*`{law}`"):
        check_adapter(BROKEN[law], [encoder], skip=set(BROKEN) - {law})
