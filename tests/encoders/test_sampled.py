"""Encoders on sampled neighborhoods: exact where all edges are drawn, else right on average."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gtl.catalog import ENCODERS
from gtl.encoders.gat import GATConvolution
from gtl.encoders.gcn import GCNConvolution
from gtl.encoders.gin import GINConvolution
from gtl.encoders.sage import SAGEConvolution
from gtl.graph import Graph, Schema, sample_neighbors

NAMES = ["gin", "gcn", "sage", "gat", "rgcn", "hgt"]
SEEDS = torch.tensor([7, 2, 19])


def directed_graph(schema: Schema, nodes: int = 23, edges: int = 161) -> Graph:
    rng = torch.Generator().manual_seed(1)
    src, dst = torch.randint(nodes, (2, edges), generator=rng)
    x = torch.stack([torch.randint(c, (nodes,), generator=rng) for c in (5, 3)], 1)
    e = torch.stack([torch.randint(c, (edges,), generator=rng) for c in (4, 2)], 1)
    return Graph(src, dst, nodes, x=x, e=e)


@pytest.mark.parametrize("name", NAMES)
def test_with_all_edges_the_seeds_have_the_vectors_of_the_whole_graph(
    schema: Schema, kernels: str, name: str
) -> None:
    graph = directed_graph(schema, edges=47)
    encoder = ENCODERS.build({"name": name, "width": 8, "depth": 2}, schema).double()
    encoder(graph)  # running statistics that are not 0 and 1
    encoder.eval()
    part = sample_neighbors(graph, SEEDS, [None, None])
    assert part.num_nodes < 23
    torch.testing.assert_close(encoder(part)[part.seeds], encoder(graph)[SEEDS])


@pytest.mark.parametrize(
    ("convolution", "options"),
    [
        (GCNConvolution, {}),
        (GINConvolution, {}),
        (SAGEConvolution, {"aggregator": "mean", "normalize": False}),
        (SAGEConvolution, {"aggregator": "gcn", "normalize": False}),
    ],
)
def test_the_mean_over_samples_is_the_sum_over_all_neighbors(
    schema: Schema, convolution: Any, options: dict[str, Any]
) -> None:
    graph = directed_graph(schema)
    layer = convolution(schema.edge, 5, **options).double()
    if hasattr(layer, "mlp"):
        layer.mlp = torch.nn.Identity()  # a mean passes through a linear layer only
    h = torch.randn(23, 5).double()
    copies = Graph.batch([graph] * 1000)  # a thousand samples in one
    seeds = (SEEDS + 23 * torch.arange(1000).unsqueeze(1)).flatten()
    part = sample_neighbors(copies, seeds, [3], torch.Generator().manual_seed(2))
    assert part.origin is not None
    drawn = layer(part, h[part.origin % 23])[part.seeds].view(1000, 3, 5)
    error = (drawn.mean(0) - layer(graph, h)[SEEDS]).abs()
    assert (drawn.std(0) > 0.01).any()
    assert (error < 4.5 * drawn.std(0) / 1000**0.5 + 1e-9).all()


def test_attention_counts_a_drawn_edge_for_those_it_stands_for(schema: Schema) -> None:
    # Six equal neighbors, three of them drawn: the answer is that with all six.
    graph = Graph(torch.arange(1, 7), torch.zeros(6, dtype=torch.int64), 7)
    layer = GATConvolution(None, 4, 2, "mean").double()
    h = torch.cat([torch.randn(1, 4), torch.randn(1, 4).expand(6, 4)]).double()
    part = sample_neighbors(graph, torch.tensor([0]), [3], torch.Generator().manual_seed(0))
    assert part.num_nodes == 4
    torch.testing.assert_close(layer(part, h[part.origin])[0], layer(graph, h)[0])
