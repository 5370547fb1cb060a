"""Checks of the values of a Graph: edges that end nowhere, missing numbers, wrong sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from gtl.errors import DataError
from gtl.graph.fields import FORMS, SAMPLE_FIELDS

if TYPE_CHECKING:
    from gtl.graph.graph import Graph


def check_values(graph: Graph) -> bool:
    """Read all values once; true if they are fine.

    Raises:
        DataError: Naming the first bad edge, the NaN feature or the wrong length.
    """
    _check_ends(graph)
    for name, what in (("x", "node"), ("e", "edge")):
        _check_features(name, getattr(graph, name), what)
    if graph.time is not None and not bool(graph.time.isfinite().all()):
        edge = int((~graph.time.isfinite()).nonzero()[0])
        raise DataError(f"`time` of edge {edge} is {graph.time[edge].item()}; expected a number")
    for name in ("node_type", "edge_type", *SAMPLE_FIELDS):
        what, value = FORMS[name][0], getattr(graph, name)
        if value is not None and bool((value < 0).any()):
            row = int((value < 0).nonzero()[0])
            raise DataError(f"`{name}` of {what} {row} is {int(value[row])}; count from 0")
    if graph.sizes is not None:
        _check_sizes(graph, graph.sizes)
    for name in ("seeds", "pairs"):
        _check_items(graph, name, getattr(graph, name))
    return True


def _check_items(graph: Graph, name: str, nodes: Tensor | None) -> None:
    if nodes is None or not len(nodes):
        return
    low, high = int(nodes.min()), int(nodes.max())
    if low < 0 or high >= graph.num_nodes:
        raise DataError(f"`{name}` must lie in 0..{graph.num_nodes - 1}, they lie in {low}..{high}")


def _check_ends(graph: Graph) -> None:
    bad = {
        name: ((value < 0) | (value >= graph.num_nodes)).nonzero().flatten()
        for name, value in (("src", graph.src), ("dst", graph.dst))
    }
    first = [(int(edges[0]), name) for name, edges in bad.items() if len(edges)]
    if first:
        edge, name = min(first, key=lambda pair: pair[0])
        raise DataError(
            f"{_edge(graph, edge)} is out of range: `{name}` must lie in "
            f"0..{graph.num_nodes - 1} (`num_nodes` is {graph.num_nodes})"
        )


def _check_features(name: str, value: Tensor | None, what: str) -> None:
    if value is None:
        return
    bad = (~value.isfinite() if value.is_floating_point() else value < 0).nonzero()
    if not len(bad):
        return
    row, column = bad[0].tolist()
    remedy = "replace missing or infinite values before making the graph"
    if not value.is_floating_point():
        remedy = "integers are numbers of categories, from 0; give quantities as floats"
    raise DataError(
        f"`{name}` of {what} {row}, column {column}, is {value[row, column].item()}; {remedy}"
    )


def _check_sizes(graph: Graph, sizes: Tensor) -> None:
    if bool((sizes < 0).any()) or int(sizes.sum()) != graph.num_nodes:
        raise DataError(
            f"`sizes` must be non-negative and sum to `num_nodes` ({graph.num_nodes}), "
            f"they sum to {int(sizes.sum())}"
        )
    owners = graph.graph_ids()
    across = (owners[graph.src] != owners[graph.dst]).nonzero()
    if len(across):
        raise DataError(f"{_edge(graph, int(across[0]))} joins two graphs of the batch")


def _edge(graph: Graph, edge: int) -> str:
    return f"edge {edge} ({int(graph.src[edge])} -> {int(graph.dst[edge])})"
