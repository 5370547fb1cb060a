"""The graph of classes of a few-shot comparison: matched with the data, tested, controls.

Its agreement with the features is tested on base classes alone, before any training. Controls
without information (Chen et al. 2020) show whether it helps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from gtl.data.agreement import Agreement
from gtl.data.category_graph import CategoryGraph
from gtl.errors import ConfigError, DataError
from gtl.fewshot.draws import Draw
from gtl.fewshot.features import Samples
from gtl.fewshot.problem import Problem

GRAPHS = ("given", "identity", "random", "uniform", "prototypes")
_SHOWN = 5  # names that a message has room for


def as_relation(graph: Any, samples: Samples) -> CategoryGraph | None:
    """A graph with the classes of the data, in their order.

    Where graph and data both name their classes, names decide, and classes that only the graph has
    are left out of it; elsewhere numbers do.

    Args:
        graph: A CategoryGraph, a table between tabs with ``class_id`` and ``path``, or ``None``.
        samples: The data.

    Raises:
        DataError: If a class of the data has no node, or numbers of classes differ.
        ConfigError: If it is something else.
    """
    if graph is None:
        return None
    if isinstance(graph, (str, Path)):
        graph = CategoryGraph.from_path_file(graph)
    if not isinstance(graph, CategoryGraph):
        raise ConfigError(
            f"`graph` is a {type(graph).__name__}, expected a gtl.data.CategoryGraph or a file"
        )
    if graph.names and samples.names:
        strangers = [name for name in samples.names if name not in graph.names]
        if strangers:
            raise DataError(
                f"{len(strangers)} of {len(samples.names)} classes of the data have no node in the "
                f"graph ({', '.join(strangers[:_SHOWN])}); its classes are "
                f"{', '.join(graph.names[:_SHOWN])}, ...; add them, name them alike, or leave "
                "those classes out of the data"
            )
        return graph.of(torch.tensor([graph.names.index(name) for name in samples.names]))
    if graph.num_classes != samples.num_classes:
        raise DataError(
            f"the graph has {graph.num_classes} classes, the data {samples.num_classes}; give one "
            "with a node for each class, in their order, or names to both"
        )
    return graph


def base_agreement(
    graph: CategoryGraph, samples: Samples, split: Draw, seed: int
) -> tuple[Agreement, int]:
    """Agreement of the graph with the means of a split's base classes, and how many those are."""
    base = (~split.novel).nonzero().flatten()
    means = torch.stack([samples.features[split.pools[i]].mean(0) for i in base.tolist()])
    return graph.of(base).agreement(means, torch.Generator().manual_seed(seed)), len(base)


def graph_for(graph: Any, problem: Problem) -> CategoryGraph:
    """The graph that a method uses.

    Args:
        graph: ``"given"``; a control: ``"identity"``, ``"uniform"``, or ``"random"`` with as many
            edges as the given one; ``"prototypes"``: each class receives messages from the 10
            whose training samples have the nearest means; or a CategoryGraph.
        problem: The training samples and the given graph.

    Raises:
        ConfigError: If it is unknown, or the given one was not given.
        DataError: If it has other than a node for each class.
    """
    if not isinstance(graph, CategoryGraph):
        return _named(graph, problem)
    if graph.num_classes != problem.num_classes:
        raise DataError(
            f"the graph of a method has {graph.num_classes} classes, the data "
            f"{problem.num_classes}; give one with a node for each class, in their order"
        )
    return graph


def graph_spec(graph: Any, relation: CategoryGraph | None) -> Any:
    """What makes the graph again: its file, or its edges."""
    if relation is None or isinstance(graph, (str, Path)):
        return None if relation is None else {"file": str(graph)}
    edges = zip(relation.src.tolist(), relation.dst.tolist(), relation.weight.tolist())
    return {"classes": relation.num_classes, "edges": [list(edge) for edge in edges]}


def _named(name: Any, problem: Problem) -> CategoryGraph:
    c, given = problem.num_classes, problem.graph
    if name == "identity":
        return CategoryGraph.identity(c)
    if name == "uniform":
        return CategoryGraph.uniform(c)
    if name == "prototypes":
        return _nearest(problem)
    if name == "random":
        edges = 5 * c if given is None else int((given.src != given.dst).sum())
        return CategoryGraph.random(c, min(edges, c * (c - 1)), problem.rng)
    if name != "given":
        raise ConfigError(
            f"`graph` of a method is {name!r}, expected a CategoryGraph or one of: "
            f"{', '.join(GRAPHS)}"
        )
    if given is None:
        raise ConfigError(
            "a method needs a graph of the classes; give `graph` (--graph), or the method one of "
            f"its own: {', '.join(GRAPHS[1:])}"
        )
    return given


def _nearest(problem: Problem) -> CategoryGraph:
    """Classes joined by the means of their samples, distances in units of their spread."""
    features, labels = problem.samples
    member = torch.nn.functional.one_hot(labels, problem.num_classes).T.to(features)
    means = member @ features / member.sum(1, keepdim=True)
    apart = torch.pdist(means)
    spread = apart.std() if len(apart) > 1 else apart.new_ones(())
    return CategoryGraph.from_vectors(means / torch.where(spread > 0, spread, 1.0))
