"""Graphs of classes as options of heads: checked, and as lists for run folders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from gtl.errors import ConfigError, DataError, ShapeError
from gtl.graph import Graph

Triples = Sequence[Sequence[float]]
Graphs = Graph | Sequence[Graph | Triples]


def graphs_of_classes(graphs: Graphs, classes: int) -> list[Graph]:
    """One graph or several, each a :class:`gtl.Graph` or a list of ``[src, dst, weight]``.

    Returns:
        Graphs with the weights in ``e``, float64 ``(m, 1)``.

    Raises:
        ConfigError: If there is none, or it is something else.
        ShapeError: If one has other than ``classes`` nodes or other than one weight an edge.
        DataError: If an end of an edge is no class or its weight is not a finite number.
    """
    if not isinstance(graphs, (Graph, Iterable)):
        raise ConfigError(
            f"`graphs` is a {type(graphs).__name__}, expected a gtl.Graph, of a CategoryGraph its "
            "`graph()`, or a list of graphs"
        )
    given = [graphs] if isinstance(graphs, Graph) else list(graphs)
    if not given:
        raise ConfigError("`graphs` is empty; give one graph of the classes or more")
    return [_graph_of_classes(graph, classes) for graph in given]


def edge_weights(graph: Graph) -> Tensor:
    """Weights of the edges ``(m,)``; all 1 if the graph has none."""
    return torch.ones_like(graph.src) if graph.e is None else graph.e[:, 0]


def as_triples(graph: Graph) -> list[list[float]]:
    """Edges as lists ``[src, dst, weight]``, which can be stored in a run folder."""
    edges = zip(graph.src.tolist(), graph.dst.tolist(), edge_weights(graph).tolist())
    return [[src, dst, weight] for src, dst, weight in edges]


def _graph_of_classes(given: Graph | Triples, classes: int) -> Graph:
    """A checked Graph of edges and weights alone, from a Graph or from triples."""
    graph = given if isinstance(given, Graph) else _from_triples(given, classes)
    if graph.num_nodes != classes:
        raise ShapeError(
            f"`graphs` has one of {graph.num_nodes} nodes, expected {classes}, one per class"
        )
    if graph.e is not None and graph.e.shape[1] != 1:
        raise ShapeError(
            f"`e` of a graph of classes has shape {tuple(graph.e.shape)}, expected (m, 1), one "
            "weight per edge"
        )
    weight = edge_weights(graph).double().unsqueeze(1).detach()
    return Graph(graph.src, graph.dst, classes, e=weight).validate()


def _from_triples(triples: Triples, classes: int) -> Graph:
    try:
        rows = [list(row) for row in triples]
        if any(len(row) != 3 for row in rows):
            raise ValueError("an edge has other than three numbers")
        table = torch.tensor(rows, dtype=torch.float64).reshape(-1, 3)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            "`graphs` has something that is neither a Graph (of a CategoryGraph its `graph()`) nor "
            f"a list of [src, dst, weight]: {error}; several graphs are a list of such lists, and "
            "one is too"
        ) from error
    if (table[:, :2] != table[:, :2].round()).any():
        raise DataError("`graphs` has an edge whose end is not a whole number")
    src, dst = table[:, :2].long().unbind(1)
    return Graph(src.contiguous(), dst.contiguous(), classes, e=table[:, 2:])
