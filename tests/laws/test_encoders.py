"""Every registered encoder and readout obeys the laws, and each law catches what breaks it."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from gtl.catalog import ENCODERS
from gtl.errors import DataError, LawError
from gtl.graph import ops
from gtl.roles import Encoder
from gtl.testing import (
    ENCODER_LAWS,
    MOLECULES,
    POINTS,
    SmallEncoder,
    check_encoder,
)

SMALL = {"width": 6, "depth": 3}
RAW = {"width": 6, "depth": 2, "embedding": None, "input_dropout": 0.2}
JUMPY = {"width": 4, "depth": 2, "jk": "concat", "norm": "layer", "residual": True, "dropout": 0.2}
# Options worth trying, where they are not those of every encoder.
CASES: dict[str, list[dict[str, object]]] = {
    "gin": [SMALL, JUMPY, RAW, {**SMALL, "learn_eps": True, "jk": "sum"}],
    "sage": [
        SMALL,
        JUMPY,
        {**JUMPY, **RAW},
        {**SMALL, "aggregator": "gcn", "normalize": True, "jk": "max"},
    ],
    "gcn": [SMALL, JUMPY, RAW, {**RAW, "depth": 2, "last_linear": False}],
    "gat": [SMALL, JUMPY, {**JUMPY, **RAW}, {**SMALL, "merge": "concat"}],
    "rgcn": [
        {**SMALL, "decomposition": None},
        {**JUMPY, "decomposition": "block", "bases": 2},
        {**SMALL, "bases": 2, "jk": "sum", "norm": "batch"},
    ],
    "embedding": [{"width": 6}],
    "hgt": [
        {**SMALL, "heads": 2, "norm": "layer"},
        {"width": 4, "depth": 2, "heads": 1, "jk": "concat", "dropout": 0.2},
    ],
    "earl": [
        {**SMALL, "reserved": 5, "nearest": 3},
        {"width": 4, "depth": 1, "reserved": 40, "nearest": 2, "connected": False},
        {"width": 5, "depth": 0, "nearest": 0, "relation_width": 3},
    ],
    "mlp": [SMALL, JUMPY, RAW],
}
# Laws that cannot hold.
SKIPPED: dict[str, set[str]] = {
    # A profile counts the edges of a node in both directions, also those that lead away from what
    # was sampled; and the last map of relations acts on what a score of triples reads, not on nodes
    # (tests/encoders/test_earl.py has the gradients).
    "earl": {"seeds_need_their_neighborhood_alone", "gradients_reach_every_parameter"},
    # An encoder without messages reads no edges by its nature.
    "embedding": {"edges_matter"},
}


def cases():
    for name in ENCODERS.names():
        for i, options in enumerate(CASES.get(name, [SMALL, JUMPY])):
            yield pytest.param(name, options, id=f"{name}-{i}" if i else name)


@pytest.mark.parametrize(("name", "options"), list(cases()))
def test_an_encoder_obeys_the_laws(name, options):
    def small(schema):
        return ENCODERS.build({"name": name, **options}, schema)

    check_encoder(small, skip=SKIPPED.get(name, set()))


# -- the laws themselves -------------------------------------------------------------------------


class Embed(nn.Module):
    def __init__(self, schema, width):
        super().__init__()
        self.inner = SmallEncoder(schema, width)
        del self.inner.own, self.inner.sent

    def forward(self, graph):
        return self.inner._embed(graph)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.map, self.norm = nn.Linear(width, width), nn.BatchNorm1d(width)

    def forward(self, graph, h):
        return h + torch.tanh(self.norm(self.map(h + ops.sum_neighbors(graph, h))))


class Good(Encoder):
    def __init__(self, schema, width=4):
        super().__init__()
        self.schema, self.width = schema, width
        self.embed = Embed(schema, width)
        self.blocks = nn.ModuleList([Block(width), Block(width)])

    def forward(self, graph):
        return self.layers(graph)[-1]


class ForgetsItsSchema(Good):
    def __init__(self, schema, width=4):
        super().__init__(schema, width)
        del self.schema


class OneVectorPerGraph(Good):
    def forward(self, graph):
        return ops.segment_sum(super().forward(graph), graph.graph_sizes())


class ForgetsTheInput(Good):
    def layers(self, graph):
        return super().layers(graph)[1:]

    def forward(self, graph):
        return self.layers(graph)[-1]


class CountsNodes(Good):
    def forward(self, graph):
        return super().forward(graph) + torch.arange(graph.num_nodes).unsqueeze(1)


class LooksAtTheWholeBatch(Good):
    def forward(self, graph):
        nodes = super().forward(graph)
        return nodes + nodes.sum(0)


class LooksFartherThanItsBlocks(Good):
    def forward(self, graph):
        return ops.sum_neighbors(graph, super().forward(graph))


class DividesByTheDegree(Good):
    def forward(self, graph):
        return super().forward(graph) / graph.in_degrees().unsqueeze(1)


class IgnoresEdges(Good):
    def forward(self, graph):
        return self.embed(graph)


class NoRowForTheMask(Good):
    def __init__(self, schema, width=4):
        super().__init__(schema, width)
        for table in self.embed.inner.tables:
            table.weight = nn.Parameter(table.weight[:-1].detach())


class WritesIntoTheGraph(Good):
    def forward(self, graph):
        graph.x[0] = 0
        return super().forward(graph)


class NeverTheSame(Good):
    calls = itertools.count()

    def forward(self, graph):
        return super().forward(graph) + next(self.calls)


class LeftOver(Good):
    def __init__(self, schema, width=4):
        super().__init__(schema, width)
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
    def forward(self, graph):
        return WrongSecondDerivative.apply(super().forward(graph))


class PrefersAKernel(Good):
    def forward(self, graph):
        return super().forward(graph) * (2.0 if ops.kernels() == "dgl" else 1.0)


class KeepsWeightsToItself(Good):
    def __init__(self, schema, width=4):
        super().__init__(schema, width)
        self.hidden = [torch.zeros(1)]

    def forward(self, graph):
        if self.training:
            self.hidden[0] = self.hidden[0] + 1
        return super().forward(graph) + self.hidden[0]


BROKEN = {
    "the_schema_is_known": ForgetsItsSchema,
    "one_vector_per_node": OneVectorPerGraph,
    "one_layer_per_block": ForgetsTheInput,
    "renumbering_nodes_renumbers_rows": CountsNodes,
    "a_batch_equals_its_graphs_one_by_one": LooksAtTheWholeBatch,
    "seeds_need_their_neighborhood_alone": LooksFartherThanItsBlocks,
    "nodes_without_edges_are_welcome": DividesByTheDegree,
    "edges_matter": IgnoresEdges,
    "masked_categories_are_welcome": NoRowForTheMask,
    "the_graph_stays_as_it_was": WritesIntoTheGraph,
    "eval_mode_is_repeatable": NeverTheSame,
    "gradients_reach_every_parameter": LeftOver,
    "derivatives_are_true": Fused,
    "both_kernels_agree": PrefersAKernel,
    "saving_and_loading_changes_nothing": KeepsWeightsToItself,
}
NAMES = [law.__name__ for law in ENCODER_LAWS]


def test_an_encoder_that_does_everything_right_passes():
    check_encoder(Good)


def test_an_instance_is_tried_on_its_own_schema():
    check_encoder(Good(POINTS))


@pytest.mark.parametrize("schema", [None, "points"])
def test_an_instance_without_a_schema_is_caught(schema):
    encoder = Good(POINTS)
    encoder.schema = schema
    with pytest.raises(LawError, match=rf"`the_schema_is_known`.*`schema` is {schema!r}.*set self"):
        check_encoder(encoder)


def test_each_law_has_an_encoder_that_breaks_it():
    assert list(BROKEN) == NAMES


@pytest.mark.parametrize("law", BROKEN)
def test_a_broken_encoder_is_caught(law):
    if law == "both_kernels_agree":
        pytest.importorskip("dgl", reason="DGL has no wheel here, there is one kernel only")
    with pytest.raises(LawError, match=f"{BROKEN[law].__name__}.*`{law}`"):
        check_encoder(BROKEN[law], [MOLECULES], skip=set(NAMES) - {law})


class FusedAttention(Good):
    """Attention with DGL's own softmax, whose second derivative is wrong on a CPU."""

    def forward(self, graph):
        import dgl

        h = super().forward(graph)
        scores = (h[graph.src] * h[graph.dst]).sum(1)
        handle = dgl.graph((graph.src, graph.dst), num_nodes=graph.num_nodes)
        return h + ops.weighted_sum_neighbors(graph, h, dgl.ops.edge_softmax(handle, scores))


def test_the_second_derivative_of_a_fused_softmax_is_caught():
    pytest.importorskip("dgl", reason="DGL has no wheel here")
    with pytest.raises(LawError, match="second derivative"):
        check_encoder(FusedAttention, skip=set(NAMES) - {"derivatives_are_true"})


def test_an_encoder_may_not_refuse_every_schema():
    def picky(schema):
        raise DataError("needs node types")

    with pytest.raises(LawError, match=r"picky refuses every schema.*needs node types"):
        check_encoder(picky)
