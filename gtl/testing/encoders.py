"""Laws of encoders: one vector per node, which depends on the graph and not on its numbering."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gtl.errors import ConfigError, DataError, LawError
from gtl.graph import Graph, Schema, ops, sample_neighbors
from gtl.roles import Encoder
from gtl.testing.examples import MOLECULES, POINTS, TYPED, Example
from gtl.testing.laws import (
    copied,
    describe,
    generator,
    graph_fields,
    loosened,
    obey,
    require,
    require_close,
    require_finite,
    require_true_derivatives,
    same,
    values_at,
)

_SIZES = (5, 0, 13, 1, 7)


def check_encoder(
    encoder: Encoder | Callable[[Schema], Encoder],
    schemas: Sequence[Schema] = (MOLECULES, POINTS, TYPED),
    skip: Collection[str] = (),
) -> None:
    """Check that an encoder obeys the laws of its role.

    Args:
        encoder: An encoder, which is tried on graphs of its own schema and copied, never changed;
            or a class or function that makes one for a schema. That may refuse some of
            ``schemas`` by raising ConfigError or DataError, but not all.
        schemas: What to try a class on: categorical nodes and edges, floating nodes alone, and
            nodes and edges of several types.
        skip: Names of laws that do not apply.

    Raises:
        LawError: Naming the law, what came and what was expected.
    """
    if isinstance(encoder, Encoder):
        schema = getattr(encoder, "schema", None)
        known = schema if isinstance(schema, Schema) else Schema()
        obey(encoder, EncoderTrial(encoder, known), ENCODER_LAWS, skip)
        return
    refusals = []
    for schema in schemas:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            try:
                built = encoder(schema)
            except (ConfigError, DataError) as error:
                refusals.append(str(error))
                continue
        obey(encoder, EncoderTrial(built, schema), ENCODER_LAWS, skip)
    if len(refusals) == len(schemas):
        raise LawError(
            f"{describe(encoder)} refuses every schema ({'; '.join(refusals)}); "
            "expected it to take at least one, or give `schemas` that it takes"
        )


@dataclass(frozen=True)
class EncoderTrial:
    """An encoder on graphs of its schema; every law starts from an untouched copy."""

    encoder: Encoder = field(repr=False)
    schema: Schema

    def copy(self) -> Encoder:
        """The encoder in float64, biases and other zeros moved a little."""
        encoder = copy.deepcopy(self.encoder).double()
        loosened(encoder)
        return encoder

    def graph(self, sizes: Sequence[int] = _SIZES) -> Graph:
        """A batch of graphs, float64."""
        return Example(self.schema).graph(sizes).replace(y=None).to(dtype=torch.float64)


# -- laws ----------------------------------------------------------------------------------------


def the_schema_is_known(trial: EncoderTrial) -> None:
    """``schema`` is the :class:`gtl.graph.Schema` that the encoder was built for."""
    schema = getattr(trial.encoder, "schema", None)
    require(
        isinstance(schema, Schema),
        f"the attribute `schema` is {schema!r}",
        "a gtl.graph.Schema; set self.schema = schema in the constructor",
    )
    require(schema == trial.schema, f"the attribute `schema` is {schema}", f"{trial.schema}")


def one_vector_per_node(trial: EncoderTrial) -> None:
    """``forward`` gives ``(n, width)``, finite, in the dtype of the parameters."""
    for dtype in (torch.float32, torch.float64):
        encoder, graph = trial.copy().to(dtype), trial.graph().to(dtype=dtype)
        nodes = encoder(graph)
        expected = (graph.num_nodes, encoder.width)
        require(nodes.shape == expected, f"shape {tuple(nodes.shape)}", f"(n, width) = {expected}")
        require(nodes.dtype == dtype, f"{nodes.dtype} of parameters in {dtype}", f"{dtype}")
        require_finite("the node vectors", nodes)


def one_layer_per_block(trial: EncoderTrial) -> None:
    """``layers`` gives the embedded input and then one ``(n, h)`` for each block."""
    encoder, graph = trial.copy().eval(), trial.graph()
    layers = encoder.layers(graph)
    count = len(encoder.blocks) + 1
    require(len(layers) == count, f"{len(layers)} layers", f"{count}: the input and each block")
    for i, layer in enumerate(layers):
        right = layer.dim() == 2 and len(layer) == graph.num_nodes
        require(right, f"layer {i} of shape {tuple(layer.shape)}", f"({graph.num_nodes}, h)")
    require_close("layer 0", layers[0], encoder.embed(graph))


def renumbering_nodes_renumbers_rows(trial: EncoderTrial) -> None:
    """Other node numbers and another order of edges give the same vectors in the new order."""
    encoder, graph = trial.copy().eval(), trial.graph([13]).replace(sizes=None)
    order = torch.randperm(graph.num_nodes, generator=generator(1))
    edges = torch.randperm(graph.num_edges, generator=generator(2))
    place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
    renumbered = Graph(
        src=place[graph.src[edges]],
        dst=place[graph.dst[edges]],
        num_nodes=graph.num_nodes,
        x=None if graph.x is None else graph.x[order],
        e=None if graph.e is None else graph.e[edges],
        node_type=None if graph.node_type is None else graph.node_type[order],
        edge_type=None if graph.edge_type is None else graph.edge_type[edges],
    )
    require_close("a vector of the renumbered graph", encoder(renumbered), encoder(graph)[order])


def a_batch_equals_its_graphs_one_by_one(trial: EncoderTrial) -> None:
    """In eval mode a batch, empty and one-node graphs included, gives what its graphs give."""
    encoder, batch = trial.copy().eval(), trial.graph()
    alone = [encoder(graph) for graph in batch.unbatch()]
    for i, (nodes, size) in enumerate(zip(alone, batch.graph_sizes().tolist())):
        expected = (size, encoder.width)
        require(nodes.shape == expected, f"graph {i} alone: {tuple(nodes.shape)}", f"{expected}")
    require_close("a vector of the batch", encoder(batch), torch.cat(alone))


def seeds_need_their_neighborhood_alone(trial: EncoderTrial) -> None:
    """In eval mode nodes have the same vectors when only what lies within reach is there.

    That is as many hops as there are blocks, of a graph that has many more.
    """
    encoder, graph = trial.copy().eval(), trial.graph([29]).replace(sizes=None)
    seeds = torch.tensor([17, 3, 28])
    part = sample_neighbors(graph, seeds, [None] * len(encoder.blocks))
    require_close("a seed's vector", encoder(part)[part.seeds], encoder(graph)[seeds])


def nodes_without_edges_are_welcome(trial: EncoderTrial) -> None:
    """Graphs without edges give finite vectors and gradients, in train mode too."""
    encoder = trial.copy()
    nodes = encoder(Example(trial.schema).graph([3, 0, 1], edges=False).to(dtype=torch.float64))
    require_finite("the node vectors", nodes)
    nodes.square().sum().backward()
    for name, tensor in encoder.named_parameters():
        if tensor.grad is not None:
            require_finite(f"the gradient of `{name}`", tensor.grad)


def edges_matter(trial: EncoderTrial) -> None:
    """Taking the edges away changes the vectors, unless ``reads_edges`` is false."""
    encoder, graph = trial.copy().eval(), trial.graph([7])
    none = torch.ones(graph.num_edges, dtype=torch.bool)
    equal = same(encoder(graph), encoder(graph.drop_edges(none)))
    if encoder.reads_edges:
        require(not equal, "the same vectors without edges", "others")
    else:
        require(equal, "other vectors without edges", "the same: `reads_edges` is false")


def masked_categories_are_welcome(trial: EncoderTrial) -> None:
    """A categorical value equal to its number of categories means masked and can be encoded."""
    columns, graph = trial.schema.node, trial.graph()
    if columns is None or columns.categories is None:
        return
    mask = torch.tensor(columns.categories).expand(graph.num_nodes, -1)
    require_finite("the vectors of masked nodes", trial.copy().eval()(graph.replace(x=mask)))


def the_graph_stays_as_it_was(trial: EncoderTrial) -> None:
    """Encoding changes no tensor of the graph."""
    encoder, graph = trial.copy(), trial.graph()
    before = copied(graph)
    encoder(graph).sum().backward()
    for name, value in graph_fields(graph).items():
        require(same(value, getattr(before, name)), f"`{name}` of the graph changed", "no change")


def eval_mode_is_repeatable(trial: EncoderTrial) -> None:
    """In eval mode the same graph gives the same vectors and buffers stay as they are."""
    encoder, graph = trial.copy().eval(), trial.graph()
    before = copied(encoder.state_dict())
    one = encoder(graph)
    torch.manual_seed(99)
    require(same(one, encoder(graph)), "two results in eval mode", "one")
    require(same(before, encoder.state_dict()), "the state changed in eval mode", "no change")


def gradients_reach_every_parameter(trial: EncoderTrial) -> None:
    """Every parameter gets a finite gradient from the node vectors."""
    encoder, graph = trial.copy(), trial.graph()
    weight = torch.randn(encoder.width, generator=generator(1), dtype=torch.float64)
    (encoder(graph) @ weight).square().sum().backward()
    missed = [name for name, tensor in encoder.named_parameters() if tensor.grad is None]
    require(not missed, f"no gradient at {', '.join(missed)}", "one at every parameter")
    for name, tensor in encoder.named_parameters():
        assert tensor.grad is not None
        require_finite(f"the gradient of `{name}`", tensor.grad)


def derivatives_are_true(trial: EncoderTrial) -> None:
    """First and second derivatives by autograd agree with differences, in train mode."""
    encoder, graph = trial.copy(), trial.graph([5, 1, 3])
    weight = torch.randn(encoder.width, generator=generator(1), dtype=torch.float64)

    def value(point: dict[str, Tensor]) -> Tensor:
        return torch.sin(values_at(encoder, point, graph) @ weight).sum()

    require_true_derivatives(value, dict(encoder.named_parameters()))


def both_kernels_agree(trial: EncoderTrial) -> None:
    """DGL's kernels, where they can be had, and plain torch give the same vectors and gradients."""
    results = {}
    for name in ("torch", "dgl"):
        encoder = trial.copy()
        try:
            with ops.use_kernels(name):
                nodes = values_at(encoder, dict(encoder.named_parameters()), trial.graph())
                nodes.sin().sum().backward()
        except ConfigError:
            return
        grads = [p.grad.flatten() for p in encoder.parameters() if p.grad is not None]
        results[name] = torch.cat([nodes.detach().flatten(), *grads])
    require_close("a value with DGL's kernels", results["dgl"], results["torch"])


def saving_and_loading_changes_nothing(trial: EncoderTrial) -> None:
    """An encoder loaded from another's ``state_dict`` gives the same vectors."""
    encoder, graph = trial.copy(), trial.graph()
    encoder(graph)
    loaded = copy.deepcopy(trial.encoder).double()
    with torch.no_grad():
        for tensor in loaded.parameters():
            tensor.zero_()
    loaded.load_state_dict(copied(encoder.state_dict()))
    one, two = encoder.eval()(graph), loaded.eval()(graph)
    require(same(one, two), "other vectors after loading", "the same vectors")


ENCODER_LAWS = (
    the_schema_is_known,
    one_vector_per_node,
    one_layer_per_block,
    renumbering_nodes_renumbers_rows,
    a_batch_equals_its_graphs_one_by_one,
    seeds_need_their_neighborhood_alone,
    nodes_without_edges_are_welcome,
    edges_matter,
    masked_categories_are_welcome,
    the_graph_stays_as_it_was,
    eval_mode_is_repeatable,
    gradients_reach_every_parameter,
    derivatives_are_true,
    both_kernels_agree,
    saving_and_loading_changes_nothing,
)
