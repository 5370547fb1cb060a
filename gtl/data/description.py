"""Description of a data set in five lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gtl.data.dataset import Dataset

_ITEMS = {"graph": "graphs", "node": "nodes", "edge": "pairs of nodes", "triple": "triples"}


def describe(data: Dataset) -> str:
    """What :func:`repr` shows of a data set, in five lines."""
    return "\n  ".join(
        [
            f"Dataset {data.spec}: {len(data)} {_ITEMS[data.level]}{_size(data)}",
            f"labels: {_labels_in_words(data)}",
            f"split: {_split_in_words(data)}",
            f"metric: {data.metric or 'none'}",
            f"features: {_schema_in_words(data)}",
        ]
    )


def _size(data: Dataset) -> str:
    if data.graph is not None:
        size = f"{data.graph.num_nodes} nodes, " if data.level in ("edge", "triple") else ""
        return f" of a graph with {size}{data.graph.num_edges} edges"
    assert data.graphs is not None
    nodes, edges = int(data.graphs.node_offsets[-1]), int(data.graphs.edge_offsets[-1])
    return f" with {nodes} nodes, {edges} edges"


def _labels_in_words(data: Dataset) -> str:
    if data.labels is None:
        return "none"
    floating = data.labels.is_floating_point()
    missing = float((data.labels.isnan() if floating else data.labels < 0).float().mean())
    if data.kind == "multiclass":
        size = f"{data.num_outputs} classes"
    else:
        size = f"{data.labels.shape[1]} column" + ("s" if data.labels.shape[1] > 1 else "")
    return f"{data.kind}, {size}, {missing:.1%} missing"


def _split_in_words(data: Dataset) -> str:
    sizes = [f"{part} {len(index)}" for part, index in data.split.items()]
    return ", ".join(sizes) or "none"


def _schema_in_words(data: Dataset) -> str:
    schema, parts = data.schema, []
    for what, columns in (("node", schema.node), ("edge", schema.edge)):
        if columns is None:
            parts.append(f"{what}s none")
        else:
            kind = "floating" if columns.categories is None else "categorical"
            parts.append(f"{what}s {columns.width} {kind}")
    for what, count in (("node", schema.node_types), ("edge", schema.edge_types)):
        if count:
            parts.append(f"{count} {what} types")
    return ", ".join(parts)
