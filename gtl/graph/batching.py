"""Batches of graphs: several graphs as one disjoint graph, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gtl.errors import ShapeError
from gtl.graph.fields import NODE_FIELDS, SAMPLE_FIELDS, edges_of, form

if TYPE_CHECKING:
    from gtl.graph.graph import Graph


def joined_fields(graphs: Sequence[Graph]) -> dict[str, Any]:
    """Fields of the disjoint union of some graphs; see :meth:`gtl.Graph.batch`.

    Raises:
        ShapeError: If there is no graph, or a field is present in some graphs only or of another
            dtype or width.
    """
    if not graphs:
        raise ShapeError("`graphs` is empty; give at least one graph")
    starts = [0]
    for graph in graphs:
        starts.append(starts[-1] + graph.num_nodes)
    fields: dict[str, Any] = {"num_nodes": starts[-1]}
    for name in ("src", "dst", "seeds", "pairs"):
        shifted = [
            None if value is None else value + start
            for value, start in zip((getattr(graph, name) for graph in graphs), starts)
        ]
        fields[name] = _join(name, shifted)
    for name in ("x", "e", "node_type", "edge_type", "time", "y", "pair_type", *SAMPLE_FIELDS):
        fields[name] = _join(name, [getattr(graph, name) for graph in graphs])
    fields["sizes"] = torch.cat([graph.graph_sizes() for graph in graphs])
    fields["properties"] = _joined_properties(graphs)
    return fields


def fields_of_each(graph: Graph) -> Iterator[dict[str, Any]]:
    """Fields of each graph of a batch; see :meth:`gtl.Graph.unbatch`.

    Raises:
        ShapeError: If there are ``seeds`` or ``pairs``: their labels do not belong to graphs.
    """
    if graph.seeds is not None or graph.pairs is not None:
        what = "seeds" if graph.pairs is None else "pairs"
        raise ShapeError(f"a batch with `{what}` cannot be taken apart; use `unlabeled()`")
    owner = graph.graph_ids()[graph.src]
    order = torch.argsort(owner, stable=True)
    edge_counts = torch.bincount(owner, minlength=graph.num_graphs).tolist()
    node_counts = graph.graph_sizes().tolist()
    node = edge = 0
    for i, (nodes, edges) in enumerate(zip(node_counts, edge_counts)):
        fields = edges_of(graph, order[edge : edge + edges])
        fields.update(src=fields["src"] - node, dst=fields["dst"] - node, num_nodes=nodes)
        for name in (*NODE_FIELDS, *SAMPLE_FIELDS):
            value = getattr(graph, name)
            fields[name] = None if value is None else value[node : node + nodes]
        fields["y"] = None if graph.y is None else graph.y[i : i + 1]
        if graph.properties is not None:
            fields["properties"] = {k: value[i : i + 1] for k, value in graph.properties.items()}
        yield fields
        node, edge = node + nodes, edge + edges


def _joined_properties(graphs: Sequence[Graph]) -> dict[str, Tensor] | None:
    if all(graph.properties is None for graph in graphs):
        return None
    each = [graph.properties or {} for graph in graphs]
    names = list(dict.fromkeys(name for given in each for name in given))
    joined = {name: _join(name, [given.get(name) for given in each]) for name in names}
    return {name: value for name, value in joined.items() if value is not None}


def _join(name: str, values: list[Tensor | None]) -> Tensor | None:
    present = [value for value in values if value is not None]
    if present and len(present) != len(values):
        raise ShapeError(
            f"`{name}` is present in {len(present)} of {len(values)} graphs; set it in all or none"
        )
    for value in present:
        if value.dtype != present[0].dtype or value.shape[1:] != present[0].shape[1:]:
            raise ShapeError(
                f"`{name}` is {form(present[0])} in one graph and {form(value)} in another; "
                "give all graphs the same columns"
            )
    return torch.cat(present) if present else None
