"""Table of the kinds of items by the level of a data set, and the choice among them."""

from __future__ import annotations

from torch import Tensor

from gtl.data.items import GraphItems, Items, NodeItems, PairItems
from gtl.data.triples import TripleItems
from gtl.errors import DataError
from gtl.graph import Graph
from gtl.graph.pack import PackedGraphs

KINDS_OF_ITEMS: dict[str, type[Items]] = {
    kind.level: kind for kind in (GraphItems, NodeItems, PairItems, TripleItems)
}


def items_of(
    level: str,
    graphs: PackedGraphs | None,
    graph: Graph | None,
    pairs: Tensor | None,
    triples: Tensor | None = None,
    relations: int | None = None,
) -> Items:
    """Items of a level from what holds them.

    Args:
        level: A key of :data:`KINDS_OF_ITEMS`.
        graphs: Graphs that are items.
        graph: The one graph that holds the items.
        pairs: Pairs of its nodes that are items, int64 ``(items, 2)``.
        triples: Triples of its nodes and edge types that are items, int64 ``(items, 3)``.
        relations: Number of relations of the triples; read off them if not given.

    Raises:
        DataError: If something is missing, superfluous or of the wrong shape for the level.
    """
    if (graphs is None) == (graph is None):
        raise DataError("give either `graphs` or `graph`")
    if level not in KINDS_OF_ITEMS:
        raise DataError(f"`level` is {level!r}, expected one of {tuple(KINDS_OF_ITEMS)}")
    if (level == GraphItems.level) != (graph is None):
        raise DataError(
            f"`level` is {level!r}; graph-level sets are given as `graphs`, node- and link-level "
            "ones as `graph`"
        )
    if (level == PairItems.level) != (pairs is not None):
        raise DataError(
            f"`level` is {level!r}; link-level sets, and no others, are given with `pairs`"
        )
    if (level == TripleItems.level) != (triples is not None):
        raise DataError(
            f"`level` is {level!r}; sets of triples, and no others, are given with `triples`"
        )
    if graphs is not None:
        return GraphItems(graphs)
    assert graph is not None
    if triples is not None:
        return TripleItems(graph, triples, _relations(graph, triples, relations))
    return NodeItems(graph) if pairs is None else PairItems(graph, pairs)


def _relations(graph: Graph, triples: Tensor, given: int | None) -> int:
    """Number of relations: what was given, or as many as edges and triples have."""
    if given is not None:
        return given
    used = [values for values in (graph.edge_type, triples[:, 1]) if values is not None]
    return max((int(values.max()) + 1 for values in used if len(values)), default=1)
