"""Disjoint union of two graphs, built once, in which the first keeps its node numbers."""

from __future__ import annotations

from typing import Any

from gtl.graph.graph import CONTENT, Graph

_FIELDS = (*CONTENT, "origin", "undrawn", "properties")


def union(first: Graph, second: Graph) -> Graph:
    """The disjoint union of two graphs or batches, without labels, seeds and pairs.

    Nodes of ``first`` come first, so that its seeds are valid in the union. The union is cached
    with ``first``: the same two graphs, with whatever labels and seeds, give the same object.

    Args:
        first: One graph.
        second: The other.

    Raises:
        ShapeError: If a field is present in one of them only, or of another dtype or width.

    Example:
        >>> import torch
        >>> edge = Graph(torch.tensor([0]), torch.tensor([1]), 2)
        >>> both = union(edge, edge.replace(seeds=torch.tensor([1])))
        >>> both.src.tolist(), both.sizes.tolist(), both is union(edge, edge)
        ([0, 2], [2, 2], True)
    """
    known: dict[str, Any] = first.remember("union", dict, _FIELDS)
    if not known or not has_same_content(known["second"], second):
        whole = Graph.batch([first.unlabeled(), second.unlabeled()])
        whole.remember("first part", first.unlabeled, _FIELDS)
        known.update(second=second.unlabeled(), union=whole)
    found: Graph = known["union"]
    return found


def begins_with(whole: Graph, part: Graph) -> bool:
    """Whether ``whole`` is a :func:`union` whose first graph is ``part``, labels and seeds apart.

    Vectors of the nodes of ``part`` are then the first rows of those of ``whole``, up to what an
    encoder computes of all nodes together, such as the statistics of a batch norm.
    """
    first = whole.remember("first part", lambda: None, _FIELDS)
    return first is not None and has_same_content(first, part)


def has_same_content(a: Graph, b: Graph) -> bool:
    """Whether two graphs have the very same tensors, labels, seeds and pairs apart."""
    same = all(getattr(a, name) is getattr(b, name) for name in _FIELDS if name != "num_nodes")
    return same and a.num_nodes == b.num_nodes
