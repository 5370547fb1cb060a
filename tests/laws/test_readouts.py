"""Every registered readout obeys the laws, and each law catches a readout that breaks it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gtl.catalog import READOUTS
from gtl.errors import LawError
from gtl.graph import ops
from gtl.roles import Readout
from gtl.testing import READOUT_LAWS, check_readout


@pytest.mark.parametrize("name", READOUTS.names())
def test_a_readout_obeys_the_laws(name):
    check_readout(READOUTS.get(name))


# -- the laws themselves -------------------------------------------------------------------------


class Sum(Readout):
    def pool(self, nodes, sizes):
        return ops.segment_sum(nodes, sizes)


class Stranger(nn.Module):
    def __init__(self, width):
        super().__init__()


class SkipsEmptyGraphs(Sum):
    def pool(self, nodes, sizes):
        return super().pool(nodes, sizes)[sizes > 0]


class MoreThanItsWidth(Sum):
    def pool(self, nodes, sizes):
        return super().pool(nodes, sizes).repeat(1, 2)


class AnyShape(Sum):
    def forward(self, graph, nodes):
        return torch.zeros(graph.num_graphs, self.width)


class FirstNode(Sum):
    def pool(self, nodes, sizes):
        return torch.cat([part[:1] for part in nodes.split(sizes.tolist())])


class WrongSecondDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        ctx.save_for_backward(values)
        return values.exp()

    @staticmethod
    def backward(ctx, grad):
        (values,) = ctx.saved_tensors
        return values.detach().exp() * grad


class FusedSum(Sum):
    def pool(self, nodes, sizes):
        return WrongSecondDerivative.apply(super().pool(nodes, sizes))


BROKEN = {
    "it_derives_from_readout": [Stranger],
    "one_vector_per_graph": [SkipsEmptyGraphs, MoreThanItsWidth],
    "vectors_of_another_shape_are_refused": [AnyShape],
    "the_order_of_nodes_does_not_matter": [FirstNode],
    "readout_derivatives_are_true": [FusedSum],
}


def test_a_readout_that_does_everything_right_passes():
    check_readout(Sum)


def test_each_law_has_a_readout_that_breaks_it():
    assert list(BROKEN) == [law.__name__ for law in READOUT_LAWS]


@pytest.mark.parametrize("law", BROKEN)
def test_a_broken_readout_is_caught(law):
    for readout in BROKEN[law]:
        with pytest.raises(LawError, match=f"{readout.__name__}.*`{law}`"):
            check_readout(readout, skip=set(BROKEN) - {law})
