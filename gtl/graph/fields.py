"""Fields of a Graph: which rows each of them has, and the check of their shapes and dtypes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gtl.errors import ShapeError

if TYPE_CHECKING:
    from gtl.graph.graph import Graph

NODE_FIELDS = ("x", "node_type")
SAMPLE_FIELDS = ("origin", "undrawn")  # rows of nodes too, but about the graph sampled from
EDGE_FIELDS = ("src", "dst", "e", "edge_type", "time")
INDEX_FIELDS = (
    *("src", "dst", "node_type", "edge_type", "sizes", "seeds", "pairs", "pair_type"),
    *SAMPLE_FIELDS,
)
FORMS = {  # rows and dimensions of each field but `y`
    "src": ("edge", 1),
    "dst": ("edge", 1),
    "x": ("node", 2),
    "e": ("edge", 2),
    "node_type": ("node", 1),
    "edge_type": ("edge", 1),
    "time": ("edge", 1),
    "sizes": ("", 1),
    "seeds": ("", 1),
    "pairs": ("", 2),
    "pair_type": ("", 1),
    "origin": ("node", 1),
    "undrawn": ("node", 1),
}


def check_forms(graph: Graph) -> None:
    """Check the shape, dtype and device of each field.

    Raises:
        ShapeError: Naming the first field of the wrong form.
    """
    for name, (rows, dim) in FORMS.items():
        value = getattr(graph, name)
        if value is None and name not in ("src", "dst"):
            continue
        _check_tensor(name, value, dim, graph)
        expected = {"edge": len(graph.src), "node": graph.num_nodes}.get(rows)
        if expected is not None and len(value) != expected:
            what = "edge of `src`" if rows == "edge" else "node (`num_nodes`)"
            raise ShapeError(f"`{name}` is {form(value)}, expected {expected} rows, one per {what}")
    if graph.pairs is not None and graph.pairs.shape[1] != 2:
        raise ShapeError(f"`pairs` is {form(graph.pairs)}, expected (b, 2), two nodes a row")
    if graph.pair_type is not None and len(graph.pair_type) != _count(graph.pairs):
        raise ShapeError(
            f"`pair_type` is {form(graph.pair_type)}, expected one relation for each of "
            f"{_count(graph.pairs)} `pairs`"
        )
    if graph.pairs is not None and graph.seeds is not None:
        raise ShapeError("a graph with `seeds` and `pairs` has two sets of items; give one")
    _check_labels(graph)
    _check_properties(graph)


def _check_labels(graph: Graph) -> None:
    y = graph.y
    if y is None:
        return
    if not isinstance(y, Tensor):
        raise ShapeError(f"`y` is of type {type(y).__name__}, expected a tensor")
    if y.shape[:1] != (graph.num_items,):
        what = "seed" if graph.seeds is not None else "graph" if graph.pairs is None else "pair"
        raise ShapeError(f"`y` is {form(y)}, expected {graph.num_items} rows, one per {what}")


def _count(values: Tensor | None) -> int:
    return 0 if values is None else len(values)


def _check_properties(graph: Graph) -> None:
    for name, value in (graph.properties or {}).items():
        if not isinstance(value, Tensor):
            raise ShapeError(
                f"property {name!r} is of type {type(value).__name__}, expected a tensor"
            )
        if value.dim() != 2 or len(value) != graph.num_graphs:
            raise ShapeError(
                f"property {name!r} is {form(value)}, expected ({graph.num_graphs}, d), a row per "
                "graph"
            )
        if value.device != graph.src.device:
            raise ShapeError(
                f"property {name!r} is on {value.device}, `src` on {graph.src.device}; use one "
                "device"
            )


def _check_tensor(name: str, value: Any, dim: int, graph: Graph) -> None:
    if not isinstance(value, Tensor):
        raise ShapeError(f"`{name}` is of type {type(value).__name__}, expected a tensor")
    if name in INDEX_FIELDS and (value.dtype != torch.int64 or value.dim() != dim):
        words = "one-dimensional" if dim == 1 else "two-dimensional"
        raise ShapeError(f"`{name}` is {form(value)}, expected a {words} int64 tensor")
    if value.dim() != dim:
        advice = "two dimensions; add a column axis" if dim == 2 else "one dimension"
        raise ShapeError(f"`{name}` is {form(value)}, expected {advice}")
    if value.dtype == torch.bool or value.is_complex():
        raise ShapeError(
            f"`{name}` is {form(value)}, expected floats or integers; convert with .float()"
        )
    if value.device != graph.src.device:
        raise ShapeError(
            f"`{name}` is on {value.device}, `src` on {graph.src.device}; use one device"
        )


def edges_of(graph: Graph, index: Tensor) -> dict[str, Any]:
    """Fields of the edges ``index``, by name; ``None`` where the graph has none."""
    values = {name: getattr(graph, name) for name in EDGE_FIELDS}
    return {name: None if value is None else value[index] for name, value in values.items()}


def form(value: Tensor) -> str:
    """Dtype and shape, for messages."""
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
