"""Random augmentations of whole batches of graphs (You et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from gtl.errors import ConfigError
from gtl.graph import ops
from gtl.graph.graph import Graph
from gtl.graph.pairs import remove_pairs
from gtl.graph.sample import distances_from, draw_centers
from gtl.graph.schema import Columns

AUGMENTATIONS = ("drop_nodes", "drop_edges", "mask_features", "subgraph")


def augment(
    name: str, graph: Graph, rate: float, rng: torch.Generator, columns: Columns | None = None
) -> Graph:
    """An augmented copy of a graph.

    Args:
        name: One of ``AUGMENTATIONS``.
        graph: A graph, or a batch that is treated graph by graph.
        rate: Share of nodes, edges or features that is removed, in ``[0, 1)``.
        rng: Generator for the draws.
        columns: Columns of the node features; needed by ``mask_features`` if categorical.

    Returns:
        The copy. Labels and seeds are kept only by augmentations that keep all nodes.

    Raises:
        ConfigError: If there is no augmentation of that name.
    """
    if name == "drop_nodes":
        return drop_nodes(graph, rate, rng)
    if name == "drop_edges":
        return drop_pairs(graph, rate, rng)
    if name == "mask_features":
        return mask_features(graph, rate, rng, columns)
    if name == "subgraph":
        return connected_part(graph, 1 - rate, rng)
    raise ConfigError(f"unknown augmentation {name!r}; known: {', '.join(AUGMENTATIONS)}")


def perturbed(
    graph: Graph,
    edge_rate: float,
    feature_rate: float,
    rng: torch.Generator,
    columns: Columns | None = None,
) -> Graph:
    """A copy with all nodes that lacks some edges and some features; labels and seeds stay.

    Args:
        graph: A graph, or a batch of some.
        edge_rate: Share of the edges that is dropped, in ``[0, 1)``.
        feature_rate: Share of the features that is masked, likewise.
        rng: Generator for the draws.
        columns: Columns of the node features; needed if they are categorical.
    """
    copy = drop_pairs(graph, edge_rate, rng)
    return mask_features(copy, feature_rate, rng, columns)


def drop_pairs(graph: Graph, rate: float, rng: torch.Generator) -> Graph:
    """Remove a share of the joined pairs, at least one, or none with a ``rate`` of 0."""
    return remove_pairs(graph, rate, rng)[0] if rate else graph


def drop_nodes(graph: Graph, rate: float, rng: torch.Generator) -> Graph:
    """Remove each node with probability ``rate``; each graph keeps at least one node."""
    draws = torch.rand(graph.num_nodes, generator=rng, dtype=torch.float64).to(graph.device)
    sizes = graph.graph_sizes()
    best = ops.spread(ops.segment_max(draws, sizes), sizes, graph.num_nodes)
    return graph.subgraph((draws >= rate) | (draws == best))


def connected_part(graph: Graph, share: float, rng: torch.Generator) -> Graph:
    """The nodes nearest to a random one of each graph, a share of the graph rounded up.

    Nodes at the largest kept distance are chosen at random; unreachable nodes come last.
    """
    n, sizes = graph.num_nodes, graph.graph_sizes()
    distance = distances_from(graph, draw_centers(graph, 1, rng))
    distance = distance.masked_fill(distance < 0, n)
    turn = torch.rand(n, generator=rng, dtype=torch.float64).to(graph.device)
    order = torch.argsort(distance + turn)
    order = order[torch.argsort(graph.graph_ids()[order], stable=True)]
    rank = torch.arange(n, device=graph.device) - ops.spread(sizes.cumsum(0) - sizes, sizes, n)
    limit = ops.spread((sizes * share).ceil().long(), sizes, n)
    kept = torch.zeros(n, dtype=torch.bool, device=graph.device)
    kept[order[rank < limit]] = True
    return graph.subgraph(kept)


def mask_features(
    graph: Graph, rate: float, rng: torch.Generator, columns: Columns | None
) -> Graph:
    """Mask node features: categorical ones of random nodes, or random floating columns of all.

    A floating column is masked in all nodes, so that it cannot be recovered from the neighbors
    (Zhu et al. 2020). A graph without features is returned unchanged.
    """
    if graph.x is None:
        return graph
    rows, width = graph.x.shape
    floating = graph.x.is_floating_point()
    draws = torch.rand(width if floating else rows, generator=rng).to(graph.device)
    hidden = draws < rate
    hidden = hidden.unsqueeze(0) if floating else hidden.unsqueeze(1)
    return graph.replace(x=torch.where(hidden, masked(graph.x, columns), graph.x))


def masked(x: Tensor, columns: Columns | None) -> Tensor:
    """Features of a masked node, ``(d,)``: the category *masked*, or zeros if floating.

    Raises:
        ConfigError: If the features are categorical and ``columns`` are not.
    """
    codes = (0,) * x.shape[1]
    if not x.is_floating_point():
        if columns is None or columns.categories is None:
            raise ConfigError("masking categorical features needs `columns`, their categories")
        codes = columns.categories
    return torch.tensor(codes, dtype=x.dtype, device=x.device)
